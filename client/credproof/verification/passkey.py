"""Passkeys: a borrower's device signs a document after it has checked the person (WebAuthn).

The challenge is a digest of the document, so an assertion signs that document and no other. The
device's own check of the person, a fingerprint say, stands for identification: nothing of it
leaves the device but the flag that it was made. Only ES256 keys are taken: there is one Ed25519
verifier, and it is not WebAuthn's. Format: `docs/PROTOCOL.md`, "Passkey assertion".
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cbor2
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from credproof.base.encoding import Json, b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import P256_ORDER, PublicKey, parse_jwk
from credproof.base.limits import AUTHENTICATOR_DATA_BYTES_MAX, CLIENT_DATA_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.verification.bundle import RelyingParty


@dataclass(frozen=True, slots=True)
class Assertion:
    """A parsed assertion; nothing in it is verified. `signature` has 64 bytes, r then s."""

    key: PublicKey
    authenticator_data: bytes
    client_data: bytes
    payload: bytes
    signature: bytes

    def verify(self, challenge: bytes, parties: Sequence[RelyingParty]) -> str:
        """Accept the assertion as the key's over `challenge`; gives the RP id of its page.

        Raises:
            VerificationFailed: `UNKNOWN_RELYING_PARTY`, `BAD_ASSERTION` for any check of
                WebAuthn level 2, section 7.2, that fails; `BAD_SIGNATURE` for the twin of a
                signature.
        """
        rp_id, origins = self._page(parties)
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:32], self.signature[32:]))
        if s > P256_ORDER // 2:
            raise VerificationFailed("BAD_SIGNATURE", "signature is the twin of another")
        from credproof.verification.authenticator import (  # noqa: PLC0415 - slow to load
            verify_response,
        )

        verify_response(
            self.client_data,
            self.authenticator_data,
            encode_dss_signature(r, s),
            challenge=challenge,
            rp_id=rp_id,
            origins=origins,
            cose=_cose(self.key),
        )
        return rp_id

    def _page(self, parties: Sequence[RelyingParty]) -> tuple[str, list[str]]:
        """The RP id, and the origins of all parties of it: one may just have followed another."""
        digest = self.authenticator_data[:32]
        known = [p for p in parties if hashlib.sha256(p.id.encode()).digest() == digest]
        if not known:
            raise VerificationFailed("UNKNOWN_RELYING_PARTY", "the passkey is of an unknown page")
        return known[0].id, [origin for party in known for origin in party.origins]


def parse_assertion(text: str, typ: str) -> Assertion:
    """An assertion of kind `typ` in its compact form, taken apart strictly.

    Raises:
        Malformed: `NOT_A_JWS`, `WRONG_TYPE`, `BAD_HEADER`, `BAD_MEMBER`, or as the encodings.
    """
    parts = text.split(".")
    if len(parts) != 3:
        raise Malformed("NOT_A_JWS", "an assertion has three parts")
    header = Members(parse_json(parse_b64url(parts[0])), "header")
    if header.take("typ", str) != typ:
        raise Malformed("WRONG_TYPE", f"assertion is not of type {typ}")
    key = parse_jwk(header.take("jwk", dict))
    named = (header.take("alg", str), header.take("kid", str))
    assertion = Assertion(
        key=key,
        authenticator_data=header.bytes("authenticator_data"),
        client_data=header.bytes("client_data"),
        payload=parse_b64url(parts[1]),
        signature=parse_b64url(parts[2], size=64),
    )
    header.finish()
    if named != (key.alg, key.kid) or key.alg != "ES256":
        raise Malformed("BAD_HEADER", "header names another key or algorithm than it carries")
    at_most(len(assertion.authenticator_data), AUTHENTICATOR_DATA_BYTES_MAX, "authenticator data")
    at_most(len(assertion.client_data), CLIENT_DATA_BYTES_MAX, "client data")
    return assertion


def format_assertion(
    key: PublicKey,
    typ: str,
    payload: bytes,
    authenticator_data: bytes,
    client_data: bytes,
    der: bytes,
) -> str:
    """The compact form of what a device gave; `der` is its signature in DER.

    Raises:
        Malformed: `BAD_ASSERTION` when the signature is none.
    """
    try:
        r, s = decode_dss_signature(der)
        signature = r.to_bytes(32, "big") + min(s, P256_ORDER - s).to_bytes(32, "big")
    except (ValueError, OverflowError) as error:
        raise Malformed("BAD_ASSERTION", "the device gave no ES256 signature") from error
    header: dict[str, Json] = {
        "alg": key.alg,
        "authenticator_data": b64url(authenticator_data),
        "client_data": b64url(client_data),
        "jwk": key.jwk(),
        "kid": key.kid,
        "typ": typ,
    }
    return f"{b64url(canonical_json(header))}.{b64url(payload)}.{b64url(signature)}"


def _cose(key: PublicKey) -> bytes:
    """The key as COSE has it: EC2, ES256, P-256 (RFC 9053 section 7.1.1)."""
    return bytes(cbor2.dumps({1: 2, 3: -7, -1: 1, -2: key.data[:32], -3: key.data[32:]}))
