"""A lender keeps its connection open while its licence, or what it certified, runs out."""

from __future__ import annotations

import time

import pytest
from credproof.base.errors import CredproofError, Refused, VerificationFailed
from credproof.lender import Lender
from credproof.verification.participant import Licence
from credproof_server.directory import now

from tests.rpc.conftest import LENDER
from tests.rpc.registry import changed, participant
from tests.rpc.test_standing import ask

LEFT_S = 3
"""How long the licence still lasts: enough for one answer."""


def refused(lender: Lender, subject_id: str, consent: str) -> Refused:
    with pytest.raises(Refused) as caught:
        ask(lender, subject_id, consent)
    return caught.value


def outlast(end: int) -> None:
    """Wait until the second `end` is over."""
    while now() <= end:
        time.sleep(0.05)


def test_the_first_question_after_a_licence_ended_is_refused(running, lender):
    first, second = (running.consented(lender)[:2] for _ in range(2))
    end = now() + LEFT_S
    with changed(running, participant(LENDER, licence=Licence("L", 0, end))):
        assert ask(lender, *first).verified.outcome.tier == "A"
        outlast(end)
        assert refused(lender, *second).reason == "LENDER_NOT_LICENSED"
    assert ask(lender, *second).verified.outcome.tier == "A", "renewed, and nothing was used up"


def test_the_first_question_after_a_certification_ended_is_refused(running, lender):
    first, second = (running.consented(lender)[:2] for _ in range(2))
    end = now() + LEFT_S
    with changed(running, participant(LENDER, certified={"ORIGINATION": end})):
        assert ask(lender, *first).verified.outcome.tier == "A"
        outlast(end)
        assert refused(lender, *second).reason == "PURPOSE_NOT_CERTIFIED"


def test_without_a_licence_it_looks_up_nobody_but_may_learn_why(running, lender):
    with changed(running, participant(LENDER, licence=None)):
        with pytest.raises(Refused) as caught:
            lender.subject("ref:anybody")
        assert caught.value.reason == "LENDER_NOT_LICENSED"
        with running.world.lender() as anew:
            assert anew.trust.participants[LENDER].licence is None


def test_its_request_is_not_signed_and_one_signed_before_is_not_shown_to_the_borrower(
    running, lender
):
    subject_id, borrower = running.person()
    subject = lender.subject(subject_id)
    request = lender.request(subject, policy_id="revolving-standing")
    with changed(running, participant(LENDER, licence=None)):
        for call in (
            lambda: borrower.check(request),
            lambda: anew_request(running, subject),
        ):
            with pytest.raises(VerificationFailed) as caught:
                call()
            assert caught.value.reason == "LENDER_NOT_LICENSED"
    assert borrower.check(request)


def anew_request(running, subject) -> str:
    with running.world.lender() as anew:
        return anew.request(subject, policy_id="revolving-standing")


def test_a_consent_given_to_it_is_refused_like_every_other(running, lender):
    subject_id, borrower = running.person()
    request = lender.request(lender.subject(subject_id), policy_id="revolving-standing")
    checked = borrower.check(request)
    with (
        changed(running, participant(LENDER, licence=None)),
        pytest.raises(CredproofError) as caught,
    ):
        borrower.consent(checked, language="zh")
    assert caught.value.reason == "NOT_PERMITTED"
