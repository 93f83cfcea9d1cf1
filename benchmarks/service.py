"""A real service in a process of its own, with a provider who submits to it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
from credproof.base.closing import Closing
from credproof.base.encoding import b64url, date_of
from credproof.channel import connect
from credproof.home import Home
from credproof.records.mapping import Record
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof_server.demo.world import PROVIDER, World
from credproof_server.directory import ServiceDirectory, now
from credproof_server.log.epochs import CloseEpoch
from credproof_server.log.state import Transaction, load_state
from credproof_server.storage.engine import MAIN

from benchmarks.children import Child
from tests.deployment import lift_caps, only_tell, package, seal, statement
from tests.world import GOOD

SCHEMA = "consumer-revolving/1"
COMMIT = 50_000
"""Entries per transaction of loading."""


class Service(Closing):
    """The service of a world; use it in a `with` statement.

    `loaded` is how many entries, and rows of attestations, are put into its tables by hand
    before it starts. `profile` is where it leaves a profile when it ends.
    """

    def __init__(self, folder: Path, *, loaded: int = 0, profile: Path | None = None) -> None:
        self.world = World(folder)
        self.world.make()
        only_tell(self.world.service)
        self.world.populate()
        lift_caps(self.world.service)
        if loaded:
            _load(self.world, loaded)
        self._open = ExitStack()
        child = Child("serve", self.world.service, profile=profile)
        self.child = self._open.enter_context(child)
        self._records = 0

    def close(self) -> None:
        """End it; does nothing when it has ended."""
        self._open.close()

    def channel(self, name: str) -> grpc.Channel:
        """A connection of a participant, closed at the end."""
        return self._open.enter_context(self.connect(name))

    def connect(self, name: str, address: str | None = None) -> grpc.Channel:
        """A connection of a participant, to another address if given."""
        return connect(Home(self.world.home(name)), address=address)

    def records(self, count: int) -> list[Record]:
        """Records of tier A, each of a borrower who was never seen."""
        first, self._records = self._records, self._records + count
        return [_record(number) for number in range(first, first + count)]

    def sealed(self, batches: int, items: int) -> Iterator[pb.SubmitAttestationsRequest]:
        """Sealed batches, each item of a borrower who was never seen."""
        home = Home(self.world.home(PROVIDER))
        trust, signer = home.trust(at=now()), home.signer
        for _ in range(batches):
            packages = [
                package(
                    statement(issuer=PROVIDER, sub=os.urandom(32), account=os.urandom(8).hex()),
                    signer,
                )
                for _ in range(items)
            ]
            yield pb.SubmitAttestationsRequest(
                sealed_batch=seal(trust, packages, provider=PROVIDER)
            )


class Submitting:
    """A provider's stream of prepared batches."""

    def __init__(self, service: Service, batches: int, items: int) -> None:
        self._service, self._batches, self._items = service, batches, items
        self._stub = AttestationServiceStub(service.channel(PROVIDER))
        self._rates: list[float] = []

    def run(self) -> float:
        """The server's CPU time per item of one run, in microseconds; all items are accepted."""
        requests = list(self._service.sealed(self._batches, self._items))
        count, spent = self._batches * self._items, self._service.child.meter()
        started = time.perf_counter()
        replies = list(self._stub.StreamAttestations(iter(requests)))
        self._rates.append(count / (time.perf_counter() - started))
        each = spent() / count
        receipts = [item.HasField("receipt") for reply in replies for item in reply.results]
        assert receipts == [True] * count, "an attestation was refused"
        return each

    def rate(self) -> float:
        """Items per second, the best run: the sender is ready before it starts."""
        return max(self._rates)


def _record(number: int) -> Record:
    return Record(
        line=number + 1,
        subject=f"ref:person-{number}",
        account=f"account-{number}",
        as_of=date_of(now()),
        currency="TWD",
        values=GOOD,
    )


# -- loading by hand -----------------------------------------------------------


def _load(world: World, count: int) -> None:
    """Entries by the service's own code; rows of attestations and data keys by SQL alone.

    The rows hold random bytes where ciphertext would be, and little of it: no answer can rest on
    them, and nothing of a row stays in memory.
    """
    directory = ServiceDirectory(world.service)
    engine = directory.engine(MAIN)
    with directory.locked(), engine.connect() as connection:
        state = load_state(connection, directory.root())
        first = state.tree.size
        connection.commit()
        for start in range(0, count, COMMIT):
            with connection.begin():
                tx = Transaction(connection, state, now())
                for _ in range(min(COMMIT, count - start)):
                    digest = os.urandom(32)
                    fields = {"index": b64url(os.urandom(32))}
                    tx.append(ENTRY_ATTESTATION, PROVIDER, digest, salt=digest[:16], fields=fields)
                CloseEpoch().apply(tx)
                tx.write()
            tx.adopt()
    engine.dispose()
    _fill(world.service / "log.db", _ROWS, first)


_ROWS = """
INSERT INTO attestations (token_id, chain_id, seq, provider, schema_digest, sub, current,
                          log_index, sealed)
SELECT randomblob(32), randomblob(32), 1, 'taiwan-card', zeroblob(32), randomblob(32), 1,
       log_index, randomblob(32)
FROM entries WHERE log_index >= ?
"""


def _fill(path: Path, sql: str, first: int) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA cache_size=-1000000")
    with connection:
        connection.execute(sql, (first,))
    connection.close()
