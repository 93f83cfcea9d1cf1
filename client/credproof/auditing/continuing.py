"""Is it the log that was seen before? What the service shows must continue what was trusted.

Where it does not, both checkpoints and the first entry that differs are shown to others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from credproof.auditing.evidence import (
    FORK_ENTRIES,
    FORK_PAST,
    FORK_ROOTS,
    FORK_WORD,
    SHRANK,
    Evidence,
    LogFault,
)
from credproof.auditing.index import Index
from credproof.auditing.own import Seen, own_tree
from credproof.auditing.signed import SignedTree, first_not
from credproof.base.errors import DataLoss, VerificationFailed
from credproof.log.checkpoint import Checkpoint
from credproof.log.merkle import Tree

_SHORTER: Final = "the log is shorter than when last audited"
_FORKED: Final = "the log is not the one that was audited before: it has another past"


class Continuing:
    """A signed tree, held against what was `seen` before; `index` has own lines.

    `begin` gives evidence that has both checkpoints already.
    """

    def __init__(
        self, tree: SignedTree, index: Index, seen: Seen | None, begin: Callable[[], Evidence]
    ) -> None:
        self._tree = tree
        self._index = index
        self._seen = seen
        self._begin = begin

    def require_continued(self) -> None:
        """The checkpoint continues the one that was seen before.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`.
            VerificationFailed: the same where `audited.json` alone tells it: no files show that.
            DataLoss: `AUDITED_DAMAGED` where own lines speak against that.
        """
        seen, now = self._seen, self._tree.checkpoint
        if seen is None or seen.checkpoint.origin != now.origin:
            return
        if now.tree_size < seen.checkpoint.tree_size:
            self._raise_shrank(seen)
        proof = self._tree.consistency(seen.checkpoint.tree_size)
        try:
            self._tree.verify(seen.checkpoint.tree_size, seen.checkpoint.root_hash, proof)
        except VerificationFailed:
            self.raise_fork(seen.checkpoint.tree_size, proof)

    def _raise_unsigned(self, seen: Seen, reason: str, says: str) -> NoReturn:
        """It is not what `audited.json` alone says; our own lines tell whether that is sound."""
        old = seen.checkpoint
        if self._index.state.position.size >= old.tree_size and not self._own_tree(seen):
            raise DataLoss("AUDITED_DAMAGED", "audited.json and audit.db do not fit each other")
        raise VerificationFailed(reason, f"{says}, by audited.json alone")

    def _raise_shrank(self, seen: Seen) -> NoReturn:
        """It is shorter; our own lines tell whether it has another past as well."""
        if seen.note is None:
            self._raise_unsigned(seen, "LOG_SHRANK", _SHORTER)
        now, evidence, tree = self._tree.checkpoint, self._begin(), self._own_tree(seen)
        size = now.tree_size
        if tree is None or tree.root(size) == now.root_hash:
            files = evidence.finish("LOG_SHRANK", _SHORTER, SHRANK)
            raise LogFault("LOG_SHRANK", _SHORTER, files)
        past = Checkpoint(seen.checkpoint.origin, size, tree.root(size))
        evidence.add_past(past, tree.consistency_proof(size, tree.size), seen.note)
        shown = self._add_difference(evidence, seen, tree)
        self._fault_forked(evidence, FORK_ENTRIES if shown else FORK_PAST)

    def raise_fork(self, old_size: int, proof: Sequence[bytes]) -> NoReturn:
        """Tell that the tree does not continue one of this size: the `proof` does not hold.

        Raises:
            LogFault: `LOG_FORKED`.
            VerificationFailed, DataLoss: as `require_continued`.
        """
        seen, evidence = self._seen, self._begin()
        if seen is not None and seen.note is None:
            self._raise_unsigned(seen, "LOG_FORKED", _FORKED)
        evidence.add_request(old_size, proof, self._tree.checkpoint.note)
        tree = None if seen is None else self._own_tree(seen)
        if seen and tree and self._add_difference(evidence, seen, tree):
            self._fault_forked(evidence, FORK_ENTRIES)
        is_of_one_size = (
            seen and seen.checkpoint.tree_size == self._tree.checkpoint.tree_size == old_size
        )
        self._fault_forked(evidence, FORK_ROOTS if is_of_one_size else FORK_WORD)

    def _fault_forked(self, evidence: Evidence, how: str) -> NoReturn:
        raise LogFault("LOG_FORKED", _FORKED, evidence.finish("LOG_FORKED", _FORKED, how))

    def _own_tree(self, seen: Seen) -> Tree | None:
        """None where the index was deleted, or is younger: checkpoints alone must do."""
        return own_tree(self._index, seen.checkpoint.tree_size, seen.checkpoint.root_hash)

    def _add_difference(self, evidence: Evidence, seen: Seen, tree: Tree) -> bool:
        """The first entry that differs; whether both lines are there, each with its proof."""
        index = first_not(lambda size: self._tree.is_prefix(size, tree.root(size)), tree.size)
        ours, theirs = self._index.line(index), self._tree.served(index)
        if ours is None or index == tree.size or seen.note is None:
            return False  # what was read is there: it was never what the old checkpoint covers
        evidence.add_proved(index, "seen", ours, tree, seen.note)
        if theirs is None or theirs == ours:
            return False
        proof = self._tree.proof(index, theirs)
        evidence.add_entry(index, "now", theirs, proof)
        return proof is not None
