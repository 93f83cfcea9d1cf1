"""Signing keys: Ed25519 (RFC 8032) through libsodium, P-256 (ES256) for borrowers' devices.

One Ed25519 verifier everywhere: libraries differ in the edge cases, and a service that
accepts what an auditor's tool refuses is a fork of the truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from credproof.base.encoding import b64url, parse_b64url, tagged_hash
from credproof.base.errors import Malformed, VerificationFailed

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key: `alg` is EdDSA (32 bytes) or ES256 (64 bytes, x then y)."""

    alg: str
    data: bytes

    @property
    def kid(self) -> str:
        """The key's fingerprint: 32 hexadecimal digits of a tagged hash."""
        return _fingerprint(self)

    def verify(self, message: bytes, signature: bytes) -> None:
        """Accept `signature` over `message`, or raise.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`.
        """
        try:
            if self.alg == "EdDSA":
                nacl.signing.VerifyKey(self.data).verify(message, signature)
            else:
                self._verify_es256(message, signature)
        except (nacl.exceptions.CryptoError, InvalidSignature, ValueError) as error:
            raise VerificationFailed("BAD_SIGNATURE", "signature does not verify") from error

    def _verify_es256(self, message: bytes, signature: bytes) -> None:
        if len(signature) != 64:
            raise ValueError("an ES256 signature has 64 bytes (RFC 7518 section 3.4)")
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(self.data[:32], "big"),
            int.from_bytes(self.data[32:], "big"),
            ec.SECP256R1(),
        )
        numbers.public_key().verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))

    def verify_single_spelling(self, message: bytes, signature: bytes) -> None:
        """As `verify`, but refuse the twin (r, n - s) that every ES256 signature has.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`.
        """
        if self.alg == "ES256" and int.from_bytes(signature[32:], "big") > P256_ORDER // 2:
            raise VerificationFailed("BAD_SIGNATURE", "signature is the twin of another")
        self.verify(message, signature)

    def jwk(self) -> dict[str, str]:
        """The key as a JWK (RFC 7517, RFC 8037) with its required members only."""
        if self.alg == "EdDSA":
            return {"crv": "Ed25519", "kty": "OKP", "x": b64url(self.data)}
        x, y = b64url(self.data[:32]), b64url(self.data[32:])
        return {"crv": "P-256", "kty": "EC", "x": x, "y": y}

    def pem(self) -> bytes:
        """An Ed25519 key as other tools read it: SubjectPublicKeyInfo (RFC 8410) in PEM.

        Raises:
            ValueError: the key is no Ed25519 key.
        """
        if self.alg != "EdDSA":
            raise ValueError("only Ed25519 keys are written as PEM")
        key = ed25519.Ed25519PublicKey.from_public_bytes(self.data)
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return key.public_bytes(serialization.Encoding.PEM, kind)


@lru_cache(maxsize=4096)
def _fingerprint(key: PublicKey) -> str:
    return tagged_hash("key", key.alg.encode(), key.data).hex()[:32]


def parse_jwk(jwk: Any) -> PublicKey:
    """The public key of a JWK that has exactly the required members.

    Raises:
        Malformed: `BAD_JWK`.
    """
    match jwk:
        case {"crv": "Ed25519", "kty": "OKP", "x": str(x), **rest} if not rest:
            return PublicKey("EdDSA", parse_b64url(x, size=32))
        case {"crv": "P-256", "kty": "EC", "x": str(x), "y": str(y), **rest} if not rest:
            return PublicKey("ES256", parse_b64url(x, size=32) + parse_b64url(y, size=32))
    raise Malformed("BAD_JWK", "not an Ed25519 or P-256 public key")


class Signer(Protocol):
    """Whoever holds a private key: a file today, a device or an HSM tomorrow."""

    @property
    def public(self) -> PublicKey: ...

    def sign(self, message: bytes) -> bytes: ...


class Ed25519Signer:
    """An Ed25519 private key from its 32-byte seed."""

    def __init__(self, seed: bytes) -> None:
        self._key = nacl.signing.SigningKey(seed)
        self.public = PublicKey("EdDSA", bytes(self._key.verify_key))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature (deterministic)."""
        return self._key.sign(message).signature


class P256Signer:
    """A P-256 private key, as phones hold them."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        self._key = key
        numbers = key.public_key().public_numbers()
        point = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
        self.public = PublicKey("ES256", point)

    def sign(self, message: bytes) -> bytes:
        """r then s, 32 bytes each, with the smaller of the two possible s."""
        r, s = decode_dss_signature(self._key.sign(message, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")


@dataclass(frozen=True, slots=True)
class DatedKey:
    """A public key with the time, in whole seconds, from and until which it may sign."""

    public: PublicKey
    not_before: int
    not_after: int

    def verify_valid_at(self, time: int) -> None:
        """Accept `time` as inside the key's validity.

        Raises:
            VerificationFailed: `KEY_NOT_VALID`.
        """
        if not self.not_before <= time <= self.not_after:
            raise VerificationFailed("KEY_NOT_VALID", "key was not valid at that time")
