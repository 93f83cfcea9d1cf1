"""C2SP tlog-tiles: the vectors of another log byte for byte, every path, every size to 300."""

from __future__ import annotations

from pathlib import Path

import pytest
from credproof.base.errors import LimitExceeded, Malformed
from credproof.base.limits import ENTRY_BYTES_MAX
from credproof.log.checkpoint import parse_checkpoint
from credproof.log.merkle import HASH_BYTES, Tree, leaf_hash, node_hash
from credproof.log.note import parse_note
from credproof.log.tiles import (
    Tile,
    format_bundle,
    hash_tile,
    parse_bundle,
    parse_path,
    tiles,
)
from hypothesis import given
from hypothesis import strategies as st

VECTORS = Path(__file__).parent.parent / "vectors" / "tlog-tiles"
WORDS = (
    b"one two three four five six seven eit nain ten ileven twelf threeten fourten fivten".split()
)
"""The entries of the log in the vectors (tessera testdata), spelled as there."""
SIZES = 301
TREE = Tree()
TREE.extend([leaf_hash(i.to_bytes(4, "big")) for i in range(70_000)])


def tree_of(lines) -> Tree:
    tree = Tree()
    tree.extend([leaf_hash(line) for line in lines])
    return tree


def hashes_in(tile: bytes) -> list[bytes]:
    return [tile[i : i + HASH_BYTES] for i in range(0, len(tile), HASH_BYTES)]


@pytest.mark.parametrize("size", range(1, 16))
def test_tiles_and_bundles_of_another_log_are_the_same_bytes(size):
    tree = tree_of(WORDS[:size])
    note = parse_note((VECTORS / f"checkpoint.{size}").read_bytes())
    assert parse_checkpoint(note.text).root_hash == tree.root()
    bundle, level0 = tiles(size)
    assert format_bundle(WORDS[:size]) == (VECTORS / bundle.path).read_bytes()
    assert hash_tile(tree, level0) == (VECTORS / level0.path).read_bytes()


def test_paths_are_those_of_the_specification():
    paths = {
        "tile/0/000": Tile(0, 0),
        "tile/0/000.p/255": Tile(0, 0, 255),
        "tile/entries/x123/x456/789": Tile(None, 123_456_789),
        "tile/15/x123/x456/789.p/41": Tile(15, 123_456_789, 41),
        "tile/63/x001/x234/067": Tile(63, 1_234_067),
    }
    for path, tile in paths.items():
        assert tile.path == path
        assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    [
        "",
        "tile/0/0",
        "tile/00/000",
        "tile/64/000",
        "tile/-1/000",
        "tile/data/000",
        "tile/0/x000/001",
        "tile/0/1000",
        "tile/0/001/002",
        "tile/0/000.p/0",
        "tile/0/000.p/01",
        "tile/0/000.p/256",
        "tile/0/000.p/999",
        "tile/0/000.p/",
        "tile/0/000/",
        "/tile/0/000",
        "tile/0/../0/000",
        "tile/0/٠٠٠",
        "tile/0/000\n",
    ],
)
def test_any_other_spelling_is_no_path(path):
    with pytest.raises(Malformed) as error:
        parse_path(path)
    assert error.value.reason == "NO_SUCH_TILE"


@given(
    st.none() | st.integers(0, 63),
    st.integers(0, 2**55 - 1),
    st.integers(1, 256),
)
def test_every_tile_has_one_path(level, number, width):
    tile = Tile(level, number, width)
    assert parse_path(tile.path) == tile


def test_a_log_of_70000_entries_has_the_tiles_that_the_specification_lists():
    found = list(tiles(70_000))
    for level, full, partial in ((None, 273, 112), (0, 273, 112), (1, 1, 17), (2, 0, 1)):
        of_level = [tile for tile in found if tile.level == level]
        assert [tile.width for tile in of_level] == [256] * full + [partial]
    assert {tile.level for tile in found} == {None, 0, 1, 2}


def test_a_level_begins_when_the_first_tile_below_it_is_full():
    assert {tile.path for tile in tiles(256)} == {
        "tile/entries/000",
        "tile/0/000",
        "tile/1/000.p/1",
    }


def test_the_hashes_of_a_level_are_the_full_tiles_below_it():
    def top(hashes):
        while len(hashes) > 1:
            pairs = zip(hashes[::2], hashes[1::2], strict=True)
            hashes = [node_hash(left, right) for left, right in pairs]
        return hashes[0]

    above = hashes_in(hash_tile(TREE, Tile(1, 0)))
    for number in (0, 1, 100, 255):
        assert top(hashes_in(hash_tile(TREE, Tile(0, number)))) == above[number]


@pytest.mark.parametrize("size", range(SIZES))
def test_what_a_growing_log_adds_is_all_that_it_has_in_the_end(size):
    """Whoever fetches what is new each time has every path of the last size."""
    grown = {tile for since in range(size) for tile in tiles(since + 1, since=since)}
    assert set(tiles(size)) <= grown
    assert all(tile.is_of(size) for tile in grown)


@pytest.mark.parametrize("size", range(SIZES))
def test_the_tiles_of_every_size_give_its_root(size):
    level0 = [tile for tile in tiles(size) if tile.level == 0]
    hashes = [h for tile in level0 for h in hashes_in(hash_tile(TREE, tile))]
    rebuilt = Tree()
    rebuilt.extend(hashes)
    assert rebuilt.size == size
    assert rebuilt.root() == TREE.root(size)


@pytest.mark.parametrize("size", range(1, 41))
def test_no_bit_of_a_tile_can_be_flipped(size):
    """Whoever makes the tree of it finds another root than the checkpoint's."""
    whole, place = hash_tile(TREE, Tile(0, 0, size)), 32 * (size * 3 // 5)
    for bit in range(8 * place, 8 * place + 256):
        bent = bytearray(whole)
        bent[bit // 8] ^= 1 << bit % 8
        rebuilt = Tree()
        rebuilt.extend(hashes_in(bytes(bent)))
        assert rebuilt.root() != TREE.root(size)


def test_a_tile_that_is_not_complete_yet_is_not_given():
    for tile in (Tile(0, 274), Tile(0, 273), Tile(0, 273, 113), Tile(2, 0, 2), Tile(None, 0)):
        with pytest.raises(Malformed) as error:
            hash_tile(TREE, tile)
        assert error.value.reason == "NO_SUCH_TILE"


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_a_bundle_gives_its_entries_back(lines):
    assert parse_bundle(format_bundle(lines), len(lines)) == tuple(lines)


@given(st.lists(st.binary(max_size=20), max_size=5), st.data())
def test_a_bundle_that_is_cut_or_longer_is_refused(lines, data):
    whole = format_bundle(lines)
    cut = whole[: data.draw(st.integers(0, max(0, len(whole) - 1)))]
    for bad, width in ((cut, len(lines)), (whole + b"\0", len(lines)), (whole, len(lines) + 1)):
        if bad == whole and width == len(lines):
            continue
        with pytest.raises(Malformed) as error:
            parse_bundle(bad, width)
        assert error.value.reason == "BAD_BUNDLE"


def test_an_entry_too_long_for_a_bundle_is_refused():
    format_bundle([bytes(ENTRY_BYTES_MAX)])
    with pytest.raises(LimitExceeded):
        format_bundle([bytes(ENTRY_BYTES_MAX + 1)])
