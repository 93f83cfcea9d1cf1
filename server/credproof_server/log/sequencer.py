"""The sequencer: the one writer of the log and of all state that decides.

It takes whatever waits, runs it in one transaction, commits, signs one checkpoint over what
is then durable, moves the high-water mark, and only then answers the callers. A checkpoint
therefore never covers what is not on disk, and nothing is acknowledged that is not covered.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeVar

from credproof.base.errors import CredproofError, DataLoss, Unreachable
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.note import NoteSigner
from credproof.verification.trust import Roots
from sqlalchemy import Engine

from credproof_server.log.disproof import Disproof
from credproof_server.log.high_water import HighWater
from credproof_server.log.state import Clock, LogState, Transaction, load_state
from credproof_server.storage.engine import savepoint

GROUP_MAX: Final = 256
"""Commands in one commit: enough to share an fsync, few enough to answer soon."""

RELOAD_PAUSE_S: Final = 1.0
"""How long to wait before a failed state is loaded anew, in seconds."""

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Command(Protocol[T_co]):
    """Something to decide and write.

    `apply` runs in the sequencer's thread, sees every earlier command, and either returns its
    result or raises; when it raises, nothing it wrote remains. It must not block on anything
    but the transaction's connection.
    """

    def apply(self, tx: Transaction) -> T_co: ...


@dataclass(frozen=True, slots=True)
class SignedHead:
    """A signed checkpoint and the size it covers."""

    note: bytes
    tree_size: int


@dataclass(frozen=True, slots=True)
class Committed(Generic[T]):
    """A command's result, and the checkpoint that covers it."""

    value: T
    head: SignedHead


