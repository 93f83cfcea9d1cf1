"""What is left of a log under a new origin must be what was verified under the old one.

Only its lost tail may differ. Lines that an auditor keeps tell it of every entry; without them,
old checkpoints that cover no more than what is left do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from credproof.auditing.evidence import FORK_ENTRIES, FORK_KEPT, Evidence, LogFault
from credproof.auditing.following import Seen, first_not, own_tree
from credproof.auditing.index import Index
from credproof.base.errors import VerificationFailed
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint
from credproof.log.continued import Continued
from credproof.log.merkle import Tree
from credproof.log.proof import TlogProof

_SAYS: Final = "what is left under the new origin is not what was verified under the old one"


def end_of(seen: Checkpoint, continued: Sequence[Continued]) -> Continued:
    """The entry that ends the origin of a checkpoint: it must cover that.

    Raises:
        VerificationFailed: `LOG_REPLACED`.
    """
    for found in continued:
        is_same = (found.tree_size, found.root_hash) == (seen.tree_size, seen.root_hash)
        if found.origin == seen.origin and (found.tree_size > seen.tree_size or is_same):
            return found
    message = "the log has a new origin and does not say what became of the old"
    raise VerificationFailed("LOG_REPLACED", message)


@dataclass(frozen=True)
class Surviving:
    """A log under its new origin: its lines, verified against its checkpoint.

    The first `count` entries are those that are left of the old one.
    """

    index: Index
    checkpoint: VerifiedCheckpoint
    vkeys: Sequence[str]
    count: int

    def require_same(self, old: Index, notes: Sequence[Seen]) -> None:
        """Hold what is left against the lines and the checkpoints of before, the last one first.

        Raises:
            LogFault: `LOG_FORKED`.
        """
        tree = own_tree(self.index, self.checkpoint.tree_size, self.checkpoint.root_hash)
        assert tree is not None, "it was verified"
        self._compare(tree, old, notes[0])
        for seen in notes:
            size = seen.checkpoint.tree_size
            if size <= self.count and tree.root(size) != seen.checkpoint.root_hash:
                self._raise_kept(tree, seen)

    def _compare(self, tree: Tree, old: Index, seen: Seen) -> None:
        own = own_tree(old, seen.checkpoint.tree_size, seen.checkpoint.root_hash)
        if own is None:
            return
        count = min(self.count, own.size)
        index = first_not(lambda size: own.root(size) == tree.root(size), count)
        if index < count:
            self._raise_entries(tree, own, old, seen, index)

    def _raise_entries(self, tree: Tree, own: Tree, old: Index, seen: Seen, index: int) -> NoReturn:
        evidence = self._evidence(seen)
        sides = (("seen", old, own, seen.note), ("now", self.index, tree, self.checkpoint.note))
        for word, lines, made, note in sides:
            line = lines.line(index)
            assert line is not None, "the tree is made of it"
            hashes = made.inclusion_proof(index, made.size)
            evidence.add_entry(index, word, line, TlogProof(index, hashes, note))
        raise LogFault("LOG_FORKED", _SAYS, evidence.finish("LOG_FORKED", _SAYS, FORK_ENTRIES))

    def _raise_kept(self, tree: Tree, seen: Seen) -> NoReturn:
        size, evidence = seen.checkpoint.tree_size, self._evidence(seen)
        past = Checkpoint(self.checkpoint.origin, size, tree.root(size))
        evidence.add_kept(past, tree.consistency_proof(size, tree.size), self.checkpoint.note)
        raise LogFault("LOG_FORKED", _SAYS, evidence.finish("LOG_FORKED", _SAYS, FORK_KEPT))

    def _evidence(self, seen: Seen) -> Evidence:
        evidence = Evidence()
        evidence.add_checkpoints(seen.note, self.checkpoint.note, self.vkeys)
        return evidence
