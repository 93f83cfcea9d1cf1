"""What an auditor has of a log itself: the checkpoint that it trusted, and its own lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.auditing.evidence import Evidence
from credproof.auditing.index import Index
from credproof.base.errors import Conflict, DataLoss
from credproof.log.audit import AuditState
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from credproof.log.entry import entry_hash
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import VerifierKey


@dataclass(frozen=True, slots=True)
class Seen:
    """The checkpoint that was trusted before, and its signed note, unless that is damaged."""

    checkpoint: Checkpoint
    note: bytes | None

    def is_newer(self, other: Seen | None, *, of: str) -> bool:
        """Whether it covers more than another one, and is of this origin."""
        size = 0 if other is None else other.checkpoint.tree_size
        return self.checkpoint.origin == of and self.checkpoint.tree_size > size


def verified(seen: Seen | None, vkeys: Sequence[str]) -> VerifiedCheckpoint:
    """The checkpoint that was trusted before, verified anew under the log's keys.

    Raises:
        Conflict: `NOTHING_VERIFIED`: there was none, or its note is no more.
        Malformed, VerificationFailed: as `verify_checkpoint`.
    """
    if seen is None or seen.note is None:
        raise Conflict("NOTHING_VERIFIED", "no checkpoint that was verified is kept in this home")
    keys = [VerifierKey.parse(vkey) for vkey in vkeys]
    return verify_checkpoint(seen.note, seen.checkpoint.origin, keys)


def own_tree(index: Index, size: int, root: bytes) -> Tree | None:
    """A tree made of the lines that are kept; None where they do not make this root."""
    tree = Tree()
    tree.extend([leaf_hash(line) for line in index.lines(0, size)])
    return tree if (tree.size, tree.root()) == (size, root) else None


def require_own(index: Index, size: int, root: bytes, last_hash: bytes | None = None) -> Tree:
    """The tree of the lines that are kept: it has this root, and the last line this hash.

    Raises:
        DataLoss: `INDEX_DAMAGED`: what is wrong is not the log's.
    """
    tree, last = own_tree(index, size, root), index.line(size - 1)
    if tree is None or (last_hash is not None and last and entry_hash(last) != last_hash):
        raise DataLoss("INDEX_DAMAGED", f"{index.path.name} is not what was verified")
    return tree


def require_own_state(index: Index, state: AuditState) -> Tree:
    """The same of where an audit ended. What follows on a damaged index speaks against nobody.

    Raises:
        DataLoss: `INDEX_DAMAGED`.
    """
    position = state.position
    last_hash = position.last_hash if position.size else None
    return require_own(index, position.size, state.root(), last_hash)


def begin_evidence(seen: Seen | None, now: VerifiedCheckpoint, vkeys: Sequence[str]) -> Evidence:
    """Evidence that begins with the log's keys, what was trusted before and what is shown now."""
    evidence = Evidence()
    evidence.add_checkpoints(None if seen is None else seen.note, now.note, vkeys)
    return evidence
