"""The provider's outbox: what was signed, before it is sent, so that a rerun sends the same bytes.

A SQLite file of the provider's own, readable by its owner alone: packages hold figures.
"""

from __future__ import annotations

import datetime as dt
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from credproof.attestation.package import parse_package
from credproof.base.closing import Closing
from credproof.base.errors import Conflict, DataLoss

State = Literal["pending", "accepted", "rejected", "withdrawn"]

_TABLE = """
CREATE TABLE IF NOT EXISTS items (
    number INTEGER PRIMARY KEY,
    schema_id TEXT NOT NULL,
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    token_id BLOB NOT NULL UNIQUE,
    sub BLOB NOT NULL,
    basis BLOB NOT NULL,
    package BLOB NOT NULL,
    line INTEGER NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending',
    log_index INTEGER,
    reason TEXT,
    as_of TEXT NOT NULL,
    run TEXT NOT NULL
)
"""
_INDEXES = """
CREATE UNIQUE INDEX IF NOT EXISTS one_token_per_seq
    ON items (schema_id, account, seq) WHERE state != 'rejected';
CREATE INDEX IF NOT EXISTS items_by_day
    ON items (schema_id, account, as_of, seq) WHERE state != 'rejected';
CREATE INDEX IF NOT EXISTS items_by_state ON items (state, number);
CREATE INDEX IF NOT EXISTS items_by_run ON items (run, number);
"""
_ADDED = "schema_id, account, as_of, seq, token_id, sub, basis, package, line, run"
_ADD = f"INSERT INTO items ({_ADDED}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608
_SELECT = f"SELECT {_ADDED}, state, log_index, reason FROM items"  # noqa: S608
_PENDING = f"{_SELECT} WHERE state = 'pending' ORDER BY number LIMIT ?"
_KEPT = f"{_SELECT} WHERE schema_id = ? AND account = ? AND state != 'rejected'"
_NEWEST = f"{_KEPT} ORDER BY seq DESC LIMIT 1"
_NEWEST_OF_DAY = f"{_KEPT} AND as_of = ? ORDER BY seq DESC LIMIT 1"
_OF_RUN = f"{_SELECT} WHERE run = ? AND state = 'accepted' ORDER BY number"
_ACCEPTED = f"{_SELECT} WHERE state = 'accepted' AND log_index > ? ORDER BY log_index LIMIT ?"
_BEFORE = f"{_KEPT} AND seq = ?"
_RUNS = "SELECT run, schema_id, state, count(*) FROM items GROUP BY run, schema_id, state"
_WITHDRAW = (
    "UPDATE items SET state = 'withdrawn', reason = ? WHERE token_id = ? AND state = 'accepted'"
)
_WAITING = "WHERE token_id = ? AND state = 'pending'"
_ACCEPT = f"UPDATE items SET state = 'accepted', log_index = ? {_WAITING}"  # noqa: S608
_REJECT = f"UPDATE items SET state = 'rejected', reason = ? {_WAITING}"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Item:
    """A signed package on its way. `sub` is the borrower under whom it must be filed."""

    schema_id: str
    account: str
    as_of: dt.date
    seq: int
    token_id: bytes
    sub: bytes
    basis: bytes
    package: bytes
    line: int
    run: str
    state: State = "pending"
    log_index: int | None = None
    reason: str | None = None


