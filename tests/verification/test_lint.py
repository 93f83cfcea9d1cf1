"""What a policy reveals in bits, what it may not ask, and a difference in words."""

from __future__ import annotations

import json
from math import log2

import pytest
from credproof import standard
from credproof.attestation.schema import parse_schema
from credproof.base.encoding import canonical_json
from credproof.base.errors import Malformed
from credproof.verification.diff import policy_diff
from credproof.verification.grammar import parse_policy
from credproof.verification.lint import lint

from tests.world import POLICY, REVOLVING

ENGLISH = standard.text("en")


def changed(change, policy=POLICY):
    document = json.loads(policy.document)
    change(document)
    return parse_policy(canonical_json(document), standard.schemas())


def test_two_thresholds_on_one_claim_tell_three_parts_apart():
    found = {item.claim: item for item in lint(POLICY).claims}
    assert found["utilisation_bp"].parts == 3
    assert found["utilisation_bp"].most == 14
    assert found["credit_limit"].bits == 1


def test_a_fact_counts_where_it_cuts():
    found = {item.claim: item for item in lint(POLICY).claims}
    assert found["overdue_cycles"].parts == 3, "the fact below 1, the question below 2"


def test_no_policy_asks_for_more_parts_than_its_ladder_has():
    for policy in standard.policies():
        assert all(item.parts <= item.most for item in lint(policy).claims)


def test_telling_what_fails_reveals_more_than_silence():
    def tell(document):
        document["otherwise"]["reasons"] = "first_failing"

    silent, told = lint(POLICY), lint(changed(tell))
    assert told.answers - silent.answers == len(POLICY.tiers[-1].when) - 1
    assert told.told_bits > silent.told_bits
    assert silent.told_bits == log2(silent.answers)


def test_the_schemas_whose_absence_is_shown_are_counted():
    """Of two schemas the one, the other, or both, beside six other reasons."""
    lax = next(policy for policy in standard.policies() if policy.id == "assured-standing")
    strict = changed(lambda document: document.update(completeness="required"), lax)
    assert lint(strict).answers - lint(lax).answers == (3 - 1) * 2**6


def test_an_assurance_reveals_what_it_discloses():
    assured = next(policy for policy in standard.policies() if policy.id == "assured-standing")
    found = {item.claim: item for item in lint(assured).claims}
    assert found["channel"].bits > 0
    assert found["performed_on"].bits > 0
    assert lint(assured).questions["identity"] > 1
    outcomes = log2(lint(assured).answers)
    assert lint(assured).told_bits > outcomes + found["performed_on"].bits


@pytest.mark.parametrize("mark", ["name", "protected"])
@pytest.mark.parametrize("asked", ["claim", "fact"])
def test_no_policy_asks_for_a_protected_field(mark, asked):
    document = json.loads(REVOLVING.document)
    claim = document["claims"]["months_on_book"]
    name = "age" if mark == "name" else "tenure"
    document["claims"][name] = claim | ({"protected": True} if mark == "protected" else {})
    title = document["title"]
    document["facts"]["older"] = {"title": title, "when": [{"claim": name, "at_least": 12}]}
    schema = parse_schema(canonical_json(document))
    question = {"claim": name, "below": 12} if asked == "claim" else {"fact": "older"}
    policy = json.loads(POLICY.document)
    policy["questions"]["good"] = {"schema": schema.id, **question}
    with pytest.raises(Malformed) as caught:
        parse_policy(canonical_json(policy), {schema.id: schema})
    assert caught.value.reason == "PROTECTED_FIELD"


# -- differences ------------------------------------------------------------------


def test_nothing_changes_between_a_policy_and_itself():
    assert policy_diff(POLICY, POLICY, ENGLISH) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda d: d["questions"]["room"].update(below=7000), "threshold moved 8000 -> 7000"),
        (lambda d: d["questions"]["room"].update(over="any"), "question room changed"),
        (lambda d: d.update(fresh="30d"), "fresh: 45 days -> 30 days"),
        (lambda d: d.update(purpose="REVIEW"), "purpose: ORIGINATION -> REVIEW"),
        (lambda d: d.update(lenders=["lend"]), "lenders: any -> lend"),
        (lambda d: d["title"].update(en="Other"), "title: "),
        (lambda d: d.update(caps={"answers": "2 per day"}), "answers: 1 per consent -> 2 per day"),
        (lambda d: d["otherwise"].update(reasons="first_failing"), "REFER tells: silent"),
        (
            lambda d: d.update(narrowest={"consumer-revolving/1": {"utilisation_bp": 2}}),
            "narrowest: nothing -> consumer-revolving/1 utilisation_bp 2 bands",
        ),
        (lambda d: d["tiers"][0]["offer"].update(limit_up_to=1), "tier A offers: "),
        (lambda d: d["tiers"][0]["when"].reverse(), "tier A needs: "),
        (lambda d: d["tiers"].reverse(), "order of tiers: A, B -> B, A"),
    ],
)
def test_a_change_is_told_in_one_line(change, told):
    (line,) = policy_diff(POLICY, changed(change), ENGLISH)
    assert told in line


def test_tiers_and_questions_that_come_and_go_are_told():
    def cut(document):
        document["tiers"].pop()
        for name in ("current", "seldom", "within"):
            document["questions"].pop(name)

    less = changed(cut)
    gone = policy_diff(POLICY, less, ENGLISH)
    assert "tier B removed" in gone
    assert sum(line.startswith("question") and " removed: " in line for line in gone) == 3
    back = policy_diff(less, POLICY, ENGLISH)
    assert any(line.startswith("tier B added: current, seldom, within; offer") for line in back)
    assert sum(line.startswith("question") and " added: " in line for line in back) == 3
