"""The directory: a prefix tree from indexes to values, under one root.

Every index of 32 bytes has at most one place, found by its bits from the first on; so a proof
shows either the value that an index has, or that it has none. Hashes are those of the prefix
tree of draft-ietf-keytrans-protocol: a leaf stands where it is the only one below, so the
depth is about log2 of the number of leaves. Format: `docs/PROTOCOL.md`, "Directory".
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from credproof.base.encoding import tagged_hash
from credproof.base.errors import VerificationFailed
from credproof.base.limits import DIRECTORY_DEPTH_MAX, at_most

HASH_BYTES: Final = 32
ABSENT: Final = bytes(HASH_BYTES)
"""What stands for a subtree without leaves."""
TOP_BITS: Final = 16
"""Levels that `Top` keeps: 4 MB, and a thousand leaves in sixteen million share a bucket with
fewer than three hundred others."""


@dataclass(frozen=True, slots=True, order=True)
class Leaf:
    """An index and its value, 32 bytes each."""

    index: bytes
    value: bytes

    @property
    def hash(self) -> bytes:
        return hashlib.sha256(b"\x02" + self.index + self.value).digest()


class Subtree(NamedTuple):
    """A subtree's hash, and whether it is one leaf: that moves up beside an absent sibling."""

    hash: bytes
    is_leaf: bool = False


EMPTY: Final = Subtree(ABSENT)
NO_PLACES: Final[Mapping[int, Subtree]] = {}


def join(left: Subtree, right: Subtree) -> Subtree:
    """The subtree over two."""
    if right.hash == ABSENT and (left.is_leaf or left.hash == ABSENT):
        return left
    if left.hash == ABSENT and right.is_leaf:
        return right
    return Subtree(hashlib.sha256(b"\x03" + left.hash + right.hash).digest())


def value_of(salt: bytes, members: Iterable[bytes]) -> bytes:
    """The value for a set of digests: tagged hash of a salt and the members, sorted."""
    return tagged_hash("directory-value", salt, *sorted(members))


@dataclass(frozen=True, slots=True)
class LookupProof:
    """What is at the end of an index's path, and the siblings from the root down.

    `leaf` is the only leaf of the subtree there: the index's own, another's, or None when there
    is no leaf at all.
    """

    leaf: Leaf | None
    siblings: tuple[bytes, ...]


def verify_lookup(index: bytes, proof: LookupProof, root: bytes) -> bytes | None:
    """The value that the index has under `root`, None when it has none.

    Raises:
        VerificationFailed: `BAD_LOOKUP_PROOF`.
        LimitExceeded: a path longer than an index has bits.
    """
    at_most(len(proof.siblings), DIRECTORY_DEPTH_MAX, "lookup proof")
    if any(len(item) != HASH_BYTES for item in (index, root, *proof.siblings)):
        raise VerificationFailed("BAD_LOOKUP_PROOF", "a hash of the proof has a wrong length")
    if proof.leaf is not None:
        _require_on_path(index, proof.leaf, len(proof.siblings))
    found = proof.leaf.hash if proof.leaf else ABSENT
    for depth in reversed(range(len(proof.siblings))):
        pair = (found, proof.siblings[depth])
        left, right = pair if not _bit(index, depth) else pair[::-1]
        found = hashlib.sha256(b"\x03" + left + right).digest()
    if found != root:
        raise VerificationFailed("BAD_LOOKUP_PROOF", "lookup proof does not reach the root")
    return proof.leaf.value if proof.leaf and proof.leaf.index == index else None


def _require_on_path(index: bytes, leaf: Leaf, depth: int) -> None:
    """Another index's leaf shows an absence only where both paths are still one."""
    sizes = len(leaf.index), len(leaf.value)
    if sizes != (HASH_BYTES,) * 2 or _prefix(index, depth) != _prefix(leaf.index, depth):
        raise VerificationFailed("BAD_LOOKUP_PROOF", "a leaf of the proof is on another path")


def _bit(index: bytes, depth: int) -> int:
    return index[depth >> 3] >> (7 - (depth & 7)) & 1


def _prefix(index: bytes, bits: int) -> int:
    return int.from_bytes(index, "big") >> 8 * HASH_BYTES - bits


def bounds(index: bytes, depth: int) -> tuple[bytes, bytes]:
    """The first and the last index whose first `depth` bits are those of `index`."""
    rest = 8 * HASH_BYTES - depth
    first = _prefix(index, depth) << rest
    last = first + (1 << rest) - 1
    return first.to_bytes(HASH_BYTES, "big"), last.to_bytes(HASH_BYTES, "big")