class Outbox(Closing):
    """Durable: what `add` took is on disk when it returns. One process at a time.

    Raises:
        Conflict: `OUTBOX_BUSY` while another process has it open.
        DataLoss: `OUTBOX_DAMAGED`, from every method too, when the file cannot be read or written.
    """

    def __init__(self, path: Path) -> None:
        self._lock = _lock(path.with_suffix(".lock"))
        try:
            self._db = _open(path)
        except BaseException:
            os.close(self._lock)
            raise

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def newest(self, schema_id: str, accounts: Iterable[str]) -> Mapping[str, Item]:
        """The newest item of each account that was not rejected."""
        found = (self._items(_NEWEST, schema_id, account) for account in accounts)
        return {item.account: item for items in found for item in items}

    def newest_of_days(
        self, schema_id: str, days: Iterable[tuple[str, dt.date]]
    ) -> Mapping[tuple[str, dt.date], Item]:
        """The newest item of each account and `as_of` that was not rejected."""
        found = (
            self._items(_NEWEST_OF_DAY, schema_id, account, as_of.isoformat())
            for account, as_of in days
        )
        return {(item.account, item.as_of): item for items in found for item in items}

    def add(self, items: Sequence[Item]) -> None:
        """Keep new items, all or none; on disk when it returns.

        Raises:
            Conflict: `OUTBOX_TAKEN` for a token that was added before, or a place in a chain that
                an item has which was not rejected.
        """
        with _transaction(self._db):
            self._db.executemany(_ADD, [_added(item) for item in items])

    def pending(self, limit: int) -> list[Item]:
        """The oldest items that have no receipt yet, in the order they were added."""
        return self._items(_PENDING, limit)

    def mark_accepted(self, receipts: Sequence[tuple[bytes, int]]) -> None:
        """Keep receipts of pending items: token id and log index."""
        with _transaction(self._db):
            self._db.executemany(_ACCEPT, [(index, token_id) for token_id, index in receipts])

    def mark_rejected(
        self, refusals: Sequence[tuple[bytes, str]], instead: Sequence[Item] = ()
    ) -> None:
        """Keep refusals of pending items: token id and reason. Their place is free again.

        `instead` are items that take such places, kept in the same step: no record is lost
        between the two.

        Raises:
            Conflict: as `add`.
        """
        with _transaction(self._db):
            self._db.executemany(_REJECT, [(reason, token_id) for token_id, reason in refusals])
            self._db.executemany(_ADD, [_added(item) for item in instead])

    def accepted(self, after: int, limit: int) -> list[Item]:
        """Accepted items whose log index is above `after`, in the order of the log."""
        return self._items(_ACCEPTED, after, limit)

    def before(self, item: Item) -> Item | None:
        """The item before this one in its chain, if it is known."""
        found = self._items(_BEFORE, item.schema_id, item.account, item.seq - 1)
        return found[0] if found else None

    def of_run(self, run: str) -> list[Item]:
        """The accepted items of a run."""
        return self._items(_OF_RUN, run)

    def runs(self) -> list[tuple[str, str, str, int]]:
        """How many items each run has: run, schema id, state, count."""
        return self._rows(_RUNS)

    def mark_withdrawn(self, withdrawn: Sequence[tuple[bytes, str]]) -> None:
        """Keep that accepted items were withdrawn: token id and reason. Their place stays taken."""
        with _transaction(self._db):
            self._db.executemany(_WITHDRAW, [(reason, token_id) for token_id, reason in withdrawn])

    def counts(self) -> Mapping[str, int]:
        """How many items there are by state."""
        return dict(self._rows("SELECT state, count(*) FROM items GROUP BY state"))

    def _items(self, query: str, *values: object) -> list[Item]:
        rows = self._rows(query, *values)
        return [replace(Item(*row), as_of=dt.date.fromisoformat(row[2])) for row in rows]

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _told():
            return self._db.execute(query, values).fetchall()


def _added(item: Item) -> tuple[object, ...]:
    day, place = item.as_of.isoformat(), (item.seq, item.token_id)
    content = (item.sub, item.basis, item.package, item.line, item.run)
    return (item.schema_id, item.account, day, *place, *content)


def _lock(path: Path) -> int:
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Conflict("OUTBOX_BUSY", "another process uses this outbox") from error
    return lock


def _open(path: Path) -> sqlite3.Connection:
    file = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    os.fchmod(file, 0o600)  # SQLite gives its side files the same mode
    os.close(file)
    db = sqlite3.connect(path, isolation_level=None)
    try:
        with _told():
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute(_TABLE)
            _upgrade(db)
            db.executescript(_INDEXES)
    except BaseException:
        db.close()
        raise
    return db


def _upgrade(db: sqlite3.Connection) -> None:
    """Give an older outbox the columns that it lacks: `as_of` lies in each package."""
    db.create_function("day_of", 1, _day_of)
    with _transaction(db):
        columns = {row[1] for row in db.execute("PRAGMA table_info(items)")}
        if "as_of" not in columns:
            db.execute("ALTER TABLE items ADD COLUMN as_of TEXT NOT NULL DEFAULT ''")
            # What was refused is never read again, and may have been refused for not parsing.
            db.execute("UPDATE items SET as_of = day_of(package) WHERE state != 'rejected'")
        if "run" not in columns:
            db.execute("ALTER TABLE items ADD COLUMN run TEXT NOT NULL DEFAULT ''")


def _day_of(package: bytes) -> str:
    return parse_package(package).token.as_of.isoformat()


@contextmanager
def _told() -> Iterator[None]:
    """Tell in our own words what SQLite says of a file."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        message = "the outbox has this token already, or another in its place"
        raise Conflict("OUTBOX_TAKEN", message) from error
    except sqlite3.DatabaseError as error:
        raise DataLoss("OUTBOX_DAMAGED", f"the outbox cannot be used ({error})") from error


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and on disk at the end."""
    with _told(), db:
        db.execute("BEGIN IMMEDIATE")
        yield
