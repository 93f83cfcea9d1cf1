"""Disks that fill, clocks that jump: a clear state, nothing lost, recovery without hands."""

from __future__ import annotations

import errno
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError, Unreachable
from credproof.channel import call, connect
from credproof.home import Home
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof_server import app
from credproof_server.checking import check
from credproof_server.demo.world import World
from credproof_server.directory import ServiceDirectory
from credproof_server.log import sequencer as sequencers
from credproof_server.service.epochs import Epochs
from credproof_server.service.verify import Verify
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from sqlalchemy import event

from tests.crash.killing import Victim
from tests.deployment import Deployment, package, seal, statement
from tests.rpc.conftest import PROVIDER
from tests.service.asking import Asking
from tests.world import POLICY


@pytest.fixture
def world(tmp_path) -> Iterator[tuple[World, Victim]]:
    made = World(tmp_path)
    made.make()
    victim = Victim(made)
    made.populate()
    yield made, victim
    victim.stop()


def limit_files(victim: Victim, size: int) -> None:
    """From now on no file of the process grows beyond this: its writes fail, as on a full disk."""
    pid = victim._process.pid
    _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


class Client:
    """A provider that submits one batch after the other."""

    def __init__(self, world: World) -> None:
        self._home = Home(world.home(PROVIDER))
        self._trust = self._home.trust(at=0)
        self.channel = connect(self._home)
        self._stub = AttestationServiceStub(self.channel)

    def sealed(self, name: str) -> bytes:
        made = [statement(issuer=PROVIDER, account=f"{name}-{i}") for i in range(20)]
        packages = [package(item, self._home.signer) for item in made]
        return seal(self._trust, packages, provider=PROVIDER)

    def submit(self, sealed: bytes) -> int:
        request = pb.SubmitAttestationsRequest(sealed_batch=sealed)
        reply = call(self._stub.SubmitAttestations, request)
        return sum(result.HasField("receipt") for result in reply.results)

    def checkpoint(self) -> bytes:
        stub = AuditServiceStub(self.channel)
        return call(stub.GetCheckpoint, audit_pb.GetCheckpointRequest()).checkpoint

    def health(self) -> str:
        stub = health_pb2_grpc.HealthStub(self.channel)
        status = call(stub.Check, health_pb2.HealthCheckRequest()).status
        return health_pb2.HealthCheckResponse.ServingStatus.Name(status)


def eventually(wanted: str, ask) -> None:
    for _ in range(100):
        if ask() == wanted:
            return
        time.sleep(0.1)
    raise AssertionError(f"never {wanted}")


def test_a_full_disk_is_told_reads_go_on_and_writing_comes_back_by_itself(world):
    made, victim = world
    client = Client(made)
    assert client.submit(client.sealed("before")) == 20
    waiting = client.sealed("while-it-is-full")
    before = client.checkpoint()

    limit_files(victim, 0)
    with pytest.raises(Unreachable) as caught:
        client.submit(waiting)
    assert caught.value.reason in ("COMMIT_FAILED", "STORAGE_FAILED")
    eventually("NOT_SERVING", client.health)
    assert before == client.checkpoint()

    limit_files(victim, resource.RLIM_INFINITY)
    eventually("SERVING", client.health)
    assert client.submit(waiting) == 20
    assert check(ServiceDirectory(made.service)).damage == ()


def test_a_disk_without_space_is_told_too_and_nothing_is_lost(disk):
    """A real one of 12 MB, which another file fills."""
    made = World(disk)
    made.make()
    victim = Victim(made)
    try:
        made.populate()
        client = Client(made)
        assert client.submit(client.sealed("before")) == 20
        waiting = client.sealed("while-it-is-full")
        fill(disk / "something-else")
        refused = until_refused(client)
        eventually("NOT_SERVING", client.health)
        assert client.checkpoint()
        (disk / "something-else").unlink()
        eventually("SERVING", client.health)
        assert client.submit(waiting) == 20
        assert client.submit(refused) == 20
        assert check(ServiceDirectory(made.service)).damage == ()
        client.channel.close()
    finally:
        victim.end()
    told = (disk / "service.log").read_text()
    assert '"writing": true' in told


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a disk of its own cannot be mounted here: needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # also while a file is open


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def until_refused(client: Client) -> bytes:
    """What already lies in the files has room for some; gives the first batch that has none."""
    for count in range(200):
        sealed = client.sealed(f"full-{count}")
        try:
            client.submit(sealed)
        except Unreachable:
            return sealed
    raise AssertionError("the disk was never full")


# -- below the network


@pytest.fixture
def deployment(tmp_path) -> Deployment:
    made = Deployment(tmp_path)
    made.admit("provider", "bank")
    made.admit("lender", "lend")
    return made


