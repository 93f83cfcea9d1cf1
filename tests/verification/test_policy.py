"""Policies: a closed grammar, and verdicts that never turn unknown into no."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof import standard
from credproof.base.encoding import canonical_json, date_of
from credproof.base.errors import Malformed, VerificationFailed
from credproof.verification.evaluation import evaluate
from credproof.verification.grammar import parse_policy
from credproof.verification.policy import Outcome
from credproof.verification.proving import prove_tier
from hypothesis import given
from hypothesis import strategies as st

from tests.world import FAIR, GOOD, NOW, POLICY, POOR, REVOLVING, World

WORLD = World()


def outcome(*values, policy=POLICY, **changes) -> Outcome:
    statements = [WORLD.statement(v, account=f"a{i}", **changes) for i, v in enumerate(values)]
    return evaluate(policy, statements, now=NOW).outcome


def changed(change) -> bytes:
    document = json.loads(POLICY.document)
    change(document)
    return canonical_json(document)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([GOOD], Outcome("TIER", "A")),
        ([FAIR], Outcome("TIER", "B")),
        ([POOR], Outcome("REFER")),
        ([GOOD, FAIR], Outcome("TIER", "B")),
        ([GOOD, POOR], Outcome("REFER")),
        ([{**GOOD, "credit_limit": 4_999_999}], Outcome("TIER", "B")),
        ([{**GOOD, "utilisation_bp": 7_999}], Outcome("TIER", "A")),
        ([{**GOOD, "utilisation_bp": 8_000}], Outcome("TIER", "B")),
        ([{**GOOD, "utilisation_bp": 10_000}], Outcome("REFER")),
    ],
)
def test_the_outcome_is_the_best_tier_proved_on_each_attestation(values, expected):
    assert expected == outcome(*values)


def test_nothing_attested_is_incomplete_not_a_decline():
    assert Outcome("INCOMPLETE", reasons=("ABSENT",)) == outcome()


def test_an_unknown_value_that_cannot_matter_does_not_stand_in_the_way():
    assert Outcome("TIER", "B") == outcome({**FAIR, "credit_limit": None})
    assert Outcome("REFER") == outcome({**POOR, "credit_limit": None})


def test_an_unknown_value_that_matters_is_named():
    assert Outcome("INCOMPLETE", reasons=("NO_VALUE",)) == outcome(
        {**GOOD, "overdue_cycles": None, "overdue_months_6m": None}
    )


def test_stale_data_is_unknown_not_wrong():
    old = date_of(NOW - 46 * 86_400)
    assert Outcome("INCOMPLETE", reasons=("STALE",)) == outcome(GOOD, as_of=old)


def test_an_expired_attestation_is_stale():
    assert Outcome("INCOMPLETE", reasons=("STALE",)) == outcome(GOOD, expires_at=NOW - 1)


def test_money_in_another_currency_answers_nothing():
    assert Outcome("TIER", "B") == outcome(GOOD, currency="CNY")


def test_too_few_sources_are_incomplete():
    two = WORLD.add_policy("two-sources", sources={"min": 2})
    assert Outcome("INCOMPLETE", reasons=("FEW_SOURCES",)) == outcome(GOOD, policy=two)


def test_required_completeness_is_incomplete_where_others_may_not_be_looked_at():
    strict = WORLD.add_policy("complete", completeness="required")
    assert Outcome("TIER", "A") == outcome(GOOD, policy=strict)
    hidden = evaluate(strict, [WORLD.statement(GOOD)], now=NOW, incomplete=[REVOLVING.digest])
    assert Outcome("INCOMPLETE", reasons=("NOT_COMPLETE",)) == hidden.outcome
    none_open = evaluate(strict, [], now=NOW, incomplete=[REVOLVING.digest])
    assert Outcome("INCOMPLETE", reasons=("NOT_COMPLETE",)) == none_open.outcome
    reported = evaluate(POLICY, [WORLD.statement(GOOD)], now=NOW, incomplete=[REVOLVING.digest])
    assert Outcome("TIER", "A") == reported.outcome


def test_any_is_satisfied_by_one_attestation_and_proved_on_one():
    def any_over(document):
        for question in document["questions"].values():
            question["over"] = "any"

    policy = parse_policy(changed(any_over), standard.schemas())
    holdings = [
        World().hold(WORLD.statement(v, account=f"a{i}", jti=bytes(15) + bytes([i])))
        for i, v in enumerate([POOR, GOOD])
    ]
    found = evaluate(policy, [h.statement for h in holdings], now=NOW).outcome
    assert Outcome("TIER", "A") == found
    proved, _ = prove_tier(policy, policy.tier("A"), holdings, now=NOW)
    shown = {proof.question: item.holding for item in proved for proof in item.proofs}
    assert holdings[1] is shown["good"] is shown["clean"], "only the second one proves these"
    assert holdings[0] is shown["room"], "the first that proves it is enough"


def test_a_tier_that_does_not_hold_cannot_be_proved():
    with pytest.raises(VerificationFailed, match="do not prove"):
        prove_tier(POLICY, POLICY.tier("A"), [WORLD.hold(WORLD.statement(FAIR))], now=NOW)


@given(
    overdue=st.integers(0, 9),
    worst=st.integers(0, 9),
    months=st.integers(0, 6),
    utilisation=st.integers(0, 20_000),
    limit=st.integers(0, 20_000_000),
)
def test_evaluation_is_the_rule_written_out(overdue, worst, months, utilisation, limit):
    worst = max(worst, overdue)
    values = {
        "credit_limit": limit,
        "utilisation_bp": utilisation,
        "overdue_cycles": overdue,
        "max_overdue_cycles_6m": worst,
        "overdue_months_6m": months,
    }
    if overdue < 1 and worst < 1 and utilisation < 8000 and limit >= 5_000_000:
        expected = Outcome("TIER", "A")
    elif overdue < 2 and months < 3 and utilisation < 10_000:
        expected = Outcome("TIER", "B")
    else:
        expected = Outcome("REFER")
    assert expected == outcome(values)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d["questions"]["room"].update(below=8001), "NOT_ON_LADDER"),
        (lambda d: d["questions"]["room"].update(at_least=1000), "BAD_MEMBER"),
        (lambda d: d["questions"]["room"].update(claim="account_status"), "NO_LADDER"),
        (lambda d: d["questions"]["room"].update(claim="nothing"), "NO_LADDER"),
        (lambda d: d["questions"]["room"].update(currency="TWD"), "BAD_POLICY"),
        (lambda d: d["questions"]["sizeable"].pop("currency"), "BAD_POLICY"),
        (lambda d: d["questions"]["good"].update(fact="is_rich"), "UNPROVABLE"),
        (lambda d: d["questions"]["good"].update(schema="consumer-revolving/9"), "UNKNOWN_SCHEMA"),
        (lambda d: d["questions"]["good"].update(over="most"), "BAD_POLICY"),
        (lambda d: d["questions"].update({"spare": d["questions"]["good"]}), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["when"].append("unheard-of"), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["when"].append("good"), "BAD_POLICY"),
        (lambda d: d["tiers"][0].update(when=[]), "BAD_POLICY"),
        (lambda d: d["tiers"][0].update(name="B"), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["offer"].pop("currency"), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["offer"].update(repayment=["soon"]), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["offer"].update(repayment=["bullet", "bullet"]), "BAD_POLICY"),
        (lambda d: d["tiers"][0]["offer"].update(currency="TWD" * 9000), "BAD_POLICY"),
        (lambda d: d.update(purpose="CURIOSITY"), "BAD_POLICY"),
        (lambda d: d.update(fresh="soon"), "BAD_POLICY"),
        (lambda d: d.update(caps={"answers": "many"}), "BAD_POLICY"),
        (lambda d: d.update(otherwise={"outcome": "DECLINE", "reasons": "silent"}), "BAD_POLICY"),
        (lambda d: d.update(lenders=[]), "BAD_POLICY"),
        (lambda d: d.update(more=1), "BAD_MEMBER"),
        (lambda d: d["questions"].update({"sum": {"sum": "used", "at_most": 1}}), "BAD_MEMBER"),
    ],
)
def test_what_cannot_be_proved_cannot_be_asked(change, reason):
    with pytest.raises(Malformed) as caught:
        parse_policy(changed(change), standard.schemas())
    assert reason == caught.value.reason


def test_the_digest_is_that_of_the_canonical_form_whatever_the_spelling():
    again = parse_policy(POLICY.document, standard.schemas())
    assert POLICY.ref == again.ref


def test_another_version_is_another_policy():
    other = parse_policy(changed(lambda d: d.update(version=2)), standard.schemas())
    assert replace(POLICY.ref, version=2) != other.ref
    assert POLICY.ref.digest != other.ref.digest
