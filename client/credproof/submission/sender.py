"""Sending batches over one stream: in order, a few ahead, and again when the line breaks."""

from __future__ import annotations

import queue
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from typing import Any

import grpc

from credproof.attestation.sealing import Route, SealingPublicKey
from credproof.base.errors import CredproofError, DataLoss, Unreachable
from credproof.channel import BACK_OFF_S
from credproof.records.outbox import Item
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.wire.errors import from_call

STREAM_LIFE_S = 300.0
"""After how long a stream is opened anew, in seconds: a dead line is noticed by then."""

_Requests = queue.SimpleQueue[pb.SubmitAttestationsRequest | None]


class Sender:
    """Sends sealed batches; `result` gives what became of the oldest one."""

    def __init__(
        self, stub: AttestationServiceStub, sealing_key: SealingPublicKey, route: Route
    ) -> None:
        self._stub = stub
        self._sealing_key = sealing_key
        self._route = route
        self._sent: deque[tuple[Sequence[Item], pb.SubmitAttestationsRequest]] = deque()
        self._requests: _Requests = queue.SimpleQueue()
        self._replies: Any = None

    @property
    def waiting(self) -> int:
        """How many batches have no result yet."""
        return len(self._sent)

    def send(self, items: Sequence[Item]) -> None:
        """Seal a batch and put it on its way."""
        sealed = self._sealing_key.seal([item.package for item in items], self._route)
        request = pb.SubmitAttestationsRequest(sealed_batch=sealed)
        self._sent.append((items, request))
        if self._replies is None:
            self._open()
        else:
            self._requests.put(request)

    def result(self) -> list[tuple[Item, pb.SubmitResult]]:
        """The oldest batch's items, each with its result.

        Raises:
            DataLoss: `BAD_REPLY`.
            CredproofError: the service refuses the batch; `Unreachable` after some attempts.
        """
        items, reply = self._sent[0][0], self._next()
        if len(reply.results) != len(items):
            raise DataLoss("BAD_REPLY", "the service gave another number of results than items")
        self._sent.popleft()
        return list(zip(items, reply.results, strict=True))

    def close(self) -> None:
        """Let go of the stream; what has no result is sent again by the next run."""
        self._requests.put(None)
        if self._replies is not None:
            self._replies.cancel()
            self._replies = None

    def _next(self) -> Any:
        waits: Iterator[float | None] = chain(BACK_OFF_S, repeat(None))
        while True:
            try:
                return next(self._replies)
            except (grpc.RpcError, StopIteration) as failed:
                error = _error(failed)
            wait_s = next(waits)
            if wait_s is None or not _is_passing(error):
                raise error
            time.sleep(wait_s)
            self.close()
            self._open()

    def _open(self) -> None:
        """A new stream, on which everything without a result is sent (again)."""
        self._requests = queue.SimpleQueue()
        for _, request in self._sent:
            self._requests.put(request)
        requests = iter(self._requests.get, None)
        self._replies = self._stub.StreamAttestations(requests, timeout=STREAM_LIFE_S)


def _error(failed: grpc.RpcError | StopIteration) -> CredproofError:
    if isinstance(failed, grpc.Call):
        return from_call(failed)
    return Unreachable("NO_ANSWER", "the service ended the stream")


def _is_passing(error: CredproofError) -> bool:
    """Whether sending the same bytes again may help."""
    return isinstance(error, Unreachable) or error.reason == "STREAM_IDLE"