@pytest.fixture
def core(deployment):
    opened = deployment.directory.open_core()
    yield opened
    opened.close()


async def test_a_high_water_mark_that_cannot_be_written_stops_writing_until_it_can(
    deployment, core, monkeypatch
):
    monkeypatch.setattr(sequencers, "RELOAD_PAUSE_S", 0.0)
    asking = Asking(deployment, core)

    def full(_note: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(core.sequencer._high_water, "write", full)
        for _ in range(2):
            with pytest.raises(Unreachable):
                await asking.bind()
        assert not core.sequencer.is_writing
    await asking.bind(account="after")
    assert core.sequencer.is_writing
    assert check(deployment.directory).damage == ()


async def test_a_disk_that_becomes_read_only_is_told_reads_go_on_and_writing_comes_back(
    deployment, core, monkeypatch
):
    """As the kernel makes a disk that fails: SQLite's `query_only` refuses as it does."""
    monkeypatch.setattr(sequencers, "RELOAD_PAUSE_S", 0.0)
    asking = Asking(deployment, core)
    await asking.attest()
    consent_id = await asking.consent(POLICY)
    kept = asking.question(POLICY, consent_id)
    answer = await asking.ask(kept)

    def refuses(_note: bytes) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    read_only = partial(event_of_connection, "PRAGMA query_only=ON")
    event.listen(core.engine, "checkout", read_only)
    with monkeypatch.context() as patch:
        patch.setattr(core.sequencer._high_water, "write", refuses)
        for _ in range(2):  # the second finds what the first left
            with pytest.raises(Unreachable) as caught:
                await asking.bind(account="while-it-is-read-only")
            assert caught.value.reason == "COMMIT_FAILED"
        assert (core.sequencer.is_writing, core.sequencer.fault) == (False, "OSError")
        assert answer == await asking.ask(kept), "what was answered is told again"
    event.remove(core.engine, "checkout", read_only)
    event.listen(core.engine, "checkout", partial(event_of_connection, "PRAGMA query_only=OFF"))
    await asking.bind(account="after")
    assert core.sequencer.fault is None
    assert check(deployment.directory).damage == ()


def event_of_connection(statement: str, connection, _record, _proxy) -> None:
    connection.execute(statement)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_sequencer_that_is_broken_for_good_is_told_and_nobody_waits_for_it(
    deployment, core
):
    core.sequencer._queue.put("not a command")  # ends its thread
    core.sequencer._thread.join(10)
    assert not core.sequencer.is_writing
    with pytest.raises(Unreachable) as caught:
        await core.commit(app.Nothing())
    assert caught.value.reason == "COMMIT_FAILED"
    checks = health.aio.HealthServicer()
    await app._tell_health(core, Epochs(core), checks)
    found = await checks.Check(health_pb2.HealthCheckRequest(), None)
    assert found.status == health_pb2.HealthCheckResponse.NOT_SERVING


async def test_a_locked_database_is_told_as_passing(core, deployment, monkeypatch):
    from sqlalchemy.exc import OperationalError

    def locked():
        raise OperationalError("SELECT", {}, Exception("database is locked"))

    with pytest.raises(Unreachable) as caught:
        await core.in_thread(locked)
    assert caught.value.reason == "STORAGE_FAILED"


async def test_a_clock_that_jumps_back_gives_no_answer_that_nobody_would_take(deployment, core):
    asking = Asking(deployment, core)
    await asking.attest()
    consent_id = await asking.consent(POLICY, mode="once")
    slow = replace(core, clock=lambda: core.clock() - 600)
    with pytest.raises(CredproofError) as caught:
        await Verify(slow).ask(asking.question(POLICY, consent_id))
    assert caught.value.reason in ("CLOCK_BEHIND_LOG", "NOT_PERMITTED")
    assert await asking.ask(asking.question(POLICY, consent_id)), "the consent was not used up"


async def test_an_answer_that_waited_too_long_for_its_commit_is_not_given(deployment, core):
    asking = Asking(deployment, core)
    await asking.attest()
    consent_id = await asking.consent(POLICY, mode="once")
    draft = asking.draft(asking.question(POLICY, consent_id))
    with pytest.raises(Unreachable) as caught:
        await asking.give(replace(draft, issued_at=draft.issued_at - 121))
    assert caught.value.reason == "CLOCK_BEHIND_LOG"


async def test_entries_never_go_back_in_time(deployment, core, monkeypatch):
    asking = Asking(deployment, core)
    await asking.attest()
    monkeypatch.setattr(core.sequencer, "_clock", lambda: 1_000_000_000)
    await asking.bind(account="later")
    assert check(deployment.directory).damage == ()
