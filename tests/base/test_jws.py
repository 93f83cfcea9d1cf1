"""Tokens: one spelling, one kind, one algorithm."""

from __future__ import annotations

import json

import pytest
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, parse_b64url
from credproof.base.errors import CredproofError
from credproof.base.keys import P256Signer
from cryptography.hazmat.primitives.asymmetric import ec
from jwcrypto import jwk
from jwcrypto import jws as other_jws

from tests.world import signer_of

ED = signer_of("ed")
ES = P256Signer(ec.derive_private_key(12345, ec.SECP256R1()))
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KINDS = (
    *(jws.ATTESTATION, jws.CONSENT, jws.REVOCATION, jws.REQUEST, jws.ANSWER, jws.TRUST),
    *(jws.CALL, jws.POSSESSION, jws.ENROLMENT, jws.PAUSE, jws.RESUMPTION),
)


def refused(reason: str, work) -> None:
    with pytest.raises(CredproofError) as caught:
        work()
    assert reason == caught.value.reason


def headed(token: str, **changes) -> str:
    """The token with another header, its signature unchanged."""
    head, payload, signature = token.split(".")
    header = json.loads(parse_b64url(head)) | changes
    return f"{b64url(canonical_json(header))}.{payload}.{signature}"


@pytest.mark.parametrize("signer", [ED, ES])
def test_a_token_comes_back_and_verifies(signer):
    parsed = jws.parse(jws.sign(signer, jws.ANSWER, {"a": 1}), jws.ANSWER)
    parsed.verify(signer.public)
    assert parsed.claims == {"a": 1}


@pytest.mark.parametrize("signer", [ED, ES])
def test_another_library_verifies_our_tokens(signer):
    token = jws.sign(signer, jws.CONSENT, {"a": 1}, carry_key=True)
    key = jwk.JWK(**signer.public.jwk())
    other = other_jws.JWS()
    other.allowed_algs = ["EdDSA", "ES256"]
    other.deserialize(token, key)
    assert other.payload == b'{"a":1}'


@pytest.mark.parametrize("kind", KINDS)
def test_a_token_of_one_kind_is_no_other(kind):
    token = jws.sign(ED, kind, {})
    for other in KINDS:
        if other != kind:
            refused("WRONG_TYPE", lambda other=other: jws.parse(token, other))


@pytest.mark.parametrize("alg", ["none", "HS256", "RS256", "eddsa", ""])
def test_any_other_algorithm_is_refused(alg):
    token = headed(jws.sign(ED, jws.ANSWER, {}), alg=alg)
    refused("BAD_HEADER", lambda: jws.parse(token, jws.ANSWER))


def test_a_token_that_names_the_other_algorithm_is_refused():
    token = headed(jws.sign(ED, jws.ANSWER, {}), alg="ES256")
    parsed = jws.parse(token, jws.ANSWER)
    refused("WRONG_ALGORITHM", lambda: parsed.verify(ED.public))
    refused("BAD_SIGNATURE", lambda: parsed.verify(ES.public))


@pytest.mark.parametrize(
    "member", [{"crit": ["x"]}, {"jku": "https://x"}, {"x5c": []}, {"b64": False}]
)
def test_a_header_with_an_unknown_member_is_refused(member):
    token = headed(jws.sign(ED, jws.ANSWER, {}), **member)
    refused("BAD_HEADER", lambda: jws.parse(token, jws.ANSWER))


def test_a_payload_of_another_token_is_refused():
    one, two = jws.sign(ED, jws.ANSWER, {"a": 1}), jws.sign(ED, jws.ANSWER, {"a": 2})
    head, _, signature = one.split(".")
    mixed = jws.parse(f"{head}.{two.split('.')[1]}.{signature}", jws.ANSWER)
    refused("BAD_SIGNATURE", lambda: mixed.verify(ED.public))


def test_the_twin_of_an_es256_signature_is_refused():
    """(r, n - s) verifies everywhere else: it would be a second spelling of the same token."""
    token = jws.sign(ES, jws.ANSWER, {})
    head, payload, text = token.split(".")
    signature = parse_b64url(text)
    s = ORDER - int.from_bytes(signature[32:], "big")
    twin = signature[:32] + s.to_bytes(32, "big")
    parsed = jws.parse(f"{head}.{payload}.{b64url(twin)}", jws.ANSWER)

    ES.public.verify(parsed.signing_input, twin)
    refused("BAD_SIGNATURE", lambda: parsed.verify(ES.public))


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t + "=",
        lambda t: t + ".",
        lambda t: "." + t,
        lambda t: t.replace(".", "..", 1),
        lambda t: t.rpartition(".")[0],
        lambda t: t[:-1],
        lambda t: t + "A",
        lambda t: " " + t,
        lambda t: t + "\n",
        lambda t: "",
    ],
)
def test_a_re_encoded_token_is_refused(change):
    token = change(jws.sign(ED, jws.ANSWER, {"a": 1}))
    with pytest.raises(CredproofError):
        jws.parse(token, jws.ANSWER).verify(ED.public)


def test_a_token_over_its_limit_is_refused():
    token = jws.sign(ED, jws.ANSWER, {"a": "x" * 40_000})
    refused("LIMIT_EXCEEDED", lambda: jws.parse(token, jws.ANSWER))


def test_a_key_that_the_token_carries_must_be_the_one_it_names():
    token = jws.sign(ED, jws.CONSENT, {}, carry_key=True)
    assert ED.public == jws.parse(token, jws.CONSENT).verify_own_key()
    other = headed(token, jwk=signer_of("thief").public.jwk())
    refused("WRONG_KEY", lambda: jws.parse(other, jws.CONSENT).verify_own_key())
    bare = jws.parse(jws.sign(ED, jws.CONSENT, {}), jws.CONSENT)
    refused("NO_KEY", bare.verify_own_key)


@pytest.mark.parametrize(
    "key",
    [
        {"crv": "Ed25519", "kty": "OKP", "x": "AA"},
        {"crv": "Ed25519", "kty": "OKP", "x": "A" * 43, "d": "A" * 43},
        {"crv": "P-384", "kty": "EC", "x": "A" * 43, "y": "A" * 43},
        {"kty": "oct", "k": "AAAA"},
        "key",
    ],
)
def test_a_carried_key_of_another_form_is_refused(key):
    token = headed(jws.sign(ED, jws.CONSENT, {}, carry_key=True), jwk=key)
    with pytest.raises(CredproofError):
        jws.parse(token, jws.CONSENT).verify_own_key()


def test_a_point_that_is_not_on_the_curve_verifies_nothing():
    jwk_off = {"crv": "P-256", "kty": "EC", "x": b64url(b"\x01" * 32), "y": b64url(b"\x02" * 32)}
    token = headed(jws.sign(ES, jws.CONSENT, {}, carry_key=True), jwk=jwk_off)
    with pytest.raises(CredproofError):
        jws.parse(token, jws.CONSENT).verify_own_key()
