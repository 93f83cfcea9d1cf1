"""A lender's journal: what was asked, before it is sent, so that a rerun asks the very same again.

A SQLite file of the lender's own, readable by its owner alone: transcripts hold ids. Several
processes may use it; of two that meet the same question, the second takes the first's.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from credproof.base.closing import Closing

BUSY_S: Final = 30.0
"""How long one process waits while another writes, in seconds."""
_TABLE: Final = "CREATE TABLE IF NOT EXISTS asked (key BLOB PRIMARY KEY, kept BLOB NOT NULL)"


class Journal(Closing):
    """Durable: what `add` took is on disk when it returns. It holds open questions only."""

    def __init__(self, path: Path) -> None:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        for statement in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON"):
            self._db.execute(f"PRAGMA {statement}")
        self._db.execute(_TABLE)

    def close(self) -> None:
        self._db.close()

    def find(self, keys: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """What is kept of those questions that are open, by key."""
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, kept FROM asked WHERE key IN ({marks})"  # noqa: S608
        return dict(self._db.execute(query, keys))

    def add(self, asked: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
        """Keep questions; gives what is kept now, which is what another process kept first."""
        self._write("INSERT OR IGNORE INTO asked VALUES (?, ?)", asked.items())
        return self.find(list(asked))

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget questions that are settled: answered and kept, or refused for good."""
        self._write("DELETE FROM asked WHERE key = ?", ((key,) for key in keys))

    def __len__(self) -> int:
        return int(self._db.execute("SELECT count(*) FROM asked").fetchone()[0])

    def _write(self, statement: str, rows: Iterable[tuple[bytes, ...]]) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        with self._db:
            self._db.executemany(statement, rows)
