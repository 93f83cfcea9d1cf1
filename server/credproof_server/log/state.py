"""What the sequencer knows of the log: loaded from the database, extended by commits."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.log.directory import NO_PLACES, Subtree, Top
from credproof.log.entry import ChainPosition, Entry, entry_hash, parse_entry
from credproof.log.merkle import Tree, leaf_hash
from credproof.verification.filing import Change, change_of
from credproof.verification.trust import Roots, Trust, verify_trust
from sqlalchemy import Connection, Row, select

from credproof_server.log.directory_state import DirectoryState, Epoch, load_directory
from credproof_server.storage import repository
from credproof_server.storage.tables import commits, documents, entries, trust_bundles

REGISTRY_CHANGED = b'"kind":"registry.changed"'
"""How a line says that it logs a trust bundle; no other member of an entry can hold this."""


class Clock(Protocol):
    """The present time in whole seconds since 1970, UTC."""

    def __call__(self) -> int: ...


class LogState:
    """Tree, chain position, trust, directory. Written by the sequencer's thread alone.

    Other threads may read `tree` for sizes that are committed, `trust` and `directory`.
    """

    def __init__(
        self,
        tree: Tree,
        position: ChainPosition,
        trust: Trust | None,
        directory: DirectoryState | None = None,
    ) -> None:
        self.tree = tree
        self.position = position
        self.directory = directory or DirectoryState()
        self._trust = trust

    @property
    def trust(self) -> Trust:
        """The newest trust bundle.

        Raises:
            DataLoss: `NO_TRUST` before the first one is published.
        """
        if self._trust is None:
            raise DataLoss("NO_TRUST", "the service has no trust bundle")
        return self._trust

    @trust.setter
    def trust(self, trust: Trust) -> None:
        self._trust = trust

    @property
    def has_trust(self) -> bool:
        return self._trust is not None


@dataclass(frozen=True, slots=True)
class _Closed:
    """The epochs that a commit closes: how many changes they cover, and what they make."""

    covered: int
    epoch: Epoch | None
    places: Mapping[int, Subtree]


Mark = tuple[int, int, ChainPosition, Trust | None, _Closed]


class Transaction:
    """One commit in the making; used inside the sequencer's thread only.

    `time` is the time of every entry of this commit. `trust` may be replaced.
    """

    def __init__(self, connection: Connection, state: LogState, time: int) -> None:
        self.connection = connection
        self.time = time
        self._state = state
        self._position = state.position
        self._lines: list[bytes] = []
        self._changes = list(state.directory.pending)
        self._closed = _Closed(0, state.directory.epoch, NO_PLACES)
        self.trust: Trust | None = state.trust if state.has_trust else None

    def append(
        self,
        kind: str,
        actor: str,
        object_digest: bytes,
        *,
        salt: bytes,
        fields: Mapping[str, object],
    ) -> int:
        """Add an entry; gives its log index."""
        at = self._position
        entry = Entry(
            seq=at.size,
            time=self.time,
            kind=kind,
            actor=actor,
            object=object_digest,
            salt=salt,
            fields=fields,
            prev=at.last_hash,
        )
        line, change = entry.to_line(), change_of(entry)
        self._lines.append(line)
        self._changes += [change] if change else []
        self._position = ChainPosition(at.size + 1, entry_hash(line), self.time)
        return at.size

    def mark(self) -> Mark:
        """What `rewind` needs to forget all that came after."""
        counts = len(self._lines), len(self._changes)
        return *counts, self._position, self.trust, self._closed

    def rewind(self, mark: Mark) -> None:
        """Forget what came after `mark`."""
        lines, changes, self._position, self.trust, self._closed = mark
        del self._lines[lines:], self._changes[changes:]

    # -- the directory

    @property
    def size(self) -> int:
        """How many entries there are, with those of this commit."""
        return self._position.size

    @property
    def changes(self) -> list[Change]:
        """What changes in the directory since its newest root, in the order of the log."""
        return self._changes[self._closed.covered :]

    @property
    def epoch(self) -> Epoch | None:
        """The newest root of the directory."""
        return self._closed.epoch

    @property
    def top(self) -> Top:
        """The topmost levels of the directory as they are committed."""
        return self._state.directory.top

    @property
    def places(self) -> Mapping[int, Subtree]:
        """What this commit changes in them so far."""
        return self._closed.places

    def line(self, index: int) -> bytes:
        """An entry that this commit has added."""
        return self._lines[index - self._state.position.size]

    def close_epoch(self, epoch: Epoch, places: Mapping[int, Subtree]) -> None:
        """`epoch` covers all changes so far; it makes these places of the topmost levels."""
        self._closed = _Closed(len(self._changes), epoch, places)

    def write(self) -> None:
        """Write the entries, then size and root: the last step before the commit."""
        if not self._lines:
            return
        tree = self._state.tree
        first = self._state.position.size
        leaves = [leaf_hash(line) for line in self._lines]
        rows = [
            {"log_index": first + i, "line": line, "leaf": leaf}
            for i, (line, leaf) in enumerate(zip(self._lines, leaves, strict=True))
        ]
        repository.add_entries(self.connection, rows)
        tree.extend(leaves)
        repository.add_commit(self.connection, tree.size, tree.root())

    def adopt(self) -> None:
        """The commit succeeded: what it made is now the state."""
        self._state.position = self._position
        self._state.directory.adopt(self.places, self.epoch, self.changes)
        if self.trust is not None:
            self._state.trust = self.trust

    def abandon(self) -> None:
        """The commit failed: the tree goes back to what is committed."""
        self._state.tree.truncate(self._state.position.size)


def load_state(connection: Connection, root: Roots) -> LogState:
    """The state that the database holds; the stored root must be the recomputed one.

    Raises:
        DataLoss: `LOG_DAMAGED` when entries are missing, a root differs, or a column holds what it
            is not declared for: SQLite lets anybody write that.
    """
    try:
        return _load(connection, root)
    except (Malformed, TypeError, ValueError, AttributeError) as error:
        raise DataLoss("LOG_DAMAGED", "a stored row is not what was written") from error


def _load(connection: Connection, root: Roots) -> LogState:
    tree = Tree()
    leaves = connection.execute(select(entries.c.leaf).order_by(entries.c.log_index)).scalars()
    tree.extend(list(leaves))
    _verify_root(connection, tree)
    position = _position(connection, tree.size)
    return LogState(tree, position, load_trust(connection, root), load_directory(connection))


def _verify_root(connection: Connection, tree: Tree) -> None:
    head = connection.execute(select(commits).order_by(commits.c.tree_size.desc()).limit(1)).first()
    found = (head.tree_size, head.root) if head else (0, tree.root(0))
    if found != (tree.size, tree.root()):
        raise DataLoss("LOG_DAMAGED", "stored log does not have the root that was committed")


def _position(connection: Connection, size: int) -> ChainPosition:
    if size == 0:
        return ChainPosition()
    query = select(entries.c.line).where(entries.c.log_index == size - 1)
    line = connection.execute(query).scalar_one()
    return ChainPosition(size, entry_hash(line), parse_entry(line).time)


def load_trust(connection: Connection, root: Roots) -> Trust | None:
    """The newest trust bundle, or None before the first one."""
    query = select(trust_bundles).order_by(trust_bundles.c.version.desc()).limit(1)
    row = connection.execute(query).first()
    _require_newest(connection, -1 if row is None else row.log_index)
    if row is None:
        return None
    kept = connection.execute(select(documents.c.digest, documents.c.content)).all()
    stored = [item.content for item in kept]
    if not all(isinstance(item, bytes) for item in (row.token, *stored)):
        raise DataLoss("LOG_DAMAGED", "a stored trust bundle or document is not even bytes")
    text = row.token.decode("ascii", "replace")
    try:
        return verify_trust(text, stored, root=root, at=0)
    except VerificationFailed as error:
        if error.reason != "MISSING_DOCUMENT":
            raise
        raise DataLoss("LOG_DAMAGED", _altered(kept)) from error
    except Malformed as error:
        raise DataLoss("LOG_DAMAGED", "a stored trust bundle or document does not parse") from error


def _altered(kept: Sequence[Row[bytes, bytes]]) -> str:
    """Which documents are not what they were: they stand under their digests."""
    names = [
        item.digest.hex()[:16]
        for item in kept
        if item.digest != hashlib.sha256(item.content).digest()
    ]
    which = f"altered: {', '.join(names)}" if names else "one is gone"
    return f"the schemas, policies and texts that are pinned are not all stored, {which}"


def _require_newest(connection: Connection, log_index: int) -> None:
    """No bundle may be logged after the newest stored: who was suspended would be back."""
    if repository.logged_after(connection, log_index, REGISTRY_CHANGED):
        raise DataLoss("LOG_DAMAGED", "a trust bundle that was logged is not stored")
