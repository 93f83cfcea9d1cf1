"""The tree that a checkpoint signs, as far as a source proves what is in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from credproof.base.errors import CredproofError, Unreachable, VerificationFailed
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from credproof.log.proof import TlogProof


class Source(Protocol):
    """Where a log is read. Nothing that it gives is believed."""

    def pages(self, start: int, end: int) -> Iterator[Sequence[bytes]]:
        """The entries start … end - 1, in pages."""
        ...

    def consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """What is said to prove that the larger tree continues the smaller one."""
        ...

    def inclusion(self, log_index: int, tree_size: int) -> tuple[bytes, ...]:
        """What is said to prove that an entry is in a tree."""
        ...


class SignedTree:
    """The tree of a checkpoint, whose log is read from `source`."""

    def __init__(self, source: Source, checkpoint: VerifiedCheckpoint) -> None:
        self._source = source
        self.checkpoint = checkpoint

    def is_prefix(self, size: int, root: bytes) -> bool:
        """Whether the first `size` entries of the signed tree have this root."""
        if size > self.checkpoint.tree_size:
            return False
        try:
            self.verify(size, root, self.consistency(size))
        except VerificationFailed:
            return False
        return True

    def verify(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        """Accept that the first `size` entries of the signed tree have this root.

        Raises:
            VerificationFailed: `BAD_CONSISTENCY_PROOF`.
        """
        new = self.checkpoint
        verify_consistency(size, root, new.tree_size, new.root_hash, proof)

    def consistency(self, size: int) -> tuple[bytes, ...]:
        """What the source gives to prove that it continues one of this size; nothing if it refuses.

        Raises:
            Unreachable: it does not answer.
        """
        if size in (0, self.checkpoint.tree_size):
            return ()
        try:
            return self._source.consistency(size, self.checkpoint.tree_size)
        except Unreachable:
            raise
        except CredproofError:
            return ()  # it has none

    def proof(self, index: int, line: bytes) -> TlogProof | None:
        """The proof that a line is in the signed tree, if the source has one.

        Raises:
            Unreachable: it does not answer.
        """
        new = self.checkpoint
        try:
            hashes = self._source.inclusion(index, new.tree_size)
            verify_inclusion(leaf_hash(line), index, new.tree_size, hashes, new.root_hash)
        except Unreachable:
            raise
        except CredproofError:
            return None
        return TlogProof(index, hashes, new.note)

    def served(self, index: int) -> bytes | None:
        """An entry as the source gives it now, if it does."""
        if index >= self.checkpoint.tree_size:
            return None
        try:
            return next(self._source.pages(index, index + 1))[0]
        except (CredproofError, StopIteration, IndexError):
            return None


def first_not(holds: Callable[[int], bool], count: int) -> int:
    """The last number up to `count` for which it holds; it holds for 0 and then up to some one.

    So, of entries counted from 0, the index of the first one that spoils it.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low
