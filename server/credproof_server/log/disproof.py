"""The disproof: what shows that the log is not the one that was signed, kept beyond a restart.

It is a checkpoint that a witness showed, under the log's own signature, and that the log did not
cover. Who is asked later may be silent: so it is kept where it was found, beside the high-water
mark, until the log covers it, or a restore has taken it as the mark.
"""

from __future__ import annotations

from collections.abc import Sequence

from credproof.base.errors import DataLoss
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.merkle import Tree
from credproof.log.note import VerifierKey
from sqlalchemy import Connection

from credproof_server.log.high_water import HighWater
from credproof_server.storage import repository


class Disproof(DataLoss):
    """The log does not cover a checkpoint that its own key signed and that a witness showed."""

    def __init__(self, reason: str, message: str, seen: VerifiedCheckpoint) -> None:
        super().__init__(reason, message)
        self.seen = seen

    @property
    def weight(self) -> tuple[bool, int]:
        """What is kept of several: no refill mends another past; of a longer log, the longest."""
        return self.reason == "LOG_FORKED", self.seen.tree_size


class DisproofFile(HighWater):
    """The checkpoint alone, a file like the high-water mark."""

    def newest(self, key: VerifierKey) -> VerifiedCheckpoint | None:
        """The checkpoint, None when there is none.

        Raises:
            DataLoss: `DISPROOF_DAMAGED`.
        """
        try:
            return super().newest(key)
        except DataLoss as error:
            message = "the file disproof is not a checkpoint that this log signed"
            raise DataLoss("DISPROOF_DAMAGED", message) from error


def require_covers(tree: Tree, seen: VerifiedCheckpoint) -> None:
    """Accept that our log has all that a checkpoint covers, and the same.

    Raises:
        Disproof: `LOG_BEHIND`, `LOG_FORKED`.
    """
    if seen.tree_size > tree.size:
        message = f"a witness saw {seen.tree_size} entries, the log has {tree.size}: refill them"
        raise Disproof("LOG_BEHIND", message, seen)
    if tree.root(seen.tree_size) != seen.root_hash:
        message = "a witness saw another log than this: restore that one"
        raise Disproof("LOG_FORKED", message, seen)


def require_branch(connection: Connection, signed: Sequence[VerifiedCheckpoint]) -> None:
    """Accept a stored log that has no other past than what was signed; it may be behind.

    Raises:
        DataLoss: `LOG_FORKED`.
    """
    tree = Tree()
    tree.extend([leaf for _, leaf in repository.leaves(connection)])
    for seen in signed:
        if seen.tree_size <= tree.size and tree.root(seen.tree_size) != seen.root_hash:
            message = "this is another log than was signed, or than witnesses saw"
            raise DataLoss("LOG_FORKED", message)
