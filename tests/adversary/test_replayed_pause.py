"""Somebody who recorded pauses and resumptions sends them again, or brings them elsewhere."""

from __future__ import annotations

import os
import time

import pytest
from credproof.base.errors import Conflict, Refused
from credproof.channel import SignedCaller, connect_borrower
from credproof.v1 import consent_service_pb2 as pb
from credproof.verification.consent import verify_consent
from credproof.verification.document import PAUSE, RESUMPTION
from credproof.verification.pausing import sign_pause

from tests.rpc.conftest import PROVIDER
from tests.rpc.test_standing import ask

SERVICE = "/credproof.v1.ConsentService/"


class Recorder:
    """A borrower's device whose documents are kept and can be sent again."""

    def __init__(self, home, borrower, consent: str) -> None:
        self.signer = borrower._signer
        self.consent_id = verify_consent(consent).id
        channel = connect_borrower(home.settings.borrowers_address, home.tls()[0])
        self.caller = SignedCaller(channel, self.signer, home.settings.domain)

    def signed(self, kind, at: int = 0) -> str:
        now = int(time.time()) + at
        return sign_pause(self.signer, kind, self.consent_id, jti=os.urandom(16), now=now)

    def pause(self, text: str) -> int:
        request = pb.PauseConsentRequest(pause=text)
        return self.caller.call(f"{SERVICE}PauseConsent", request, pb.PauseConsentResponse)

    def resume(self, text: str) -> int:
        request = pb.ResumeConsentRequest(resumption=text)
        return self.caller.call(f"{SERVICE}ResumeConsent", request, pb.ResumeConsentResponse)


@pytest.fixture
def consented(running, lender):
    return running.consented(lender)


@pytest.fixture
def recorder(running, consented) -> Recorder:
    return Recorder(running.home(PROVIDER), consented[2], consented[1])


def superseded(send, text: str) -> None:
    with pytest.raises(Conflict) as caught:
        send(text)
    assert caught.value.reason == "SUPERSEDED"


def test_an_old_pause_sent_again_pauses_nothing(lender, consented, recorder):
    pause = recorder.signed(PAUSE)
    assert recorder.pause(pause) == recorder.pause(pause), "a lost reply is asked for again"
    recorder.resume(recorder.signed(RESUMPTION))
    superseded(recorder.pause, pause)
    assert ask(lender, *consented[:2]).verified.outcome.tier == "A"


def test_an_old_resumption_sent_again_resumes_nothing(lender, consented, recorder):
    recorder.pause(recorder.signed(PAUSE))
    resumption = recorder.signed(RESUMPTION)
    recorder.resume(resumption)
    recorder.pause(recorder.signed(PAUSE))
    superseded(recorder.resume, resumption)
    with pytest.raises(Refused) as caught:
        ask(lender, *consented[:2])
    assert caught.value.reason == "CONSENT_PAUSED"


def test_a_resumption_that_was_held_back_resumes_nothing(lender, consented, recorder):
    """The borrower saw it fail, and paused once more to be sure."""
    held_back = recorder.signed(RESUMPTION, at=-2)
    recorder.pause(recorder.signed(PAUSE))
    superseded(recorder.resume, held_back)
    with pytest.raises(Refused) as caught:
        ask(lender, *consented[:2])
    assert caught.value.reason == "CONSENT_PAUSED"


def test_at_another_service_a_pause_is_of_no_consent(stage, recorder):
    """The other service has the same name, and everybody's keys are the same there."""
    elsewhere = SignedCaller(
        stage.channel("borrowers"), recorder.signer, stage.home(PROVIDER).settings.domain
    )
    request = pb.PauseConsentRequest(pause=recorder.signed(PAUSE))
    with pytest.raises(Refused) as caught:
        elsewhere.call(f"{SERVICE}PauseConsent", request, pb.PauseConsentResponse)
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_pause_of_ones_own_consent_is_none_of_another(running, lender, consented, recorder):
    other = running.consented(lender)
    other[2].pause(other[1])
    assert ask(lender, *consented[:2]).verified.outcome.tier == "A"
