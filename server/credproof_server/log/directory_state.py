"""Where the directory stands: its newest root, its topmost levels, what no root covers yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Final

from credproof.base.errors import CredproofError, DataLoss
from credproof.log.directory import ABSENT, Subtree, Top
from credproof.log.entry import parse_entry
from credproof.verification.filing import Change, LoggedRoot, change_of, parse_root
from sqlalchemy import Connection

from credproof_server.storage import leaves, repository

PAGE: Final = 1000
"""How many entries are read at a time."""
ROOT_LOGGED: Final = b'"kind":"directory.root"'
"""How a line says that it logs a root; no other member of an entry can hold this."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """A logged root, and the line of its entry."""

    root: LoggedRoot
    line: bytes


class DirectoryState:
    """The directory in memory. Written by the sequencer's thread alone, after its commits."""

    def __init__(
        self, top: Top | None = None, epoch: Epoch | None = None, pending: Sequence[Change] = ()
    ) -> None:
        self.top = top or Top()
        self.epoch = epoch
        self.pending = tuple(pending)
        """Changes that no root covers yet, in the order of the log."""
        self._lock = Lock()

    def path(self, index: bytes, root_index: int) -> tuple[bytes, ...] | None:
        """The upper siblings of an index under the root logged at `root_index`.

        None when that is not the newest root that was adopted here.
        """
        with self._lock:
            if self.epoch is None or self.epoch.root.log_index != root_index:
                return None
            return self.top.path(index)

    def adopt(
        self, places: Mapping[int, Subtree], epoch: Epoch | None, pending: Sequence[Change]
    ) -> None:
        """What a commit made is now where the directory stands."""
        with self._lock:
            self.top.put(places)
            self.epoch, self.pending = epoch, tuple(pending)


def load_directory(connection: Connection) -> DirectoryState:
    """Where the directory stands in the database; its root must be the one that was logged.

    Raises:
        DataLoss: `LOG_DAMAGED`.
    """
    top = load_top(connection)
    epoch = _newest(connection)
    if top.root != (epoch.root.root if epoch else ABSENT):
        raise DataLoss("LOG_DAMAGED", "stored directory does not have the root that was logged")
    _require_newest(connection, epoch.root.log_index if epoch else -1)
    covered = epoch.root.covered if epoch else 0
    return DirectoryState(top, epoch, changes_from(connection, covered))


def load_top(connection: Connection) -> Top:
    """The topmost levels, out of the stored hashes over buckets."""
    top = Top()
    rows = leaves.buckets(connection)
    top.update({row.bucket: Subtree(row.hash, row.is_leaf) for row in rows})
    return top


def _newest(connection: Connection) -> Epoch | None:
    row = leaves.newest_root(connection)
    if row is None:
        return None
    line = repository.lines_at(connection, [row.log_index]).get(row.log_index, b"")
    try:
        epoch = Epoch(parse_root(parse_entry(line)), line)
    except CredproofError as error:
        raise DataLoss("LOG_DAMAGED", "a stored root of the directory was not logged") from error
    if (epoch.root.root, epoch.root.covered) != (row.root, row.covered):
        raise DataLoss("LOG_DAMAGED", "a stored root of the directory was not logged")
    return epoch


def _require_newest(connection: Connection, log_index: int) -> None:
    """No root may be logged after the newest stored: answers would rest on an older one."""
    if repository.logged_after(connection, log_index, ROOT_LOGGED):
        raise DataLoss("LOG_DAMAGED", "a logged root of the directory is not stored")


def changes_from(connection: Connection, start: int, end: int | None = None) -> list[Change]:
    """What the entries from `start` on, or up to `end`, change in the directory.

    Raises:
        DataLoss: `LOG_DAMAGED`.
    """
    found = []
    while page := repository.lines(
        connection, start, PAGE if end is None else min(PAGE, end - start)
    ):
        for line in page:
            try:
                change = change_of(parse_entry(line))
            except CredproofError as error:
                raise DataLoss("LOG_DAMAGED", "a stored entry does not parse") from error
            found += [change] if change else []
        start += len(page)
    return found
