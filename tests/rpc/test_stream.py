"""Bulk submission over one call: same checks, same receipts, in order; nobody can hold it open."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import grpc
import pytest
from credproof.attestation.package import pack
from credproof.attestation.statement import Opening, issue
from credproof.base.errors import CredproofError
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.wire.errors import from_call

from tests.deployment import seal, statement
from tests.rpc.conftest import LENDER, PROVIDER
from tests.rpc.test_standing import suspended


@pytest.fixture
def stub(running) -> Iterator[AttestationServiceStub]:
    with running.channel(PROVIDER) as channel:
        yield AttestationServiceStub(channel)


@pytest.fixture
def batches(running):
    """Makes sealed batches of good packages; each account is new."""
    home = running.home(PROVIDER)
    trust = home.trust(at=0)

    def make(*accounts: str) -> pb.SubmitAttestationsRequest:
        packages = []
        for account in accounts:
            made = statement(issuer=PROVIDER, account=f"{account}-{time.monotonic_ns()}")
            opening = Opening(made, bytes(31) + b"\x07")
            packages.append(pack(issue(opening, home.signer), opening))
        sealed = seal(trust, packages, provider=PROVIDER)
        return pb.SubmitAttestationsRequest(sealed_batch=sealed)

    return make


def refused(replies) -> CredproofError:
    with pytest.raises(grpc.RpcError) as caught:
        list(replies)
    return from_call(caught.value)


def test_each_batch_gets_its_receipts_in_order(stub, batches):
    sent = [batches(f"a{i}", f"b{i}") for i in range(5)]
    replies = list(stub.StreamAttestations(iter(sent), timeout=60))

    indexes = [r.receipt.log_index for reply in replies for r in reply.results]
    assert len(replies) == 5
    assert indexes == sorted(indexes)
    assert len(set(indexes)) == 10


def test_what_was_streamed_before_gets_the_same_receipts_again(stub, batches):
    sent = [batches("c"), batches("d")]
    first, again = (list(stub.StreamAttestations(iter(sent), timeout=60)) for _ in range(2))
    assert [r.results for r in first] == [r.results for r in again]


def test_a_batch_that_does_not_open_ends_the_call_after_those_before_it(stub, batches):
    bad = pb.SubmitAttestationsRequest(sealed_batch=bytes(2000))
    replies = stub.StreamAttestations(iter([batches("e"), bad, batches("f")]), timeout=60)
    assert next(replies).results[0].HasField("receipt")
    error = refused(replies)
    assert (error.step, error.reason) == (1, "SEAL_NOT_OPENED")


def test_a_provider_suspended_meanwhile_is_refused_with_its_next_batch(running, stub, batches):
    go_on = threading.Event()

    def sending():
        yield batches("g")
        go_on.wait(30)
        yield batches("h")

    replies = stub.StreamAttestations(sending(), timeout=60)
    assert next(replies).results[0].HasField("receipt")
    with suspended(running, PROVIDER):
        go_on.set()
        assert refused(replies).reason == "NOT_PERMITTED"


def test_a_lender_streams_nothing(running, batches):
    with running.channel(LENDER) as channel:
        replies = AttestationServiceStub(channel).StreamAttestations(iter([batches("i")]))
        assert refused(replies).reason == "NOT_PERMITTED"


def test_rubbish_and_too_much_end_the_call_with_their_reason(running):
    method = "/credproof.v1.AttestationService/StreamAttestations"
    with running.channel(PROVIDER) as channel:
        send = channel.stream_stream(method, request_serializer=bytes)
        assert refused(send(iter([b"\xff\xff"]))).reason == "NOT_A_MESSAGE"
        big = pb.SubmitAttestationsRequest(sealed_batch=bytes(3 * 1024 * 1024 + 1))
        assert refused(send(iter([big.SerializeToString()]))).reason == "LIMIT_EXCEEDED"
