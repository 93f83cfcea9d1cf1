"""The Merkle tree of RFC 9162 section 2.1 with SHA-256: roots, inclusion, consistency."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import TREE_PROOF_HASHES_MAX, at_most

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Tree:
    """An append-only tree that keeps the hash of every complete subtree.

    Level l holds, in one flat byte string, the hashes of the complete subtrees of 2**l leaves:
    64 bytes per leaf in all, and any root or proof of any past size in O(log n) hashes.
    """

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]

    @property
    def size(self) -> int:
        return len(self._levels[0]) // HASH_BYTES

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        self.extend((leaf,))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add leaf hashes; each level is then completed in one sweep.

        Raises:
            Malformed: `WRONG_LENGTH` for a leaf that is not 32 bytes; none is then added.
        """
        for leaf in leaves:
            _require_hash(leaf)
        self._levels[0] += b"".join(leaves)
        level = 0
        while len(self._levels[level]) >= 2 * HASH_BYTES:
            if level + 1 == len(self._levels):
                self._levels.append(bytearray())
            self._complete(level)
            level += 1

    def _complete(self, level: int) -> None:
        below, above = self._levels[level], self._levels[level + 1]
        pair = 2 * HASH_BYTES
        first, last = len(above) // HASH_BYTES, len(below) // pair
        above += b"".join(
            hashlib.sha256(b"\x01" + below[i * pair : (i + 1) * pair]).digest()
            for i in range(first, last)
        )

    def truncate(self, size: int) -> None:
        """Forget all leaves from `size` on.

        Raises:
            Malformed: `NO_SUCH_SIZE`.
        """
        self._require_size(size)
        for level, hashes in enumerate(self._levels):
            del hashes[(size >> level) * HASH_BYTES :]

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` leaves (all, if None).

        Raises:
            Malformed: `NO_SUCH_SIZE`.
        """
        size = self.size if size is None else size
        self._require_size(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, log_index: int, tree_size: int) -> tuple[bytes, ...]:
        """The proof that a leaf is in the tree of that size, leaf sibling first.

        Raises:
            Malformed: `NO_SUCH_SIZE`, `NO_SUCH_INDEX`.
        """
        self._require_size(tree_size)
        if not 0 <= log_index < tree_size:
            raise Malformed("NO_SUCH_INDEX", "log index is not in the tree of that size")
        return tuple(self._path(log_index, tree_size))

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the tree of size `new` continues the one of size `old`.

        Raises:
            Malformed: `NO_SUCH_SIZE`.
        """
        self._require_size(new)
        if not 0 <= old <= new:
            raise Malformed("NO_SUCH_SIZE", "the older tree is larger than the newer one")
        return tuple(self._subproof(old, 0, new, whole=True)) if old else ()

    def frontier(self, size: int | None = None) -> tuple[bytes, ...]:
        """The hashes of the complete subtrees that make up the tree, largest first."""
        size = self.size if size is None else size
        self._require_size(size)
        peaks, start = [], 0
        for level in reversed(range(size.bit_length())):
            if size >> level & 1:
                peaks.append(self._range(start, start + (1 << level)))
                start += 1 << level
        return tuple(peaks)

    def subtrees(self, level: int, start: int, end: int) -> bytes:
        """The hashes of the complete subtrees `start` to `end - 1` of 2**level leaves each.

        Raises:
            Malformed: `NO_SUCH_INDEX` when one of them is not complete.
        """
        if not 0 <= start <= end <= self.size >> level:
            raise Malformed("NO_SUCH_INDEX", "the tree has no such subtrees")
        return bytes(self._levels[level][start * HASH_BYTES : end * HASH_BYTES])

    def _require_size(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise Malformed("NO_SUCH_SIZE", "the tree has no such size")

    def _range(self, start: int, end: int) -> bytes:
        """The hash over leaves start … end - 1, where start is a multiple of the subtree's size."""
        count = end - start
        level = count.bit_length() - 1
        if count == 1 << level:
            at = (start >> level) * HASH_BYTES
            return bytes(self._levels[level][at : at + HASH_BYTES])
        middle = start + _split(count)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _path(self, index: int, size: int) -> list[bytes]:
        """The siblings from the leaf up. Only the last node of a level can be incomplete."""
        hashes, last = [], size - 1
        for level in range(last.bit_length()):
            sibling, end = index >> level ^ 1, last >> level
            if sibling < end:
                at = sibling * HASH_BYTES
                hashes.append(bytes(self._levels[level][at : at + HASH_BYTES]))
            elif sibling == end:
                hashes.append(self._range(sibling << level, size))
        return hashes

    def _subproof(self, old: int, start: int, end: int, *, whole: bool) -> list[bytes]:
        if old == end:
            return [] if whole else [self._range(start, end)]
        middle = start + _split(end - start)
        if old <= middle:
            left = self._subproof(old, start, middle, whole=whole)
            return [*left, self._range(middle, end)]
        right = self._subproof(old, middle, end, whole=False)
        return [*right, self._range(start, middle)]


def _split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


class Frontier:
    """The peaks of a growing tree: enough to append and to know the root, O(log n) memory."""

    def __init__(self, size: int = 0, peaks: Sequence[bytes] = ()) -> None:
        if (
            size < 0
            or len(peaks) != size.bit_count()
            or any(len(peak) != HASH_BYTES for peak in peaks)
        ):
            raise Malformed("BAD_FRONTIER", "frontier does not fit its size")
        self.size = size
        self._peaks = list(peaks)

    @property
    def peaks(self) -> tuple[bytes, ...]:
        """The hashes of the complete subtrees, largest first."""
        return tuple(self._peaks)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash.

        Raises:
            Malformed: `WRONG_LENGTH`.
        """
        _require_hash(leaf)
        size = self.size
        while size & 1:
            leaf = node_hash(self._peaks.pop(), leaf)
            size >>= 1
        self._peaks.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root of the tree so far."""
        return _root_of(self._peaks) if self._peaks else EMPTY_ROOT

    def past(self, size: int) -> tuple[Frontier, tuple[bytes, ...]]:
        """The largest tree of at most `size` leaves that whole peaks make, and the proof that this
        one continues it."""
        taken: list[bytes] = []
        end = 0
        for peak in self._peaks:
            if (end_of := end + _highest(self.size - end)) > size:
                break
            taken, end = [*taken, peak], end_of
        rest = self._peaks[len(taken) :]
        if not taken or not rest:
            return Frontier(end, taken), ()
        *before, last = taken
        proof = ([last] if before else []) + [_root_of(rest)] + before[::-1]
        return Frontier(end, taken), tuple(proof)


def _root_of(peaks: Sequence[bytes]) -> bytes:
    *before, root = peaks
    for peak in reversed(before):
        root = node_hash(peak, root)
    return root


def _highest(size: int) -> int:
    """The largest power of two that is not above `size`."""
    return 1 << size.bit_length() - 1


# -- verification (RFC 9162 sections 2.1.3.2 and 2.1.4.2) ----------------------


def verify_inclusion(
    leaf: bytes, log_index: int, tree_size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Accept that the leaf hash stands at `log_index` in the tree of that size and root.

    Raises:
        VerificationFailed: `BAD_INCLUSION_PROOF`.
        Malformed: `WRONG_LENGTH` for a leaf hash or root that is not 32 bytes.
        LimitExceeded: too many hashes.
    """
    _require_hash(leaf)
    _require_hash(root)
    _require_hashes(proof, "BAD_INCLUSION_PROOF")
    if not 0 <= log_index < tree_size:
        raise VerificationFailed("BAD_INCLUSION_PROOF", "log index is outside the tree")
    index, last, result = log_index, tree_size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise VerificationFailed("BAD_INCLUSION_PROOF", "inclusion proof is too long")
        if index & 1 or index == last:
            result = node_hash(sibling, result)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            result = node_hash(result, sibling)
        index, last = index >> 1, last >> 1
    if last or result != root:
        raise VerificationFailed("BAD_INCLUSION_PROOF", "inclusion proof does not reach the root")


def verify_consistency(
    old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Accept that the newer tree continues the older one.

    Raises:
        VerificationFailed: `BAD_CONSISTENCY_PROOF`.
        Malformed: `WRONG_LENGTH` for a root that is not 32 bytes.
        LimitExceeded: too many hashes.
    """
    _require_hash(old_root)
    _require_hash(new_root)
    _require_hashes(proof, "BAD_CONSISTENCY_PROOF")
    if not 0 <= old_size <= new_size:
        raise VerificationFailed("BAD_CONSISTENCY_PROOF", "the newer tree is the smaller one")
    if old_size in (0, new_size):
        known = EMPTY_ROOT if old_size == 0 else new_root
        if proof or old_root != known:
            raise VerificationFailed("BAD_CONSISTENCY_PROOF", "trees do not need this proof")
        return
    roots = _consistent_roots(old_size, old_root, new_size, proof)
    if roots != (old_root, new_root):
        raise VerificationFailed("BAD_CONSISTENCY_PROOF", "consistency proof misses a root")


def _consistent_roots(
    old_size: int, old_root: bytes, new_size: int, proof: Sequence[bytes]
) -> tuple[bytes, bytes]:
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        raise VerificationFailed("BAD_CONSISTENCY_PROOF", "consistency proof is empty")
    index, last = old_size - 1, new_size - 1
    while index & 1:
        index, last = index >> 1, last >> 1
    older = newer = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            raise VerificationFailed("BAD_CONSISTENCY_PROOF", "consistency proof is too long")
        if index & 1 or index == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            while not index & 1 and index:
                index, last = index >> 1, last >> 1
        else:
            newer = node_hash(newer, sibling)
        index, last = index >> 1, last >> 1
    if last:
        raise VerificationFailed("BAD_CONSISTENCY_PROOF", "consistency proof is too short")
    return older, newer


def _require_hash(data: bytes) -> None:
    if len(data) != HASH_BYTES:
        raise Malformed("WRONG_LENGTH", f"expected {HASH_BYTES} bytes, got {len(data)}")


def _require_hashes(proof: Sequence[bytes], reason: str) -> None:
    at_most(len(proof), TREE_PROOF_HASHES_MAX, "tree proof")
    if any(len(item) != HASH_BYTES for item in proof):
        raise VerificationFailed(reason, "a hash of the proof has a wrong length")
