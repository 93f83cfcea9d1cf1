"""Strict compact JWS (RFC 7515): one spelling, two algorithms, one `typ` per kind.

Header and payload are canonical JSON; the header holds exactly `alg`, `typ`, `kid` and,
for a key that speaks for itself, `jwk`. `alg` must be the one of the key (RFC 8725
section 3.1), so neither `none` nor HMAC can appear. Tokens of other issuers in the looser
SD-JWT dialect are read by `credproof.attestation.sdjwt`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import Json, b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey, Signer, parse_jwk
from credproof.base.limits import TOKEN_BYTES_MAX, at_most

ATTESTATION = "dc+sd-jwt"
WITHDRAWAL = "credproof-withdrawal+jwt"
CONSENT = "credproof-consent+jwt"
REVOCATION = "credproof-revocation+jwt"
PAUSE = "credproof-pause+jwt"
RESUMPTION = "credproof-resumption+jwt"
REQUEST = "credproof-request+jwt"
ANSWER = "credproof-answer+jwt"
TRUST = "credproof-trust+jwt"
CALL = "credproof-call+jwt"
POSSESSION = "credproof-possession+jwt"
ENROLMENT = "credproof-enrolment+jwt"
ACCEPTANCE = "credproof-acceptance+jwt"
APPROVAL = "credproof-approval+jwt"
AUDIT = "credproof-audit+jwt"
UNSEAL = "credproof-unseal+jwt"
UNSEAL_DECISION = "credproof-unseal-decision+jwt"

_ALGORITHMS = ("EdDSA", "ES256")


@dataclass(frozen=True, slots=True)
class Jws:
    """A parsed token. Nothing in it is verified until `verify` has returned.

    `claims` is the parsed payload; `id` is SHA-256 of the signing input, 32 bytes.
    """

    token: str
    signing_input: bytes
    id: bytes
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    payload: bytes
    signature: bytes

    @property
    def kid(self) -> str:
        return str(self.header["kid"])

    def verify(self, key: PublicKey) -> None:
        """Accept the signature by `key`, whose algorithm the header must name.

        Raises:
            VerificationFailed: `WRONG_ALGORITHM`, `BAD_SIGNATURE`.
        """
        if self.header["alg"] != key.alg:
            raise VerificationFailed("WRONG_ALGORITHM", "token names another algorithm")
        key.verify_single_spelling(self.signing_input, self.signature)

    def verify_own_key(self) -> PublicKey:
        """Accept the signature by the key that the header itself carries, and return that key.

        Raises:
            Malformed: `NO_KEY` without one, `BAD_JWK`.
            VerificationFailed: `WRONG_KEY` when `kid` is not its fingerprint; as `verify`.
        """
        if "jwk" not in self.header:
            raise Malformed("NO_KEY", "token carries no key")
        key = parse_jwk(self.header["jwk"])
        if key.kid != self.kid:
            raise VerificationFailed("WRONG_KEY", "token names another key than it carries")
        self.verify(key)
        return key


def token_id(token: str) -> bytes:
    """SHA-256 of the signing input, 32 bytes: what identifies a token, whoever re-encodes it."""
    return hashlib.sha256(token.rpartition(".")[0].encode("ascii")).digest()


def sign(signer: Signer, typ: str, claims: Mapping[str, Json], *, carry_key: bool = False) -> str:
    """A compact JWS over `claims`; `carry_key` puts the public key into the header."""
    return sign_payload(signer, typ, canonical_json(claims), carry_key=carry_key)


def sign_payload(signer: Signer, typ: str, payload: bytes, *, carry_key: bool = False) -> str:
    """As `sign`, over payload bytes that are canonical already."""
    header: dict[str, Json] = {"alg": signer.public.alg, "kid": signer.public.kid, "typ": typ}
    if carry_key:
        header["jwk"] = signer.public.jwk()
    signing_input = f"{b64url(canonical_json(header))}.{b64url(payload)}"
    return f"{signing_input}.{b64url(signer.sign(signing_input.encode('ascii')))}"


def parse(token: str, typ: str, *, limit: int = TOKEN_BYTES_MAX) -> Jws:
    """A token of kind `typ` and at most `limit` bytes, taken apart strictly.

    Its signature is not looked at.

    Raises:
        Malformed: `NOT_A_JWS`, `BAD_HEADER`, `WRONG_TYPE`, or as the strict encodings.
        LimitExceeded: longer than `limit`.
    """
    at_most(len(token), limit, "token")
    parts = token.split(".")
    if len(parts) != 3:
        raise Malformed("NOT_A_JWS", "a compact JWS has three parts")
    header_bytes, payload, signature = (parse_b64url(part) for part in parts)
    header = parse_json(header_bytes)
    _check_header(header, typ)
    claims = parse_json(payload)
    if not isinstance(claims, dict):
        raise Malformed("NOT_A_JWS", "payload is not a JSON object")
    signing_input = token.rpartition(".")[0].encode("ascii")
    digest = hashlib.sha256(signing_input).digest()
    return Jws(token, signing_input, digest, header, claims, payload, signature)


def _check_header(header: Any, typ: str) -> None:
    match header:
        case {"alg": str(alg), "kid": str(), "typ": str(found), **rest}:
            if set(rest) - {"jwk"} or alg not in _ALGORITHMS:
                raise Malformed("BAD_HEADER", "header has an unknown member or algorithm")
            if found != typ:
                raise Malformed("WRONG_TYPE", f"token is not of type {typ}")
        case _:
            raise Malformed("BAD_HEADER", "header lacks alg, kid or typ")
