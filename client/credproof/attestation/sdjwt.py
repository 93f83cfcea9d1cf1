"""SD-JWT (RFC 9901): disclosures, and a strict verifier of flat tokens.

Supported are disclosures of top-level members. Array elements and nested `_sd` are refused
with the reason `UNSUPPORTED_STRUCTURE`: no token of ours has them, and what is not read
cannot be read wrongly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import (
    Json,
    b64url,
    canonical_json,
    parse_b64url,
    parse_loose_json,
)
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey, parse_jwk
from credproof.base.limits import CLOCK_SKEW_S, DISCLOSURES_MAX, TOKEN_BYTES_MAX, at_most

_RESERVED = frozenset({"_sd", "...", "_sd_alg"})
_ALGORITHMS = ("EdDSA", "ES256")


@dataclass(frozen=True, slots=True)
class Disclosure:
    """One opened member; `text` is the base64url form whose digest the token signs."""

    text: str
    name: str
    value: Any

    @property
    def digest(self) -> str:
        return digest_of(self.text)


def make_disclosure(salt: bytes, name: str, value: Json) -> Disclosure:
    """The disclosure of a member, in canonical JSON."""
    return Disclosure(disclosure_text(salt, name, value), name, value)


def disclosure_text(salt: bytes, name: str, value: Json) -> str:
    """The text of a member's disclosure alone, in canonical JSON."""
    return b64url(canonical_json([b64url(salt), name, value]))


def digest_of(text: str) -> str:
    """Base64url of SHA-256 over the disclosure's text (RFC 9901 section 4.2.3)."""
    return b64url(hashlib.sha256(text.encode("ascii")).digest())


def parse_disclosure(text: str) -> Disclosure:
    """A disclosure of an object member.

    Raises:
        Malformed: `BAD_DISCLOSURE` for wrong arity or a reserved name, `UNSUPPORTED_STRUCTURE`
            for an array element.
    """
    at_most(len(text), TOKEN_BYTES_MAX, "disclosure")
    match parse_loose_json(parse_b64url(text)):
        case [str(), str(name), value] if name not in _RESERVED:
            return Disclosure(text, name, value)
        case [str(), _]:
            raise Malformed("UNSUPPORTED_STRUCTURE", "disclosures of array elements are not read")
    raise Malformed("BAD_DISCLOSURE", "a disclosure is a salt, a name and a value")


def open_disclosures(
    payload: Mapping[str, Any], disclosures: Sequence[Disclosure]
) -> dict[str, Any]:
    """The payload's members together with the disclosed ones, without `_sd` and `_sd_alg`.

    Raises:
        Malformed: `UNSUPPORTED_STRUCTURE`, `DUPLICATE_DIGEST`, `BAD_HASH_ALGORITHM`.
        VerificationFailed: `UNREFERENCED_DISCLOSURE`, `DUPLICATE_DISCLOSURE`, `NAME_CLASH`.
    """
    at_most(len(disclosures), DISCLOSURES_MAX, "disclosures")
    digests = _digests(payload)
    claims = {name: value for name, value in payload.items() if name not in _RESERVED}
    _refuse_nested(list(claims.values()))
    used: set[str] = set()
    for disclosure in disclosures:
        if disclosure.digest not in digests:
            raise VerificationFailed("UNREFERENCED_DISCLOSURE", "token signs no such disclosure")
        if disclosure.digest in used:
            raise VerificationFailed("DUPLICATE_DISCLOSURE", "disclosure is given twice")
        if disclosure.name in claims:
            raise VerificationFailed("NAME_CLASH", "disclosure names a member that is there")
        _refuse_nested([disclosure.value])
        used.add(disclosure.digest)
        claims[disclosure.name] = disclosure.value
    return claims


def _digests(payload: Mapping[str, Any]) -> frozenset[str]:
    if payload.get("_sd_alg", "sha-256") != "sha-256":
        raise Malformed("BAD_HASH_ALGORITHM", "only sha-256 is accepted")
    digests = payload.get("_sd", [])
    if not isinstance(digests, list) or not all(isinstance(item, str) for item in digests):
        raise Malformed("BAD_DISCLOSURE", "_sd is not a list of digests")
    if len(set(digests)) != len(digests):
        raise Malformed("DUPLICATE_DIGEST", "token signs a digest twice")
    return frozenset(digests)


def _refuse_nested(values: Sequence[Any]) -> None:
    for value in values:
        if isinstance(value, dict):
            if _RESERVED & value.keys():
                raise Malformed("UNSUPPORTED_STRUCTURE", "nested disclosures are not read")
            _refuse_nested(list(value.values()))
        elif isinstance(value, list):
            _refuse_nested(value)


