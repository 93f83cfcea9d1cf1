"""Serving HTTP: one small server for what browsers, auditors' tools and other logs read."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import uvicorn
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from credproof.base.errors import Conflict, Unreachable
from credproof.base.limits import at_most

DRAIN_S: Final = 10
"""How long calls in flight may take to end after SIGTERM, in seconds."""
KEEP_ALIVE_S: Final = 5
CONNECTIONS_MAX: Final = 200
"""Connections at once: beyond it, callers are told to come back."""
BODY_S: Final = 10.0
"""How long a body may take to arrive, in seconds."""
HEADERS_BYTES_MAX: Final = 16_384
_REASONS: Final = {404: "NO_SUCH_PATH", 405: "METHOD_NOT_ALLOWED"}
_NOT_KEPT: Final = {"cache-control": "no-store"}
Tls = tuple[str, str] | None
"""The files of certificate chain and key, PEM."""


class WebServer(uvicorn.Server):
    """An application on a socket, in a loop whose signals are somebody else's business."""

    def __init__(self, app: ASGIApp, listening: socket.socket, tls: Tls = None) -> None:
        certificate, key = tls or (None, None)
        config = uvicorn.Config(
            app,
            lifespan="off",
            http="h11",
            ws="none",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=DRAIN_S,
            h11_max_incomplete_event_size=HEADERS_BYTES_MAX,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
        super().__init__(config)
        self._listening = listening

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def run_until(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then let calls in flight end."""
        serving = asyncio.create_task(self.serve(sockets=[self._listening]))
        await stop.wait()
        self.should_exit = True
        await serving


def bind(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one.

    Raises:
        Conflict: `NO_ADDRESS`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise Conflict("NO_ADDRESS", f"cannot listen on {host}:{port}") from error


def bind_to(listen: str) -> socket.socket:
    """As `bind`, to `host:port` in one text.

    Raises:
        Conflict: `NO_ADDRESS`.
    """
    host, _, port = listen.rpartition(":")
    if not port.isdecimal():
        raise Conflict("NO_ADDRESS", f"cannot listen on {listen}: name host:port")
    return bind(host.strip("[]"), int(port))


def address_of(listening: socket.socket) -> str:
    """`host:port` of a bound socket."""
    host, port = listening.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def serve(
    app: ASGIApp, listening: socket.socket, *, announce: Callable[[], None], tls: Tls = None
) -> None:
    """Serve until SIGTERM or SIGINT; exit code 0 then, as of `credproof serve`."""

    async def until_signal() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        announce()
        await WebServer(app, listening, tls).run_until(stop)

    asyncio.run(until_signal())


def told(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as other tools get it: its reason, and nothing else; no cache keeps it.

    What is not there yet may be there a second later.
    """
    return PlainTextResponse(f"{reason}\n", status, {**_NOT_KEPT, **(headers or {})})


def not_served(record: Callable[[int, str], None]) -> dict[Any, Any]:
    """Handlers for whatever no route takes, and for faults; `record` is told status and reason."""

    async def refuse(_request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException), "registered for no other"
        reason = _REASONS.get(error.status_code, "BAD_REQUEST")
        record(error.status_code, reason)
        return told(error.status_code, reason, error.headers)

    async def fail(_request: Request, _error: Exception) -> Response:
        record(500, "INTERNAL")
        return told(500, "INTERNAL")

    return {HTTPException: refuse, Exception: fail}


async def body_of(request: Request, limit: int) -> bytes:
    """The whole body, bounded in size (bytes) and time.

    Raises:
        LimitExceeded: it is longer.
        Unreachable: `TOO_SLOW`.
    """
    body = b""
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.stream():
                body += part
                at_most(len(body), limit, "body")
    except (TimeoutError, ClientDisconnect) as error:
        raise Unreachable("TOO_SLOW", "the request was not sent in time") from error
    return body
