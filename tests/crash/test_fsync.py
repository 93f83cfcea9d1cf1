"""Nothing is acknowledged before it is on disk: the system calls of one submission say so."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from credproof.channel import call, connect
from credproof.home import Home
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof_server.demo.world import World

from tests.crash.killing import Victim
from tests.deployment import package, seal, statement
from tests.rpc.conftest import PROVIDER

ITEMS = 64
REPLY_BYTES = 3000
"""Less than a reply with that many receipts, more than any control frame."""
BEGUN = re.compile(r"(\w+)\(\d+<(.*?)>")
ENDED = re.compile(r"= (\d+)$")


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.make()
    victim = Victim(made)
    made.populate()
    yield made, victim
    victim.stop()


def traced(pid: int, output: Path) -> subprocess.Popen[bytes]:
    """Attach strace to a process; skips the test where that is not possible."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    calls = "trace=fsync,fdatasync,sendmsg,sendto,write,writev"
    command = ["strace", "-f", "-yy", "-e", calls, "-o", str(output), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE)
    time.sleep(1)
    if tracer.poll() is not None:
        told = tracer.stderr.read().decode() if tracer.stderr else ""
        pytest.skip(f"ptrace is denied here: {told.strip()[:100]}")
    return tracer


def events(output: Path) -> list[str]:
    """What was synced, by file name, and `reply` where one was sent, in order.

    A sync counts where it returned, a reply where it began: other threads run in between, and
    then both are lines of their own.
    """
    found, begun = [], {}
    for line in output.read_text(errors="replace").splitlines():
        thread, told = line.split(maxsplit=1)
        if match := BEGUN.match(told):
            begun[thread] = (match[1], match[2], len(found))
            found.append("")
        if (match := ENDED.search(told)) and thread in begun:
            call_, file, place = begun.pop(thread)
            if "sync" in call_:
                found.append(Path(file).name)
            elif file.startswith(("TCP", "socket")) and int(match[1]) >= REPLY_BYTES:
                found[place] = "reply"
    return [event for event in found if event]


def await_reply(output: Path) -> None:
    """Wait until the tracer has written what the client has seen already."""
    deadline = time.monotonic() + 10
    while "reply" not in events(output) and time.monotonic() < deadline:
        time.sleep(0.05)


def test_database_and_high_water_mark_are_synced_before_the_reply_is_sent(world, tmp_path):
    made, victim = world
    home = Home(made.home(PROVIDER))
    trust, output = home.trust(at=0), tmp_path / "calls"
    packages = [
        package(statement(issuer=PROVIDER, account=f"synced-{i}"), home.signer)
        for i in range(ITEMS)
    ]
    with connect(home) as channel:
        stub = AttestationServiceStub(channel)
        sealed = seal(trust, packages, provider=PROVIDER)
        tracer = traced(victim._process.pid, output)
        reply = call(stub.SubmitAttestations, pb.SubmitAttestationsRequest(sealed_batch=sealed))
        await_reply(output)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(30)
    assert all(result.HasField("receipt") for result in reply.results)

    found = events(output)
    before = found[: found.index("reply")]
    assert "log.db-wal" in before
    assert before.index("vault.db-wal") < before.index("log.db-wal"), "keys before what needs them"
    assert before.index("log.db-wal") < before.index("high-water.new"), "signed when it is durable"
    assert "service" in before[before.index("high-water.new") :], "the new name is durable too"
