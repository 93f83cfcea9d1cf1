"""A directory with many leaves, in a database of its own.

**Loaded in bulk**: random indexes with one random member each go into the table of leaves by SQL,
sorted; the hashes over them are computed by the product's code. No log stands behind them.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from credproof.base.closing import Closing
from credproof.log.directory import Subtree, Top, subtree
from credproof.verification.filing import Change, Filed, LoggedRoot
from credproof_server.log.directory_state import DirectoryState, Epoch
from credproof_server.log.epochs import write_changes
from credproof_server.service.lookups import Place, look_up
from credproof_server.storage.engine import MAIN, connect, migrate, sqlite_url

_INSERT = (
    "INSERT INTO directory_leaves (bucket, place, value, salt, members) VALUES (?, ?, ?, ?, ?)"
)


class Directory(Closing):
    """Looks up and updates; use it in a `with` statement."""

    def __init__(self, folder: Path, count: int) -> None:
        self._engine = connect(sqlite_url(folder / "directory.db"))
        migrate(self._engine, MAIN)
        self.state = DirectoryState(Top(), Epoch(LoggedRoot(0, 0, b"", 0), b""))
        self.known = self._load(count)

    def close(self) -> None:
        """Let go of what it opened."""
        self._engine.dispose()

    def look_up(self, indexes: Iterable[bytes]) -> list[Place]:
        """What stands at each index, with its proof."""
        with self._engine.connect() as connection:
            return [place for i in indexes if (place := look_up(connection, self.state, i, 0))]

    def update(self, changes: Sequence[Change]) -> None:
        """Apply changes in one commit, durably."""
        with self._engine.begin() as connection:
            places = write_changes(connection, self.state.top, changes)
        self.state.top.put(places)

    def _load(self, count: int) -> list[bytes]:
        """Fill the table of leaves; gives the indexes. What is over them is in memory alone."""
        known, top = sorted(os.urandom(32) for _ in range(count)), self.state.top
        buckets: dict[int, Subtree] = {}
        with self._engine.begin() as connection:
            for number, indexes in groupby(known, top.bucket):
                rows = [(i, Filed(os.urandom(16), (os.urandom(32),))) for i in indexes]
                made = [filed.leaf(index) for index, filed in rows]
                buckets[number] = subtree(made, top.bits)
                salted = [(f.salt, *f.members) for _, f in rows]
                pairs = zip(made, salted, strict=True)
                told = [(number, leaf.index, leaf.value, *rest) for leaf, rest in pairs]
                connection.exec_driver_sql(_INSERT, told)
        top.update(buckets)
        return known
