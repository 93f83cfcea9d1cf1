"""The meter against brute force: on small ladders, an attacker who knows every outcome and tries
every figure is left with the cell that the meter names, or with more."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache

import pytest
from credproof import standard
from credproof.attestation.schema import parse_schema
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import Malformed
from credproof.verification.evaluation import evaluate
from credproof.verification.grammar import parse_policy
from credproof.verification.meter import Interval, bounds, broken, meter
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import NOW, POLICY, REVOLVING, World

TITLE = {"en": "X", "zh": "X"}
CLAIMS = ("aa", "bb", "cc")
TOP = 6
"""Figures are 0 to this."""
WORLD = World()


@cache
def small_schema(ladders, not_above, fact):
    claims = {
        name: {
            "type": "count",
            "title": TITLE,
            "class": "C2",
            "disclosure": "predicate",
            "min": 0,
            "max": TOP,
            "ladder": list(ladder),
        }
        for name, ladder in zip(CLAIMS, ladders, strict=True)
    }
    document = {
        "schema": "small",
        "version": 1,
        "title": TITLE,
        "subjects": ["ref"],
        "claims": claims,
        "not_above": [list(pair) for pair in not_above],
    }
    when = [{"claim": name, "at_least": ladders[CLAIMS.index(name)][0]} for name in fact]
    facts = {"facts": {"both": {"title": TITLE, "when": when}}} if when else {}
    return parse_schema(canonical_json(document | facts))


def small_policy(schema, questions, tiers, telling="silent"):
    """A policy over a schema; what no tier asks is left out."""
    asked = {name for tier in tiers for name in tier}
    document = parse_json(POLICY.document) | {
        "policy": "small",
        "questions": {n: {"schema": schema.id, **q} for n, q in questions.items() if n in asked},
        "tiers": [{"name": f"T{place}", "when": when} for place, when in enumerate(tiers)],
        "otherwise": {"outcome": "REFER", "reasons": telling},
    }
    return parse_policy(canonical_json(document), {schema.id: schema})


ladders = st.lists(st.integers(1, TOP), min_size=1, max_size=4, unique=True).map(sorted).map(tuple)
pairs = st.sampled_from(
    [
        (),
        (("aa", "bb"),),
        (("aa", "bb"), ("bb", "cc")),
        (("bb", "cc"), ("aa", "bb")),
        (("cc", "aa"),),
    ]
)


facts = st.sampled_from([(), ("aa",), ("aa", "cc")])


@st.composite
def schemas(draw, related=pairs, named=facts):
    return small_schema(tuple(draw(ladders) for _ in CLAIMS), draw(related), draw(named))


ANY = schemas()
PLAIN = schemas(related=st.just(()), named=st.just(()))


@st.composite
def policies_over(draw, schema):
    questions = {}
    for place in range(draw(st.integers(1, 4))):
        claim = draw(st.sampled_from(CLAIMS))
        rung = draw(st.sampled_from(schema.ladders[claim].thresholds))
        way = draw(st.sampled_from(["at_least", "below"]))
        over = draw(st.sampled_from(["each", "any"]))
        questions[f"q{place}"] = {"claim": claim, way: rung, "over": over}
    if schema.facts and draw(st.booleans()):
        questions["fact"] = {"fact": "both"}
    when = st.lists(st.sampled_from(sorted(questions)), min_size=1, max_size=4, unique=True)
    tiers = draw(st.lists(when, min_size=1, max_size=3))
    return small_policy(
        schema, questions, tiers, draw(st.sampled_from(["silent", "first_failing"]))
    )


def vectors(schema):
    """Every set of figures that the schema allows."""
    for values in itertools.product(range(TOP + 1), repeat=len(CLAIMS)):
        named = dict(zip(CLAIMS, values, strict=True))
        if all(named[low] <= named[high] for low, high in schema.not_above):
            yield named


def seen(policies, accounts, schema, *, verdicts: bool):
    """What lenders see of answers about these accounts; `verdicts` as if all were told."""
    start = WORLD.statement({})
    statements = [
        replace(start, schema=schema, values=values, currency=None) for values in accounts
    ]
    found = [evaluate(policy, statements, now=NOW) for policy in policies]
    return [(item.outcome, item.failing, verdicts and item.verdicts) for item in found]


def left(policies, accounts, schema, *, verdicts: bool):
    """The figures of the first account that fit all that was seen; those of others are known."""
    told = seen(policies, accounts, schema, verdicts=verdicts)
    return [
        values
        for values in vectors(schema)
        if seen(policies, [values, *accounts[1:]], schema, verdicts=verdicts) == told
    ]


def hull(found, claim) -> Interval:
    figures = [values[claim] for values in found]
    return Interval(min(figures), max(figures) + 1)


def cell(policies, schema, claim, value) -> Interval:
    """What the meter says; all that the schema allows where nothing was asked."""
    cells = meter(policies).get((schema.id, claim))
    return cells.cell(value) if cells else bounds(schema)[claim]


@st.composite
def situations(draw, made=ANY, most=2):
    schema = draw(made)
    policies = draw(st.lists(policies_over(schema), min_size=1, max_size=3))
    accounts = draw(st.lists(st.sampled_from(list(vectors(schema))), min_size=1, max_size=most))
    return schema, policies, accounts


@pytest.mark.parametrize("verdicts", [False, True], ids=["outcomes", "every verdict"])
def test_no_attacker_ends_narrower_than_the_cell(verdicts):
    @settings(max_examples=30, deadline=None, database=None, derandomize=True)
    @given(situations())
    def tried(situation) -> None:
        schema, policies, accounts = situation
        found = left(policies, accounts, schema, verdicts=verdicts)
        for claim in CLAIMS:
            said, real = cell(policies, schema, claim, accounts[0][claim]), hull(found, claim)
            assert real.low <= said.low < said.end <= real.end

    tried()


@settings(max_examples=20, deadline=None, database=None, derandomize=True)
@given(situations(PLAIN, most=1))
def test_the_meter_is_exact_when_every_verdict_about_one_account_is_told(situation):
    schema, policies, accounts = situation
    found = left(policies, accounts, schema, verdicts=True)
    for claim in CLAIMS:
        assert hull(found, claim) == cell(policies, schema, claim, accounts[0][claim])


def question(claim: str, **threshold: int):
    return {"claim": claim, **threshold}


def test_a_question_about_one_claim_is_counted_for_what_is_never_below_it():
    """Nobody asks for `bb`, but it is never below `aa`: at least 3 of the one, at least 3 of it."""
    schema = small_schema(((3,), (5,), (1,)), (("aa", "bb"),), ())
    asked = small_policy(schema, {"q": question("aa", at_least=3)}, [["q"]])
    assert cell([asked], schema, "bb", 4) == Interval(3, TOP + 1)
    found = left([asked], [{"aa": 3, "bb": 4, "cc": 0}], schema, verdicts=False)
    assert hull(found, "bb") == Interval(3, TOP + 1)
    assert meter([asked])[schema.id, "bb"].narrowest == 1, "5 to 6; the band below is cut"


def test_an_upper_bound_is_counted_for_what_is_never_above_it_and_not_the_other_way_round():
    schema = small_schema(((2,), (5,), (1,)), (("aa", "bb"),), ())
    asked = small_policy(schema, {"q": question("bb", below=5)}, [["q"]])
    assert cell([asked], schema, "aa", 1) == Interval(0, 5)
    assert cell([asked], schema, "bb", 1) == Interval(0, 5)
    other = small_policy(schema, {"q": question("aa", below=2)}, [["q"]])
    assert cell([other], schema, "bb", 1).end == TOP + 1


@pytest.mark.parametrize("not_above", [(("aa", "bb"), ("bb", "cc")), (("bb", "cc"), ("aa", "bb"))])
def test_a_row_of_related_claims_is_gone_through_to_its_end(not_above):
    schema = small_schema(((3,), (5,), (1,)), not_above, ())
    asked = small_policy(schema, {"q": question("aa", at_least=3)}, [["q"]])
    assert cell([asked], schema, "cc", 4) == Interval(3, TOP + 1)


def test_a_fact_is_counted_with_all_of_its_conditions():
    schema = small_schema(((2,), (5,), (4,)), (), ("aa", "cc"))
    asked = small_policy(schema, {"q": {"fact": "both"}}, [["q"]])
    assert set(meter([asked])) == {(schema.id, "aa"), (schema.id, "cc")}


def test_the_shipped_policy_cuts_utilisation_into_eight_two_and_four_bands():
    cells = meter([POLICY])[REVOLVING.id, "utilisation_bp"]
    assert [cells.bands(item) for item in cells.all] == [8, 2, 4]
    assert cells.cell(8500) == Interval(8000, 10000)


def test_an_identity_check_is_counted_by_its_level():
    assured = next(policy for policy in standard.policies() if policy.id == "assured-standing")
    assert ("identity-assurance/1", "level") in meter([assured])


# -- what a policy promises -------------------------------------------------------


def promising(narrowest, **members):
    document = parse_json(POLICY.document) | {"narrowest": narrowest} | members
    return parse_policy(canonical_json(document), standard.schemas())


def test_a_promise_is_kept_up_to_the_bands_that_the_questions_leave():
    assert promising({"consumer-revolving/1": {"utilisation_bp": 2}}).narrowest[0].bands == 2
    with pytest.raises(Malformed) as caught:
        promising({"consumer-revolving/1": {"utilisation_bp": 3}})
    assert caught.value.reason == "BELOW_NARROWEST"


def test_a_promise_about_what_is_not_asked_holds_as_long_as_nobody_asks_it():
    quiet = promising({"consumer-revolving/1": {"months_on_book": 8}})
    assert broken([quiet, POLICY]) == ()
    question = {"schema": "consumer-revolving/1", "claim": "months_on_book", "below": 12}
    asks = variant_asking(question)
    assert [item.claim for item in broken([quiet, asks])] == ["months_on_book"]
    assert broken([asks]) == ()


def variant_asking(question):
    document = parse_json(POLICY.document)
    document["questions"]["more"] = question
    document["tiers"][0]["when"].append("more")
    return parse_policy(canonical_json(document), standard.schemas())


@pytest.mark.parametrize(
    ("narrowest", "reason"),
    [
        ({}, "BAD_POLICY"),
        ({"consumer-revolving/1": {}}, "BAD_POLICY"),
        ({"consumer-revolving/1": {"utilisation_bp": 0}}, "BAD_POLICY"),
        ({"consumer-revolving/1": {"utilisation_bp": 15}}, "BAD_POLICY"),
        ({"consumer-revolving/1": {"utilisation_bp": True}}, "BAD_POLICY"),
        ({"consumer-revolving/1": {"utilisation_bp": "2"}}, "BAD_POLICY"),
        ({"consumer-revolving/1": {"account_status": 1}}, "NO_LADDER"),
        ({"consumer-revolving/1": {"no_such": 1}}, "NO_LADDER"),
        ({"consumer-revolving/9": {"utilisation_bp": 2}}, "UNKNOWN_SCHEMA"),
        ({"consumer-revolving/1": 2}, "BAD_MEMBER"),
        ([], "BAD_MEMBER"),
    ],
)
def test_a_promise_that_means_nothing_is_refused(narrowest, reason):
    with pytest.raises(Malformed) as caught:
        promising(narrowest)
    assert caught.value.reason == reason
