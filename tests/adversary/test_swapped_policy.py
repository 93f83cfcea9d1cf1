"""A policy is exchanged for another one under the same name and version."""

from __future__ import annotations

import grpc
import pytest
from credproof.base.errors import CredproofError, VerificationFailed
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof_server import policies

from tests.proposing import proposed, variant
from tests.rpc.conftest import LENDER
from tests.rpc.test_journey import put
from tests.world import POLICY


def test_another_policy_under_the_same_id_and_version_is_not_published(running):
    twin = variant(POLICY.id, fresh="9999d")
    with pytest.raises(CredproofError) as caught:
        policies.publish(running.world.service, proposed(running.world.service, twin).to_bytes())
    assert caught.value.reason == "VERSION_TAKEN"


def test_a_lender_that_names_the_digest_it_expects_gets_no_other(lender, running):
    subject = lender.subject(running.person()[0])
    twin = variant(POLICY.id, fresh="9999d")
    assert lender.request(subject, policy_id=POLICY.id, digest=POLICY.ref.digest)
    with pytest.raises(VerificationFailed) as caught:
        lender.request(subject, policy_id=POLICY.id, digest=twin.ref.digest)
    assert caught.value.reason == "OTHER_POLICY"


def test_a_question_under_another_digest_than_the_consents_is_refused(running, lender):
    subject_id, consent, _ = running.consented(lender)
    request = put(running, lender, subject_id, consent)
    request.policy.digest = variant(POLICY.id, fresh="9999d").ref.digest
    with running.channel(LENDER) as channel, pytest.raises(grpc.RpcError) as caught:
        VerificationServiceStub(channel).Ask(request)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert lender.ask(lender.subject(subject_id), policy_id=POLICY.id, consent=consent)
