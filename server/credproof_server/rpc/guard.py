"""The door of both listeners: identify, authorise, check limits, then call; translate errors."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Protocol

import grpc
from credproof.base.errors import CredproofError, Internal, Malformed, Refused
from credproof.verification.trust import Trust
from credproof.wire import limits
from credproof.wire.errors import code_of, to_status
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from credproof_server.rpc import identity
from credproof_server.rpc.authorization import ANYONE, UNLICENSED, Listener, allowed
from credproof_server.rpc.identity import Borrowers, Caller
from credproof_server.service.damage import DamageMet
from credproof_server.service.fair_use import require_licensed

Context = grpc.aio.ServicerContext[Any, Any]
STREAM_IDLE_S: Final = 60.0
"""How long a stream may be silent before it is ended, in seconds."""
STANDING_S: Final = 0.5
"""How often the caller of a silent stream is looked up again, in seconds."""

_log = logging.getLogger("credproof.rpc")


class Registered(Protocol):
    """Who knows the participants: the service, or whoever keeps a copy of its trust bundle."""

    @property
    def trust(self) -> Trust: ...

    @property
    def clock(self) -> Callable[[], int]: ...


class Guard(grpc.aio.ServerInterceptor):
    """Wraps every RPC of a listener; what is told as damage is noted in `damage` too."""

    def __init__(
        self, core: Registered, listener: Listener, damage: DamageMet | None = None
    ) -> None:
        self._core = core
        self._damage = damage or DamageMet()
        self._listener: Listener = listener
        self._borrowers = Borrowers()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        details: grpc.HandlerCallDetails,
    ) -> Any:
        handler = await continuation(details)
        if handler is None:
            return None
        roles = allowed(self._listener, details.method)
        if roles == ANYONE:
            return handler
        if handler.unary_unary is not None:
            return self._unary(handler, details, roles)
        if handler.stream_stream is not None:
            return self._stream(handler, details, roles)
        return None  # RPCs of other shapes have no door: deny by default

    def _unary(
        self, handler: Any, details: grpc.HandlerCallDetails, roles: frozenset[str]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def call(body: bytes, context: Context) -> Any:
            async with _answered(details.method, context, self._damage):
                await self._admit(details, roles, body, context)
                return await handler.unary_unary(_parse(handler, body), context)

        return grpc.unary_unary_rpc_method_handler(
            call, request_deserializer=None, response_serializer=handler.response_serializer
        )

    def _stream(
        self, handler: Any, details: grpc.HandlerCallDetails, roles: frozenset[str]
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def call(bodies: AsyncIterator[bytes], context: Context) -> AsyncIterator[Any]:
            async with _answered(details.method, context, self._damage):
                await self._admit(details, roles, b"", context)
                caller = identity.caller()

                def still() -> None:
                    self._require_standing(caller, details.method)

                messages = _messages(handler, bodies, still)
                async for reply in handler.stream_stream(messages, context):
                    yield reply

        return grpc.stream_stream_rpc_method_handler(
            call, request_deserializer=None, response_serializer=handler.response_serializer
        )

    async def _admit(
        self,
        details: grpc.HandlerCallDetails,
        roles: frozenset[str],
        body: bytes,
        context: Context,
    ) -> None:
        caller = self._identify(details, body, context)
        if caller.role not in roles:
            raise Refused("NOT_PERMITTED", "the service does not permit this")
        self._require_standing(caller, details.method)
        identity.set_caller(caller)

    def _require_standing(self, caller: Caller, method: str) -> None:
        """What may end while a connection or a stream is open: seen again for every message."""
        if self._listener == "borrowers":
            return
        at = self._core.clock()
        participant = identity.require_active(caller, self._core.trust, at)
        if participant.role == "lender" and method not in UNLICENSED:
            require_licensed(participant, at)

    def _identify(self, details: grpc.HandlerCallDetails, body: bytes, context: Context) -> Caller:
        trust = self._core.trust
        if self._listener != "borrowers":
            return identity.participant(context.auth_context(), trust, self._core.clock())
        return self._borrowers.identify(
            context.invocation_metadata() or (),
            service=trust.bundle.domain,
            method=details.method,
            body=body,
            now=self._core.clock(),
        )


@asynccontextmanager
async def _answered(method: str, context: Context, damage: DamageMet) -> AsyncIterator[None]:
    """Whatever fails inside is told to the caller; one line is logged in any case."""
    started = time.perf_counter()
    error: CredproofError | None = None
    try:
        yield
    except CredproofError as found:
        error = found
    except Exception:
        _log.exception("fault in %s", method)
        error = Internal("INTERNAL", "the service failed: nothing was changed")
    finally:
        _record(method, error, time.perf_counter() - started)
        damage.note(method, [error])
    if error is not None:
        await _abort(context, error)


async def _messages(
    handler: Any, bodies: AsyncIterator[bytes], still: Callable[[], None]
) -> AsyncIterator[Any]:
    """The messages of a stream, each checked; a sender that falls silent is sent away.

    `still` raises once the caller may not call any more.

    Raises:
        Refused: `STREAM_IDLE`, and as `still`.
    """
    while (body := await _next(bodies, still)) is not None:
        yield _parse(handler, body)


async def _next(bodies: AsyncIterator[bytes], still: Callable[[], None]) -> bytes | None:
    """The next message, None after the last one."""
    reading = asyncio.ensure_future(anext(bodies, None))
    deadline = time.monotonic() + STREAM_IDLE_S
    try:
        while not reading.done():
            if time.monotonic() >= deadline:
                raise Refused("STREAM_IDLE", "nothing was sent for too long: begin again")
            await asyncio.wait({reading}, timeout=min(STANDING_S, STREAM_IDLE_S))
            still()
        return await reading
    finally:
        reading.cancel()  # does nothing once it is done


def _parse(handler: Any, body: bytes) -> Any:
    try:
        message = handler.request_deserializer(body)
    except DecodeError as error:
        raise Malformed("NOT_A_MESSAGE", "request is not the message of this method") from error
    limits.check(message)
    return message


async def _abort(context: Context, error: CredproofError) -> None:
    status = rpc_status.to_status(to_status(error, secrets.token_hex(8)))
    context.set_trailing_metadata(status.trailing_metadata)
    await context.abort(status.code, status.details)


def _record(method: str, error: CredproofError | None, seconds: float) -> None:
    """One JSON line per call: no participant, no borrower, no figure."""
    record = {
        "method": method,
        "code": "OK" if error is None else code_of(error).name,
        "reason": None if error is None else error.reason,
        "milliseconds": round(seconds * 1000, 1),
    }
    _log.info(json.dumps(record))
