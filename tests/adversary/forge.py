"""Tokens that our own code would never write: other headers, other spellings, no signature."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from typing import Any

from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, parse_b64url

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KINDS = {
    "attestation": jws.ATTESTATION,
    "withdrawal": jws.WITHDRAWAL,
    "consent": jws.CONSENT,
    "revocation": jws.REVOCATION,
    "pause": jws.PAUSE,
    "resumption": jws.RESUMPTION,
    "request": jws.REQUEST,
    "answer": jws.ANSWER,
    "trust bundle": jws.TRUST,
    "call": jws.CALL,
    "possession": jws.POSSESSION,
    "enrolment": jws.ENROLMENT,
}
"""Every kind of token by its `typ`."""


def other_kinds(typ: str) -> dict[str, str]:
    return {name: other for name, other in KINDS.items() if other != typ}


def header_of(token: str) -> dict[str, Any]:
    return dict(jws.parse_json(parse_b64url(token.split(".", maxsplit=1)[0])))


def claims_of(token: str) -> dict[str, Any]:
    return dict(jws.parse_json(parse_b64url(token.split(".")[1])))


def signed_bytes(signer: Any, header: bytes, payload: bytes) -> str:
    """A well-signed token over any header and payload bytes."""
    head = f"{b64url(header)}.{b64url(payload)}"
    return f"{head}.{b64url(signer.sign(head.encode()))}"


def reheaded(token: str, signer: Any, **members: Any) -> str:
    """The token with some header members changed (None: left out), signed again."""
    header = {k: v for k, v in {**header_of(token), **members}.items() if v is not None}
    return signed_bytes(signer, canonical_json(header), parse_b64url(token.split(".")[1]))


def respelled(token: str, signer: Any, spell: Callable[[bytes], bytes]) -> str:
    """The token with its payload in another spelling, signed again."""
    header, payload = (parse_b64url(part) for part in token.split(".")[:2])
    return signed_bytes(signer, header, spell(payload))


def hs256(token: str, public: bytes) -> str:
    """The old confusion: a MAC under the public key, named HS256."""
    header = canonical_json({**header_of(token), "alg": "HS256"})
    head = f"{b64url(header)}.{token.split('.')[1]}"
    return f"{head}.{b64url(hmac.digest(public, head.encode(), hashlib.sha256))}"


def unsigned(token: str) -> str:
    """`alg: none` with an empty signature."""
    header = canonical_json({**header_of(token), "alg": "none"})
    return f"{b64url(header)}.{token.split('.')[1]}."


def _with_signature(token: str, change: Callable[[bytes], bytes]) -> str:
    head, _, text = token.rpartition(".")
    return f"{head}.{b64url(change(parse_b64url(text)))}"


def slack(token: str) -> str:
    """The last character with one of its unused bits set."""
    return token[:-1] + ALPHABET[ALPHABET.index(token[-1]) + 1]


def twin(token: str) -> str:
    """The other s of an ES256 signature."""

    def change(data: bytes) -> bytes:
        s = P256_ORDER - int.from_bytes(data[32:], "big")
        return data[:32] + s.to_bytes(32, "big")

    return _with_signature(token, change)


SIGNATURES: dict[str, tuple[Callable[[str], str], str]] = {
    "slack bits in the signature": (slack, "NOT_BASE64URL"),
    "a padded signature": (lambda token: token + "==", "NOT_BASE64URL"),
    "a signature in standard base64": (lambda token: token[:-2] + "+/", "NOT_BASE64URL"),
    "a newline after the token": (lambda token: token + "\n", "NOT_BASE64URL"),
    "a fourth part": (lambda token: token + ".", "NOT_A_JWS"),
    "no signature": (lambda token: token.rpartition(".")[0], "NOT_A_JWS"),
    "an empty signature": (lambda token: token.rpartition(".")[0] + ".", "BAD_SIGNATURE"),
    "a truncated signature": (lambda t: _with_signature(t, lambda s: s[:-1]), "BAD_SIGNATURE"),
    "an extended signature": (lambda t: _with_signature(t, lambda s: s + b"x"), "BAD_SIGNATURE"),
    "a signature of zeros": (lambda t: _with_signature(t, lambda s: bytes(64)), "BAD_SIGNATURE"),
    "a flipped signature": (
        lambda t: _with_signature(t, lambda s: bytes([s[0] ^ 1]) + s[1:]),
        "BAD_SIGNATURE",
    ),
    "alg none": (unsigned, "BAD_HEADER"),
    "alg HS256 under the public key": (lambda t: hs256(t, b"public"), "BAD_HEADER"),
}
"""Ways to spell or break a signature, with the reason that each must get."""
SPELLINGS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a space in the JSON": (lambda p: p.replace(b":", b": ", 1), "NOT_CANONICAL"),
    "a newline after the JSON": (lambda p: p + b"\n", "NOT_CANONICAL"),
    "a byte order mark": (lambda p: b"\xef\xbb\xbf" + p, "NOT_JSON"),
    "a repeated key": (lambda p: p[:-1] + b"," + p[1:], "NOT_CANONICAL"),
    "keys out of order": (lambda p: b'{"zz":1,' + p[1:], "NOT_CANONICAL"),
    "an escaped letter": (lambda p: p.replace(b'"', b'"\\u0061', 1), "NOT_CANONICAL"),
    "a lone surrogate": (lambda p: b'{"a":"\\ud800",' + p[1:], "NOT_JSON"),
    "a float": (lambda p: b'{"a":1.0,' + p[1:], "NOT_JSON"),
    "an exponent": (lambda p: b'{"a":1e2,' + p[1:], "NOT_JSON"),
    "NaN": (lambda p: b'{"a":NaN,' + p[1:], "NOT_JSON"),
    "minus zero": (lambda p: b'{"a":-0,' + p[1:], "NOT_CANONICAL"),
    "an integer of 2**53": (lambda p: b'{"a":9007199254740992,' + p[1:], "NOT_JSON"),
    "an integer of 5000 digits": (lambda p: b'{"a":' + b"9" * 5000 + b"," + p[1:], "NOT_JSON"),
    "a key in Chinese": (lambda p: '{"键":1,'.encode() + p[1:], "NOT_JSON"),
    "33 levels": (lambda p: b'{"a":' + b"[" * 33 + b"]" * 33 + b"," + p[1:], "NOT_JSON"),
    "3000 levels": (lambda p: b'{"a":' + b"[" * 3000 + b"]" * 3000 + b"," + p[1:], "NOT_JSON"),
    "bytes that are not UTF-8": (lambda p: b'{"a":"\xff",' + p[1:], "NOT_JSON"),
    "a list instead of an object": (lambda p: b"[]", "NOT_A_JWS"),
    "nothing": (lambda p: b"", "NOT_JSON"),
}
"""Second spellings of a payload, with the reason that each must get."""
