"""Sealing of batches from a provider to the service: HPKE (RFC 9180), hybrid post-quantum.

Suite MLKEM768_X25519, HKDF-SHA256, AES-256-GCM, base mode, one encapsulation per batch.
`info` names version, direction, service, provider and key, so a batch opens only where and
from whom it was meant. Who sent it is known from mTLS and from the signatures inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

from credproof.base.encoding import frame, parse_frame, tagged, tagged_hash
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import BATCH_ITEMS_MAX, SEALED_BATCH_BYTES_MAX, at_most

_SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_MLKEM_SECRET_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
SECRET_BYTES = _MLKEM_SECRET_BYTES + 32
PUBLIC_BYTES = _MLKEM_PUBLIC_BYTES + 32


@dataclass(frozen=True, slots=True)
class Route:
    """From whom to whom: the trust domain of the service, and the provider's id."""

    service: str
    provider: str

    def info(self, kid: str) -> bytes:
        """The `info` of RFC 9180 section 5.1."""
        names = (self.service, self.provider, kid)
        return tagged("seal", b"provider-to-service", *(name.encode() for name in names))


class SealingPublicKey:
    """The service's public sealing key: ML-KEM-768 (1184 bytes), then X25519 (32 bytes)."""

    def __init__(self, data: bytes) -> None:
        if len(data) != PUBLIC_BYTES:
            raise Malformed("BAD_SEALING_KEY", "sealing key has a wrong length")
        self.data = data
        try:
            kem = mlkem.MLKEM768PublicKey.from_public_bytes(data[:_MLKEM_PUBLIC_BYTES])
        except ValueError as error:
            raise Malformed("BAD_SEALING_KEY", "sealing key is not an ML-KEM key") from error
        curve = x25519.X25519PublicKey.from_public_bytes(data[_MLKEM_PUBLIC_BYTES:])
        self._key = hpke.MLKEM768X25519PublicKey(kem, curve)

    @property
    def kid(self) -> str:
        """The key's fingerprint: 32 hexadecimal digits."""
        return tagged_hash("sealing-key", self.data).hex()[:32]

    def seal(self, packages: Sequence[bytes], route: Route) -> bytes:
        """One sealed batch of 1 to `BATCH_ITEMS_MAX` packages; not deterministic.

        Raises:
            LimitExceeded: too many packages.
        """
        at_most(len(packages), BATCH_ITEMS_MAX, "batch")
        return _SUITE.encrypt(frame(packages), self._key, info=route.info(self.kid))


class SealingKey:
    """The service's private sealing key, from its secret of 96 bytes."""

    def __init__(self, secret: bytes) -> None:
        kem = mlkem.MLKEM768PrivateKey.from_seed_bytes(secret[:_MLKEM_SECRET_BYTES])
        curve = x25519.X25519PrivateKey.from_private_bytes(secret[_MLKEM_SECRET_BYTES:])
        self._key = hpke.MLKEM768X25519PrivateKey(kem, curve)
        public = kem.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
        self.public = SealingPublicKey(public)

    def open(self, sealed: bytes, route: Route) -> list[bytes]:
        """Check 1: the packages of a batch that was sealed on this route to this key.

        Raises:
            LimitExceeded: the batch is too large or has too many packages.
            VerificationFailed: `SEAL_NOT_OPENED`.
            Malformed: `BAD_FRAME`, `EMPTY_BATCH`.
        """
        at_most(len(sealed), SEALED_BATCH_BYTES_MAX, "sealed batch")
        try:
            plain = _SUITE.decrypt(sealed, self._key, info=route.info(self.public.kid))
        except (InvalidTag, ValueError) as error:
            raise VerificationFailed("SEAL_NOT_OPENED", "sealed batch does not open") from error
        packages = parse_frame(plain)
        at_most(len(packages), BATCH_ITEMS_MAX, "batch")
        if not packages:
            raise Malformed("EMPTY_BATCH", "batch holds no package")
        return packages
