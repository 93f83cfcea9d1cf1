"""One operator alone, even with the root key, tries to put a policy in force."""

from __future__ import annotations

from dataclasses import replace

import grpc
import pytest
from credproof.base.errors import CredproofError
from credproof.channel import connect
from credproof.home import Home
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.trust import sign_trust
from credproof_server import policies
from credproof_server.directory import OPERATOR, ServiceDirectory
from google.rpc import error_details_pb2, status_pb2

from tests.proposing import proposed, variant


def reason_of(error: grpc.RpcError) -> str:
    status = status_pb2.Status.FromString(
        dict(error.trailing_metadata())["grpc-status-details-bin"]
    )
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return info.reason


def send(running, trust, pin, policy) -> str:
    """Publish a bundle that the real root signs, over the operator's own connection."""
    directory = ServiceDirectory(running.world.service)
    bundle = replace(
        trust.bundle,
        version=trust.bundle.version + 1,
        policies=(*trust.bundle.policies, pin),
    )
    package = pb.TrustPackage(
        bundle=sign_trust(directory.root_signer(), bundle),
        documents=[*trust.documents, policy.document],
    )
    with (
        connect(Home(directory.folder / OPERATOR), address=directory.addresses()[0]) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        RegistryServiceStub(channel).PublishTrustBundle(
            pb.PublishTrustBundleRequest(package=package)
        )
    return reason_of(caught.value)


def test_one_approval_is_not_enough_though_the_root_signed(running, lender):
    policy = variant("lone-standing")
    pin = proposed(running.world.service, policy, by=(OPERATOR,)).pin
    assert send(running, lender.trust, pin, policy) == "NOT_APPROVED"


def test_approving_twice_does_not_help(running, lender):
    policy = variant("lone-standing")
    one = proposed(running.world.service, policy, by=(OPERATOR,)).pin
    pin = replace(one, approvals=one.approvals * 2)
    assert send(running, lender.trust, pin, policy) == "NOT_APPROVED"


def test_the_dates_cannot_be_stretched_after_the_second_has_signed(running, lender):
    policy = variant("lone-standing")
    pin = proposed(running.world.service, policy, until=2_000_000_000).pin
    stretched = replace(pin, valid_until=pin.valid_until + 1)
    assert send(running, lender.trust, stretched, policy) == "OTHER_APPROVAL"


def test_the_command_refuses_before_it_sends(running):
    proposal = proposed(running.world.service, variant("lone-standing"), by=(OPERATOR,))
    with pytest.raises(CredproofError) as caught:
        policies.publish(running.world.service, proposal.to_bytes())
    assert caught.value.reason == "NOT_APPROVED"


def test_nothing_of_it_is_in_force(running, lender):
    assert not any(ref.id == "lone-standing" for ref in lender.trust.policies)
