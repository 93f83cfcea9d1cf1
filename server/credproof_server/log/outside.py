"""Asking others over HTTP beside the commits: bounded in size and time, patient with who fails."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import SplitResult, urlsplit

from credproof.base.errors import Unreachable

TIMEOUT_S: Final = 5.0
"""How long somebody may take to say something, in seconds."""
DEADLINE_S: Final = 10.0
"""How long a whole call may last, in seconds, once connected: who drips does not hold us up."""
_PORTS: Final = {"http": 80, "https": 443}


def call(
    url: str,
    method: str,
    body: bytes = b"",
    *,
    reason: str,
    bytes_max: int,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """One HTTP call; gives status and body, cut one byte beyond the limit.

    Redirects are not followed.

    Raises:
        Unreachable: with this reason.
    """
    try:
        parts = urlsplit(url)
        with _connected(parts) as connection:
            target = parts._replace(scheme="", netloc="").geturl() or "/"
            connection.request(method, target, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(bytes_max + 1)
    except (OSError, KeyError, ValueError, AttributeError, http.client.HTTPException) as error:
        raise Unreachable(reason, "somebody who was asked gave no answer") from error


@contextmanager
def _connected(parts: SplitResult) -> Iterator[http.client.HTTPConnection]:
    host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
    raw = socket.create_connection((host, port), TIMEOUT_S)
    guard = raw.dup()  # ends the connection whatever wraps it
    timer = threading.Timer(DEADLINE_S, _shut, [guard])
    timer.daemon = True
    timer.start()
    connection = http.client.HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    try:
        connection.sock = raw if parts.scheme == "http" else _wrapped(raw, host)
        yield connection
    finally:
        timer.cancel()
        connection.close()
        raw.close()
        guard.close()


def _wrapped(raw: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(raw, server_hostname=host)


def _shut(guard: socket.socket) -> None:
    with suppress(OSError):
        guard.shutdown(socket.SHUT_RDWR)


@dataclass(slots=True)
class Patience:
    """From when on somebody is asked again: who fails is left alone, longer each time.

    `pause_max_s` is the longest pause, in seconds; times are those of a monotonic clock.
    """

    pause_max_s: float
    failures: int = 0
    not_before: float = 0.0

    def is_due(self, now: float) -> bool:
        return now >= self.not_before

    def failed(self, now: float) -> None:
        self.failures += 1
        self.not_before = now + min(self.pause_max_s, 2.0 ** min(self.failures, 30) / 2)

    def succeeded(self, now: float, rest_s: float = 0.0) -> None:
        """All is well; it is asked again after a rest."""
        self.failures, self.not_before = 0, now + rest_s
