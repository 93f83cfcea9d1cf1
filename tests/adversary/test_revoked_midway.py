"""A consent is revoked or paused while its lender asks and asks: nothing is answered afterwards."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from credproof.base.errors import Refused
from credproof.channel import call
from credproof.lender import Lender
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub

from tests.rpc.conftest import LENDER
from tests.rpc.registry import add_policy, changed, templates
from tests.rpc.test_journey import put

ASKERS = 4
TOLD = {"revoke": "CONSENT_REVOKED", "pause": "CONSENT_PAUSED"}


@pytest.fixture(scope="module")
def often(running):
    """A policy under which one may ask as often as one likes."""
    policy = add_policy(running, "often-standing", caps={"answers": "100000 per day"})
    with changed(running, templates(answers_per_month=10**6)):
        yield policy.id


@pytest.fixture
def continuing(running, often):
    """A lender, and a borrower with a consent for many answers: id, consent, borrower."""
    with running.world.lender() as lender:
        subject_id, borrower = running.person()
        subject = lender.subject(subject_id)
        request = lender.request(subject, policy_id=often, mode="continuing")
        yield lender, subject_id, borrower.consent(borrower.check(request), language="zh"), borrower


def ask_until_refused(lender: Lender, subject, policy_id: str, consent: str) -> tuple[list, str]:
    """The log indexes of the answers, and why there was none in the end."""
    indexes = []
    while True:
        try:
            kept = lender.ask(subject, policy_id=policy_id, consent=consent)
        except Refused as error:
            return indexes, error.reason
        indexes.append(kept.bundle.logged.log_index)


@pytest.mark.parametrize("end", TOLD)
def test_no_answer_is_logged_after_the_reply(continuing, often, end):
    lender, subject_id, consent, borrower = continuing
    subject = lender.subject(subject_id)
    with ThreadPoolExecutor(ASKERS) as pool:
        asking = [
            pool.submit(ask_until_refused, lender, subject, often, consent) for _ in range(ASKERS)
        ]
        time.sleep(0.4)
        ended_at = getattr(borrower, end)(consent)
        found = [item.result(timeout=30) for item in asking]

    answered = [index for indexes, _ in found for index in indexes]
    assert answered, "it was answered until then"
    assert max(answered) < ended_at
    assert {reason for _, reason in found} == {TOLD[end]}


def test_an_answer_that_was_given_before_is_given_again_as_the_same_bytes(running, continuing):
    lender, subject_id, consent, borrower = continuing
    request = put(running, lender, subject_id, consent)
    stub = VerificationServiceStub(running.channel(LENDER))
    first = call(stub.Ask, request).SerializeToString()
    borrower.revoke(consent)
    assert first == call(stub.Ask, request).SerializeToString()
