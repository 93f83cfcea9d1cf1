"""A stream goes bad after it was good: what had its receipt stays, the rest leaves nothing."""

from __future__ import annotations

import threading

import grpc
import pytest
from credproof.v1 import attestation_service_pb2 as pb
from credproof.wire.errors import from_call

from tests.adversary.attacks.batches import UNKNOWN_FIELD, honest
from tests.adversary.attacks.streams import STREAM, message, sealed_for, stream
from tests.adversary.stage import DOMAIN, PROVIDER, Stage

SECOND = {
    "NOT_A_MESSAGE": lambda stage: b"\xff\xff",
    "NOT_A_MESSAGE of an unknown field": lambda s: message(honest(s)) + UNKNOWN_FIELD,
    "LIMIT_EXCEEDED": lambda stage: message(bytes(3 * 1024 * 1024 + 1)),
    "SEAL_NOT_OPENED": lambda stage: message(bytes(2000)),
    "SEAL_NOT_OPENED for another service": lambda s: message(
        sealed_for("other.example", PROVIDER)(s)
    ),
    "SEAL_NOT_OPENED of another provider": lambda s: message(sealed_for(DOMAIN, "other-bank")(s)),
}


def receipts(replies: list[bytes]) -> list:
    parsed = [pb.SubmitAttestationsResponse.FromString(reply) for reply in replies]
    return [result.receipt for reply in parsed for result in reply.results]


@pytest.mark.parametrize("kind", SECOND)
def test_a_bad_batch_after_a_good_one_ends_the_call_and_the_good_one_stays(stage: Stage, kind):
    good, before = message(honest(stage)), len(stage.entries())
    call = stage.channel(PROVIDER).stream_stream(STREAM, request_serializer=bytes)
    replies = call(iter([good, SECOND[kind](stage), message(honest(stage))]), timeout=20)
    (first,) = receipts([next(replies)])
    with pytest.raises(grpc.RpcError) as caught:
        next(replies)

    assert from_call(caught.value).reason == kind.partition(" ")[0]
    added = stage.entries()[before:]
    assert [(e["kind"], e["seq"]) for e in added] == [("attestation.accepted", first.log_index)]
    assert [first] == receipts(stream(stage, good)), (
        "the good batch is accepted, whatever came after"
    )


def test_a_replayed_batch_gets_its_receipts_again_and_is_logged_once(stage: Stage):
    good, before = message(honest(stage)), len(stage.entries())
    first, again = receipts(stream(stage, good, good))
    assert first == again
    assert receipts(stream(stage, good)) == [first]
    assert len(stage.entries()) == before + 1


def test_a_stream_that_is_opened_and_says_nothing_gets_nothing_and_hinders_nobody(stage: Stage):
    """Silence of a minute ends it: `tests/rpc/test_stream_idle.py` has a shorter minute."""
    assert stream(stage) == []
    go_on = threading.Event()

    def silent():
        go_on.wait(30)
        yield from ()

    call = stage.channel(PROVIDER).stream_stream(STREAM, request_serializer=bytes)
    replies = [call(silent(), timeout=1) for _ in range(20)]
    try:
        assert len(receipts(stream(stage, message(honest(stage))))) == 1
        for reply in replies:
            with pytest.raises(grpc.RpcError) as caught:
                next(reply)
            assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    finally:
        go_on.set()
    assert len(receipts(stream(stage, message(honest(stage))))) == 1
