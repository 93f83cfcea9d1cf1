"""The running service: two listeners over one core, from start to drain."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias

import grpc
from credproof import web
from credproof.base.errors import Conflict, CredproofError
from credproof.files import replace_file
from credproof.v1 import (
    attestation_service_pb2_grpc,
    audit_service_pb2_grpc,
    consent_service_pb2_grpc,
    pseudonym_service_pb2_grpc,
    registry_service_pb2_grpc,
    verification_service_pb2_grpc,
)
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from credproof_server import tile_listener
from credproof_server.directory import RUNNING, ServiceDirectory
from credproof_server.log.epochs import EPOCH_S
from credproof_server.log.state import Transaction
from credproof_server.rpc import servicers
from credproof_server.rpc.authorization import Listener
from credproof_server.rpc.guard import Guard
from credproof_server.rpc.listening import DRAIN_S, OPTIONS
from credproof_server.service.core import Core
from credproof_server.service.epochs import Epochs
from credproof_server.service.looking import Looking
from credproof_server.service.pseudonyms import Pseudonyms

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a thread may keep the interpreter while others wait: with the default of 5 ms the
event loop and the sequencer wait for the checking threads, and answers take twice as long."""
_log = logging.getLogger("credproof.app")

HEALTH_S: Final = 1.0
"""How often the health that is told is looked at again, in seconds."""
RENEW_S: Final = 60.0
"""How often it is looked whether metadata of the trust bundle must be signed anew, in seconds."""
TRUST_HEALTH: Final = "credproof.trust"
"""The name under which health says whether what people sign must soon be signed anew."""
DATA_HEALTH: Final = "credproof.data"
"""The name under which health says whether calls met damaged data since the start."""
PUBLISH_S: Final = 1.0
"""How often witnesses are asked about a log that grew, in seconds."""
STAMP_S: Final = 1.0
"""How often it is looked whether a timestamp authority is due, in seconds."""
SERVICES: Final[Mapping[Listener, tuple[str, ...]]] = {
    "participants": (
        "AttestationService",
        "PseudonymService",
        "VerificationService",
        "AuditService",
        "RegistryService",
    ),
    "borrowers": ("ConsentService", "RegistryService"),
}

Health: TypeAlias = Any
"""The servicer of the gRPC library, which has no types."""
Announce = Callable[[Mapping[str, str]], None]
"""Takes the address of each listener, by its name."""


