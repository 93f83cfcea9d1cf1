"""An older version of a policy is asked under after it has ended."""

from __future__ import annotations

import time

import grpc
import pytest
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof_server import policies

from tests.proposing import proposed, variant
from tests.rpc.conftest import LENDER
from tests.rpc.test_journey import put

NAME = "dated-standing"
FIRST, SECOND = (variant(NAME, version=version) for version in (1, 2))


def publish(running, policy, since: int, **dates) -> None:
    service = running.world.service
    policies.publish(service, proposed(service, policy, since, **dates).to_bytes())


def agreed(running, lender) -> tuple[str, str]:
    subject_id, borrower = running.person()
    request = lender.request(lender.subject(subject_id), policy_id=NAME)
    return subject_id, borrower.consent(borrower.check(request), language="zh")


def version_asked_for(running) -> int:
    with running.world.lender() as lender:
        return lender.trust.newest_policy(NAME, int(time.time())).version


def test_what_has_ended_is_refused_what_it_answered_stands_and_it_can_come_back(running):
    start = int(time.time()) - 100
    publish(running, FIRST, start)
    with running.world.lender() as lender:
        asked, waiting = agreed(running, lender), agreed(running, lender)
        kept = lender.ask(lender.subject(asked[0]), policy_id=NAME, consent=asked[1])
        question = put(running, lender, *waiting)

    publish(running, SECOND, start + 50)
    assert version_asked_for(running) == 2
    end = int(time.time()) + 1
    publish(running, FIRST, start, until=end)
    while time.time() < end + 1:  # whole seconds: it is in force until the end of the last one
        time.sleep(0.1)

    with running.channel(LENDER) as channel, pytest.raises(grpc.RpcError) as caught:
        VerificationServiceStub(channel).Ask(question)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    with running.world.lender() as lender:
        assert lender.verify(kept.bundle).policy == FIRST

    publish(running, FIRST, int(time.time()))
    assert version_asked_for(running) == 1
    with running.world.lender() as lender:
        assert lender.verify(kept.bundle).policy == FIRST
