"""Streams of batches whose first batch is bad: the call ends with the batch's reason."""

from __future__ import annotations

import os
from collections.abc import Callable

from credproof.attestation.sealing import Route
from credproof.base import limits
from credproof.v1 import attestation_service_pb2 as pb

from tests.adversary.attack import Attack
from tests.adversary.attacks.batches import UNKNOWN_FIELD, honest, sealed_plain
from tests.adversary.stage import DOMAIN, PROVIDER, Stage

STREAM = "/credproof.v1.AttestationService/StreamAttestations"
BAD = "INVALID_ARGUMENT"


def stream(stage: Stage, *bodies: bytes, who: str = PROVIDER) -> list[bytes]:
    """Send bodies as the messages of one stream; gives the replies."""
    call = stage.channel(who).stream_stream(STREAM, request_serializer=bytes)
    return list(call(iter(bodies), timeout=20))


def message(sealed: bytes) -> bytes:
    return pb.SubmitAttestationsRequest(sealed_batch=sealed).SerializeToString()


def bad(name: str, reason: str, body: Callable[[Stage], bytes], step: int | None = None) -> Attack:
    return Attack(f"a stream of {name}", lambda s: stream(s, body(s)), BAD, reason, step)


def unopened(name: str, sealed: Callable[[Stage], bytes]) -> Attack:
    return bad(name, "SEAL_NOT_OPENED", lambda s: message(sealed(s)), 1)


def sealed_for(service: str, provider: str) -> Callable[[Stage], bytes]:
    return lambda s: s.trust.sealing_key.seal([s.package()], Route(service, provider))


ATTACKS = [
    bad("rubbish", "NOT_A_MESSAGE", lambda s: b"\xff\xff"),
    bad("an unknown field", "NOT_A_MESSAGE", lambda s: message(honest(s)) + UNKNOWN_FIELD),
    bad(
        "a batch over its limit",
        "LIMIT_EXCEEDED",
        lambda s: message(bytes(limits.SEALED_BATCH_BYTES_MAX + 1)),
    ),
    Attack(
        "a stream of a message over 4 MiB",
        lambda s: stream(s, message(bytes(limits.MESSAGE_BYTES_MAX + 1))),
        *("RESOURCE_EXHAUSTED", None),
    ),
    unopened("an empty message", lambda s: b""),
    unopened("random bytes", lambda s: os.urandom(3000)),
    unopened("a package that is not sealed", lambda s: s.package()),
    unopened("half a seal", lambda s: honest(s)[: len(honest(s)) // 2]),
    unopened("a batch for another service", sealed_for("other.example", PROVIDER)),
    unopened("a batch of another provider", sealed_for(DOMAIN, "other-bank")),
    bad("a batch of nothing", "EMPTY_BATCH", lambda s: message(sealed_plain(s, b"")), 1),
    bad("a cut frame", "BAD_FRAME", lambda s: message(sealed_plain(s, b"\0\0\0\x05x")), 1),
    Attack(
        "a stream of a captured batch of another provider",
        lambda s: stream(s, message(honest(s)), who="other-bank"),
        *(BAD, "SEAL_NOT_OPENED", 1),
    ),
]
