"""Tiles of height 8 (C2SP tlog-tiles): the log as files that anybody can serve and check.

A hash tile of level L holds up to 256 hashes, each of a complete subtree of 256**L leaves; an
entry bundle holds the entries under a tile of level 0. Only the last one of a level is partial,
and its path says how wide it is, so what a path names never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from credproof.base.errors import Malformed
from credproof.base.limits import ENTRY_BYTES_MAX, at_most
from credproof.log.merkle import Tree

HEIGHT: Final = 8
WIDTH: Final = 1 << HEIGHT
"""Hashes of a full tile, and entries of a full bundle."""
LEVELS: Final = 64
ENTRIES: Final = "entries"

_PATH = re.compile(
    r"tile/(?P<kind>entries|0|[1-5]?[0-9]|6[0-3])"
    r"/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})"
    r"(?:\.p/(?P<width>[1-9][0-9]{0,2}))?\Z"
)


@dataclass(frozen=True, slots=True)
class Tile:
    """A tile of hashes, or with `level` None the bundle of entries; `width` of 1 to 256."""

    level: int | None
    number: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """Where it is served, below the log's prefix."""
        kind = ENTRIES if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{kind}/{_grouped(self.number)}{partial}"

    @property
    def first(self) -> int:
        """The index of its first hash within its level, or of its first entry."""
        return self.number * WIDTH

    def is_of(self, tree_size: int) -> bool:
        """Whether a log of this size has it, full or this wide."""
        level = self.level or 0
        return 0 < self.first + self.width <= tree_size >> HEIGHT * level


def _grouped(number: int) -> str:
    """1234067 is x001/x234/067: no folder has more than a thousand files."""
    groups = [f"{number % 1000:03}"]
    while number := number // 1000:
        groups.append(f"x{number % 1000:03}")
    return "/".join(reversed(groups))


def parse_path(path: str) -> Tile:
    """The tile that a path names, in its one spelling.

    Raises:
        Malformed: `NO_SUCH_TILE`.
    """
    found = _PATH.match(path)
    if found is None:
        raise Malformed("NO_SUCH_TILE", "path names no tile")
    kind, number = found["kind"], int(re.sub("[x/]", "", found["number"]))
    level = None if kind == ENTRIES else int(kind)
    tile = Tile(level, number, int(found["width"] or WIDTH))
    if tile.path != path or tile.width > WIDTH:
        raise Malformed("NO_SUCH_TILE", "path names no tile, or not in its one spelling")
    return tile


def tiles(tree_size: int, *, since: int = 0) -> Iterator[Tile]:
    """All tiles and bundles of a log of this size that one of size `since` did not have."""
    yield from _of_level(None, tree_size, since)
    for level in range(LEVELS):
        if not tree_size >> HEIGHT * level:
            return
        yield from _of_level(level, tree_size, since)


def _of_level(level: int | None, tree_size: int, since: int) -> Iterator[Tile]:
    shift = HEIGHT * (level or 0)
    before, now = since >> shift, tree_size >> shift
    if now == before:
        return
    for number in range(before // WIDTH, now // WIDTH):
        yield Tile(level, number)
    if now % WIDTH:
        yield Tile(level, now // WIDTH, now % WIDTH)


def hash_tile(tree: Tree, tile: Tile) -> bytes:
    """The hashes of a tile, 32 bytes each.

    Raises:
        Malformed: `NO_SUCH_TILE` when the tree does not have it.
    """
    if tile.level is None or not tile.is_of(tree.size):
        raise Malformed("NO_SUCH_TILE", "the log has no such tile yet")
    return tree.subtrees(HEIGHT * tile.level, tile.first, tile.first + tile.width)


def format_bundle(lines: Sequence[bytes]) -> bytes:
    """Entries as a bundle: each behind its length in two bytes, big-endian.

    Raises:
        LimitExceeded: an entry of more than `ENTRY_BYTES_MAX`.
    """
    for line in lines:
        at_most(len(line), ENTRY_BYTES_MAX, "log entry")
    return b"".join(chain.from_iterable((len(line).to_bytes(2, "big"), line) for line in lines))


def parse_bundle(data: bytes, width: int) -> tuple[bytes, ...]:
    """The entries of a bundle, exactly `width` of them.

    Raises:
        Malformed: `BAD_BUNDLE`.
    """
    lines, at = [], 0
    for _ in range(width):
        start = at + 2
        at = start + int.from_bytes(data[at:start], "big")
        lines.append(data[start:at])
    if at != len(data):
        raise Malformed("BAD_BUNDLE", "bundle does not hold so many entries")
    return tuple(lines)
