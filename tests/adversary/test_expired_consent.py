"""A lender asks under a consent that has ended; somebody else tries what it can learn from one."""

from __future__ import annotations

import os
import time

import grpc
import pytest
from credproof.v1.verification_service_pb2 import PolicyReference
from credproof.verification.consent import verify_consent
from credproof.wire.errors import from_call

from tests.adversary.attacks.questions import ASK, question
from tests.adversary.stage import LENDER, Stage
from tests.adversary.test_uniform_refusals import without_reference

SOUTH = "south-lender"


@pytest.fixture(scope="module")
def ended(stage: Stage) -> Stage:
    """Dan's consent, which was for three seconds, is over."""
    end = verify_consent(stage.consents["dan"]).terms.expires_at
    time.sleep(max(0.0, end + 1.1 - time.time()))
    return stage


def refused(stage: Stage, who: str, **changes) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as caught:
        stage.send(who, ASK, question(stage, "dan", **changes))
    return caught.value


def test_its_lender_is_told_that_it_has_ended(ended):
    assert from_call(refused(ended, LENDER)).reason == "CONSENT_EXPIRED"


def test_its_lender_is_told_nothing_under_another_policy_or_about_another_borrower(ended):
    for change in ({"digest": bytes(32)}, {"sub": ended.subjects["bob"].sub}):
        assert from_call(refused(ended, LENDER, **change)).reason == "NOT_PERMITTED"


def test_another_lender_gets_the_same_bytes_as_for_no_consent(ended):
    found = [refused(ended, SOUTH), refused(ended, SOUTH, consent_id=os.urandom(32))]
    assert len({without_reference(error) for error in found}) == 1
    shapes = {tuple((k, len(v)) for k, v in error.trailing_metadata()) for error in found}
    assert len(shapes) == 1
    assert {from_call(error).reason for error in found} == {"NOT_PERMITTED"}


def test_the_log_shows_an_ended_and_an_unknown_consent_alike_to_others(ended):
    before = len(ended.entries())
    refused(ended, SOUTH)
    refused(ended, SOUTH, consent_id=os.urandom(32))
    first, second = ended.entries()[before:]
    assert (first["kind"], first["actor"], first["fields"]) == (
        *(second["kind"], second["actor"]),
        second["fields"],
    )


def test_a_question_names_a_policy_of_the_consent_or_is_told_nothing(ended):
    """What is told of a consent is told under the policy that it names, by its digest."""
    asked = question(ended, "dan")
    asked.policy.CopyFrom(PolicyReference(id="another", version=1, digest=bytes(32)))
    with pytest.raises(grpc.RpcError) as caught:
        ended.send(LENDER, ASK, asked)
    assert from_call(caught.value).reason == "NOT_PERMITTED"
