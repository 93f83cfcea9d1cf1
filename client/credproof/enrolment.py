"""Enrolment: what an applicant sends to the operator, a CSR and a proof of possession.

The private keys are made here and never leave.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from credproof.attestation.oprf_key import Share, is_address
from credproof.base import jws
from credproof.base.encoding import Json, b64url, canonical_json, tagged_hash
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey
from credproof.base.limits import CLOCK_SKEW_S, DOCUMENT_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.custody import Custody, parse_share
from credproof.files import write_private
from credproof.home import read, signing_key
from credproof.verification.participant import ROLES, Role, is_participant_id

TITLE_CHARS_MAX: Final = 100
"""A participant's name as borrowers read it, in characters."""
ENROLMENT_AGE_MAX_S: Final = 7 * 24 * 3600
"""How old an enrolment may be when the operator admits it."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A verified enrolment: the CSR's key and the signing key are the applicant's own.

    So is the share, which a custodian has and nobody else.
    """

    id: str
    role: Role
    title: str
    csr: x509.CertificateSigningRequest
    key: PublicKey
    share: Share | None = None


def enrol(
    folder: Path, *, role: Role, participant_id: str, title: str, custody: Custody | None = None
) -> bytes:
    """Make the keys of a new participant; gives the enrolment to send to the operator.

    Raises:
        Malformed: `BAD_ID`, `BAD_ADDRESS`, `NO_SHARE`, `ALREADY_ENROLLED`.
    """
    _require_applicant(role, participant_id, title, custody)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    try:
        write_private(folder / "signing.key", b64url(secrets.token_bytes(32)).encode())
        write_private(folder / "tls.key", pem)
        public = canonical_json(signing_key(folder).public.jwk())
        write_private(folder / "signing.key.pub", public)
    except FileExistsError as error:
        raise Malformed(
            "ALREADY_ENROLLED", "this directory has keys already: enrol in another one"
        ) from error
    return enrol_again(
        folder, role=role, participant_id=participant_id, title=title, custody=custody
    )


def enrol_again(
    folder: Path, *, role: Role, participant_id: str, title: str, custody: Custody | None = None
) -> bytes:
    """An enrolment dated now, with the keys that are there.

    Raises:
        Malformed: `BAD_ID`, `BAD_ADDRESS`, `NO_SHARE`, `BAD_HOME`.
    """
    _require_applicant(role, participant_id, title, custody)
    csr_pem = _new_csr(folder, participant_id)
    digest = tagged_hash("csr", csr_pem.encode())
    claims: dict[str, Json] = {
        "csr": b64url(digest),
        "iat": int(time.time()),
        "id": participant_id,
        "role": role,
        "title": title,
    }
    if custody is not None:
        claims["share"] = custody.claim(digest, participant_id)
    proof = jws.sign(signing_key(folder), jws.ENROLMENT, claims, carry_key=True)
    enrolment = canonical_json({"csr": csr_pem, "proof": proof})
    (folder / "enrolment.json").write_bytes(enrolment)
    return enrolment


def _new_csr(folder: Path, participant_id: str) -> str:
    key = serialization.load_pem_private_key(read(folder / "tls.key"), password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey), "we make no other keys"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, participant_id)])
    csr = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _require_applicant(role: str, participant_id: str, title: str, custody: Custody | None) -> None:
    if not _is_applicant(participant_id, role, title):
        raise Malformed(
            "BAD_ID",
            "an id has 3 to 40 small letters, digits or hyphens and is not borrower; a title"
            " has 1 to 100 characters",
        )
    if (role == "custodian") != (custody is not None):
        raise Malformed("NO_SHARE", "a custodian holds a share: use credproof custodian init")
    if custody is not None and not is_address(custody.address):
        raise Malformed("BAD_ADDRESS", "an address is host:port, port 1 to 65535")


def _is_applicant(participant_id: str, role: str, title: str) -> bool:
    named = 0 < len(title) <= TITLE_CHARS_MAX and title.isprintable()
    return is_participant_id(participant_id) and role in ROLES and named


def verify_enrolment(data: bytes, *, now: int) -> Enrolment:
    """An enrolment whose sender holds both private keys.

    Raises:
        Malformed: `BAD_ENROLMENT`, `BAD_MEMBER`.
        VerificationFailed: `BAD_SIGNATURE`, `OTHER_CSR`, `ENROLMENT_TOO_OLD`, `BAD_DLEQ_PROOF`.
    """
    at_most(len(data), DOCUMENT_BYTES_MAX, "enrolment")
    try:
        members = Members(json.loads(data), "enrolment")
        csr_pem, proof = members.take("csr", str), members.take("proof", str)
        csr = x509.load_pem_x509_csr(csr_pem.encode("ascii"))
        tls_key, is_signed = csr.public_key(), csr.is_signature_valid
    except (ValueError, RecursionError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise Malformed(
            "BAD_ENROLMENT",
            "not an enrolment: it is the file enrolment.json that credproof enrol makes",
        ) from error
    members.finish()
    if not (
        isinstance(tls_key, ec.EllipticCurvePublicKey) and isinstance(tls_key.curve, ec.SECP256R1)
    ):
        raise Malformed("BAD_ENROLMENT", "the CSR's key is not a P-256 key")
    if not is_signed:
        raise VerificationFailed("BAD_SIGNATURE", "the CSR is not signed by its own key")
    parsed = jws.parse(proof, jws.ENROLMENT)
    key = parsed.verify_own_key()
    claims = Members(parsed.claims, "enrolment proof")
    digest, issued_at = claims.bytes("csr", 32), claims.take("iat", int)
    found = claims.take("id", str), claims.take("role", str), claims.take("title", str)
    enrolled = claims.optional("share", dict)
    claims.finish()
    if digest != tagged_hash("csr", csr_pem.encode()):
        raise VerificationFailed("OTHER_CSR", "the proof is for another CSR")
    if not now - ENROLMENT_AGE_MAX_S <= issued_at <= now + CLOCK_SKEW_S:
        raise VerificationFailed(
            "ENROLMENT_TOO_OLD", "the enrolment is too old: enrol again in a new directory"
        )
    participant_id, role, title = found
    if not _is_applicant(participant_id, role, title):
        raise Malformed("BAD_ENROLMENT", "the enrolment has a bad id, role or title: enrol again")
    if (role == "custodian") != (enrolled is not None):
        raise Malformed("BAD_ENROLMENT", "a custodian enrols with a share, and nobody else does")
    share = None if enrolled is None else parse_share(enrolled, digest, participant_id)
    return Enrolment(participant_id, role, title, csr, key, share)  # type: ignore[arg-type]
