"""The provider's outbox: what was signed, before it is sent, so that a rerun sends the same bytes.

A SQLite file of the provider's own, readable by its owner alone: packages hold figures.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from credproof.base.errors import Conflict, DataLoss

State = Literal["pending", "accepted", "rejected"]

_TABLES = """
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
    reason TEXT
);
CREATE UNIQUE INDEX IF NOT EXISTS one_token_per_seq
    ON items (schema_id, account, seq) WHERE state != 'rejected';
CREATE INDEX IF NOT EXISTS items_by_state ON items (state, number);
"""
_COLUMNS = "schema_id, account, seq, token_id, sub, basis, package, line, state, log_index, reason"
_NEWEST = (
    f"SELECT {_COLUMNS} FROM items WHERE schema_id = ? AND account = ? AND state != 'rejected' "  # noqa: S608
    "ORDER BY seq DESC LIMIT 1"
)
_PENDING = f"SELECT {_COLUMNS} FROM items WHERE state = 'pending' ORDER BY number LIMIT ?"  # noqa: S608


@dataclass(frozen=True, slots=True)
class Item:
    """A signed package on its way. `sub` is the borrower under whom it must be filed."""

    schema_id: str
    account: str
    seq: int
    token_id: bytes
    sub: bytes
    basis: bytes
    package: bytes
    line: int
    state: State = "pending"
    log_index: int | None = None
    reason: str | None = None


class Outbox:
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

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)

    def newest(self, schema_id: str, accounts: Sequence[str]) -> Mapping[str, Item]:
        """The newest item of each account that was not rejected."""
        rows = (row for name in accounts for row in self._rows(_NEWEST, schema_id, name))
        return {item.account: item for item in (Item(*row) for row in rows)}

    def add(self, items: Sequence[Item]) -> None:
        """Keep new items, all or none; on disk when it returns.

        Raises:
            Conflict: `OUTBOX_TAKEN` for a token that was added before, or a place in a chain that
                an item has which was not rejected.
        """
        rows = [
            (i.schema_id, i.account, i.seq, i.token_id, i.sub, i.basis, i.package, i.line)
            for i in items
        ]
        insert = (
            "INSERT INTO items (schema_id, account, seq, token_id, sub, basis, package, line) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        )
        with _transaction(self._db):
            self._db.executemany(insert, rows)

    def pending(self, limit: int) -> list[Item]:
        """The oldest items that have no receipt yet, in the order they were added."""
        return [Item(*row) for row in self._rows(_PENDING, limit)]

    def mark_accepted(self, receipts: Sequence[tuple[bytes, int]]) -> None:
        """Keep receipts of pending items: token id and log index."""
        rows = [(index, token_id) for token_id, index in receipts]
        with _transaction(self._db):
            self._db.executemany(
                "UPDATE items SET state = 'accepted', log_index = ? "
                "WHERE token_id = ? AND state = 'pending'",
                rows,
            )

    def mark_rejected(self, refusals: Sequence[tuple[bytes, str]]) -> None:
        """Keep refusals of pending items: token id and reason. Their place is free again."""
        rows = [(reason, token_id) for token_id, reason in refusals]
        with _transaction(self._db):
            self._db.executemany(
                "UPDATE items SET state = 'rejected', reason = ? "
                "WHERE token_id = ? AND state = 'pending'",
                rows,
            )

    def counts(self) -> Mapping[str, int]:
        """How many items there are by state."""
        return dict(self._rows("SELECT state, count(*) FROM items GROUP BY state"))

    def _rows(self, query: str, *values: object) -> list[Any]:
        with _told():
            return self._db.execute(query, values).fetchall()


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
            db.executescript(_TABLES)
    except BaseException:
        db.close()
        raise
    return db


@contextmanager
def _told() -> Iterator[None]:
    """Tell in our own words what SQLite says of a file."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        message = "the outbox has this token already, or another in its place"
        raise Conflict("OUTBOX_TAKEN", message) from error
    except sqlite3.DatabaseError as error:
        raise DataLoss("OUTBOX_DAMAGED", f"the outbox cannot be used: {error}") from error


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, and on disk at the end."""
    with _told(), db:
        db.execute("BEGIN IMMEDIATE")
        yield
