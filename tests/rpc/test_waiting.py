"""A lender waits for the consent to its request: it gets its own, and learns nothing else."""

from __future__ import annotations

import os
import threading
from dataclasses import replace

import grpc
import pytest
from credproof import borrower as borrowers
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.base.errors import Conflict, Refused, Unreachable, VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.lender import Lender
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.consent import parse_request, verify_consent
from credproof_server import admission
from credproof_server.demo.world import licensed
from credproof_server.directory import now

from tests.rpc.conftest import LENDER, PROVIDER

POLICY = "revolving-standing"


@pytest.fixture
def asked(running, lender):
    """A borrower, and the lender's request to it."""
    subject_id, borrower = running.person()
    return borrower, lender.request(lender.subject(subject_id), policy_id=POLICY)


@pytest.fixture(scope="module")
def second_lender(running):
    folder = running.world.home("south-lender")
    enrolment = enrolments.enrol(
        folder, role="lender", participant_id="south-lender", title="South"
    )
    admitted = admission.admit(running.world.service, enrolment, **licensed(now()))
    homes.join(folder, admitted.to_bytes(), root_kid=None, now=now())
    with Lender.open(folder) as found:
        yield found


def raw(running, request: bytes, sub: bytes) -> bytes:
    """What the service says to the lender, byte by byte."""
    with running.channel(LENDER) as channel:
        message = pb.GetConsentRequest(request=request, sub=sub)
        return VerificationServiceStub(channel).GetConsent(message).SerializeToString()


def test_the_lender_gets_the_consent_as_soon_as_it_is_registered(lender, asked):
    borrower, request = asked
    given = threading.Timer(0.5, lambda: borrower.consent(borrower.check(request), language="zh"))
    given.start()
    consent = lender.wait(request, timeout_s=30, every_s=0.1)
    given.join()
    assert verify_consent(consent).request == parse_request(request).jws.id


def test_waiting_ends_in_time_and_goes_on_when_it_is_asked_again(lender, asked):
    borrower, request = asked
    with pytest.raises(Unreachable) as caught:
        lender.wait(request, timeout_s=0.2, every_s=0.1)
    assert caught.value.reason == "NO_CONSENT_YET"
    consent = borrower.consent(borrower.check(request), language="en")
    assert lender.wait(request, timeout_s=0) == consent


def test_all_signatures_come_and_what_is_paused_or_revoked_is_told(running, lender):
    subject_id, borrower = running.person()
    request = lender.request(lender.subject(subject_id), policy_id=POLICY)
    consent = borrower.consent(borrower.check(request), language="en")
    key = Ed25519Signer(os.urandom(32))
    proof = borrowers.prove_possession(key, provider=PROVIDER)
    with running.world.provider() as provider:
        provider.freeze(verify_consent(consent).keys[0].kid)
        with pytest.raises(Refused) as caught:
            lender.wait(request, timeout_s=0)
        assert caught.value.reason == "CONSENT_PAUSED"
        bound = provider.bind([(subject_id, proof)])[0]
    new = Borrower(key, make_pass(running.home(PROVIDER), bound.sub))
    whole = new.cosign(consent)
    assert lender.wait(request, timeout_s=0) == whole

    new.revoke(whole)
    with pytest.raises(Refused) as caught:
        lender.wait(request, timeout_s=60)
    assert caught.value.reason == "CONSENT_REVOKED"
    assert lender.consented(request).consent == whole, "it stays the lender's evidence"


def test_a_consent_that_its_borrower_pauses_is_waited_for_until_it_is_resumed(lender, asked):
    borrower, request = asked
    consent = borrower.consent(borrower.check(request), language="en")
    borrower.pause(consent)
    with pytest.raises(Refused) as caught:
        lender.wait(request, timeout_s=0)
    assert caught.value.reason == "CONSENT_PAUSED"
    assert "key" not in str(caught.value), "which of the causes it is, is not the lender's business"

    resumed = threading.Timer(0.5, lambda: borrower.resume(consent))
    resumed.start()
    assert lender.wait(request, timeout_s=30, every_s=0.1) == consent
    resumed.join()


def test_nothing_is_told_of_a_borrower_who_has_not_consented_to_this(running, lender, asked):
    _, request = asked
    parsed = parse_request(request)
    _, other, _ = running.consented(lender)
    found = verify_consent(other)
    tries = {
        "known, not consented": (parsed.jws.id, parsed.terms.sub),
        "known, consented to another request": (parsed.jws.id, found.terms.sub),
        "another request, another borrower": (found.request, parsed.terms.sub),
        "unknown borrower": (parsed.jws.id, os.urandom(32)),
        "unknown request": (os.urandom(32), found.terms.sub),
    }
    assert {raw(running, *names) for names in tries.values()} == {b""}
    assert raw(running, found.request, found.terms.sub) != b""


@pytest.mark.parametrize("names", [(bytes(31), bytes(32)), (bytes(32), b"")])
def test_a_request_or_a_borrower_is_named_in_full(running, names):
    with pytest.raises(grpc.RpcError) as caught:
        raw(running, *names)
    assert "WRONG_LENGTH" in str(caught.value.trailing_metadata())


def test_another_lender_does_not_get_it(running, lender, second_lender):
    _, consent, _ = running.consented(lender)
    found = verify_consent(consent)
    message = pb.GetConsentRequest(request=found.request, sub=found.terms.sub)
    assert second_lender._verification.GetConsent(message).SerializeToString() == b""


def test_a_service_that_gives_another_consent_is_caught(running, lender, asked, monkeypatch):
    """The newest one of this borrower, say, under longer terms."""
    _, request = asked
    _, other, _ = running.consented(lender)
    lie = pb.GetConsentResponse(consent=other, state="CONSENT_STATE_ACTIVE")
    monkeypatch.setattr("credproof.lender.call", lambda *_: lie)
    with pytest.raises(VerificationFailed) as caught:
        lender.wait(request, timeout_s=0)
    assert caught.value.reason == "OTHER_CONSENT"


# -- one request, one consent


def test_a_request_is_good_for_one_consent(asked):
    borrower, request = asked
    checked = borrower.check(request)
    first = borrower.consent(checked, language="en")
    borrower.grant(first)  # the same one again changes nothing
    with pytest.raises(Conflict) as caught:
        borrower.consent(checked, language="zh")
    assert caught.value.reason == "REQUEST_USED"


def test_a_revoked_consent_does_not_free_its_request(asked):
    borrower, request = asked
    checked = borrower.check(request)
    borrower.revoke(borrower.consent(checked, language="en"))
    with pytest.raises(Conflict) as caught:
        borrower.consent(checked, language="en")
    assert caught.value.reason == "REQUEST_USED"


def test_nobody_uses_up_the_request_of_somebody_else(running, lender, asked):
    """Another borrower, of another request, consents and says that it answers this one."""
    borrower, request = asked
    subject_id, stranger = running.person()
    own = stranger.check(lender.request(lender.subject(subject_id), policy_id=POLICY))
    stolen = replace(own.request, jws=parse_request(request).jws)
    stranger.consent(replace(own, request=stolen), language="en")

    assert lender.consented(request) is None
    consent = borrower.consent(borrower.check(request), language="en")
    assert lender.wait(request, timeout_s=0) == consent
