"""REFER with its reason: the first failing question of the last tier, proved; and no surplus."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof import standard
from credproof.base.errors import CredproofError
from credproof.verification.adverse import adverse_text
from credproof.verification.answer import QuestionResult, TokenEvidence
from credproof.verification.evaluation import evaluate
from credproof.verification.proving import prove_failing, prove_tier

from tests.world import FAIR, GOOD, NOW, POLICY, POOR, World

TELLS = {"otherwise": {"outcome": "REFER", "reasons": "first_failing"}}


@pytest.fixture
def world() -> World:
    return World()


def telling(world: World, **changes):
    return world.add_policy("telling", **TELLS, **changes)


def refused(world: World, bundle, *, step: int, reason: str) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle)
    assert (caught.value.step, caught.value.reason) == (step, reason)


def shown(world: World, holdings, proved):
    return [
        TokenEvidence(p.holding.token, p.proofs, world.log.logged(p.holding.log_index))
        for p in proved
    ]


def hold(world: World, *values):
    return [
        world.hold(world.statement(v, account=f"a{i}", jti=bytes(15) + bytes([i])))
        for i, v in enumerate(values)
    ]


def test_refer_tells_the_first_failing_question_of_the_last_tier_and_verifies(world):
    policy = telling(world)
    verified = world.verify(world.finish(world.case(POOR, policy=policy)))
    (result,) = verified.answer.results
    assert (result.question, result.verdict) == ("current", "NO")
    assert verified.sources[0].provider == "bank"


def test_what_it_tells_is_the_reason_of_the_adverse_notice(world):
    policy = telling(world)
    verified = world.verify(world.finish(world.case(POOR, policy=policy)))
    for language, words in (("en", "does not hold"), ("zh", "不成立")):
        assert words in adverse_text(verified, world.trust(), standard.text(language))


def test_a_fact_that_fails_is_disclosed_as_false(world):
    policy = telling(
        world,
        questions={"good": {"schema": "consumer-revolving/1", "fact": "in_good_standing"}},
        tiers=[{"name": "A", "when": ["good"]}],
    )
    verified = world.verify(world.finish(world.case(POOR, policy=policy)))
    assert verified.answer.results[0].verdict == "NO"


def test_each_fails_on_one_account_and_shows_that_one_only(world):
    policy = telling(world)
    case = world.case(policy=policy, holdings=hold(world, GOOD, POOR, POOR))
    assert len(case.tokens) == 1
    assert world.verify(world.finish(case)).outcome.kind == "REFER"


def test_any_fails_on_all_accounts_and_shows_all(world):
    over_any = {"schema": "consumer-revolving/1", "claim": "overdue_cycles", "below": 2}
    policy = telling(
        world,
        questions={"current": {**over_any, "over": "any"}},
        tiers=[{"name": "A", "when": ["current"]}],
    )
    case = world.case(policy=policy, holdings=hold(world, POOR, POOR))
    assert len(case.tokens) == 2
    assert world.verify(world.finish(case)).outcome.kind == "REFER"


def test_a_failing_question_that_does_not_fail_cannot_be_proved(world):
    with pytest.raises(CredproofError) as caught:
        prove_failing(telling(world), "current", hold(world, GOOD), now=NOW)
    assert caught.value.reason == "NOT_PROVABLE"


def test_a_proof_of_yes_does_not_prove_no(world):
    policy = telling(world)
    case = world.case(POOR, policy=policy)
    good = hold(world, FAIR)
    proved, results = prove_tier(policy, policy.tier("B"), good, now=NOW)
    proof = replace(proved[0], proofs=proved[0].proofs[:1])
    assert results[0].question == "current"
    case.tokens = shown(world, good, [proof])
    refused(world, world.finish(case), step=5, reason="BAD_LADDER_PROOF")


def test_a_refer_that_must_tell_and_is_silent_is_refused(world):
    case = world.case(POOR, policy=telling(world))
    case.tokens, case.answer = [], replace(case.answer, results=())
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_a_refer_that_tells_under_a_silent_policy_is_refused(world):
    holdings = hold(world, POOR)
    case = world.case(policy=POLICY, holdings=holdings)
    proved, results = prove_failing(POLICY, "current", holdings, now=NOW)
    case.tokens = shown(world, holdings, proved)
    case.answer = replace(case.answer, results=results)
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_a_refer_that_tells_two_questions_is_refused(world):
    policy, holdings = telling(world), hold(world, POOR)
    case = world.case(policy=policy, holdings=holdings)
    first, one = prove_failing(policy, "current", holdings, now=NOW)
    second, two = prove_failing(policy, "seldom", holdings, now=NOW)
    both = replace(first[0], proofs=(*first[0].proofs, *second[0].proofs))
    case.tokens = shown(world, holdings, [both])
    case.answer = replace(case.answer, results=(*one, *two))
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_a_refer_that_tells_a_question_of_a_better_tier_is_refused(world):
    policy, holdings = telling(world), hold(world, POOR)
    case = world.case(policy=policy, holdings=holdings)
    proved, results = prove_failing(policy, "clean", holdings, now=NOW)
    case.tokens = shown(world, holdings, proved)
    case.answer = replace(case.answer, results=results)
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_a_tier_with_a_no_among_its_results_is_refused(world):
    case = world.case(FAIR, policy=telling(world))
    first, *rest = case.answer.results
    results = (QuestionResult(first.question, first.as_of, "NO"), *rest)
    case.answer = replace(case.answer, results=results)
    refused(world, world.finish(case), step=5, reason="BAD_LADDER_PROOF")


def test_incomplete_tells_no_question(world):
    policy = telling(world)
    values = {**GOOD, "overdue_cycles": None, "overdue_months_6m": None}
    case = world.case(values, policy=policy)
    assert case.answer.outcome.kind == "INCOMPLETE"
    assert case.answer.results == ()
    assert world.verify(world.finish(case)).outcome.kind == "INCOMPLETE"


def test_silent_stays_silent(world):
    statements = [world.statement(POOR)]
    assert evaluate(POLICY, statements, now=NOW).failing is None
    assert evaluate(telling(world), statements, now=NOW).failing == "current"
