"""Trust, answers and signed calls: what is outside the grammar is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.errors import CredproofError
from credproof.verification.answer import QuestionResult, parse_answer
from credproof.wire import answer as answer_wire
from credproof.wire.call import sign_call, verify_call

from tests.world import DOMAIN, NOW, World, seed_of, signer_of

WORLD = World()


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason


def test_a_trust_bundle_outside_the_grammar_is_refused_by_name():
    refused("BAD_TRUST", lambda: WORLD.trust(version=0))


@pytest.mark.parametrize(
    ("name", "role"), [("nobody", "lender"), ("bank", "lender"), ("gone", "provider")]
)
def test_only_an_active_participant_of_that_role_is_found(name, role):
    gone = WORLD.participant("gone", "provider", signer_of("gone"), status="suspended")
    trust = WORLD.trust(participants=(*WORLD.bundle().participants, gone))
    refused("UNKNOWN_PARTICIPANT", lambda: trust.active(name, role))


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": {"kind": "MAYBE", "reasons": [], "tier": None}},
        {"outcome": {"kind": "TIER", "reasons": [], "tier": None}},
        {"outcome": {"kind": "REFER", "reasons": [], "tier": "A"}},
        {"outcome": {"kind": "REFER", "reasons": ["STALE"], "tier": None}},
        {"outcome": {"kind": "INCOMPLETE", "reasons": [], "tier": None}},
        {"outcome": {"kind": "INCOMPLETE", "reasons": ["WHY"], "tier": None}},
        {"results": [{"as_of": "2026-01-01", "question": "good", "verdict": "UNKNOWN"}]},
    ],
)
def test_an_answer_outside_the_grammar_is_refused(change):
    world = World()
    claims = dict(jws.parse(world.finish(world.case()).answer, jws.ANSWER).claims)
    token = jws.sign(world.answerer, jws.ANSWER, claims | change)
    refused("BAD_ANSWER", lambda: parse_answer(token))


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05a", b"text"])
def test_what_is_no_answer_file_is_refused(data):
    refused("NOT_A_BUNDLE", lambda: answer_wire.parse(data))


def test_5_a_result_for_a_question_that_the_policy_does_not_ask_is_refused():
    world = World()
    case = world.case()
    more = QuestionResult("invented", "2026-01-01")
    case.answer = replace(case.answer, results=(more, *case.answer.results))
    refused("UNKNOWN_QUESTION", lambda: world.verify(world.finish(case)))


def test_5_a_limit_in_another_currency_does_not_prove_the_one_asked_for():
    """A hundred thousand of a small currency are not a hundred thousand of a large one."""
    world = World()
    case = world.case()
    made = world.hold(world.statement(currency="JPY", jti=seed_of("yen", 16)))
    logged = world.log.logged(made.log_index)
    proofs = tuple(replace(p, data=proved(made, p.question)) for p in case.tokens[0].proofs)
    case.tokens = [replace(case.tokens[0], token=made.token, proofs=proofs, logged=logged)]
    refused("OTHER_CURRENCY", lambda: world.verify(world.finish(case)))


def proved(holding, name: str) -> bytes:
    question = World().policies[0].questions[name]
    if question.fact:
        return holding.opening.disclose(question.fact).text.encode()
    return holding.opening.prove(question.condition)


CALL = {"service": DOMAIN, "method": "/a/B", "body": b"body", "now": NOW}


@pytest.mark.parametrize("change", [{"service": "b.example"}, {"method": "/a/C"}, {"body": b""}])
def test_a_signature_for_another_call_is_refused(change):
    token = sign_call(WORLD.borrower, nonce=bytes(16), **CALL)
    refused("OTHER_CALL", lambda: verify_call(token, **(CALL | change)))


@pytest.mark.parametrize("late", [-121, 121])
def test_a_call_signed_at_another_time_is_refused(late):
    token = sign_call(WORLD.borrower, nonce=bytes(16), **CALL)
    refused("CALL_TOO_OLD", lambda: verify_call(token, **(CALL | {"now": NOW + late})))