@dataclass(frozen=True, slots=True)
class VerifiedPresentation:
    """What a presentation proves: header and all visible and disclosed members."""

    header: Mapping[str, Any]
    claims: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KeyBindingExpectation:
    """For whom and in reply to what a key-binding JWT must have been made."""

    audience: str
    nonce: str


def verify_presentation(
    presentation: str,
    key: PublicKey,
    *,
    now: int,
    key_binding: KeyBindingExpectation | None = None,
) -> VerifiedPresentation:
    """Verify `<JWT>~<disclosure>~…~[<key-binding JWT>]` of any issuer (RFC 9901 section 7).

    `now` is in whole seconds. A key-binding JWT must be there exactly when one is expected.

    Raises:
        Malformed: what does not parse or has a structure that is not read.
        VerificationFailed: `BAD_SIGNATURE`, `WRONG_ALGORITHM`, `EXPIRED`, `NOT_YET_VALID`,
            `BAD_KEY_BINDING`, and as `open_disclosures`.
    """
    token, *texts, binding = _parts(presentation)
    header, payload = _verify_jwt(token, key)
    claims = open_disclosures(payload, [parse_disclosure(text) for text in texts])
    _check_dates(claims, now)  # a disclosed date counts like one in clear
    if (key_binding is None) != (binding == ""):
        raise VerificationFailed("BAD_KEY_BINDING", "key binding is missing or not expected")
    if key_binding is not None:
        signed = presentation.removesuffix(binding)
        _verify_key_binding(binding, claims, signed, key_binding, now)
    return VerifiedPresentation(header, claims)


def _parts(presentation: str) -> list[str]:
    """Token, disclosures and key binding (which may be empty): at least two parts."""
    parts = presentation.split("~")
    if len(parts) < 2:
        raise Malformed("NOT_A_JWS", "a presentation is a compact token with tildes after it")
    return parts


def _verify_jwt(token: str, key: PublicKey) -> tuple[dict[str, Any], dict[str, Any]]:
    """A JWT in any JSON spelling, as other issuers write it."""
    at_most(len(token), TOKEN_BYTES_MAX, "token")
    parts = token.split(".")
    if len(parts) != 3:
        raise Malformed("NOT_A_JWS", "a compact JWS has three parts")
    header, payload = (parse_loose_json(parse_b64url(part)) for part in parts[:2])
    if not isinstance(header, dict) or not isinstance(payload, dict):
        raise Malformed("NOT_A_JWS", "header or payload is not a JSON object")
    if header.get("alg") not in _ALGORITHMS or header["alg"] != key.alg or "crit" in header:
        raise VerificationFailed("WRONG_ALGORITHM", "token names another algorithm")
    key.verify(token.rpartition(".")[0].encode("ascii"), parse_b64url(parts[2]))
    return header, payload


def _check_dates(claims: Mapping[str, Any], now: int) -> None:
    for name in ("exp", "nbf", "iat"):
        if name in claims and type(claims[name]) is not int:
            raise Malformed("BAD_MEMBER", f"{name} is not whole seconds")
    if claims.get("exp", now) < now - CLOCK_SKEW_S:
        raise VerificationFailed("EXPIRED", "token has expired")
    if max(claims.get("nbf", now), claims.get("iat", now)) > now + CLOCK_SKEW_S:
        raise VerificationFailed("NOT_YET_VALID", "token is not valid yet")


def _verify_key_binding(
    binding: str,
    claims: Mapping[str, Any],
    signed: str,
    expected: KeyBindingExpectation,
    now: int,
) -> None:
    if not expected.audience or not expected.nonce:
        raise VerificationFailed("BAD_KEY_BINDING", "an empty audience or nonce binds nothing")
    try:
        holder = parse_jwk(claims["cnf"]["jwk"])
    except (KeyError, TypeError) as error:
        raise VerificationFailed("BAD_KEY_BINDING", "token binds no key") from error
    header, payload = _verify_jwt(binding, holder)
    _check_dates(payload, now)
    if "iat" not in payload:
        raise VerificationFailed("BAD_KEY_BINDING", "key binding does not say when it was made")
    found = (header.get("typ"), payload.get("aud"), payload.get("nonce"), payload.get("sd_hash"))
    if found != ("kb+jwt", expected.audience, expected.nonce, digest_of(signed)):
        raise VerificationFailed("BAD_KEY_BINDING", "key binding is for another presentation")
