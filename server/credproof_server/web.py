"""Serving HTTP: one small server for what is read by browsers, auditors' tools and other logs."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import uvicorn
from credproof.base.errors import Conflict
from starlette.applications import Starlette
from starlette.requests import Request

CONNECTIONS_MAX: Final = 256
"""Connections at once; further ones are told 503."""
IDLE_S: Final = 20
"""How long a connection is kept open between two requests, in seconds."""
DRAIN_S: Final = 10
"""How long requests may take to end after SIGTERM, in seconds."""


class TooLarge(Exception):
    """A request's body is longer than its limit."""


def bind(listen: str) -> socket.socket:
    """A listening socket for `host:port`; port 0 takes a free one.

    Raises:
        Conflict: `NO_ADDRESS`.
    """
    host, _, port = listen.rpartition(":")
    try:
        return socket.create_server((host.strip("[]"), int(port)), reuse_port=False)
    except (OSError, ValueError, OverflowError) as error:
        raise Conflict("NO_ADDRESS", f"cannot listen on {listen}") from error


def address_of(bound: socket.socket) -> str:
    """`host:port` of a bound socket."""
    host, port = bound.getsockname()[:2]
    return f"{host}:{port}"


class WebServer:
    """An application on a bound socket, inside a running event loop that somebody else owns."""

    def __init__(self, app: Starlette, bound: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=DRAIN_S,
        )
        self._server = _Quiet(config)
        self._task = asyncio.create_task(self._server.serve([bound]))

    async def stop(self) -> None:
        """Let requests in flight end."""
        self._server.should_exit = True
        await self._task


class _Quiet(uvicorn.Server):
    """Signals are the business of whoever owns the loop."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def run(app: Starlette, listen: str, announce: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT; `announce` gets the address once it listens.

    Raises:
        Conflict: `NO_ADDRESS`.
    """

    async def serve() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        bound = bind(listen)
        server = WebServer(app, bound)
        announce(address_of(bound))
        await stop.wait()
        await server.stop()

    asyncio.run(serve())


async def body(request: Request, limit: int) -> bytes:
    """The body of a request, read no further than its limit.

    Raises:
        TooLarge: it is longer than `limit` bytes.
    """
    data = b""
    async for chunk in request.stream():
        data += chunk
        if len(data) > limit:
            raise TooLarge
    return data
