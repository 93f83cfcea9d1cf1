"""Attesting: pseudonyms, statements and signatures, in this process or in several."""

from __future__ import annotations

import multiprocessing
import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext, SpawnProcess
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from credproof.attestation.package import Package, pack
from credproof.attestation.pseudonym import SubjectId, parse_subject_id
from credproof.attestation.statement import JTI_BYTES, SEED_BYTES, Opening, Statement, issue
from credproof.base import jws
from credproof.base.errors import CredproofError, Unreachable
from credproof.base.keys import Signer
from credproof.base.limits import BATCH_ITEMS_MAX
from credproof.channel import connect
from credproof.home import Home
from credproof.pseudonyms import Pseudonyms
from credproof.records.mapping import Record
from credproof.records.outbox import Item
from credproof.verification.trust import Trust

LIFE_S = 90 * 24 * 3600
"""How long our attestations are valid: freshness is judged by `as_of`, this only ends them."""

Head = tuple[int, bytes]
"""The newest place of an account's chain: its `seq`, and the id of the token there."""
NO_HEAD: Head = (0, bytes(32))
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """Records to attest, each with its basis, on top of the heads of their accounts' chains."""

    schema_id: str
    run: str
    records: tuple[tuple[Record, bytes], ...]
    heads: Mapping[str, Head]


class Attester:
    """Signs what a provider knows. Safe to share between threads.

    `clock` gives the present time in whole seconds.
    """

    def __init__(
        self,
        issuer: str,
        signer: Signer,
        trust: Trust,
        pseudonyms: Pseudonyms,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.clock = clock
        self._issuer = issuer
        self._signer = signer
        self._trust = trust
        self._pseudonyms = pseudonyms

    def pseudonyms(self, subjects: Sequence[SubjectId]) -> list[bytes]:
        """The pseudonyms of these ids, in order.

        Raises:
            CredproofError: as `Pseudonyms.of`.
        """
        found: list[bytes] = []
        for batch in batches(subjects):
            found += self._pseudonyms.of(batch)
        return found

    def attest(self, job: Job) -> list[Item]:
        """The signed packages of a job, in its order; records of one account are chained."""
        subs = self.pseudonyms([parse_subject_id(record.subject) for record, _ in job.records])
        heads, items = dict(job.heads), []
        for (record, basis), sub in zip(job.records, subs, strict=True):
            statement = self._statement(job, record, basis, sub, heads.get(record.account, NO_HEAD))
            item = self._item(statement, record.line, job.run)
            heads[record.account] = (item.seq, item.token_id)
            items.append(item)
        return items

    def sign_anew(self, item: Item, package: Package, head: Head) -> Item:
        """The same content, signed today, as the next of its chain."""
        schema = self._trust.schemas[package.token.schema_digest]
        now = self.clock()
        statement = replace(
            package.opening(schema).statement,
            issued_at=now,
            expires_at=now + LIFE_S,
            jti=secrets.token_bytes(JTI_BYTES),
            seq=head[0] + 1,
            prev=head[1],
        )
        return self._item(statement, item.line, item.run)

    def _statement(
        self, job: Job, record: Record, basis: bytes, sub: bytes, head: Head
    ) -> Statement:
        now = self.clock()
        return Statement(
            schema=self._trust.schema(job.schema_id),
            issuer=self._issuer,
            issued_at=now,
            expires_at=now + LIFE_S,
            jti=secrets.token_bytes(JTI_BYTES),
            sub=sub,
            as_of=record.as_of,
            currency=record.currency,
            values=record.values,
            account=record.account,
            seq=head[0] + 1,
            prev=head[1],
            basis=basis,
        )

    def _item(self, statement: Statement, line: int, run: str) -> Item:
        opening = Opening(statement, secrets.token_bytes(SEED_BYTES))
        token = issue(opening, self._signer)
        return Item(
            schema_id=statement.schema.id,
            account=statement.account,
            as_of=statement.as_of,
            seq=statement.seq,
            token_id=jws.token_id(token),
            sub=statement.sub,
            basis=statement.basis or b"",
            package=pack(token, opening),
            line=line,
            run=run,
        )


def batches(items: Iterable[T]) -> Iterator[list[T]]:
    """The items in lists of at most `BATCH_ITEMS_MAX`."""
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH_ITEMS_MAX)):
        yield batch


# -- here, or in processes of their own ------------------------------------------


class Workers(Protocol):
    """Attests jobs; `count` is how many at a time."""

    count: int

    def attest(self, job: Job) -> Future[list[Item]]: ...

    def close(self) -> None: ...


class Here:
    """Attests in this process, one job after the other."""

    count = 1

    def __init__(self, attester: Attester) -> None:
        self._attester = attester

    def attest(self, job: Job) -> Future[list[Item]]:
        done: Future[list[Item]] = Future()
        done.set_result(self._attester.attest(job))
        return done

    def close(self) -> None:
        """Nothing is held."""


class Processes:
    """Attests in processes of their own, each with its own connection: signing is CPU work.

    Each process has a pipe; a thread that waits at one is told at once when its process ends.
    """

    def __init__(self, home: Path, count: int) -> None:
        # Not by fork: the gRPC library does not survive it.
        context = multiprocessing.get_context("spawn")
        self.count = count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="attesting")
        self._idle: SimpleQueue[Connection] = SimpleQueue()
        self.children = [self._start(context, home) for _ in range(count)]

    def _start(self, context: SpawnContext, home: Path) -> SpawnProcess:
        ours, theirs = context.Pipe()
        child = context.Process(target=_work, args=(home, theirs), daemon=True)
        with _uninterrupted():
            child.start()
        theirs.close()
        self._idle.put(ours)
        return child

    def attest(self, job: Job) -> Future[list[Item]]:
        """The future raises what attesting raises, or `WORKER_LOST`."""
        return self._threads.submit(self._ask, job)

    def _ask(self, job: Job) -> list[Item]:
        line = self._idle.get()
        try:
            line.send(job)
            found = line.recv()
        except (EOFError, OSError) as error:
            raise worker_lost() from error
        finally:
            self._idle.put(line)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def close(self) -> None:
        """Finish what runs, then end the processes: their pipes close."""
        self._threads.shutdown(cancel_futures=True)
        while not self._idle.empty():
            self._idle.get().close()
        for child in self.children:
            child.join()


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What is started here inherits that Ctrl-C does not reach it: the parent ends the run."""
    resource_tracker.ensure_running()  # else the first start does, and lets the signal through
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def worker_lost() -> Unreachable:
    return Unreachable("WORKER_LOST", "a process that signs has ended: run again, nothing is lost")


def _work(folder: Path, line: Connection) -> None:
    """Attest what comes by the pipe until it closes, also because the parent was killed."""
    home = Home(folder)
    trust = home.trust(at=int(time.time()))
    pseudonyms = Pseudonyms(home, connect(home), trust)
    attester = Attester(home.settings.id, home.signer, trust, pseudonyms)
    while True:
        try:
            job = line.recv()
        except (EOFError, OSError):
            return
        try:
            line.send(attester.attest(job))
        except CredproofError as error:
            line.send(error)
