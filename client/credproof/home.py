"""A participant's own directory: its keys, its certificate, what it trusts.

What goes to the operator to begin with is an enrolment, what comes back is an admission.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate, load_pem_x509_certificates

from credproof.base.encoding import (
    canonical_json,
    parse_b64url,
    parse_json,
    parse_loose_json,
)
from credproof.base.errors import Conflict, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer, PublicKey, parse_jwk
from credproof.base.limits import TRUST_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.files import replace_file
from credproof.roots import roots_of
from credproof.verification.participant import Role
from credproof.verification.trust import Trust, require_successor
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage

ADMISSION_BYTES_MAX: Final = 2 * TRUST_BYTES_MAX
"""An admission, in bytes: a trust bundle in base64url, and two certificates."""

SETTINGS = "participant.json"
TRUST = "trust.json"
AUTHORITY: Final = "ca.crt"
TLS_CERTIFICATE: Final = "tls.crt"
TLS_KEY: Final = "tls.key"
_NO_DAMAGE: Final = ("TRUST_EXPIRED", "FROM_THE_FUTURE", "WRONG_ROOT")
"""What is wrong with a trust bundle by the clock, or by which root is known, not by its bytes."""
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
        """PEM of the authority, the private key and the certificate.

        Raises:
            Malformed: `BAD_HOME`: one of them cannot be read, or does not fit the others.
        """
        key, certificate = read(self.folder / TLS_KEY), read(self.folder / TLS_CERTIFICATE)
        with own_file(self.folder / TLS_KEY):
            public = load_pem_private_key(key, None).public_key()
        with own_file(self.folder / TLS_CERTIFICATE):
            if load_pem_x509_certificate(certificate).public_key() != public:
                raise ValueError("it is of another key than tls.key")
        return self.authority(), key, certificate

    def authority(self) -> bytes:
        """PEM of the authority that signs the service's certificates."""
        pem = read(self.folder / AUTHORITY)
        with own_file(self.folder / AUTHORITY):
            load_pem_x509_certificates(pem)
        return pem

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
        with own_file(self.folder / TRUST):
            return trust_wire.parse(read(self.folder / TRUST))

    def trust(self, *, at: int) -> Trust:
        """The trust bundle kept here, valid at `at`.

        Raises:
            Malformed: `BAD_HOME`: it is not what was verified when it was written.
            VerificationFailed: `TRUST_EXPIRED`, `FROM_THE_FUTURE`, `WRONG_ROOT`.
        """
        package, roots = self.package(), self.roots
        try:
            return package.verify(roots, at=at)
        except (Malformed, VerificationFailed) as error:
            if error.reason in _NO_DAMAGE:
                raise
            raise bad_home(self.folder / TRUST) from error

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
        found = parse_loose_json(read(path)) if path.exists() else {}
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
    """The signing key of a home, also before it has joined.

    Raises:
        Malformed: `BAD_HOME`.
    """
    with own_file(path := folder / "signing.key"):
        return Ed25519Signer(parse_b64url(_read_text(path), size=32))


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


@contextmanager
def own_file(path: Path) -> Iterator[None]:
    """What cannot be read inside is this file of a home: nobody else gave it.

    Raises:
        Malformed: `BAD_HOME`.
    """
    try:
        yield
    except (Malformed, ValueError) as error:
        raise bad_home(path) from error


def bad_home(path: Path) -> Malformed:
    """A file of a home is not what was written there."""
    return Malformed("BAD_HOME", f"{path} is missing or damaged")


def read(path: Path) -> bytes:
    """A file of the home.

    Raises:
        Malformed: `BAD_HOME`.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise Malformed("BAD_HOME", f"cannot read {path.name} in the home") from error


def _read_text(path: Path) -> str:
    return read(path).decode("ascii", "replace").strip()


def _load_settings(path: Path) -> Settings:
    if not path.exists():
        message = (
            f"no participant in {path.parent}: name your home with --home, or make one with"
            " credproof enrol, then credproof join"
        )
        raise Malformed("NO_PARTICIPANT", message)
    with own_file(path):
        return _parse_settings(parse_loose_json(read(path)))


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


def is_admission(data: bytes) -> bool:
    """Whether a file's content has the form of an admission; what it says is not verified."""
    try:
        found = parse_json(data)
    except Malformed:
        return False
    names = {"authority", "certificate", "settings", "trust"}
    return isinstance(found, dict) and found.keys() == names


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
    pems = members.take("authority", str), members.take("certificate", str)
    files = dict(zip((AUTHORITY, TLS_CERTIFICATE), pems, strict=True))
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
