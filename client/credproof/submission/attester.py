"""Attesting: pseudonyms, statements and signatures, in this process or in several."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import grpc

from credproof.attestation.package import Package, pack
from credproof.attestation.pseudonym import SubjectId, begin, oprf_key_id, parse_subject_id
from credproof.attestation.statement import JTI_BYTES, SEED_BYTES, Opening, Statement, issue
from credproof.base import jws
from credproof.base.errors import Unreachable
from credproof.base.group import scalar_from
from credproof.base.keys import Signer
from credproof.base.limits import BATCH_ITEMS_MAX
from credproof.channel import call, connect
from credproof.home import Home
from credproof.records.mapping import Record
from credproof.records.outbox import Item
from credproof.v1 import pseudonym_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
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
        channel: grpc.Channel,
        clock: Callable[[], int] = lambda: int(time.time()),
    ) -> None:
        self.clock = clock
        self._issuer = issuer
        self._signer = signer
        self._trust = trust
        self._stub = PseudonymServiceStub(channel)

    def pseudonyms(self, subjects: Sequence[SubjectId]) -> list[bytes]:
        """The pseudonyms of these ids, in order. The service sees blinded elements only.

        Raises:
            VerificationFailed: `BAD_DLEQ_PROOF` when the service used another key.
        """
        found: list[bytes] = []
        for batch in batches(subjects):
            found += self._pseudonyms_of(batch)
        return found

    def _pseudonyms_of(self, batch: Sequence[SubjectId]) -> Sequence[bytes]:
        public = self._trust.bundle.oprf_keys[-1]
        blinded = begin(batch, [scalar_from(secrets.token_bytes(64)) for _ in batch])
        request = pb.EvaluatePseudonymsRequest(
            key_id=oprf_key_id(public), blinded_elements=blinded.elements
        )
        reply = call(self._stub.EvaluatePseudonyms, request)
        return blinded.finish(list(reply.evaluated_elements), reply.proof, public)

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
    """Attests in processes of their own, each with its own connection: signing is CPU work."""

    def __init__(self, home: Path, count: int) -> None:
        # Not by fork: the gRPC library does not survive it.
        context = multiprocessing.get_context("spawn")
        self.count = count
        self._pool = ProcessPoolExecutor(count, context, initializer=_start, initargs=(home,))

    def attest(self, job: Job) -> Future[list[Item]]:
        """
        Raises:
            Unreachable: `WORKER_LOST`.
        """
        try:
            return self._pool.submit(_attest, job)
        except BrokenProcessPool as error:
            raise worker_lost() from error

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def worker_lost() -> Unreachable:
    return Unreachable("WORKER_LOST", "a process that signs has ended: run again, nothing is lost")


_ATTESTER: Attester | None = None


def _start(folder: Path) -> None:
    global _ATTESTER  # noqa: PLW0603 - the one thing that a worker process is for
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    threading.Thread(target=_end_with_parent, daemon=True).start()
    home = Home(folder)
    trust = home.trust(at=int(time.time()))
    _ATTESTER = Attester(home.settings.id, home.signer, trust, connect(home))


def _end_with_parent() -> None:
    """A worker whose parent was killed must not stay behind."""
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"
    parent.join()
    os._exit(1)


def _attest(job: Job) -> list[Item]:
    assert _ATTESTER is not None, "the initializer made it"
    return _ATTESTER.attest(job)