async def serve(directory: ServiceDirectory, announce: Announce) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `announce` gets all addresses once it listens.

    Raises:
        Conflict: `IN_USE`, `UPGRADE_NEEDED`, `NO_ADDRESS`.
        DataLoss: the log is behind or damaged.
    """
    with directory.locked():
        core = directory.open_core()
        try:
            await _serve(directory, core, announce)
        finally:
            core.close()
            (directory.folder / RUNNING).unlink(missing_ok=True)


async def _serve(directory: ServiceDirectory, core: Core, announce: Announce) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    checks = health.aio.HealthServicer()
    participants, first = await _participants(directory, core, checks)
    borrowers, second = await _borrowers(directory, core, checks)
    epochs = Epochs(core)
    await epochs.close()  # before anybody reads what no root has covered since it stopped
    await _tell_health(core, epochs, checks)
    await _renew_once(core, checks)
    await asyncio.gather(participants.start(), borrowers.start())
    addresses = {"participants": first, "borrowers": second}
    tiles = _bind_tiles(directory)
    if tiles is not None:
        addresses["tiles"] = web.address_of(tiles)
    replace_file(directory.folder / RUNNING, json.dumps(addresses).encode())
    announce(addresses)
    works = (
        _watch_health(core, epochs, checks),
        _look(core),
        _publish(core),
        _stamp(core),
        _close_epochs(epochs),
        _renew(core, checks),
    )
    tasks = [asyncio.create_task(work) for work in works]
    if tiles is not None:
        await web.WebServer(tile_listener.application(core), tiles).run_until(stop)
    await stop.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(participants.stop(DRAIN_S), borrowers.stop(DRAIN_S))


def _bind_tiles(directory: ServiceDirectory) -> socket.socket | None:
    """Where the log is read over HTTP, if that is wanted."""
    listen = directory.config.tiles_listen
    return web.bind_to(listen) if listen else None


async def _watch_health(core: Core, epochs: Epochs, checks: Health) -> None:
    """Tell the truth about writing, and try whether it works again even when nobody asks."""
    before = _state(core, epochs)
    while True:
        await asyncio.sleep(HEALTH_S)
        if not core.sequencer.is_writing:
            with suppress(CredproofError):
                await core.commit(Nothing())
        await _tell_health(core, epochs, checks)
        if (now := _state(core, epochs)) != before:
            before = now
            reason = core.sequencer.fault or epochs.fault
            _log.warning(json.dumps({"reason": reason, **now}))


def _state(core: Core, epochs: Epochs) -> dict[str, bool]:
    """What works: writing, and closing epochs of the directory."""
    return {"writing": core.sequencer.is_writing, "closing": epochs.fault is None}


async def _look(core: Core) -> None:
    """Look regularly for what lenders do together; what fails now is found the next time."""
    looking = Looking(core)
    while True:
        with suppress(CredproofError):
            await looking.look()
        await asyncio.sleep(core.rules.look_every_s)


async def _publish(core: Core) -> None:
    """Have witnesses cosign; what fails now is tried again, and keeps nobody else waiting."""
    while True:
        with suppress(CredproofError, OSError):
            await asyncio.to_thread(core.published.publish)
        await asyncio.sleep(PUBLISH_S)


async def _renew(core: Core, checks: Health) -> None:
    """Keep what the service signs itself from expiring."""
    while True:
        await asyncio.sleep(RENEW_S)
        await _renew_once(core, checks)


async def _renew_once(core: Core, checks: Health) -> None:
    """Sign snapshot and timestamp if they are due, and say who else has to sign something."""
    status, due = health_pb2.HealthCheckResponse, ["not renewed"]
    try:
        due = await core.in_thread(lambda: _renewed(core))
    except (CredproofError, OSError) as error:
        reason = getattr(error, "reason", "NOT_WRITTEN")
        _log.warning(json.dumps({"reason": reason, "metadata": "not renewed"}))
    await checks.set(TRUST_HEALTH, status.NOT_SERVING if due else status.SERVING)


def _renewed(core: Core) -> list[str]:
    """Renew; gives the roles that people must sign anew within a month."""
    core.distribution.require_begun()
    core.distribution.renew(core.trust)
    found = [item for item in core.distribution.standings() if item.ends_soon(core.clock())]
    for item in found:
        told = {"metadata": item.role, "expires": item.expires_at}
        _log.warning(json.dumps({"reason": "ENDS_SOON", **told}))
    return [item.role for item in found]


async def _stamp(core: Core) -> None:
    """Have timestamp authorities stamp; who fails is asked again, and keeps nobody waiting."""
    while True:
        await asyncio.to_thread(core.timestamping.stamp)
        await asyncio.sleep(STAMP_S)


async def _close_epochs(epochs: Epochs) -> None:
    while True:
        await asyncio.sleep(EPOCH_S)
        await epochs.close()


class Nothing:
    """A command that writes nothing: it succeeds when others would."""

    def apply(self, tx: Transaction) -> None:
        """Decide nothing."""


async def _tell_health(core: Core, epochs: Epochs, checks: Health) -> None:
    status = health_pb2.HealthCheckResponse
    now = status.SERVING if all(_state(core, epochs).values()) else status.NOT_SERVING
    for name in ("", *(f"credproof.v1.{name}" for names in SERVICES.values() for name in names)):
        await checks.set(name, now)
    await checks.set(DATA_HEALTH, status.NOT_SERVING if core.damage.reason else status.SERVING)


async def _participants(
    directory: ServiceDirectory, core: Core, checks: Health
) -> tuple[grpc.aio.Server, str]:
    guard = Guard(core, "participants", core.damage)
    server = grpc.aio.server(interceptors=[guard], options=OPTIONS)
    attestation_service_pb2_grpc.add_AttestationServiceServicer_to_server(
        servicers.AttestationServicer(core), server
    )
    pseudonym_service_pb2_grpc.add_PseudonymServiceServicer_to_server(
        servicers.PseudonymServicer(Pseudonyms(core)), server
    )
    verification_service_pb2_grpc.add_VerificationServiceServicer_to_server(
        servicers.VerificationServicer(core), server
    )
    audit_service_pb2_grpc.add_AuditServiceServicer_to_server(servicers.AuditServicer(core), server)
    return await _listen(directory, core, server, checks, "participants")


async def _borrowers(
    directory: ServiceDirectory, core: Core, checks: Health
) -> tuple[grpc.aio.Server, str]:
    guard = Guard(core, "borrowers", core.damage)
    server = grpc.aio.server(interceptors=[guard], options=OPTIONS)
    consent_service_pb2_grpc.add_ConsentServiceServicer_to_server(
        servicers.ConsentServicer(core), server
    )
    return await _listen(directory, core, server, checks, "borrowers")


async def _listen(
    directory: ServiceDirectory,
    core: Core,
    server: Any,
    checks: Health,
    listener: Listener,
) -> tuple[grpc.aio.Server, str]:
    """Add what both listeners have, and bind the address; gives it with the port it got."""
    registry_service_pb2_grpc.add_RegistryServiceServicer_to_server(
        servicers.RegistryServicer(core), server
    )
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    full = [f"credproof.v1.{name}" for name in SERVICES[listener]]
    reflection.enable_server_reflection(
        [*full, health.SERVICE_NAME, reflection.SERVICE_NAME], server
    )
    wanted = getattr(directory.config, f"{listener}_listen")
    host = wanted.rpartition(":")[0]
    try:
        port = server.add_secure_port(wanted, _credentials(directory, listener))
    except RuntimeError as error:
        raise Conflict("NO_ADDRESS", f"cannot listen on {wanted}") from error
    return server, f"{host}:{port}"


def _credentials(directory: ServiceDirectory, listener: Listener) -> grpc.ServerCredentials:
    pair = [(directory.keys.read("server"), directory.certificate("server"))]
    if listener == "borrowers":
        return grpc.ssl_server_credentials(pair)
    return grpc.ssl_server_credentials(
        pair, root_certificates=directory.certificate("ca"), require_client_auth=True
    )


def run(folder: Path, announce: Announce) -> None:
    """As `serve`, from a synchronous program."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    asyncio.run(serve(ServiceDirectory(folder), announce))
