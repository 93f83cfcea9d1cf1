"""What is found in what was counted, at the thresholds and just below."""

from __future__ import annotations

from itertools import count

import pytest
from credproof import standard
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.limits import ANOMALY_EVIDENCE_MAX
from credproof.verification.grammar import parse_policy
from credproof_server.conduct import detector
from credproof_server.conduct.detector import Asked, Finding, Refusal, Tally
from credproof_server.directory import shipped_rules
from hypothesis import given
from hypothesis import strategies as st

from tests.world import POLICY

RULES = shipped_rules().rules
NONE = Tally(100, 0)
LADDER = standard.schemas()["consumer-revolving/1"].claims["utilisation_bp"].ladder.thresholds


def refusals(*told: tuple[int, int, str]) -> list[Refusal]:
    """Refusals of (borrower, consent, reason), in the order of the log."""
    return [
        Refusal(index, 0, bytes([sub]) * 32, bytes([consent]) * 32, reason)
        for index, (sub, consent, reason) in enumerate(told)
    ]


def narrow(*places: int):
    """A policy that asks for the rungs of one ladder at these places, from 1."""
    condition = {"schema": "consumer-revolving/1", "claim": "utilisation_bp"}
    questions = {f"q{n}": {**condition, "below": LADDER[n - 1]} for n in places}
    tiers = [{"name": "A", "when": list(questions)}]
    members = {"policy": f"at-{'-'.join(map(str, places))}", "questions": questions, "tiers": tiers}
    document = parse_json(POLICY.document) | members
    return parse_policy(canonical_json(document), standard.schemas())


def bisection(*asked, rule: str = "bisection", lenders=("one",)) -> Finding | None:
    """What is found when these policies are asked in this order, by the lenders in turn."""
    policies = {policy.ref.digest: policy for policy in asked}
    turns = (
        Asked(n, lenders[n % len(lenders)], policy.ref.digest) for n, policy in enumerate(asked)
    )
    return detector.find_bisection(RULES[rule], list(turns), policies)


# -- refused questions


def test_enumeration_counts_pseudonyms_and_not_questions():
    few = refusals(*[(n % 29, n, "NOT_PERMITTED") for n in range(60)])
    assert detector.find_enumeration(RULES["enumeration"], few, NONE) is None
    more = [*few, *refusals((29, 0, "NOT_PERMITTED"))]
    found = detector.find_enumeration(RULES["enumeration"], more, NONE)
    assert found.counts["pseudonyms"] == 30


def test_what_was_refused_under_a_valid_consent_is_no_enumeration():
    told = refusals(*[(n, n, "CAP_REACHED") for n in range(60)])
    assert detector.find_enumeration(RULES["enumeration"], told, NONE) is None


@pytest.mark.parametrize(("answered", "is_found"), [(800, False), (799, True)])
def test_where_enough_is_answered_nothing_is_found(answered, is_found):
    told = refusals(*[(n, n, "NOT_PERMITTED") for n in range(40)])
    tally = Tally(1000, answered)
    assert (detector.find_enumeration(RULES["enumeration"], told, tally) is not None) is is_found
    again = refusals(*[(1, 1, "CONSENT_USED_UP")] * 40)
    assert (detector.find_reuse(RULES["consent-reuse"], again, tally) is not None) is is_found


@pytest.mark.parametrize("reason", sorted(detector.REFUSED_CONSENTS))
def test_reuse_counts_what_comes_after_the_first_refusal_of_a_pair(reason):
    ten = refusals(*[(1, 1, reason)] * 10)
    assert detector.find_reuse(RULES["consent-reuse"], ten, NONE) is None
    found = detector.find_reuse(RULES["consent-reuse"], refusals(*[(1, 1, reason)] * 11), NONE)
    assert (found.counts["repeats"], found.evidence) == (10, tuple(range(1, 11)))


def test_a_cap_that_is_reached_or_a_paused_consent_is_no_reuse():
    told = refusals(*[(1, 1, reason) for reason in ("CAP_REACHED", "CONSENT_PAUSED")] * 20)
    assert detector.find_reuse(RULES["consent-reuse"], told, NONE) is None


