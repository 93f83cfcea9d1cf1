"""SD-JWT (RFC 9901): other people's flat tokens verify, everything else is refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import patch

import pytest
import yaml
from credproof.attestation.sdjwt import (
    KeyBindingExpectation,
    digest_of,
    make_disclosure,
    open_disclosures,
    parse_disclosure,
    verify_presentation,
)
from credproof.attestation.statement import Opening, issue
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import CredproofError, Malformed
from credproof.base.keys import PublicKey, parse_jwk
from jwcrypto.jwk import JWK
from jwcrypto.jws import JWS
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.utils.yaml_specification import load_yaml_specification
from sd_jwt.verifier import SDJWTVerifier

from tests.attestation.samples import SIGNER, statement

VECTORS = Path(__file__).parent.parent / "vectors" / "sd-jwt"
SETTINGS = yaml.safe_load((VECTORS / "settings.yml").read_text())
KEYS = SETTINGS["key_settings"]
ISSUER_KEY = JWK(**KEYS["issuer_keys"][0])
HOLDER_KEY = JWK(**KEYS["holder_key"])
VERIFIER, NONCE = SETTINGS["identifiers"]["verifier"], SETTINGS["key_binding_nonce"]
NOW = SETTINGS["iat"] + 1000
"""A time at which the vectors are valid, whatever the day of the run."""

FLAT = ("no_sd", "key_binding", "header_mod", "array_in_sd")
JSON_FORM = ("json_serialization_flattened", "json_serialization_general")
NESTED = tuple(
    sorted(p.name for p in VECTORS.iterdir() if p.is_dir() and p.name not in FLAT + JSON_FORM)
)


def public(key: JWK) -> PublicKey:
    members = key.export_public(as_dict=True)
    return parse_jwk({name: members[name] for name in ("crv", "kty", "x", "y") if name in members})


def presented(name: str, *, form: str = "compact") -> tuple[dict, str]:
    """A case of the vectors, issued and presented by the package that they come from."""
    case = load_yaml_specification(VECTORS / name / "specification.yml")
    dates = {
        "iss": SETTINGS["identifiers"]["issuer"],
        "iat": SETTINGS["iat"],
        "exp": SETTINGS["exp"],
    }
    bound = case.get("key_binding", False)
    issuer = SDJWTIssuer(
        {**case["user_claims"], **dates},
        ISSUER_KEY,
        HOLDER_KEY if bound else None,
        serialization_format=form,
        extra_header_parameters=case.get("extra_header_parameters", {}),
    )
    holder = SDJWTHolder(issuer.sd_jwt_issuance, serialization_format=form)
    binding = (NONCE, VERIFIER, HOLDER_KEY) if bound else (None, None, None)
    with patch("sd_jwt.holder.time", lambda: NOW):  # it dates key bindings by the real clock
        holder.create_presentation(case["holder_disclosed_claims"], *binding)
    return {**case, "dates": dates}, holder.sd_jwt_presentation


def expectation(case: dict) -> KeyBindingExpectation | None:
    return KeyBindingExpectation(VERIFIER, NONCE) if case.get("key_binding") else None


@pytest.mark.parametrize("name", [*FLAT, *JSON_FORM])
def test_flat_cases_give_exactly_the_expected_claims(name):
    case, presentation = presented(name)
    binding = expectation(case)
    verified = verify_presentation(presentation, public(ISSUER_KEY), now=NOW, key_binding=binding)

    claims = {k: v for k, v in verified.claims.items() if k != "cnf"}
    assert {**case["expect_verified_user_claims"], **case["dates"]} == claims


@pytest.mark.parametrize("name", NESTED)
def test_array_and_recursive_cases_are_refused_with_a_reason(name):
    case, presentation = presented(name)
    refused("UNSUPPORTED_STRUCTURE", presentation, binding=expectation(case))


@pytest.mark.parametrize("name", JSON_FORM)
def test_the_json_serialisation_is_not_read(name):
    case, presentation = presented(name, form="json")
    refused("NOT_A_JWS", presentation, binding=expectation(case))


def refused(reason: str, presentation: str, *, key=None, now=NOW, binding=None) -> None:
    with pytest.raises(CredproofError) as caught:
        verify_presentation(presentation, key or public(ISSUER_KEY), now=now, key_binding=binding)
    allowed = {reason, "NOT_JSON"} if reason == "UNSUPPORTED_STRUCTURE" else {reason}
    assert caught.value.reason in allowed, "a float in a vector is not read either"


# -- what the package itself lets through


def token_with(*names: str) -> tuple[str, list[str]]:
    """A flat token and its disclosures, by the package."""
    case = load_yaml_specification(VECTORS / "header_mod" / "specification.yml")
    issuer = SDJWTIssuer({**case["user_claims"], "exp": NOW + 100}, ISSUER_KEY)
    token, *rest, _ = issuer.sd_jwt_issuance.split("~")
    wanted = [text for text in rest if parse_disclosure(text).name in names]
    return token, wanted


def join(token: str, disclosures: list[str]) -> str:
    return "~".join([token, *disclosures, ""])


def test_an_unreferenced_disclosure_is_refused():
    token, given = token_with("given_name")
    foreign = make_disclosure(bytes(16), "given_name", "Mallory").text
    refused("UNREFERENCED_DISCLOSURE", join(token, [*given, foreign]))


def test_a_disclosure_given_twice_is_refused():
    token, given = token_with("given_name")
    refused("DUPLICATE_DISCLOSURE", join(token, given * 2))


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (["salt", "name"], "UNSUPPORTED_STRUCTURE"),
        (["salt"], "BAD_DISCLOSURE"),
        (["salt", "name", "value", "more"], "BAD_DISCLOSURE"),
        ([1, "name", "value"], "BAD_DISCLOSURE"),
        (["salt", "_sd", []], "BAD_DISCLOSURE"),
        (["salt", "...", 1], "BAD_DISCLOSURE"),
        ({"salt": 1}, "BAD_DISCLOSURE"),
    ],
)
def test_a_disclosure_of_another_arity_or_name_is_refused(value, reason):
    token, _ = token_with()
    refused(reason, join(token, [b64url(canonical_json(value))]))


def test_a_digest_signed_twice_is_refused():
    with pytest.raises(CredproofError) as caught:
        open_disclosures({"_sd": ["a", "a"]}, [])
    assert caught.value.reason == "DUPLICATE_DIGEST"


def test_a_disclosure_that_overwrites_a_signed_member_is_refused():
    disclosure = make_disclosure(bytes(16), "iss", "mallory")
    with pytest.raises(CredproofError) as caught:
        open_disclosures({"_sd": [disclosure.digest], "iss": "bank"}, [disclosure])
    assert caught.value.reason == "NAME_CLASH"


@pytest.mark.parametrize("payload", [{"_sd_alg": "sha-512"}, {"_sd_alg": 1}])
def test_another_hash_algorithm_is_refused(payload):
    with pytest.raises(CredproofError) as caught:
        open_disclosures(payload, [])
    assert caught.value.reason == "BAD_HASH_ALGORITHM"


def test_an_expired_token_is_refused():
    token, given = token_with("email")
    refused("EXPIRED", join(token, given), now=NOW + 10_000)


def test_a_token_by_another_key_is_refused():
    token, given = token_with("email")
    other = JWK.generate(kty="EC", crv="P-256")
    refused("BAD_SIGNATURE", join(token, given), key=public(other))


@pytest.mark.parametrize("alg", ["none", "HS256", "EdDSA"])
def test_another_algorithm_than_the_keys_is_refused(alg):
    token, given = token_with("email")
    _, payload, signature = token.split(".")
    header = b64url(canonical_json({"alg": alg}))
    refused("WRONG_ALGORITHM", join(f"{header}.{payload}.{signature}", given))


def test_key_binding_that_is_missing_is_refused():
    case, presentation = presented("key_binding")
    unbound = presentation.rpartition("~")[0] + "~"
    refused("BAD_KEY_BINDING", unbound, binding=expectation(case))


def test_key_binding_that_nobody_expects_is_refused():
    _, presentation = presented("key_binding")
    refused("BAD_KEY_BINDING", presentation)


@pytest.mark.parametrize(
    "expected",
    [
        KeyBindingExpectation("", NONCE),
        KeyBindingExpectation(VERIFIER, ""),
        KeyBindingExpectation("https://other.example", NONCE),
        KeyBindingExpectation(VERIFIER, "another nonce"),
    ],
)
def test_key_binding_for_another_audience_or_nonce_is_refused(expected):
    _, presentation = presented("key_binding")
    refused("BAD_KEY_BINDING", presentation, binding=expected)


def test_key_binding_does_not_carry_over_to_fewer_disclosures():
    case, presentation = presented("key_binding")
    token, first, *rest = presentation.split("~")
    assert first
    refused("BAD_KEY_BINDING", "~".join([token, *rest]), binding=expectation(case))


# -- our own tokens under the package


def test_the_package_accepts_our_token_and_sees_exactly_what_is_disclosed():
    opening = Opening(statement(), bytes(range(32)))
    token = issue(opening, SIGNER)
    disclosure = opening.disclose("in_good_standing")
    key = JWK(**SIGNER.public.jwk())

    verifier = SDJWTVerifier(f"{token}~{disclosure.text}~", lambda _issuer, _header: key)
    payload = verifier.get_verified_payload()
    assert payload["in_good_standing"] is True
    hidden = {"credit_limit", "account", "seq", "prev", "basis"}
    assert not hidden & payload.keys()


def test_the_digest_is_over_the_text_as_it_was_sent():
    disclosure = make_disclosure(bytes(16), "a", 1)
    assert disclosure.digest == digest_of(disclosure.text)
    assert json.loads(canonical_json([b64url(bytes(16)), "a", 1]))


# -- attacks on what comes in disclosures and in the key binding


def issued_by_us(payload: dict, *disclosures) -> str:
    """A presentation, signed by the holder of ISSUER_KEY, with these disclosures."""
    members = {**payload, "_sd": sorted(d.digest for d in disclosures)}
    return join(signed(ISSUER_KEY, {}, members), [d.text for d in disclosures])


def signed(key: JWK, header: dict, payload: dict) -> str:
    jws = JWS(json.dumps(payload))
    jws.add_signature(key, alg="ES256", protected=json.dumps({"alg": "ES256", **header}))
    return jws.serialize(compact=True)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("exp", NOW - 10_000, "EXPIRED"),
        ("nbf", NOW + 10_000, "NOT_YET_VALID"),
        ("iat", NOW + 10_000, "NOT_YET_VALID"),
        ("exp", "never", "BAD_MEMBER"),
        ("exp", True, "BAD_MEMBER"),
    ],
    ids=["expired", "not yet valid", "from the future", "text", "boolean"],
)
def test_dates_count_in_clear_and_in_a_disclosure(name, value, reason):
    refused(reason, issued_by_us({"a": 1, name: value}))
    refused(reason, issued_by_us({"a": 1}, make_disclosure(bytes(16), name, value)))


def bound_by(header: dict, **changes) -> str:
    """A presentation whose key binding has a changed header or payload."""
    holder = {"jwk": public(HOLDER_KEY).jwk()}
    presentation = issued_by_us({"cnf": holder}, make_disclosure(bytes(16), "a", 1))
    payload = {"iat": NOW, "aud": VERIFIER, "nonce": NONCE, "sd_hash": digest_of(presentation)}
    kept = {k: v for k, v in {**payload, **changes}.items() if v is not None}
    return presentation + signed(HOLDER_KEY, header, kept)


def test_a_key_binding_with_every_member_is_accepted():
    verified = verify_presentation(
        bound_by({"typ": "kb+jwt"}),
        public(ISSUER_KEY),
        now=NOW,
        key_binding=KeyBindingExpectation(VERIFIER, NONCE),
    )
    assert verified.claims["a"] == 1


@pytest.mark.parametrize(
    ("header", "changes", "reason"),
    [
        ({}, {}, "BAD_KEY_BINDING"),
        ({"typ": "jwt"}, {}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"iat": None}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"aud": None}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"aud": [VERIFIER]}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"nonce": None}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"sd_hash": None}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"sd_hash": "A" * 43}, "BAD_KEY_BINDING"),
        ({"typ": "kb+jwt"}, {"iat": NOW + 10_000}, "NOT_YET_VALID"),
        ({"typ": "kb+jwt"}, {"exp": NOW - 10_000}, "EXPIRED"),
        ({"typ": "kb+jwt", "alg": "HS256"}, {}, "WRONG_ALGORITHM"),
    ],
)
def test_a_key_binding_of_another_kind_is_refused(header, changes, reason):
    binding = KeyBindingExpectation(VERIFIER, NONCE)
    if "alg" in header:
        presentation, _, text = bound_by({"typ": "kb+jwt"}).rpartition("~")
        bent = ".".join([b64url(canonical_json(header)), *text.split(".")[1:]])
        refused(reason, f"{presentation}~{bent}", binding=binding)
    else:
        refused(reason, bound_by(header, **changes), binding=binding)


@pytest.mark.parametrize("cnf", [None, 1, [], {}, {"jwk": None}, {"jwk": {"kty": "oct"}}, "jwk"])
def test_a_token_that_binds_no_key_is_refused(cnf):
    presentation = issued_by_us({"cnf": cnf})
    with pytest.raises(CredproofError) as caught:
        verify_presentation(
            presentation + signed(HOLDER_KEY, {"typ": "kb+jwt"}, {}),
            public(ISSUER_KEY),
            now=NOW,
            key_binding=KeyBindingExpectation(VERIFIER, NONCE),
        )
    assert caught.value.reason in {"BAD_KEY_BINDING", "BAD_JWK"}


@pytest.mark.parametrize("text", ["", "~", "a~", "a.b.c", "a.b.c~", "~~~", "é.é.é~", "..~"])
def test_what_is_not_a_presentation_is_malformed_and_never_a_crash(text):
    with pytest.raises(Malformed):
        verify_presentation(text, public(ISSUER_KEY), now=NOW)


@pytest.mark.parametrize("sd", ["a", 1, None, [1], [["a"]], {"a": 1}])
def test_digests_of_another_type_are_refused(sd):
    with pytest.raises(CredproofError) as caught:
        open_disclosures({"_sd": sd}, [])
    assert caught.value.reason == "BAD_DISCLOSURE"
