"""A row of the table of attacks, and what came of sending it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
from credproof.v1.attestation_service_pb2 import ItemError
from credproof.v1.verification_service_pb2 import AskError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from tests.adversary.stage import Stage

ITEM = "ITEM"
"""Instead of a gRPC code: the call is answered, the one item in it is refused."""


@dataclass(frozen=True)
class Attack:
    """`send` makes the input and sends it. `code` is the name of a gRPC code, or `ITEM`.

    `fault` says what is wrong with the service while the row does not hold.
    """

    name: str
    send: Callable[[Stage], Any]
    code: str
    reason: str | None
    step: int | None = None
    says: str = ""
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """What the sender saw; `text` is all of it."""

    code: str
    reason: str | None
    step: int | None
    text: str


def carry_out(attack: Attack, stage: Stage) -> Outcome:
    """Send one row."""
    try:
        reply = attack.send(stage)
    except grpc.RpcError as error:
        return _refused(error)
    if isinstance(reply, ItemError | AskError):
        step = reply.step if isinstance(reply, ItemError) and reply.HasField("step") else None
        return Outcome(ITEM, reply.reason, step, str(reply))
    return Outcome("OK", None, None, repr(reply))


def _refused(call: Any) -> Outcome:
    text = f"{call.details()}\n{call.trailing_metadata()}"
    status = rpc_status.from_call(call)
    info = error_details_pb2.ErrorInfo()
    if status is None or not status.details or not status.details[0].Unpack(info):
        return Outcome(call.code().name, None, None, text)
    step = info.metadata.get("step")
    return Outcome(call.code().name, info.reason, int(step) if step else None, f"{text}\n{info}")


def item(name: str, package: Callable[[Stage], bytes], reason: str, step: int) -> Attack:
    """A row whose input is one package in an honestly sealed batch."""
    return Attack(name, lambda stage: stage.submit_item(package(stage)), ITEM, reason, step)
