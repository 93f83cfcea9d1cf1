"""What kept answers imply: true whatever the figures are, and as narrow as an honest reading."""

from __future__ import annotations

from dataclasses import replace

from credproof.attestation.schema import Schema
from credproof.verification.answer import Answer, QuestionResult
from credproof.verification.evaluation import evaluate
from credproof.verification.known import Known, Told, known
from credproof.verification.meter import Interval
from credproof.verification.policy import Policy
from hypothesis import given, settings

from tests.verification.test_meter import (
    WORLD,
    question,
    situations,
    small_policy,
    small_schema,
)
from tests.world import NOW

DIGEST = bytes(32)
SCHEMA = small_schema(((2, 4), (3, 5), (1, 6)), (("aa", "bb"),), ("aa",))
MILD = {"aa": 3, "bb": 4, "cc": 0}


def answered(policy: Policy, accounts, schema: Schema = SCHEMA, *, time: int = NOW):
    """An answer with the results that a proof would show."""
    start = WORLD.statement({})
    statements = [replace(start, schema=schema, values=v, currency=None) for v in accounts]
    found = evaluate(policy, statements, now=NOW)
    tier = policy.tier(found.outcome.tier or "")
    results = [QuestionResult(name, "2026-09-01") for name in (tier.when if tier else ())]
    if found.failing:
        results = [QuestionResult(found.failing, "2026-09-01", "NO")]
    digests = dict.fromkeys(("case", "staff", "consent", "sub", "evidence", "nonce"), DIGEST)
    answer = Answer(
        domain="d",
        lender="lend",
        issued_at=time,
        request_id=DIGEST[:16],
        policy=policy.ref,
        outcome=found.outcome,
        offer={},
        results=tuple(results),
        **digests,
    )
    on_all = [policy.questions[r.question].needs_all(r.verdict) for r in results]
    return Told(policy, answer, {schema.id: len(accounts)} if any(on_all) else {})


def about(answers, claim: str) -> Known:
    return next(item for item in known(answers) if item.claim == claim)


def asking(*tiers, telling="silent", **questions) -> Policy:
    return small_policy(SCHEMA, questions, [list(tier) for tier in tiers], telling)


@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(situations())
def test_what_is_said_to_be_known_is_true_and_never_narrower_than_the_meter(situation):
    schema, policies, accounts = situation
    answers = [answered(policy, accounts, schema) for policy in policies]
    for item in known(answers):
        figures = [values[item.claim] for values in accounts]
        assert all(item.every.low <= figure < item.every.end for figure in figures)
        assert max(figures) >= item.some.low
        assert min(figures) < item.some.end
        cells = [item.cells.cell(figure) for figure in figures]
        assert all(item.every.low <= c.low and c.end <= item.every.end for c in cells)


def test_a_tier_bounds_its_claims_and_those_that_are_never_above_or_below_them():
    policy = asking(["low", "high"], low=question("aa", at_least=2), high=question("bb", below=5))
    answers = [answered(policy, [MILD])]
    assert about(answers, "aa").every == Interval(2, 5)
    assert about(answers, "bb").every == Interval(2, 5)


def test_a_better_tier_that_was_not_granted_tells_what_alone_can_have_failed():
    policy = asking(
        ["low", "more"], ["low"], low=question("aa", at_least=2), more=question("aa", at_least=4)
    )
    item = about([answered(policy, [MILD, MILD])], "aa")
    assert item.every == Interval(2, 7), "on one of the accounts it is below 4, not on every one"
    assert item.some == Interval(2, 4)
    assert about([answered(policy, [MILD])], "aa").every == Interval(2, 4), "there is but one"
    answers = [answered(asking(["q"], q=question("aa", over="any", at_least=4)), [MILD])]
    assert about(answers, "aa").every == Interval(0, 4), "no account reaches it"


def test_one_of_two_that_failed_bounds_neither_until_another_answer_tells_which():
    both = asking(
        ["a", "c"],
        a=question("aa", over="any", at_least=4),
        c=question("cc", over="any", below=6),
    )
    first = answered(both, [MILD])
    assert about([first], "aa").every == Interval(0, 7)
    second = answered(asking(["c"], c=question("cc", below=6)), [MILD])
    assert about([first, second], "aa").every == Interval(0, 4)


def test_the_question_that_refer_tells_is_no_and_those_before_it_are_yes():
    policy = asking(
        ["low", "high"],
        telling="first_failing",
        low=question("aa", at_least=2),
        high=question("cc", over="any", at_least=6),
    )
    answers = [answered(policy, [MILD])]
    assert about(answers, "aa").every.low == 2
    assert about(answers, "cc").every == Interval(0, 6)


def test_what_is_incomplete_tells_nothing():
    policy = asking(["low"], low=question("aa", at_least=2))
    assert about([answered(policy, [])], "aa").every == Interval(0, 7)


def test_of_answers_that_contradict_one_another_only_the_newer_count():
    policy = asking(["low"], low=question("aa", over="any", at_least=4))
    old = answered(policy, [MILD | {"aa": 4}], time=NOW - 1000)
    new = answered(policy, [MILD])
    assert about([old, new], "aa").every == about([new, old], "aa").every == Interval(0, 4)


def test_a_tier_refused_though_nothing_of_it_fails_is_a_contradiction_too():
    both = asking(["a", "c"], ["a"], a=question("aa", at_least=2), c=question("cc", below=1))
    granted = answered(both, [MILD], time=NOW - 1000)
    lower = answered(both, [MILD | {"cc": 2}])
    assert about([granted, lower], "cc").every.low == 1
