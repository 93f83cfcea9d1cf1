"""The OPRF key: the sum of shares, each with a holder of its own.

The service holds the first share, custodians hold the others. No holder alone can evaluate.
Format: `docs/PROTOCOL.md`, "Pseudonym" and "Trust bundle".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from credproof.base import oprf
from credproof.base.encoding import Json, b64url, tagged, tagged_hash
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.base.group import hash_to_group, parse_element
from credproof.base.limits import OPRF_SHARES_MAX, at_most
from credproof.base.members import Members

_ADDRESS: Final = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,253}:[0-9]{1,5}\Z")
_PORT_MAX: Final = 65_535
_POSSESSION_TAG: Final = b"credproof/v1/share"
"""Hashes to the group apart from RFC 9497: proving a share never evaluates an id."""


@dataclass(frozen=True, slots=True)
class Share:
    """One holder's part: its public key, 32 bytes, and who answers for it where.

    `custodian` (a participant's id) and `address` (`host:port`) are empty for the service.
    """

    public: bytes
    custodian: str = ""
    address: str = ""

    @property
    def holder(self) -> str:
        """Who holds it, for people."""
        return f"custodian {self.custodian}" if self.custodian else "the service"

    def to_json(self) -> dict[str, Json]:
        return {
            "address": self.address,
            "custodian": self.custodian,
            "public": b64url(self.public),
        }


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One holder's answer: the evaluated elements, 32 bytes each, and a DLEQ proof for all."""

    elements: tuple[bytes, ...]
    proof: bytes


@dataclass(frozen=True)
class OprfKey:
    """The public side of an OPRF key: its shares, the service's first."""

    shares: tuple[Share, ...]

    @cached_property
    def id(self) -> str:
        """The fingerprint of all public shares in their order: 32 hexadecimal digits."""
        return tagged_hash("oprf-key", *(share.public for share in self.shares)).hex()[:32]

    @property
    def custodians(self) -> tuple[str, ...]:
        """Who holds a share beside the service."""
        return tuple(share.custodian for share in self.shares[1:])

    def require_sound(self) -> None:
        """Refuse shares that are no group elements, of one holder twice, or that cancel out.

        Raises:
            Malformed: `BAD_TRUST`, `BAD_ELEMENT`.
        """
        if [bool(share.custodian or share.address) for share in self.shares[:1]] != [False]:
            raise Malformed("BAD_TRUST", "the first share of an OPRF key is not the service's")
        for what in (self.custodians, tuple(share.public for share in self.shares)):
            if len(set(what)) != len(what):
                raise Malformed("BAD_TRUST", "an OPRF key has one share, or holder, twice")
        if not all(is_address(share.address) for share in self.shares[1:]):
            raise Malformed("BAD_TRUST", "a custodian's address is not host:port")
        oprf.combine([share.public for share in self.shares])

    def combine(
        self, blinded: Sequence[bytes], evaluations: Sequence[Evaluation]
    ) -> tuple[bytes, ...]:
        """The elements evaluated under the whole key, from each holder's verified answer.

        Raises:
            Malformed, VerificationFailed: `BAD_ELEMENT`, `BAD_DLEQ_PROOF`, naming the holder.
        """
        if len(evaluations) != len(self.shares):
            raise VerificationFailed("BAD_DLEQ_PROOF", "not one evaluation for each share")
        for share, evaluation in zip(self.shares, evaluations, strict=True):
            _verify(share, blinded, evaluation)
        columns = zip(*(evaluation.elements for evaluation in evaluations), strict=True)
        return tuple(oprf.combine(column) for column in columns)

    def to_json(self) -> dict[str, Json]:
        return {"shares": [share.to_json() for share in self.shares]}


def _verify(share: Share, blinded: Sequence[bytes], evaluation: Evaluation) -> None:
    try:
        oprf.verify_evaluation(share.public, blinded, evaluation.elements, evaluation.proof)
    except CredproofError as error:
        raise type(error)(error.reason, f"{share.holder}: {error.message}") from error


def parse_oprf_key(value: Any) -> OprfKey:
    """The public side of an OPRF key, taken apart strictly; `require_sound` looks at the rest.

    Raises:
        Malformed: `BAD_MEMBER`; `NOT_BASE64URL`, `WRONG_LENGTH` for a public share.
        LimitExceeded: more than `OPRF_SHARES_MAX` shares.
    """
    members = Members(value, "OPRF key")
    shares = members.take("shares", list)
    members.finish()
    at_most(len(shares), OPRF_SHARES_MAX, "shares of an OPRF key")
    return OprfKey(tuple(_parse_share(share) for share in shares))


def _parse_share(value: Any) -> Share:
    members = Members(value, "share")
    share = Share(
        members.bytes("public", 32), members.take("custodian", str), members.take("address", str)
    )
    members.finish()
    return share


def is_address(text: str) -> bool:
    """Whether this is `host:port` where somebody can be reached."""
    return _ADDRESS.match(text) is not None and 0 < int(text.rpartition(":")[2]) <= _PORT_MAX


# -- possession: a custodian shows that it can answer under its share ------------


def prove_share(secret: bytes, bound_to: bytes, entropy: bytes) -> Evaluation:
    """Show that one holds a share's secret; `bound_to` is what the proof is for.

    `entropy` is 64 fresh random bytes.
    """
    return Evaluation(*oprf.evaluate_verifiable(secret, [_challenge(bound_to)], entropy))


def verify_share(public: bytes, bound_to: bytes, proof: Evaluation) -> None:
    """Accept that whoever made the proof can answer under this public share.

    Raises:
        Malformed: `BAD_ELEMENT`.
        VerificationFailed: `BAD_DLEQ_PROOF`.
    """
    parse_element(public)
    oprf.verify_evaluation(public, [_challenge(bound_to)], proof.elements, proof.proof)


def _challenge(bound_to: bytes) -> bytes:
    return hash_to_group(tagged("share", bound_to), _POSSESSION_TAG)
