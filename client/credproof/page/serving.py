"""The page as a process: one socket, from start to SIGTERM."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn
from starlette.types import ASGIApp

from credproof.base.errors import Conflict

DRAIN_S: Final = 10
"""How long calls in flight may take to end after SIGTERM, in seconds."""
KEEP_ALIVE_S: Final = 5
CONNECTIONS_MAX: Final = 200
"""Connections at once: beyond it, callers are told to come back."""
HEADERS_BYTES_MAX: Final = 16_384


class _Server(uvicorn.Server):
    """A server that a signal ends in the same way as `credproof serve`: with exit code 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._stop)
        yield

    def _stop(self) -> None:
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        Conflict: `NO_ADDRESS`.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        raise Conflict("NO_ADDRESS", f"cannot listen on {host}:{port}") from error


def serve(
    app: ASGIApp,
    listening: socket.socket,
    *,
    tls: tuple[str, str] | None,
    announce: Callable[[], None],
) -> None:
    """Serve until SIGTERM or SIGINT. `tls` are the files of certificate chain and key, PEM."""
    certificate, key = tls or (None, None)
    config = uvicorn.Config(
        app,
        lifespan="off",
        http="h11",
        ws="none",
        log_config=None,
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
    server = _Server(config)
    announce()
    server.run(sockets=[listening])
