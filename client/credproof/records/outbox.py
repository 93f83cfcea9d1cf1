"""The provider's outbox: what was signed, before it is sent, so that a rerun sends the same bytes.

A SQLite file of the provider's own, readable by its owner alone: packages hold figures.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from credproof.base.errors import Conflict

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
    """Durable: what `add` took is on disk when it returns. One process at a time."""

    def __init__(self, path: Path) -> None:
        self._lock = os.open(path.with_suffix(".lock"), os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise Conflict("OUTBOX_BUSY", "another process uses this outbox") from error
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)

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
        found: dict[str, Item] = {}
        for chunk in _chunks(accounts):
            marks = ",".join("?" * len(chunk))
            query = (
                f"SELECT {_COLUMNS} FROM items WHERE schema_id = ? AND state != 'rejected' "  # noqa: S608
                f"AND account IN ({marks}) ORDER BY seq"
            )
            for row in self._db.execute(query, (schema_id, *chunk)):
                item = Item(*row)
                found[item.account] = item
        return found

    def add(self, items: Sequence[Item]) -> None:
        """Keep new items, all or none; on disk when it returns."""
        rows = [
            (i.schema_id, i.account, i.seq, i.token_id, i.sub, i.basis, i.package, i.line)
            for i in items
        ]
        with self._transaction():
            self._db.executemany(
                "INSERT INTO items (schema_id, account, seq, token_id, sub, basis, package, line) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                rows,
            )

    def pending(self, limit: int) -> list[Item]:
        """The oldest items that have no receipt yet, in the order they were added."""
        query = f"SELECT {_COLUMNS} FROM items WHERE state = 'pending' ORDER BY number LIMIT ?"  # noqa: S608
        return [Item(*row) for row in self._db.execute(query, (limit,))]

    def mark_accepted(self, receipts: Sequence[tuple[bytes, int]]) -> None:
        """Keep receipts: token id and log index."""
        rows = [(index, token_id) for token_id, index in receipts]
        with self._transaction():
            self._db.executemany(
                "UPDATE items SET state = 'accepted', log_index = ? WHERE token_id = ?", rows
            )

    def mark_rejected(self, refusals: Sequence[tuple[bytes, str]]) -> None:
        """Keep refusals: token id and reason. Their place in the chain is free again."""
        rows = [(reason, token_id) for token_id, reason in refusals]
        with self._transaction():
            self._db.executemany(
                "UPDATE items SET state = 'rejected', reason = ? WHERE token_id = ?", rows
            )

    def counts(self) -> Mapping[str, int]:
        """How many items there are by state."""
        return dict(self._db.execute("SELECT state, count(*) FROM items GROUP BY state"))

    def _transaction(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db


def _chunks(values: Sequence[str], size: int = 500) -> Iterator[Sequence[str]]:
    for start in range(0, len(values), size):
        yield values[start : start + size]
