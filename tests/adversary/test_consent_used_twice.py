"""A lender races itself: a consent for one answer gives one, by whatever call."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from credproof.base.errors import CredproofError, Refused
from credproof.channel import call
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub

from tests.rpc.conftest import LENDER
from tests.rpc.test_journey import put

CALLS = 6


def test_questions_and_batches_that_race_use_a_once_once(running, lender):
    subject_id, consent, _ = running.consented(lender)
    stub = VerificationServiceStub(running.channel(LENDER))
    asked = [put(running, lender, subject_id, consent) for _ in range(4 * CALLS)]

    def one(place: int) -> list[str]:
        try:
            call(stub.Ask, asked[place])
        except CredproofError as error:
            return [error.reason]
        return ["answered"]

    def several(place: int) -> list[str]:
        batch = pb.BatchAskRequest(requests=asked[CALLS + 3 * place : CALLS + 3 * place + 3])
        results = call(stub.BatchAsk, batch).results
        return [r.error.reason if r.HasField("error") else "answered" for r in results]

    with ThreadPoolExecutor(2 * CALLS) as pool:
        singles, batches = pool.map(one, range(CALLS)), pool.map(several, range(CALLS))
        found = [told for results in (*singles, *batches) for told in results]
    assert sorted(found) == ["CONSENT_USED_UP"] * (4 * CALLS - 1) + ["answered"]


def test_neither_another_signature_nor_a_pause_gives_it_a_second_use(running, lender):
    subject_id, consent, borrower = running.consented(lender)
    lender.ask(lender.subject(subject_id), policy_id="revolving-standing", consent=consent)
    borrower.grant(consent)
    borrower.pause(consent)
    borrower.resume(consent)
    stub = VerificationServiceStub(running.channel(LENDER))
    with pytest.raises(Refused) as caught:
        call(stub.Ask, put(running, lender, subject_id, consent))
    assert caught.value.reason == "CONSENT_USED_UP"