class Sequencer:
    """Runs commands one after another, grouped into commits, on a thread of its own.

    `submit` may be called from any thread. After a commit of unknown fate the state is loaded
    anew from the database, by the same code as at the start. While that fails (a full disk, say)
    nothing is written, and it is tried again with the next command. Only a log that gets a new
    origin may have entries and no high-water mark. `before_signing` may refuse the state at the
    start, when nothing is signed yet.
    """

    def __init__(
        self,
        engine: Engine,
        signer: NoteSigner,
        high_water: HighWater,
        clock: Clock,
        roots: Callable[[], Roots],
        *,
        is_new_origin: bool = False,
        before_signing: Callable[[LogState], None] = lambda _state: None,
    ) -> None:
        self._is_new_origin = is_new_origin
        self._engine = engine
        self._signer = signer
        self._high_water = high_water
        self._clock = clock
        self._roots = roots
        self._queue: queue.SimpleQueue[tuple[Command[Any], Future[Any]] | None] = (
            queue.SimpleQueue()
        )
        self._stopped_at: float | None = None
        self._fault: str | None = None
        self._disproof: Disproof | None = None
        self.state, self.head = self._load(before_signing)
        self._thread = threading.Thread(target=self._run, name="sequencer", daemon=True)
        self._thread.start()

    def submit(self, command: Command[T]) -> Future[Committed[T]]:
        """Queue a command; the future is done once its commit is durable and signed."""
        future: Future[Committed[T]] = Future()
        future.set_running_or_notify_cancel()  # a caller that goes away cancels nothing
        if self._thread.is_alive():
            self._queue.put((command, future))
        else:  # it would wait for ever
            self._fail([(command, future)])
        return future

    def close(self) -> None:
        """Finish what waits, then stop."""
        self._queue.put(None)
        self._thread.join()

    def sign(self, tree_size: int) -> bytes:
        """The checkpoint of a committed size, byte for byte the one that was signed then.

        Raises:
            Unreachable: `NOT_SIGNED_YET` for a size that no published checkpoint covers.
        """
        if tree_size > self.head.tree_size:
            raise Unreachable("NOT_SIGNED_YET", "the answer is not covered yet: ask again")
        head = self.head
        return head.note if tree_size == head.tree_size else self._note(self.state, tree_size)

    @property
    def is_writing(self) -> bool:
        """Whether commands can be taken; else the database or the high-water mark fails, or the
        log is refused.

        When the thread itself has ended, which only a fault in here can do, it stays so.
        """
        stopped = self._stopped_at is not None or self._disproof is not None
        return not stopped and self._thread.is_alive()

    @property
    def fault(self) -> str | None:
        """Why nothing is written: the reason of the last failed attempt to load the state, or of
        `refuse`."""
        return self._fault if self._disproof is None else self._disproof.reason

    @property
    def disproof(self) -> Disproof | None:
        """As `refuse` was given."""
        return self._disproof

    def refuse(self, disproof: Disproof) -> None:
        """Write and sign nothing more: the log is not the one that was signed before.

        May be called from any thread. Nothing but another start, which compares, ends it.
        """
        self._disproof = disproof

    def require_undisputed(self) -> None:
        """Tell a caller whom it concerns, though reads go on.

        Raises:
            DataLoss: as `refuse` was given, without figures.
        """
        if self._disproof is not None:
            raise _refused(self._disproof)

    # -- start and recovery

    def _load(self, *checks: Callable[[LogState], None]) -> tuple[LogState, SignedHead]:
        with self._engine.connect() as connection:
            state = load_state(connection, self._roots())
        for check in (self._refuse_behind, *checks):
            check(state)
        note = self._note(state, state.tree.size)
        self._high_water.write(note)
        return state, SignedHead(note, state.tree.size)

    def _refuse_behind(self, state: LogState) -> None:
        seen = self._high_water.newest(self._signer.verifier_key)
        if seen is None and (state.tree.size == 0 or self._is_new_origin):
            return
        if seen is None:
            raise DataLoss(
                "NO_HIGH_WATER",
                "the high-water mark is missing: credproof restore DIR --checkpoint FILE puts the"
                " newest checkpoint that an auditor has in its place",
            )
        size = state.tree.size
        if seen.tree_size > size:
            raise DataLoss(
                "LOG_BEHIND",
                f"the log lacks the entries {size} to {seen.tree_size - 1}, which were signed",
            )
        if state.tree.root(seen.tree_size) != seen.root_hash:
            raise DataLoss("LOG_FORKED", "the log is not the one that was signed")

    def _note(self, state: LogState, tree_size: int) -> bytes:
        root = state.tree.root(tree_size)
        return sign_checkpoint(Checkpoint(self._signer.name, tree_size, root), [self._signer])

    # -- the loop

    def _run(self) -> None:
        while (job := self._queue.get()) is not None:
            jobs, last = [job], False
            while len(jobs) < GROUP_MAX and not last:
                try:
                    more = self._queue.get_nowait()
                except queue.Empty:
                    break
                last = more is None
                if more is not None:
                    jobs.append(more)
            self._commit(jobs)
            if last:
                return

    def _commit(self, jobs: list[tuple[Command[Any], Future[Any]]]) -> None:
        if self._disproof is not None:
            self._fail(jobs, _refused(self._disproof))
            return
        if self._stopped_at is not None and not self._reload():
            self._fail(jobs)
            return
        try:
            outcomes = self._write(jobs)
        except Exception:
            # The fate of the commit is unknown: believe the database, nobody's memory.
            self._fail(jobs)
            self._reload()
            return
        for (_, future), outcome in zip(jobs, outcomes, strict=True):
            outcome(future)

    def _write(
        self, jobs: list[tuple[Command[Any], Future[Any]]]
    ) -> list[Callable[[Future[Any]], None]]:
        at = max(self._clock(), self.state.position.last_time)
        with self._engine.connect() as connection, connection.begin() as commit:
            tx = Transaction(connection, self.state, at)
            try:
                results = [self._apply(tx, command) for command, _ in jobs]
                tx.write()
                commit.commit()  # from here on all of it is durable
            except BaseException:
                tx.abandon()
                raise
            tx.adopt()
        if self.state.tree.size != self.head.tree_size:
            self._publish()
        return [self._answer(result) for result in results]

    def _apply(self, tx: Transaction, command: Command[Any]) -> Any:
        mark = tx.mark()
        try:
            with savepoint(tx.connection):
                return command.apply(tx)
        except CredproofError as error:
            tx.rewind(mark)
            return error

    def _publish(self) -> None:
        note = self._note(self.state, self.state.tree.size)
        self._high_water.write(note)
        self.head = SignedHead(note, self.state.tree.size)

    def _answer(self, result: Any) -> Callable[[Future[Any]], None]:
        head = self.head
        if isinstance(result, CredproofError):
            return lambda future: future.set_exception(result)
        return lambda future: future.set_result(Committed(result, head))

    def _fail(
        self,
        jobs: list[tuple[Command[Any], Future[Any]]],
        error: CredproofError | None = None,
    ) -> None:
        message = "the write did not finish: ask again with the same request"
        for _, future in jobs:
            future.set_exception(error or Unreachable("COMMIT_FAILED", message))

    def _reload(self) -> bool:
        """Load the state anew, not too often; gives whether writing may go on."""
        now = time.monotonic()
        if self._stopped_at is not None and now - self._stopped_at < RELOAD_PAUSE_S:
            return False
        try:
            self.state, self.head = self._load()
        except Exception as error:  # whatever it is, signing on must not be tried
            name = type(error).__name__
            self._fault = error.reason if isinstance(error, CredproofError) else name
            self._stopped_at = now
            return False
        self._stopped_at = self._fault = None
        return True


def _refused(disproof: Disproof) -> DataLoss:
    """What callers are told, without the figures that the operator is told."""
    return DataLoss(disproof.reason, "the service's log is not the one that it signed before")
