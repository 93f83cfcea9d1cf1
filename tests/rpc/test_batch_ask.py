"""Many questions in one call: each by itself, in one commit, with one latency."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import pytest
from credproof.asking import Asked, ask_request
from credproof.base.errors import (
    CredproofError,
    Malformed,
    Refused,
    Unreachable,
    VerificationFailed,
)
from credproof.base.limits import ASK_ITEMS_MAX, ASK_REPLY_BYTES_MAX, MESSAGE_BYTES_MAX
from credproof.channel import call
from credproof.lender import KeptAnswer, Lender, OfflineVerifier
from credproof.log.entry import parse_entry
from credproof.records.asks import Ask
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import AnswerBundle, Logged
from credproof.verification.filing import ENTRY_ROOT
from credproof.wire import ask as ask_wire
from credproof_server.service.verify import bucket_s

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER
from tests.world import GOOD, POOR

POLICY = "revolving-standing"


def asked_about(running, lender, count: int, values=None, **terms) -> list[Asked]:
    """Prepared questions about so many borrowers who have consented."""
    people = [running.consented(lender, values, **terms) for _ in range(count)]
    prepared = lender.prepare([Ask(subject, POLICY, consent) for subject, consent, _ in people])
    assert all(isinstance(item, Asked) for item in prepared), prepared
    return prepared


def batch_ask(running, requests, caller: str = LENDER) -> list[pb.AskResult]:
    stub = VerificationServiceStub(running.channel(caller))
    return list(call(stub.BatchAsk, pb.BatchAskRequest(requests=requests)).results)


def reasons(results) -> list[str]:
    """The reason of each result; empty where there is an answer."""
    return [result.error.reason for result in results]


def test_every_question_of_a_batch_is_answered_and_verifies_offline(running, lender):
    values = [GOOD, POOR, GOOD]
    people = [running.consented(lender, value) for value in values]
    asks = [Ask(subject, POLICY, consent, case="c") for subject, consent, _ in people]
    results = list(lender.ask_many(asks))

    told = [kept.verified.outcome.tier or kept.verified.outcome.kind for kept in results]
    assert told == ["A", "REFER", "A"]
    verifier = OfflineVerifier(running.home(LENDER))
    for ask, kept in zip(asks, results, strict=True):
        verifier.verify(kept.to_bytes())
        assert ask.subject == kept.bundle.kept.transcript.subject_id


def test_a_refused_question_leaves_its_neighbours_unhurt_and_is_logged(running, lender):
    with running.world.auditor() as auditor:
        people = [running.consented(lender) for _ in range(3)]
        people[1][2].revoke(people[1][1])
        before = auditor.checkpoint().tree_size
        results = list(lender.ask_many([Ask(who, POLICY, c) for who, c, _ in people]))
        after = auditor.checkpoint().tree_size
        kinds = [parse_entry(line).kind for line in auditor.lines(before, after)]
        kinds = [kind for kind in kinds if kind != ENTRY_ROOT]

    assert [type(result) for result in results] == [KeptAnswer, Refused, KeptAnswer]
    assert results[1].reason == "CONSENT_REVOKED"
    assert kinds == ["answer.given", "answer.refused", "answer.given"]


def test_a_batch_is_one_commit(running, lender):
    requests = [ask_request(item) for item in asked_about(running, lender, 3)]
    notes = {result.bundle.checkpoint for result in batch_ask(running, requests)}
    assert len(notes) == 1


def test_two_questions_of_a_batch_under_one_consent_get_one_answer(running, lender):
    subject, consent, _ = running.consented(lender)
    results = list(lender.ask_many([Ask(subject, POLICY, consent)] * 2))
    assert isinstance(results[0], KeptAnswer)
    assert results[1].reason == "CONSENT_USED_UP"


def test_the_same_batch_gives_the_same_bytes_and_uses_no_cap(running, lender):
    requests = [ask_request(item) for item in asked_about(running, lender, 2)]
    first, again = batch_ask(running, requests), batch_ask(running, requests[::-1])
    stub = VerificationServiceStub(running.channel(LENDER))

    assert first == again[::-1]
    assert [result.bundle for result in first] == [call(stub.Ask, r).bundle for r in requests]


def test_the_same_request_twice_in_a_batch_gets_the_same_answer_twice(running, lender):
    request = ask_request(asked_about(running, lender, 1)[0])
    first, second = batch_ask(running, [request, request])
    assert first.bundle.answer == second.bundle.answer != ""


def test_a_request_id_is_not_used_for_another_question_of_a_batch(running, lender):
    first, second = (ask_request(item) for item in asked_about(running, lender, 2))
    second.request_id = first.request_id
    assert reasons(batch_ask(running, [first, second])) == ["", "REQUEST_ID_REUSED"]


def test_a_question_of_a_wrong_length_fails_by_itself(running, lender):
    good = ask_request(asked_about(running, lender, 1)[0])
    bad = pb.AskRequest()
    bad.CopyFrom(good)
    bad.nonce = b"short"
    assert reasons(batch_ask(running, [bad, good])) == ["WRONG_LENGTH", ""]


@pytest.mark.parametrize(("count", "reason"), [(0, "EMPTY_BATCH"), (65, "LIMIT_EXCEEDED")])
def test_a_batch_of_no_or_too_many_questions_is_refused(running, count, reason):
    with pytest.raises(Malformed) as caught:
        batch_ask(running, [pb.AskRequest()] * count)
    assert reason == caught.value.reason


@pytest.mark.parametrize("caller", [PROVIDER, AUDITOR])
def test_only_lenders_ask(running, caller):
    with pytest.raises(Refused) as caught:
        batch_ask(running, [pb.AskRequest()], caller)
    assert caught.value.reason == "NOT_PERMITTED"


# -- before consent


def unknown(request: pb.AskRequest, field: str) -> pb.AskRequest:
    """The request with something that the service does not know."""
    changed = pb.AskRequest()
    changed.CopyFrom(request)
    changed.request_id = os.urandom(16)
    if field == "policy":
        changed.policy.version = 7
    else:
        setattr(changed, field, os.urandom(32))
    return changed


def test_refusals_before_consent_are_all_the_same_and_leave_when_their_bucket_is_over(
    running, lender
):
    """One is refused after a look-up, another after a decryption: neither message nor time tell."""
    request = ask_request(asked_about(running, lender, 1)[0])
    batch_ask(running, [request])
    for field in ("consent_id", "sub", "policy"):
        started = time.monotonic()
        results = batch_ask(running, [unknown(request, field)] * 8)
        seconds = time.monotonic() - started

        assert {(r.error.reason, r.error.message, r.error.error_class) for r in results} == {
            ("NOT_PERMITTED", "the service does not permit this", "Refused")
        }
        assert seconds >= bucket_s(8)


def test_one_refusal_holds_its_whole_batch_back(running, lender):
    """Otherwise a batch of known cost would time the one item that is a guess."""
    prepared = asked_about(running, lender, 3)
    requests = [ask_request(item) for item in prepared]
    requests[1] = unknown(requests[1], "consent_id")
    started = time.monotonic()
    results = batch_ask(running, requests)

    assert reasons(results) == ["", "NOT_PERMITTED", ""]
    assert time.monotonic() - started >= bucket_s(3)


def test_the_bucket_depends_on_the_number_of_questions_alone():
    assert bucket_s(1) == pytest.approx(0.1)
    assert bucket_s(1) < bucket_s(2) < bucket_s(ASK_ITEMS_MAX) < 1.0


# -- replies that are too large


def bundle(size: int) -> AnswerBundle:
    return AnswerBundle("a" * size, "", (), (), Logged(b"", 0, ()), b"")


def test_what_does_not_fit_into_a_reply_is_told_and_the_rest_is_given():
    results = ask_wire.fitting([bundle(1_500_000)] * 4)
    assert reasons(results) == ["", "", "REPLY_FULL", "REPLY_FULL"]
    assert results[2].error.error_class == "Unreachable"


def test_a_full_batch_fits_into_a_message_whatever_its_results():
    refused = Refused("CONSENT_REVOKED", "x" * 200)
    results = [bundle(ASK_REPLY_BYTES_MAX - 10), *[bundle(100), refused] * (ASK_ITEMS_MAX // 2)]
    reply = pb.BatchAskResponse(results=ask_wire.fitting(results[:ASK_ITEMS_MAX]))
    assert reply.ByteSize() < MESSAGE_BYTES_MAX


def test_one_answer_is_always_given():
    assert reasons(ask_wire.fitting([bundle(ASK_REPLY_BYTES_MAX + 1), bundle(1)]))[0] == ""


# -- the lender's side


class Altered:
    """A service whose replies to batches are altered on their way."""

    def __init__(self, lender: Lender, change) -> None:
        self._stub = lender._verification
        self._change = change
        self.calls: list[int] = []

    def BatchAsk(self, request, **options):
        reply = self._stub.BatchAsk(request, **options)
        self.calls.append(len(request.requests))
        self._change(reply, len(self.calls))
        return reply


def refusing(reason: str, cls: str, until: int):
    """Replaces the last result by an error in the first so many calls."""

    def change(reply, call_):
        if call_ <= until:
            error = pb.AskError(reason=reason, message="m", error_class=cls)
            reply.results[-1].CopyFrom(pb.AskResult(error=error))

    return change


@pytest.mark.parametrize(
    ("reason", "cls"), [("SNAPSHOT_CHANGED", "Conflict"), ("REPLY_FULL", "Unreachable")]
)
def test_what_can_be_asked_again_at_once_is_asked_again_alone(running, lender, reason, cls):
    prepared = asked_about(running, lender, 3)
    lender._verification = altered = Altered(lender, refusing(reason, cls, 1))
    results = lender.put(prepared)

    assert all(isinstance(result, KeptAnswer) for result in results)
    assert altered.calls == [3, 1]


def test_asking_again_ends_when_it_brings_nothing(running, lender):
    prepared = asked_about(running, lender, 2)
    lender._verification = altered = Altered(lender, refusing("REPLY_FULL", "Unreachable", 99))
    results = lender.put(prepared)

    assert isinstance(results[0], KeptAnswer)
    assert isinstance(results[1], Unreachable)
    assert altered.calls == [2, 1, 1, 1]


def test_an_answer_that_does_not_verify_is_an_error_of_its_item_alone(running, lender):
    def swap(reply, _call):
        reply.results[0].bundle.CopyFrom(reply.results[1].bundle)

    prepared = asked_about(running, lender, 2)
    lender._verification = Altered(lender, swap)
    results = lender.put(prepared)

    assert (results[0].reason, results[0].step) == ("ANSWER_OTHER_NONCE", 1)
    assert isinstance(results[1], KeptAnswer)


def test_another_number_of_results_is_not_taken(running, lender):
    prepared = asked_about(running, lender, 2)
    lender._verification = Altered(lender, lambda reply, _call: reply.results.pop())
    with pytest.raises(CredproofError) as caught:
        lender.put(prepared)
    assert caught.value.reason == "BAD_REPLY"


def test_questions_that_no_consent_covers_are_not_put(running, lender):
    subject, consent, _ = running.consented(lender)
    other, _, _ = running.consented(lender)
    asks = [
        Ask(subject, POLICY, "not a consent"),
        Ask(subject, "other-policy", consent),
        Ask(other, POLICY, consent),
        Ask("ref:with space", POLICY, consent),
        Ask(subject, POLICY, consent),
    ]
    lender._verification = altered = Altered(lender, lambda _reply, _call: None)
    results = list(lender.ask_many(asks))

    assert [getattr(result, "reason", "") for result in results[1:]] == [
        "CONSENT_OTHER_POLICY", "CONSENT_OTHER_SUBJECT", "BAD_SUBJECT_ID", ""
    ]  # fmt: skip
    assert isinstance(results[0], Malformed)
    assert isinstance(results[2], VerificationFailed)
    assert altered.calls == [1]


def test_more_questions_than_one_call_takes_go_in_several(running, lender):
    subject, consent, _ = running.consented(lender)
    lender._verification = altered = Altered(lender, lambda _reply, _call: None)
    results = list(lender.ask_many(Ask(subject, POLICY, consent) for _ in range(66)))

    assert altered.calls == [64, 2]
    assert [isinstance(result, KeptAnswer) for result in results] == [True] + [False] * 65


def test_what_is_put_again_is_the_same_answer_even_when_it_is_old(running, lender, monkeypatch):
    prepared = asked_about(running, lender, 1)
    first = lender.put(prepared)[0]
    monkeypatch.setattr("credproof.lender._now", lambda: int(time.time()) + 3600)
    late = lender.put(prepared)[0]
    again = lender.put([replace(prepared[0], again=True)])[0]

    assert late.reason == "ANSWER_TOO_OLD"
    assert first.to_bytes() == again.to_bytes()
    assert again.verified.mode == "as-of-answer"
