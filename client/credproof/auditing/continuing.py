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
from credproof.auditing.own import Seen, own_tree, require_own_state
from credproof.auditing.signed import SignedTree, first_not
from credproof.base.errors import DataLoss, VerificationFailed
from credproof.log.audit import AuditState
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

    def require_continued(self, kept: AuditState) -> AuditState:
        """The checkpoint continues the one that was seen before, the lines that are kept, and
        `kept`, where an audit before ended; gives where the newest of them ended.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`.
            VerificationFailed: the same where lines or `kept` alone tell it: no files show that.
            DataLoss: `INDEX_DAMAGED`, `AUDITED_DAMAGED`, `AUDITED_AHEAD`: nobody is accused.
        """
        if self._signed is not None:
            self.require_signed()
        start = self._index.state
        self._require_start(start)
        self._require_state(kept, start)
        return max(start, kept, key=lambda state: state.position.size)

    def require_signed(self) -> None:
        """The checkpoint continues the signed one that was seen before.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`.
        """
        seen, now = self._signed, self._tree.checkpoint
        assert seen is not None, "there was one"
        if now.tree_size < seen.checkpoint.tree_size:
            self._raise_shrank(seen)
        proof = self._tree.consistency(seen.checkpoint.tree_size)
        try:
            self._tree.verify(seen.checkpoint.tree_size, seen.checkpoint.root_hash, proof)
        except VerificationFailed:
            self._raise_fork(seen, seen.checkpoint.tree_size, proof)

    @property
    def _signed(self) -> Seen | None:
        """What was seen before, where the log signed it."""
        seen = self._seen
        return None if seen is None or seen.note is None else seen

    def _require_start(self, start: AuditState) -> None:
        """What is kept of lines is in the signed tree; else they must be sound to say so."""
        size, root, seen = start.position.size, start.root(), self._signed
        is_seen = seen and (seen.checkpoint.tree_size, seen.checkpoint.root_hash) == (size, root)
        if is_seen or self._tree.is_prefix(size, root):
            return
        own, now = require_own_state(self._index, start), self._tree.checkpoint
        if seen is not None and size <= now.tree_size:
            self._raise_fork(seen, size, self._tree.consistency(size))
        is_cut = size > now.tree_size and own.root(now.tree_size) == now.root_hash
        _raise_unsigned(self._index.path.name, is_cut=is_cut)

    def _require_state(self, kept: AuditState, start: AuditState) -> None:
        """Where an audit ended is in the signed tree; it is signed by nobody."""
        size, root = kept.position.size, kept.root()
        if (size, root) == (start.position.size, start.root()) or self._tree.is_prefix(size, root):
            return
        if start.position.size >= size:
            if own_tree(self._index, size, root) is None:
                raise DataLoss("AUDITED_DAMAGED", "audited.json and audit.db do not fit each other")
            return
        if self._signed is not None:
            message = "audited.json goes further than newest.checkpoint and audit.db, and the log"
            raise DataLoss("AUDITED_AHEAD", f"{message} is not what it says")
        _raise_unsigned("audited.json", is_cut=size > self._tree.checkpoint.tree_size)

    def _raise_shrank(self, seen: Seen) -> NoReturn:
        """It is shorter; our own lines tell whether it has another past as well."""
        assert seen.note is not None, "it was signed"
        now, evidence, tree = self._tree.checkpoint, self._begin(), self._own_tree(seen)
        size = now.tree_size
        if tree is None or tree.root(size) == now.root_hash:
            files = evidence.finish("LOG_SHRANK", _SHORTER, SHRANK)
            raise LogFault("LOG_SHRANK", _SHORTER, files)
        past = Checkpoint(seen.checkpoint.origin, size, tree.root(size))
        evidence.add_past(past, tree.consistency_proof(size, tree.size), seen.note)
        shown = self._add_difference(evidence, seen, tree)
        self._fault_forked(evidence, FORK_ENTRIES if shown else FORK_PAST)

    def _raise_fork(self, seen: Seen, old_size: int, proof: Sequence[bytes]) -> NoReturn:
        """The tree does not continue one of this size: the `proof` does not hold."""
        evidence, now = self._begin(), self._tree.checkpoint
        evidence.add_request(old_size, proof, now.note)
        tree = self._own_tree(seen)
        if tree and self._add_difference(evidence, seen, tree):
            self._fault_forked(evidence, FORK_ENTRIES)
        is_of_one_size = seen.checkpoint.tree_size == now.tree_size == old_size
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


def _raise_unsigned(name: str, *, is_cut: bool) -> NoReturn:
    """It is not what an own file says that nobody signed: no files show that to others."""
    reason, says = ("LOG_SHRANK", _SHORTER) if is_cut else ("LOG_FORKED", _FORKED)
    raise VerificationFailed(reason, f"{says}, by {name} alone")
