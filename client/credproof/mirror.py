"""A copy of the log as static files (C2SP tlog-tiles), for other people's tools.

The folder holds `checkpoint` and below `tile/` hash tiles and entry bundles. The checkpoint is
written last: what it covers is there, whenever the copying was interrupted. Below `timestamps/`
is a folder for each checkpoint that was stamped: its note, its text, and the timestamps of that.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from operator import eq
from pathlib import Path
from typing import NoReturn

from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Malformed,
    VerificationFailed,
)
from credproof.log.checkpoint import VerifiedCheckpoint, parse_checkpoint, verify_checkpoint
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import VerifierKey, parse_note
from credproof.log.tiles import (
    WIDTH,
    Tile,
    format_bundle,
    hash_tile,
    parse_bundle,
    parse_path,
    tiles,
)
from credproof.log.timestamp import is_authority_name, require_of, stamped_text

CHECKPOINT = "checkpoint"
TIMESTAMPS = "timestamps"


class Mirror:
    """A folder with a copy of the log that `key` signs."""

    def __init__(self, folder: Path, key: VerifierKey) -> None:
        """Open a copy, or begin one; every file there must be what its checkpoint says.

        Raises:
            Conflict: `NOT_EMPTY` when other files than a copy's are there; `NO_KNOWN_SIGNATURE`,
                `OTHER_LOG` when it is another log's.
            DataLoss: `MIRROR_DAMAGED`, naming a file that is missing or altered.
        """
        self._folder = folder
        self._key = key
        self._tree = Tree()
        self._last: list[bytes] = []
        self.checkpoint: VerifiedCheckpoint | None = None
        there = self._there()
        if CHECKPOINT in there:
            self.checkpoint = self._signed()
            self._load(self.checkpoint)
        elif TIMESTAMPS in there:
            raise _damaged(CHECKPOINT, "is missing")

    def _there(self) -> set[str]:
        """What is here; without a checkpoint an export left it that did not come to that."""
        if not self._folder.exists():
            return set()
        ours = {"tile", CHECKPOINT, f".{CHECKPOINT}.new", TIMESTAMPS}
        there = {path.name for path in self._folder.iterdir()} if self._folder.is_dir() else {""}
        if not there <= ours:
            message = "there are other files here: export into a folder of its own"
            raise Conflict("NOT_EMPTY", message)
        return there

    @property
    def size(self) -> int:
        """How many entries it has."""
        return self._tree.size

    def _signed(self) -> VerifiedCheckpoint:
        """What is wrong with it speaks against nobody: the copy is the auditor's own."""
        note, key = (self._folder / CHECKPOINT).read_bytes(), self._key
        try:
            return verify_checkpoint(note, key.name, [key])
        except Malformed as error:
            raise _damaged(CHECKPOINT, "is no signed checkpoint") from error
        except VerificationFailed as error:
            if error.reason == "BAD_SIGNATURE":
                raise _damaged(CHECKPOINT, "is not what the log signed") from error
            told = f"{error.message} (the copy's file {CHECKPOINT})"
            what = "it is another log's, or damaged; export into another directory"
            raise Conflict(error.reason, f"{told}: {what}") from error

    def _load(self, checkpoint: VerifiedCheckpoint) -> None:
        """The tree is made of the bundles; hash tiles must be what it makes of them."""
        size = checkpoint.tree_size
        bundles = [tile for tile in tiles(size) if tile.level is None]
        for bundle in bundles:
            lines = self._lines(bundle)
            self._tree.extend([leaf_hash(line) for line in lines])
            self._last = lines if bundle.width < WIDTH else []
        if self._tree.root() != checkpoint.root_hash:
            self._raise_altered(bundles)
        for tile in tiles(size):
            if tile.level is not None and self._read(tile) != hash_tile(self._tree, tile):
                raise _damaged(tile.path, "is not what the entries make")
        for path in self._folder.glob("tile/**/*.p/*"):
            self._require_older(path.relative_to(self._folder).as_posix(), size)

    def _require_older(self, path: str, size: int) -> None:
        """Partial tiles of smaller sizes are given out too."""
        try:
            tile = parse_path(path)
        except Malformed:
            return  # no tile: nobody is led there
        if not tile.is_of(size):
            return  # of an export that did not come to its checkpoint
        if tile.level is not None:
            made = hash_tile(self._tree, tile)
        else:
            full = Tile(None, tile.number)
            lines = self._lines(full) if full.is_of(size) else self._last
            made = format_bundle(lines[: tile.width])
        if (self._folder / path).read_bytes() != made:
            raise _damaged(path, "is not what the entries make")

    def _raise_altered(self, bundles: Sequence[Tile]) -> NoReturn:
        for bundle in bundles:
            tile = Tile(0, bundle.number, bundle.width)
            if self._read(tile) != hash_tile(self._tree, tile):
                raise _damaged(bundle.path, f"does not make the hashes in {tile.path}")
        raise _damaged(CHECKPOINT, "is of other entries than the tiles hold")

    def _lines(self, bundle: Tile) -> list[bytes]:
        try:
            return list(parse_bundle(self._read(bundle), bundle.width))
        except Malformed as error:
            raise _damaged(bundle.path, "is cut off or altered") from error

    def _read(self, tile: Tile) -> bytes:
        try:
            return (self._folder / tile.path).read_bytes()
        except FileNotFoundError as error:
            raise _damaged(tile.path, "is missing") from error

    def add(self, lines: Sequence[bytes]) -> None:
        """Take the entries that follow; a bundle is written once it is full."""
        self._tree.extend([leaf_hash(line) for line in lines])
        self._last += lines
        while len(self._last) >= WIDTH:
            number = (self._tree.size - len(self._last)) // WIDTH
            self._write(Tile(None, number), format_bundle(self._last[:WIDTH]))
            del self._last[:WIDTH]

    def finish(self, checkpoint: VerifiedCheckpoint) -> None:
        """Write what is still missing for the checkpoint, and then the checkpoint itself.

        Raises:
            VerificationFailed: `TREE_MISMATCH` when the entries do not make its tree.
        """
        if (self._tree.size, self._tree.root()) != (checkpoint.tree_size, checkpoint.root_hash):
            told = (
                "the entries do not make the signed tree: credproof audit verify --whole names one"
            )
            raise VerificationFailed("TREE_MISMATCH", told)
        before = self.checkpoint.tree_size if self.checkpoint else 0
        fresh = list(tiles(checkpoint.tree_size, since=before))
        self._folder.mkdir(parents=True, exist_ok=True)
        for tile in fresh:
            if tile.level is not None:
                self._write(tile, hash_tile(self._tree, tile))
            elif tile.width < WIDTH:
                self._write(tile, format_bundle(self._last))
        new = self._folder / f".{CHECKPOINT}.new"
        new.write_bytes(checkpoint.note)
        new.replace(self._folder / CHECKPOINT)
        self._forget(fresh)
        self.checkpoint = checkpoint

    def add_timestamp(self, authority: str, note: bytes, response: bytes) -> None:
        """Write a timestamp of a checkpoint that is part of the copied log, and the checkpoint, as
        far as they are not there.

        Raises:
            VerificationFailed: `TIMESTAMP_NOT_OF_LOG`.
            DataLoss: `MIRROR_DAMAGED`: something else is there, which is not written over.
        """
        try:
            require_of(response, note)
            seen = parse_checkpoint(parse_note(note).text)
            if not is_authority_name(authority) or seen.tree_size > self.size:
                raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", "it is filed wrongly")
            if seen.root_hash != self._tree.root(seen.tree_size):
                raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", "it has another root")
        except (Malformed, VerificationFailed) as error:
            message = "the service gives a timestamp that is not of this log"
            raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", message) from error
        place, text = f"{TIMESTAMPS}/{seen.tree_size}", stamped_text(note)
        self._keep(f"{place}/{CHECKPOINT}", note, self._same_note)
        self._keep(f"{place}/{CHECKPOINT}.text", text)
        self._keep(f"{place}/{authority}.tsr", response)

    def _keep(self, path: str, data: bytes, is_same: Callable[[bytes, bytes], bool] = eq) -> None:
        file = self._folder / path
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        elif not is_same(file.read_bytes(), data):
            raise _damaged(path, "is not what the service gives")

    def _same_note(self, kept: bytes, given: bytes) -> bool:
        """Two authorities may have stamped one checkpoint that was signed twice."""
        if kept == given:
            return True
        try:
            verify_checkpoint(kept, self._key.name, [self._key])
            return stamped_text(kept) == stamped_text(given)
        except CredproofError:
            return False

    def _write(self, tile: Tile, data: bytes) -> None:
        path = self._folder / tile.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def _forget(self, fresh: Iterable[Tile]) -> None:
        """Partial tiles go once the full one is there (C2SP tlog-tiles, "Partial Tiles")."""
        for tile in fresh:
            if tile.width == WIDTH:
                shutil.rmtree(self._folder / f"{tile.path}.p", ignore_errors=True)


def _damaged(path: str, how: str) -> DataLoss:
    return DataLoss("MIRROR_DAMAGED", f"{path} of the copy {how}")
