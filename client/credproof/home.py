"""A participant's own directory: its keys, its certificate, what it trusts.

The private keys are made here and never leave; what goes to the operator is an enrolment
(a CSR and a proof of possession), what comes back is an admission.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from credproof.attestation.oprf_key import Share, is_address
from credproof.base import jws
from credproof.base.encoding import (
    Json,
    b64url,
    canonical_json,
    parse_b64url,
    parse_json,
    parse_loose_json,
    tagged_hash,
)
from credproof.base.errors import Conflict, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer, PublicKey, parse_jwk
from credproof.base.limits import CLOCK_SKEW_S, DOCUMENT_BYTES_MAX, TRUST_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.custody import Custody, parse_share
from credproof.roots import roots_of
from credproof.verification.participant import ROLES, Role, is_participant_id
from credproof.verification.trust import Trust, require_successor
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage

TITLE_CHARS_MAX: Final = 100
"""A participant's name as borrowers read it, in characters."""
ENROLMENT_AGE_MAX_S: Final = 7 * 24 * 3600
"""How old an enrolment may be when the operator admits it."""

ADMISSION_BYTES_MAX: Final = 2 * TRUST_BYTES_MAX
"""An admission, in bytes: a trust bundle in base64url, and two certificates."""

SETTINGS = "participant.json"
TRUST = "trust.json"
PINS = "pins.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """Who the participant is and where the service is. `address` is `host:port`."""

    id: str
    role: Role
    address: str
    borrowers_address: str
    domain: str
    root: PublicKey


class Home:
    """A participant's directory after `join`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = _load_settings(folder / SETTINGS)

    @property
    def signer(self) -> Ed25519Signer:
        """The participant's signing key."""
        return signing_key(self.folder)

    def tls(self) -> tuple[bytes, bytes, bytes]:
        """PEM of the authority, the private key and the certificate."""
        key, certificate = _read(self.folder / "tls.key"), _read(self.folder / "tls.crt")
        return self.authority(), key, certificate

    def authority(self) -> bytes:
        """PEM of the authority that signs the service's certificates."""
        return _read(self.folder / "ca.crt")

    @property
    def roots(self) -> tuple[PublicKey, ...]:
        """The pinned root, and those that took its place since: one of them signs each bundle.

        Raises:
            DataLoss: `METADATA_DAMAGED`.
        """
        return roots_of(self.folder, self.settings.root)

    def package(self) -> TrustPackage:
        """The trust bundle kept here, not verified.

        Raises:
            Malformed: `BAD_HOME`.
        """
        try:
            return trust_wire.parse(_read(self.folder / TRUST))
        except Malformed as error:
            message = f"{self.folder / TRUST} is missing or damaged"
            raise Malformed("BAD_HOME", message) from error

    def trust(self, *, at: int) -> Trust:
        """The trust bundle kept here, valid at `at`.

        Raises:
            Malformed, VerificationFailed: as `verify_trust`.
        """
        return self.package().verify(self.roots, at=at)

    def adopt(self, package: TrustPackage, *, now: int) -> Trust:
        """Keep a newer trust bundle; an older one than seen before is refused.

        Raises:
            VerificationFailed: `TRUST_ROLLBACK`, `CUSTODIAN_LEFT_OUT`, and as `verify_trust`.
        """
        known = self.trust(at=0)
        trust = package.verify(self.roots, at=now, version_min=known.bundle.version)
        require_successor(trust, known)
        if trust.bundle.version > known.bundle.version:
            replace_file(self.folder / TRUST, package.to_bytes())
        return trust

    def pins(self) -> dict[str, frozenset[str]]:
        """The key fingerprints of providers that this participant knows by itself."""
        path = self.folder / PINS
        found = parse_loose_json(_read(path)) if path.exists() else {}
        pins = Members(found, PINS)
        return {provider: frozenset(pins.strings(provider)) for provider in list(found)}

    def pin(self, provider: str, kid: str) -> None:
        """Pin a key of a provider, learned from the provider itself.

        Raises:
            Malformed: `BAD_FINGERPRINT`.
            Conflict: `NO_SUCH_PARTICIPANT` when the trust bundle kept here names no such provider.
        """
        known = self.trust(at=0).participants.get(provider)
        if known is None or known.role != "provider":
            message = "your trust bundle names no provider of this id: ask the operator for its id"
            raise Conflict("NO_SUCH_PARTICIPANT", message)
        if not re.fullmatch(r"[0-9a-f]{32}", kid):
            raise Malformed(
                "BAD_FINGERPRINT",
                "a fingerprint has 32 small hexadecimal digits: see provider fingerprint",
            )
        pins = {name: sorted(kids) for name, kids in self.pins().items()}
        pins[provider] = sorted({*pins.get(provider, []), kid})
        replace_file(self.folder / PINS, canonical_json(pins))


def signing_key(folder: Path) -> Ed25519Signer:
    """The signing key of a home, also before it has joined."""
    return Ed25519Signer(parse_b64url(_read_text(folder / "signing.key"), size=32))


