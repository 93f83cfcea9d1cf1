"""The running custodian: one listener, from start to drain."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import grpc
from credproof.base.errors import Conflict
from credproof.home import Home
from credproof.v1 import pseudonym_service_pb2_grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from credproof_server.custodian.directory import QUOTA, CustodianDirectory
from credproof_server.custodian.holder import CustodianGuard, Holder
from credproof_server.custodian.quota import QuotaBook
from credproof_server.custodian.trust_copy import REFRESH_S, TrustCopy
from credproof_server.directory import now
from credproof_server.rpc.listening import DRAIN_S, OPTIONS
from credproof_server.rpc.servicers import PseudonymServicer

SERVICE: Final = "credproof.v1.PseudonymService"

Announce = Callable[[str], None]


async def serve(directory: CustodianDirectory, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `announce` gets the address once it listens.

    It may start before the service: it answers once it has heard from it.

    Raises:
        Malformed: `NO_PARTICIPANT` before it has joined.
        Conflict: `IN_USE`, `NO_ADDRESS`.
        DataLoss: the share or the counts cannot be read.
    """
    with directory.locked():
        share, home = directory.share(), directory.home()
        book, trust = QuotaBook(directory.folder / QUOTA), TrustCopy(home, now)
        try:
            holder = Holder(share, trust, directory.config, book)
            await _serve(directory.config.listen, home, trust, holder, announce)
        finally:
            trust.close()
            book.close()


async def _serve(
    listen: str, home: Home, trust: TrustCopy, holder: Holder, announce: Announce
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    checks = health.aio.HealthServicer()
    server = make_server(trust, holder, checks)
    _bind(server, listen, home)
    await _tell_health(trust, checks)
    await server.start()
    announce(listen)
    keeping = asyncio.create_task(_keep(trust, checks))
    await stop.wait()
    keeping.cancel()
    await server.stop(DRAIN_S)


def make_server(trust: TrustCopy, holder: Holder, checks: Any) -> grpc.aio.Server:
    """The server with all that it serves, not bound yet."""
    server = grpc.aio.server(interceptors=[CustodianGuard(trust)], options=OPTIONS)
    pseudonym_service_pb2_grpc.add_PseudonymServiceServicer_to_server(
        PseudonymServicer(holder), server
    )
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    return server


def _bind(server: grpc.aio.Server, listen: str, home: Home) -> None:
    authority, key, certificate = home.tls()
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )
    try:
        server.add_secure_port(listen, credentials)
    except RuntimeError as error:
        raise Conflict("NO_ADDRESS", f"cannot listen on {listen}") from error


async def _keep(trust: TrustCopy, checks: Any) -> None:
    """Read the bundle again and again, and tell whether callers are answered."""
    while True:
        await trust.refresh()
        await _tell_health(trust, checks)
        await asyncio.sleep(REFRESH_S)


async def _tell_health(trust: TrustCopy, checks: Any) -> None:
    status = health_pb2.HealthCheckResponse
    for name in ("", SERVICE):
        await checks.set(name, status.SERVING if trust.is_fresh else status.NOT_SERVING)


def run(folder: Path, announce: Announce) -> None:
    """As `serve`, from a synchronous program."""
    asyncio.run(serve(CustodianDirectory(folder), announce))
