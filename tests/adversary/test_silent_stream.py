"""A provider keeps a stream open, silent or not, while its right to attest ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import grpc
import pytest
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.wire.errors import from_call
from credproof_server import admission
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.rpc.conftest import PROVIDER
from tests.rpc.registry import changed, participant
from tests.rpc.test_stream import batches
from tests.world import KEY_BINDING

__all__ = ["batches"]
DEADLINE_S = 15
"""Far less than what ends a stream for being silent."""


class Sending:
    """Messages that are sent when `go_on` is set, and silence before."""

    def __init__(self, first, then=None) -> None:
        self.go_on = threading.Event()
        self._messages = [first, *([then] if then else [])]

    def __iter__(self) -> Iterator:
        yield self._messages[0]
        self.go_on.wait(4 * DEADLINE_S)
        yield from self._messages[1:]


def test_the_silent_stream_of_a_suspended_provider_is_ended_and_health_is_still_told(
    running, batches
):
    service = running.world.service
    sending = Sending(batches("a"))
    with running.channel(PROVIDER) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        replies = AttestationServiceStub(channel).StreamAttestations(
            iter(sending), timeout=DEADLINE_S
        )
        assert next(replies).results[0].HasField("receipt")
        admission.set_status(service, PROVIDER, "suspended")
        try:
            with pytest.raises(grpc.RpcError) as caught:
                next(replies)
            assert from_call(caught.value).reason == "NOT_PERMITTED"
            assert watch.is_active()
        finally:
            sending.go_on.set()
            admission.set_status(service, PROVIDER, "active")
            watch.cancel()


def test_a_schema_taken_from_a_provider_is_refused_on_its_open_stream(running, batches):
    sending = Sending(batches("b"), batches("c"))
    with running.channel(PROVIDER) as channel:
        replies = AttestationServiceStub(channel).StreamAttestations(
            iter(sending), timeout=DEADLINE_S
        )
        assert next(replies).results[0].HasField("receipt")
        with changed(running, participant(PROVIDER, schemas=(KEY_BINDING.digest,))):
            sending.go_on.set()
            assert next(replies).results[0].error.reason == "SCHEMA_NOT_ALLOWED"