def read_public(path: Path) -> PublicKey:
    """A public key in a file, as `credproof root key` writes it beside the private one.

    Raises:
        Malformed: `BAD_JWK`.
    """
    try:
        key = parse_jwk(parse_json(path.read_bytes()))
    except OSError as error:
        raise Malformed("BAD_JWK", f"cannot read {path}: {error.strerror}") from error
    except Malformed as error:
        message = f"{path} holds no public key: name the file that ends in .pub"
        raise Malformed("BAD_JWK", message) from error
    if key.alg != "EdDSA":
        raise Malformed("BAD_JWK", f"{path} holds another key than Ed25519: it signs no metadata")
    return key


def _load_settings(path: Path) -> Settings:
    if not path.exists():
        message = (
            f"no participant in {path.parent}: name your home with --home, or make one with"
            " credproof enrol, then credproof join"
        )
        raise Malformed("NO_PARTICIPANT", message)
    return _parse_settings(parse_loose_json(_read(path)))


def _parse_settings(value: Any) -> Settings:
    members = Members(value, SETTINGS)
    settings = Settings(
        id=members.take("id", str),
        role=members.take("role", str),  # type: ignore[arg-type]
        address=members.take("address", str),
        borrowers_address=members.take("borrowers_address", str),
        domain=members.take("domain", str),
        root=parse_jwk(members.take("root", dict)),
    )
    members.finish()
    return settings


# -- enrolment: what the participant sends to the operator ---------------------


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
    key = serialization.load_pem_private_key(_read(folder / "tls.key"), password=None)
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


# -- admission: what the operator sends back ----------------------------------


@dataclass(frozen=True, slots=True)
class Admission:
    """What an admitted participant needs: certificate, addresses, root, trust."""

    settings: Settings
    certificate: bytes
    authority: bytes
    trust: TrustPackage

    def to_bytes(self) -> bytes:
        """The content of an `*.admission.json` file."""
        return canonical_json(
            {
                "authority": self.authority.decode("ascii"),
                "certificate": self.certificate.decode("ascii"),
                "settings": _settings_json(self.settings),
                "trust": self.trust.to_bytes().decode("utf-8"),
            }
        )


def _settings_json(settings: Settings) -> dict[str, Any]:
    return {
        "address": settings.address,
        "borrowers_address": settings.borrowers_address,
        "domain": settings.domain,
        "id": settings.id,
        "role": settings.role,
        "root": settings.root.jwk(),
    }


def join(
    folder: Path,
    admission: bytes,
    *,
    root_kid: str | None,
    now: int,
    require: Callable[[Trust], None] = lambda _trust: None,
) -> Home:
    """Put an admission to use. `root_kid` is the root's fingerprint, learned from the operator.

    `require` raises when its trust bundle lacks what this participant needs; then nothing is kept.

    Raises:
        Malformed: `BAD_MEMBER`, `NOT_ENROLLED`.
        VerificationFailed: `WRONG_ROOT`, `OTHER_PARTICIPANT`, and as `verify_trust`.
    """
    at_most(len(admission), ADMISSION_BYTES_MAX, "admission")
    members = Members(parse_json(admission), "admission")
    settings = _parse_settings(members.take("settings", dict))
    trust = members.take("trust", str)
    files = {"ca.crt": members.take("authority", str), "tls.crt": members.take("certificate", str)}
    members.finish()
    root = settings.root
    if root_kid not in (None, root.kid):
        raise VerificationFailed(
            "WRONG_ROOT", "the admission is under another root: do not join, and ask the operator"
        )
    package = trust_wire.parse(trust.encode("utf-8"))
    bundle = package.verify(root, at=now)
    _require_same_key(folder, bundle, settings.id)
    require(bundle)
    for name, text in files.items():
        replace_file(folder / name, text.encode("utf-8"))
    replace_file(folder / TRUST, package.to_bytes())
    replace_file(folder / SETTINGS, canonical_json(_settings_json(settings)))
    return Home(folder)


def _require_same_key(folder: Path, trust: Trust, participant_id: str) -> None:
    if not (folder / "signing.key").exists():
        raise Malformed("NOT_ENROLLED", "no keys in this home: use credproof enrol first")
    known = trust.participants.get(participant_id)
    if known is None or known.key(signing_key(folder).public.kid) is None:
        raise VerificationFailed(
            "OTHER_PARTICIPANT", "the admission is for another key: join the home that was enrolled"
        )


# -- files --------------------------------------------------------------------


def write_private(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read; refuses to overwrite; on disk on return."""
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, data: bytes) -> None:
    """Write a private file so that it is either the old or the new one, never half."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, data)
    fresh.replace(path)


def append_private(path: Path, line: bytes) -> None:
    """Add a line to a file that only its owner can read; on disk on return."""
    descriptor = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path) -> bytes:
    """A file of the home.

    Raises:
        Malformed: `BAD_HOME`.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed("BAD_HOME", f"cannot read {path.name} in the home") from error


def _read_text(path: Path) -> str:
    return _read(path).decode("ascii", "replace").strip()