def subtree(leaves: Sequence[Leaf], depth: int = 0) -> Subtree:
    """The subtree of leaves in the order of their indexes, alike in their first `depth` bits."""
    if not leaves:
        return EMPTY
    indexes = [int.from_bytes(leaf.index, "big") for leaf in leaves]
    hashes = [leaf.hash for leaf in leaves]
    return Subtree(_over(indexes, hashes, 0, len(leaves), depth), is_leaf=len(leaves) == 1)


def _over(
    indexes: Sequence[int], hashes: Sequence[bytes], start: int, end: int, depth: int
) -> bytes:
    """The hash over the leaves from `start` to `end`: where two are left there is a node.

    Numbers of 256 bits are compared where bits would have to be picked out one by one.
    """
    if end - start < 2:
        return hashes[start] if start < end else ABSENT
    bit = 8 * HASH_BYTES - 1 - depth
    middle = bisect_left(indexes, (indexes[start] >> bit | 1) << bit, start, end)
    left = _over(indexes, hashes, start, middle, depth + 1)
    right = _over(indexes, hashes, middle, end, depth + 1)
    return hashlib.sha256(b"\x03" + left + right).digest()


def _halves(leaves: Sequence[Leaf], depth: int) -> tuple[Sequence[Leaf], Sequence[Leaf]]:
    middle = bisect_left(leaves, 1, key=lambda leaf: _bit(leaf.index, depth))
    return leaves[:middle], leaves[middle:]


def prove(leaves: Sequence[Leaf], index: bytes, depth: int = 0) -> LookupProof:
    """The part of a lookup proof below `depth`, over the leaves that `subtree` would take."""
    siblings = []
    while len(leaves) > 1:
        left, right = _halves(leaves, depth)
        depth += 1
        leaves, other = (right, left) if _bit(index, depth - 1) else (left, right)
        siblings.append(subtree(other, depth).hash)
    return LookupProof(leaves[0] if leaves else None, tuple(siblings))


class Top:
    """The topmost levels of a directory; below are buckets of leaves, kept by somebody else.

    As a heap: place 1 is the root, the children of place p are 2 p and 2 p + 1, and the buckets
    are the last places.
    """

    def __init__(self, bits: int = TOP_BITS) -> None:
        self.bits = bits
        self._hashes = bytearray(HASH_BYTES << bits + 1)
        self._leaves = bytearray(1 << bits + 1)

    @property
    def root(self) -> bytes:
        """The root of the whole directory, 32 bytes; `ABSENT` without leaves."""
        return self._at(1).hash

    def bucket(self, index: bytes) -> int:
        """The number of the bucket that an index belongs to."""
        return _prefix(index, self.bits)

    def update(self, buckets: Mapping[int, Subtree]) -> None:
        """Put new buckets in place; each place above them is computed once."""
        self.put(self.changed(buckets))

    def changed(
        self, buckets: Mapping[int, Subtree], before: Mapping[int, Subtree] = NO_PLACES
    ) -> Mapping[int, Subtree]:
        """All places that new buckets change, and those changed `before` that are not put yet."""
        places = {(1 << self.bits) + number: found for number, found in buckets.items()}
        dirty = {place >> 1 for place in places}
        places = {**before, **places}
        while dirty and 0 not in dirty:
            for place in dirty:
                left = places.get(2 * place) or self._at(2 * place)
                right = places.get(2 * place + 1) or self._at(2 * place + 1)
                places[place] = join(left, right)
            dirty = {place >> 1 for place in dirty}
        return places

    def put(self, places: Mapping[int, Subtree]) -> None:
        """Put places in place that `changed` gave."""
        for place, found in places.items():
            self._put(place, found)

    def root_with(self, places: Mapping[int, Subtree]) -> bytes:
        """The root once these places are put."""
        return places[1].hash if 1 in places else self.root

    def path(self, index: bytes) -> tuple[bytes, ...]:
        """The siblings of an index from the root down, as far as there is more than one leaf."""
        siblings, place = [], 1
        for depth in range(self.bits):
            here = self._at(place)
            if here.is_leaf or here.hash == ABSENT:
                break
            place = 2 * place + _bit(index, depth)
            siblings.append(self._at(place ^ 1).hash)
        return tuple(siblings)

    def _at(self, place: int) -> Subtree:
        start = place * HASH_BYTES
        return Subtree(bytes(self._hashes[start : start + HASH_BYTES]), bool(self._leaves[place]))

    def _put(self, place: int, found: Subtree) -> None:
        start = place * HASH_BYTES
        self._hashes[start : start + HASH_BYTES] = found.hash
        self._leaves[place] = found.is_leaf