def test_the_same_consent_for_many_borrowers_is_enumeration_and_no_reuse():
    told = refusals(*[(n, 1, "NOT_PERMITTED") for n in range(40)])
    assert detector.find_reuse(RULES["consent-reuse"], told, NONE) is None
    assert detector.find_enumeration(RULES["enumeration"], told, NONE)


def test_an_anomaly_names_the_newest_of_much_evidence():
    found = Finding.of(RULES["burst"], range(100), questions=100)
    assert found.evidence == tuple(range(100 - ANOMALY_EVIDENCE_MAX, 100))


# -- all questions


def test_twenty_thousand_honest_questions_are_no_burst_and_no_idle_evaluations():
    """As the demo asks: one evaluation, one question, one answer after another, sixteen at once."""
    for answered in range(0, 20_001, 50):
        asked = answered + 16
        assert not detector.is_burst(RULES["burst"], "lend", Tally(asked, answered))
        today = Tally(answered, answered)
        assert not detector.is_idle(RULES["idle-evaluations"], asked, today)


def test_a_burst_is_many_questions_of_which_few_are_answered():
    rule = RULES["burst"]
    assert not detector.is_burst(rule, "lend", Tally(299, 0))
    assert detector.is_burst(rule, "lend", Tally(300, 0))
    assert detector.is_burst(rule, "lend", Tally(300, 149))
    assert not detector.is_burst(rule, "lend", Tally(300, 150))


def test_evaluations_are_idle_when_few_answers_follow():
    rule = RULES["idle-evaluations"]
    assert not detector.is_idle(rule, 9_999, Tally())
    assert detector.is_idle(rule, 10_000, Tally(499, 499))
    assert not detector.is_idle(rule, 10_000, Tally(500, 500))


# -- about one borrower


def test_probes_in_the_middle_are_found_at_the_third_and_others_at_the_fourth():
    assert bisection(narrow(7), narrow(4)) is None
    assert bisection(narrow(7), narrow(4), narrow(2)).counts["halvings"] == 3
    assert bisection(narrow(1), narrow(2), narrow(3)) is None
    assert bisection(narrow(1), narrow(2), narrow(3), narrow(4)).counts["steps"] == 4


def test_a_policy_that_asks_for_many_rungs_at_once_is_one_step():
    assert bisection(narrow(1, 3, 5, 7, 9, 11)) is None
    assert bisection(*[narrow(1, 3, 5, 7, 9, 11)] * 9) is None


def test_rungs_that_were_asked_before_are_no_step():
    assert bisection(narrow(2), narrow(5), narrow(2, 5), narrow(5), narrow(2)) is None


def test_rungs_of_different_claims_are_not_counted_together():
    shipped = standard.policies()
    assert bisection(*shipped, *shipped) is None


def test_several_lenders_are_counted_together_with_a_higher_threshold():
    asked = [narrow(n) for n in (1, 12, 2, 11, 3)]
    assert bisection(*asked, rule="joint-bisection", lenders=("one", "two")) is None
    found = bisection(*asked, narrow(10), rule="joint-bisection", lenders=("one", "two"))
    assert found.counts == {"steps": 6, "halvings": 0, "lenders": 2}


def test_a_policy_that_is_not_known_any_more_is_passed_over():
    asked = [Asked(n, "one", bytes([n]) * 32) for n in range(9)]
    assert detector.find_bisection(RULES["bisection"], asked, {}) is None


def test_many_lenders_are_counted_once_each():
    numbers = count()
    asked = [Asked(next(numbers), f"lender-{n % 4}", bytes(32)) for n in range(20)]
    assert detector.find_many(RULES["many-lenders"], asked) is None
    found = detector.find_many(RULES["many-lenders"], [*asked, Asked(20, "lender-4", bytes(32))])
    assert found.counts == {"lenders": 5, "answers": 21}


@given(st.lists(st.integers(1, 13), max_size=6))
def test_halvings_never_outnumber_probes_nor_what_a_ladder_has_room_for(probes):
    assert 0 <= detector._halvings(probes, 13) <= min(len(probes), 7)
