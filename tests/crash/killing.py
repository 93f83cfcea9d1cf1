"""Kill a real service under load, again and again; then see what it kept."""

from __future__ import annotations

import datetime as dt
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from credproof import borrower as borrowers
from credproof import channel
from credproof.borrower import Borrower, make_pass
from credproof.home import Home
from credproof.records.mapping import Record
from credproof_server.checking import check
from credproof_server.demo import world as worlds
from credproof_server.demo.world import PROVIDER, World
from credproof_server.directory import ServiceDirectory
from credproof_server.storage import engine as engines
from credproof_server.storage.tables import answers, attestations, consents
from sqlalchemy import select

from tests.crash.ledger import Ledger
from tests.crash.load import Asker, Client, Submitter
from tests.deployment import lift_caps
from tests.world import GOOD

UP_MAX_S = 0.9
"""How long the service may live before it is killed, in seconds: start, some commits, death."""
START_MAX_S = 1.0
"""How long it may take to start before it is killed, in seconds: about as long as a start takes."""
EAGER = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 100),
)
"""Clients come back at once: else they wait longer from kill to kill, and an idle service dies."""
KILLED_STARTING = 0.25
"""Which part of the kills comes before the service listens: while it recovers from the last one."""


class Victim:
    """A service's process, which is started again each time it is killed."""

    def __init__(self, world: World) -> None:
        self._command = [sys.executable, "-m", "credproof.cli.app", "serve", str(world.service)]
        self._log = (world.folder / "service.log").open("ab")
        self.start()

    def start(self) -> None:
        """Start it; it listens when this returns."""
        self.begin()
        worlds._await_start(self._process, "service")

    def begin(self) -> None:
        """Start it, and do not wait for it."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=self._log)

    def kill(self) -> None:
        """Kill it, if it runs."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()

    def stop(self) -> None:
        """End it in order; the process is gone whatever happens."""
        try:
            self._process.terminate()
            self._process.wait(30)
        finally:
            self.end()

    def end(self) -> None:
        """Nothing of it is left."""
        self.kill()
        self._log.close()


def people(world: World, count: int) -> list[tuple[str, Borrower]]:
    """Borrowers who are attested and bound."""
    found = []
    today = dt.datetime.now(dt.UTC).date()
    with world.provider() as provider:
        for i in range(count):
            name = f"ref:asked-{i}"
            folder = world.home(f"asked-{i}")
            borrowers.create(folder)
            signer = borrowers.load_signer(folder)
            record = Record(i + 1, name, f"asked-{i}", today, "TWD", GOOD)
            assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
            proof = borrowers.prove_possession(signer, provider=PROVIDER)
            bound = provider.bind([(name, proof)])[0]
            given = make_pass(Home(world.home(PROVIDER)), bound.sub)
            found.append((name, Borrower(signer, given)))
    return found


def torment(
    folder: Path, *, kills: int, seed: int, progress: Callable[[int], None] = lambda _count: None
) -> Ledger:
    """Kill a service `kills` times at random moments under load; then verify all it said.

    Raises:
        AssertionError: something acknowledged is not there once, or something else is half there.
    """
    world, ledger = World(folder), Ledger()
    world.make()
    victim = Victim(world)
    try:
        world.populate()
        lift_caps(world.service)
        with eager():
            clients = loaded(world, ledger)
            victim.kill()
            for count in range(kills):
                kill_somewhen(victim, random.Random(f"{seed} {count}"))
                progress(count + 1)
            victim.start()
            finish(clients)
        verify(world, ledger)
    finally:
        victim.end()
    return ledger


@contextmanager
def eager() -> Iterator[None]:
    """Whoever connects in here comes back at once after a kill."""
    with ExitStack() as stack:
        for name in ("_OPTIONS", "_SIZES"):
            stack.enter_context(patch.object(channel, name, (*getattr(channel, name), *EAGER)))
        yield


def loaded(world: World, ledger: Ledger) -> list[Client]:
    """Clients at work: two that submit, two that consent and ask."""
    lender = world.lender()
    clients: list[Client] = [Submitter(ledger, world, f"s{i}") for i in range(2)]
    clients += [Asker(ledger, lender, borrower, name) for name, borrower in people(world, 2)]
    for client in clients:
        client.start()
    return clients


def kill_somewhen(victim: Victim, chance: random.Random) -> None:
    """Start the killed service, and kill it under load or while it still starts."""
    if chance.random() < KILLED_STARTING:
        victim.begin()
        time.sleep(chance.uniform(0.0, START_MAX_S))
    else:
        victim.start()
        time.sleep(chance.uniform(0.02, UP_MAX_S))
    victim.kill()


def finish(clients: list[Client]) -> None:
    """Every client gets the answers it waits for."""
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(60)
        assert client.failed is None, client.failed
        assert not client.is_alive(), "a client never got its answer"


def verify(world: World, ledger: Ledger) -> None:
    """All that was acknowledged is there, once; nothing is there by half; the log continues."""
    report = check(ServiceDirectory(world.service))
    assert report.damage == (), report.damage
    engine = ServiceDirectory(world.service).engine(engines.MAIN)
    with engine.connect() as connection:
        stored = dict(
            connection.execute(select(attestations.c.token_id, attestations.c.log_index)).all()
        )
        granted = set(connection.execute(select(consents.c.consent_id)).scalars())
        given = set(connection.execute(select(answers.c.request_id)).scalars())
    engine.dispose()
    assert ledger.tokens.items() <= stored.items()
    assert ledger.consents <= granted
    assert set(ledger.answers) <= given
    with world.auditor() as auditor:
        assert ledger.newest is not None
        auditor.verify_consistency(ledger.newest, auditor.checkpoint())
        auditor.verify(whole=True)
