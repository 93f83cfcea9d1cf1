"""A sound consent is brought where it is not for: another service, lender, borrower."""

from __future__ import annotations

import grpc
import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import Refused
from credproof.channel import SignedCaller
from credproof.v1 import consent_service_pb2 as pb
from credproof.verification.consent import verify_consent
from credproof.wire.errors import from_call

from tests.adversary.attacks.questions import ASK, question
from tests.adversary.stage import LENDER, PROVIDER, Stage

GRANT = "/credproof.v1.ConsentService/GrantConsent"


def told(work) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        work()
    return from_call(caught.value).reason


def test_at_another_service_of_the_same_name_it_is_of_nobody(stage: Stage, running, lender):
    """Pseudonyms differ by service: whoever is known to both has no name in common."""
    _, consent, borrower = running.consented(lender)
    elsewhere = SignedCaller(
        stage.channel("borrowers"), borrower._signer, stage.home(PROVIDER).settings.domain
    )
    with pytest.raises(Refused) as caught:
        elsewhere.call(GRANT, pb.GrantConsentRequest(consent=consent), pb.GrantConsentResponse)
    assert caught.value.reason == "NOT_PERMITTED"
    request = question(stage, consent_id=verify_consent(consent).id)
    assert told(lambda: stage.send(LENDER, ASK, request)) == "NOT_PERMITTED"


def test_through_a_service_of_another_name_it_is_not_taken(stage: Stage):
    consent = stage.consent_token(via="other.example")
    assert told(lambda: stage.grant(consent)) == "NOT_PERMITTED"


def test_another_lender_cannot_ask_under_it(stage: Stage):
    assert told(lambda: stage.send("south-lender", ASK, question(stage))) == "NOT_PERMITTED"


@pytest.mark.parametrize("other", ["bob", "stranger"])
def test_nobody_else_can_be_asked_about_under_it(stage: Stage, other):
    request = question(stage, sub=stage.subjects[other].sub)
    assert told(lambda: stage.send(LENDER, ASK, request)) == "NOT_PERMITTED"


def test_a_borrower_cannot_consent_for_another_by_copying_the_terms(stage: Stage):
    consent = stage.consent_token("ann", sub=b64url(stage.subjects["bob"].sub))
    assert told(lambda: stage.grant(consent, "ann")) == "NOT_PERMITTED"
