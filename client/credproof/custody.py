"""What a custodian enrols beside its keys: its share of the OPRF key, proved to be its own."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from credproof.attestation.oprf_key import (
    Evaluation,
    Share,
    is_address,
    prove_share,
    verify_share,
)
from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.base.oprf import public_key


@dataclass(frozen=True, slots=True)
class Custody:
    """A share's secret (32 bytes), which never leaves the custodian, and the address
    (`host:port`) where it will answer."""

    secret: bytes = field(repr=False)
    address: str

    def claim(self, csr_digest: bytes, participant_id: str) -> dict[str, Json]:
        """The member `share` of an enrolment: the public share with its proof."""
        bound_to = _bound_to(csr_digest, participant_id)
        proof = prove_share(self.secret, bound_to, secrets.token_bytes(64))
        return {
            "address": self.address,
            "element": b64url(proof.elements[0]),
            "proof": b64url(proof.proof),
            "public": b64url(public_key(self.secret)),
        }


def parse_share(value: Mapping[str, Any], csr_digest: bytes, participant_id: str) -> Share:
    """The share of an enrolment, whose secret the applicant holds.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_ELEMENT`, `BAD_ENROLMENT`.
        VerificationFailed: `BAD_DLEQ_PROOF`.
    """
    members = Members(value, "share")
    share = Share(members.bytes("public", 32), participant_id, members.take("address", str))
    proof = Evaluation((members.bytes("element", 32),), members.bytes("proof"))
    members.finish()
    if not is_address(share.address):
        raise Malformed("BAD_ENROLMENT", "the custodian's address is not host:port")
    verify_share(share.public, _bound_to(csr_digest, participant_id), proof)
    return share


def _bound_to(csr_digest: bytes, participant_id: str) -> bytes:
    return csr_digest + participant_id.encode()
