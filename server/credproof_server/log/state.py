"""What the sequencer knows of the log: loaded from the database, extended by commits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from credproof.base.errors import DataLoss, Malformed
from credproof.base.keys import PublicKey
from credproof.log.entry import ChainPosition, Entry, entry_hash, parse_entry
from credproof.log.merkle import Tree, leaf_hash
from credproof.verification.trust import Trust, verify_trust
from sqlalchemy import Connection, func, select

from credproof_server.storage import repository
from credproof_server.storage.tables import commits, documents, entries, trust_bundles

REGISTRY_CHANGED = b'"kind":"registry.changed"'
"""How a line says that it logs a trust bundle; no other member of an entry can hold this."""


class Clock(Protocol):
    """The present time in whole seconds since 1970, UTC."""

    def __call__(self) -> int: ...


class LogState:
    """Tree, chain position and trust. Written by the sequencer's thread alone.

    Other threads may read `tree` for sizes that are committed, and `trust`.
    """

    def __init__(self, tree: Tree, position: ChainPosition, trust: Trust | None) -> None:
        self.tree = tree
        self.position = position
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
        line = entry.to_line()
        self._lines.append(line)
        self._position = ChainPosition(at.size + 1, entry_hash(line), self.time)
        return at.size

    def mark(self) -> tuple[int, ChainPosition, Trust | None]:
        """What `rewind` needs to forget all that came after."""
        return len(self._lines), self._position, self.trust

    def rewind(self, mark: tuple[int, ChainPosition, Trust | None]) -> None:
        """Forget what came after `mark`."""
        count, self._position, self.trust = mark
        del self._lines[count:]

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
        if self.trust is not None:
            self._state.trust = self.trust

    def abandon(self) -> None:
        """The commit failed: the tree goes back to what is committed."""
        self._state.tree.truncate(self._state.position.size)


def load_state(connection: Connection, root: PublicKey) -> LogState:
    """The state that the database holds; the stored root must be the recomputed one.

    Raises:
        DataLoss: `LOG_DAMAGED` when entries are missing or the root differs.
    """
    tree = Tree()
    leaves = connection.execute(select(entries.c.leaf).order_by(entries.c.log_index)).scalars()
    tree.extend(list(leaves))
    _verify_root(connection, tree)
    return LogState(tree, _position(connection, tree.size), load_trust(connection, root))


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


def load_trust(connection: Connection, root: PublicKey) -> Trust | None:
    """The newest trust bundle, or None before the first one."""
    query = select(trust_bundles).order_by(trust_bundles.c.version.desc()).limit(1)
    row = connection.execute(query).first()
    _require_newest(connection, -1 if row is None else row.log_index)
    if row is None:
        return None
    stored = connection.execute(select(documents.c.content)).scalars().all()
    if not all(isinstance(item, bytes) for item in (row.token, *stored)):
        raise DataLoss("LOG_DAMAGED", "a stored trust bundle or document is not even bytes")
    text = row.token.decode("ascii", "replace")
    try:
        return verify_trust(text, stored, root=root, at=0)
    except Malformed as error:
        raise DataLoss("LOG_DAMAGED", "a stored trust bundle or document does not parse") from error


def _require_newest(connection: Connection, log_index: int) -> None:
    """No bundle may be logged after the newest stored: who was suspended would be back."""
    later = func.instr(entries.c.line, REGISTRY_CHANGED) > 0
    query = select(entries.c.log_index).where(entries.c.log_index > log_index, later).limit(1)
    if connection.execute(query).first() is not None:
        raise DataLoss("LOG_DAMAGED", "a trust bundle that was logged is not stored")
