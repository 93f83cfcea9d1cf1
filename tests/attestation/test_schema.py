"""The schema grammar is closed, and values outside it are refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from credproof import standard
from credproof.attestation.schema import FORBIDDEN_WORDS, NUMBER_TYPES, parse_schema
from credproof.attestation.statement import HIDDEN
from credproof.base.encoding import canonical_json
from credproof.base.errors import Malformed
from credproof.base.yaml import parse_yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attestation import samples

TITLE = {"en": "x", "zh": "x"}
SMALL: dict[str, Any] = {
    "schema": "small",
    "version": 1,
    "title": TITLE,
    "subjects": ["ref"],
    "claims": {
        "amount": {
            "type": "money",
            "title": TITLE,
            "class": "C2",
            "disclosure": "predicate",
            "min": 0,
            "max": 100,
            "ladder": [10, 50],
        },
        "upper": {
            "type": "money",
            "title": TITLE,
            "class": "C2",
            "disclosure": "none",
            "min": 0,
            "max": 100,
        },
        "state": {
            "type": "enum",
            "title": TITLE,
            "class": "C1",
            "disclosure": "value",
            "values": ["ON", "OFF"],
        },
    },
    "facts": {"enough": {"title": TITLE, "when": [{"claim": "amount", "at_least": 10}]}},
    "not_above": [["amount", "upper"]],
}


def parse_edited(edit: Callable[[dict[str, Any]], Any]) -> None:
    document = copy.deepcopy(SMALL)
    edit(document)
    parse_schema(canonical_json(document))


def refused(edit: Callable[[dict[str, Any]], Any]) -> str:
    with pytest.raises(Malformed) as caught:
        parse_edited(edit)
    return caught.value.reason


def number(**changes: Any) -> dict[str, Any]:
    return {**SMALL["claims"]["amount"], **changes}


def test_the_small_schema_of_these_tests_parses() -> None:
    parse_edited(lambda document: None)


@pytest.mark.parametrize("name", ["consumer-revolving", "key-binding"])
def test_a_shipped_schema_has_one_digest_in_yaml_and_in_json(name: str) -> None:
    data = standard.read(f"schemas/{name}.yaml")
    schema = parse_schema(data)
    again = parse_schema(schema.document)
    assert schema.id == f"{name}/1"
    assert schema.vct == f"urn:credproof:{name}:1"
    assert schema.document == canonical_json(parse_yaml(data))
    assert again.digest == schema.digest
    assert again == schema


def test_a_comment_does_not_change_the_digest_and_a_rung_does() -> None:
    data = standard.read("schemas/consumer-revolving.yaml")
    digest = parse_schema(data).digest
    assert parse_schema(b"# another comment\n" + data).digest == digest
    assert parse_schema(data.replace(b"[1, 31, 61", b"[1, 32, 61")).digest != digest


@pytest.mark.parametrize("word", sorted(FORBIDDEN_WORDS))
@pytest.mark.parametrize("form", ["{}", "has_{}", "{}_code", "a_{}_b"])
def test_a_forbidden_word_in_a_claim_name_is_refused(word: str, form: str) -> None:
    name = form.format(word)
    assert refused(lambda d: d["claims"].update({name: number()})) == "FORBIDDEN_CLAIM"


def test_a_forbidden_word_inside_another_word_is_allowed() -> None:
    parse_edited(lambda d: d["claims"].update({"spinning_pinned": number()}))


LADDERS = {
    "equal": [10, 10],
    "falling": [50, 10],
    "first rung on the minimum": [0, 10],
    "first rung below the minimum": [-1, 10],
    "last rung above the maximum": [10, 101],
    "empty": [],
    "with a boolean": [True, 10],
    "with text": ["10"],
    "with null": [None],
}


@pytest.mark.parametrize("name", LADDERS)
def test_a_bad_ladder_is_refused(name: str) -> None:
    ladder = LADDERS[name]
    reason = refused(lambda d: d["claims"]["upper"].update(ladder=ladder))
    assert reason == "BAD_SCHEMA"


def test_a_ladder_with_more_than_32_rungs_is_refused() -> None:
    rungs = list(range(1, 34))
    assert refused(lambda d: d["claims"]["upper"].update(ladder=rungs)) == "LIMIT_EXCEEDED"


def test_a_ladder_may_have_32_rungs_and_reach_the_maximum() -> None:
    parse_edited(lambda d: d["claims"]["upper"].update(ladder=[*range(1, 32), 100]))


def test_a_schema_with_too_many_chain_steps_is_refused() -> None:
    full = {f"c{i}": number(ladder=list(range(1, 33))) for i in range(7)}
    spare = 512 - 7 * 66 - 6  # "amount" takes 2 * (2 + 1)
    rest = {"rest": number(ladder=list(range(1, spare // 2)))}
    parse_edited(lambda d: d["claims"].update({**full, **rest}))
    rest = {"rest": number(ladder=list(range(1, spare // 2 + 1)))}
    assert refused(lambda d: d["claims"].update({**full, **rest})) == "LIMIT_EXCEEDED"


@pytest.mark.parametrize("schemes", [[], ["phone"], ["ref", "phone"]])
def test_a_schema_about_no_known_kind_of_id_is_refused(schemes) -> None:
    assert refused(lambda d: d.update(subjects=schemes)) == "BAD_SCHEMA"


def test_too_many_claims_or_facts_are_refused() -> None:
    plain = {k: v for k, v in number().items() if k != "ladder"}
    fact = SMALL["facts"]["enough"]
    assert refused(lambda d: d["claims"].update({f"c{i}": plain for i in range(62)})) == (
        "LIMIT_EXCEEDED"
    )
    assert refused(lambda d: d["facts"].update({f"f{i}": fact for i in range(32)})) == (
        "LIMIT_EXCEEDED"
    )


UNKNOWN_MEMBERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "at the top": lambda d: d.update(extra=1),
    "in a claim": lambda d: d["claims"]["amount"].update(extra=1),
    "in a title": lambda d: d["title"].update(fr="x"),
    "in a fact": lambda d: d["facts"]["enough"].update(extra=1),
    "in a condition": lambda d: d["facts"]["enough"]["when"][0].update(above=1),
    "a ladder on an enum": lambda d: d["claims"]["state"].update(ladder=[1]),
    "values on a number": lambda d: d["claims"]["amount"].update(values=["A"]),
    "bounds on an enum": lambda d: d["claims"]["state"].update(min=0),
}


@pytest.mark.parametrize("name", UNKNOWN_MEMBERS)
def test_an_unknown_member_is_refused(name: str) -> None:
    assert refused(UNKNOWN_MEMBERS[name]) == "BAD_MEMBER"


@pytest.mark.parametrize("member", ["schema", "version", "title", "subjects", "claims"])
def test_a_missing_member_is_refused(member: str) -> None:
    assert refused(lambda d: d.pop(member)) == "BAD_MEMBER"


def when(*conditions: dict[str, Any]) -> Callable[[dict[str, Any]], Any]:
    return lambda d: d["facts"]["enough"].update(when=list(conditions))


FACTS = {
    "on a claim without a ladder": (when({"claim": "upper", "at_least": 10}), "NO_LADDER"),
    "on an enum": (when({"claim": "state", "at_least": 10}), "NO_LADDER"),
    "on an unknown claim": (when({"claim": "nobody", "at_least": 10}), "NO_LADDER"),
    "off the ladder": (when({"claim": "amount", "at_least": 11}), "NOT_ON_LADDER"),
    "off the ladder below": (when({"claim": "amount", "below": 0}), "NOT_ON_LADDER"),
    "with both ways": (when({"claim": "amount", "at_least": 10, "below": 50}), "BAD_MEMBER"),
    "with neither way": (when({"claim": "amount"}), "BAD_MEMBER"),
    "with a boolean threshold": (when({"claim": "amount", "at_least": True}), "BAD_MEMBER"),
    "with no condition": (when(), "BAD_SCHEMA"),
}


@pytest.mark.parametrize("name", FACTS)
def test_a_bad_fact_is_refused(name: str) -> None:
    edit, reason = FACTS[name]
    assert refused(edit) == reason


BAD_WHOLES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version 0": lambda d: d.update(version=0),
    "name with a capital": lambda d: d.update(schema="Small"),
    "claim with a capital": lambda d: d["claims"].update(Amount=number()),
    "claim with a line end": lambda d: d["claims"].update({"amount\n": number()}),
    "fact spelled wrongly": lambda d: d["facts"].update({"A b": SMALL["facts"]["enough"]}),
    "fact named as a claim": lambda d: d["facts"].update(upper=SMALL["facts"]["enough"]),
    "unknown type": lambda d: d["claims"]["amount"].update(type="float"),
    "data class C3": lambda d: d["claims"]["amount"].update({"class": "C3"}),
    "unknown disclosure": lambda d: d["claims"]["amount"].update(disclosure="all"),
    "minimum above maximum": lambda d: d["claims"]["upper"].update(min=101),
    "enum value in lower case": lambda d: d["claims"]["state"].update(values=["on"]),
    "not_above of an unknown claim": lambda d: d.update(not_above=[["amount", "nobody"]]),
    "not_above of one": lambda d: d.update(not_above=[["amount"]]),
    "not_above of three": lambda d: d.update(not_above=[["amount", "upper", "state"]]),
    "not_above of text": lambda d: d.update(not_above=["ab"]),
}


@pytest.mark.parametrize("name", BAD_WHOLES)
def test_a_schema_that_is_not_whole_is_refused(name: str) -> None:
    assert refused(BAD_WHOLES[name]) == "BAD_SCHEMA"


@pytest.mark.parametrize("name", [*HIDDEN, "iss", "exp", "currency", "as_of", "ladders", "sub"])
def test_a_claim_or_fact_with_a_name_of_the_token_itself_is_refused(name: str) -> None:
    assert refused(lambda d: d["claims"].update({name: number()})) == "BAD_SCHEMA"
    assert refused(lambda d: d["facts"].update({name: SMALL["facts"]["enough"]})) == "BAD_SCHEMA"


@pytest.mark.parametrize("bound", ["9007199254740992", "-9007199254740992"])
def test_bounds_beyond_exact_integers_are_refused(bound: str) -> None:
    data = canonical_json(SMALL).replace(b'"max":100', b'"max":' + bound.encode())
    with pytest.raises(Malformed):
        parse_schema(data)
    with pytest.raises(Malformed):
        parse_schema(b"# as YAML\n" + data)


@pytest.mark.parametrize(
    "scalar", [b"!!bool maybe", b"!!int ''", b"!!int x", b"!!float 1", b"1.5", b"2020-01-01"]
)
def test_odd_yaml_is_malformed_and_never_a_crash(scalar: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_schema(b"schema: small\nversion: " + scalar + b"\n")
    assert caught.value.reason == "NOT_YAML"


def test_json_that_is_not_canonical_is_refused() -> None:
    data = canonical_json(SMALL).replace(b'"version":1', b'"version": 1')
    with pytest.raises(Malformed) as caught:
        parse_schema(data)
    assert caught.value.reason == "NOT_CANONICAL"


# -- values -------------------------------------------------------------------


def value_refused(claim: str, value: Any) -> None:
    with pytest.raises(Malformed) as caught:
        samples.REVOLVING.verify_values(samples.with_values(**{claim: value}))
    assert caught.value.reason == "BAD_VALUE"
    assert repr(value) not in str(caught.value)


def test_values_at_both_bounds_and_unknown_are_accepted() -> None:
    for name, claim in samples.REVOLVING.claims.items():
        if claim.type in NUMBER_TYPES:
            claim.verify_value(claim.minimum)
            claim.verify_value(claim.maximum)
        claim.verify_value(None)
        samples.REVOLVING.verify_values({**samples.NOTHING, name: samples.VALUES[name]})


@pytest.mark.parametrize("name", samples.VALUES)
def test_values_outside_bounds_or_of_a_wrong_type_are_refused(name: str) -> None:
    claim = samples.REVOLVING.claims[name]
    wrong: list[Any] = [True, False, 1.0, [], {}, ["ACTIVE"], b"x"]
    if claim.type in NUMBER_TYPES:
        wrong += [claim.minimum - 1, claim.maximum + 1, "1", "ACTIVE"]
    else:
        wrong += [0, 1, "", "active", "ACTIVE ", "CLOSED\n"]
    for value in wrong:
        value_refused(name, value)


@pytest.mark.parametrize("day", ["2021-02-29", "2021-5-06", "20210506", "2021-05-06 ", "05/06/21"])
def test_a_date_in_another_spelling_is_refused(day: str) -> None:
    value_refused("opened_on", day)


PAIRS = samples.REVOLVING.not_above


@pytest.mark.parametrize(("low", "high"), PAIRS)
def test_values_that_contradict_each_other_are_refused(low: str, high: str) -> None:
    samples.REVOLVING.verify_values({**samples.NOTHING, low: 3, high: 3})
    samples.REVOLVING.verify_values({**samples.NOTHING, low: 3})
    samples.REVOLVING.verify_values({**samples.NOTHING, high: 3})
    with pytest.raises(Malformed) as caught:
        samples.REVOLVING.verify_values({**samples.NOTHING, low: 4, high: 3})
    assert caught.value.reason == "INCONSISTENT_VALUES"


def test_a_claim_too_few_or_too_many_is_refused() -> None:
    fewer = {k: v for k, v in samples.VALUES.items() if k != "account_status"}
    for values in (fewer, {**samples.VALUES, "age": 30}, {**fewer, "Status": "ACTIVE"}):
        with pytest.raises(Malformed) as caught:
            samples.REVOLVING.verify_values(values)
        assert caught.value.reason == "BAD_VALUE"


KEY_BINDING = standard.schemas()["key-binding/1"]
BOUND = {
    "jwk": samples.SIGNER.public.jwk(),
    "method": "PASSKEY",
    "rp_id": "bank.example",
    "replaces": None,
}


def test_a_key_binding_has_values_of_text_digest_and_key() -> None:
    KEY_BINDING.verify_values(BOUND)
    KEY_BINDING.verify_values({**BOUND, "replaces": "A" * 43})
    wrong: list[tuple[str, Any]] = [
        ("jwk", {**samples.SIGNER.public.jwk(), "d": "A" * 43}),
        ("jwk", {"kty": "oct", "k": "AA"}),
        ("jwk", "A" * 43),
        ("method", "PAPER"),
        ("rp_id", "x" * 254),
        ("rp_id", "a\u202eb"),
        ("rp_id", "a\nb"),
        ("rp_id", ""),
        ("replaces", "A" * 42),
        ("replaces", "A" * 42 + "B"),
        ("replaces", "A" * 43 + "="),
    ]
    for name, value in wrong:
        with pytest.raises(Malformed) as caught:
            KEY_BINDING.verify_values({**BOUND, name: value})
        assert caught.value.reason == "BAD_VALUE"


@settings(deadline=None)
@given(st.one_of(st.none(), st.integers(-5, 105)), st.one_of(st.none(), st.integers(0, 100)))
def test_a_fact_is_what_its_conditions_say(overdue: int | None, peak: int | None) -> None:
    fact = samples.REVOLVING.facts["in_good_standing"]
    values = {**samples.NOTHING, "overdue_cycles": overdue, "max_overdue_cycles_6m": peak}
    assert fact.evaluate(values) == (None if overdue is None else overdue < 1)


def test_one_false_condition_decides_even_beside_an_unknown_one() -> None:
    document = copy.deepcopy(SMALL)
    document["claims"]["upper"]["ladder"] = [20]
    document["facts"]["enough"]["when"].append({"claim": "upper", "below": 20})
    fact = parse_schema(canonical_json(document)).facts["enough"]
    assert fact.evaluate({"amount": 9, "upper": None}) is False
    assert fact.evaluate({"amount": None, "upper": 20}) is False
    assert fact.evaluate({"amount": 10, "upper": None}) is None
    assert fact.evaluate({"amount": 10, "upper": 19}) is True
