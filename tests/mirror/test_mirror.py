"""A copy of the log in static files: whole, brought up to date, never believed when damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pymerkle
import pytest
from credproof.base.errors import Conflict, CredproofError, DataLoss
from credproof.base.keys import Ed25519Signer
from credproof.cli.advice import next_step
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, sign_checkpoint
from credproof.log.checkpoint import verify_checkpoint as verified
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner
from credproof.log.tiles import tiles
from credproof.mirror import Mirror

LOG = NoteSigner("log.example/credit", Ed25519Signer(bytes(range(32))))
KEY = LOG.verifier_key
LINES = [f"entry {i}".encode() for i in range(600)]


def checkpoint(size: int, lines=LINES, log: NoteSigner = LOG) -> VerifiedCheckpoint:
    tree = Tree()
    tree.extend([leaf_hash(line) for line in lines[:size]])
    note = sign_checkpoint(Checkpoint(log.name, size, tree.root()), [log])
    return verified(note, log.name, [log.verifier_key])


def copied(folder: Path, *sizes: int) -> Mirror:
    """A copy that was made in several goes."""
    for size in sizes:
        mirror = Mirror(folder, KEY)
        mirror.add(LINES[mirror.size : size])
        mirror.finish(checkpoint(size))
    return mirror


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}


def entries(folder: Path) -> list[bytes]:
    """The entries in a folder, read by a reader of its own."""
    found = []
    for path in sorted(p for p in files(folder) if p.startswith("tile/entries/")):
        data = (folder / path).read_bytes()
        while data:
            size = int.from_bytes(data[:2], "big")
            found.append(data[2 : 2 + size])
            data = data[2 + size :]
    return found


@pytest.mark.parametrize("sizes", [(0,), (1,), (255,), (256,), (257,), (600,), (512,)])
def test_a_copy_has_exactly_the_files_of_its_size(tmp_path, sizes):
    copied(tmp_path, *sizes)
    assert files(tmp_path) == {"checkpoint"} | {tile.path for tile in tiles(sizes[-1])}
    assert (tmp_path / "checkpoint").read_bytes() == checkpoint(sizes[-1]).note
    assert entries(tmp_path) == LINES[: sizes[-1]]
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for line in entries(tmp_path):
        other.append_entry(line)
    assert sizes[-1] == 0 or other.get_root() == checkpoint(sizes[-1]).root_hash


def test_brought_up_to_date_it_has_the_same_bytes_as_a_new_one(tmp_path):
    copied(tmp_path / "grown", 0, 1, 3, 255, 255, 256, 257, 511, 520, 600)
    copied(tmp_path / "new", 600)
    of_new = files(tmp_path / "new")
    assert of_new <= files(tmp_path / "grown")
    for path in of_new:
        assert (tmp_path / "grown" / path).read_bytes() == (tmp_path / "new" / path).read_bytes()
    partial = {path for path in files(tmp_path / "grown") if ".p/" in path}
    assert [p for p in partial if (tmp_path / "grown" / p.split(".p/")[0]).exists()] == []


def test_one_that_was_interrupted_before_its_checkpoint_goes_on(tmp_path):
    copied(tmp_path, 300)
    interrupted = Mirror(tmp_path, KEY)
    interrupted.add(LINES[300:580])
    assert Mirror(tmp_path, KEY).size == 300
    copied(tmp_path, 600)
    assert entries(tmp_path)[-344:] == LINES[256:]


def test_entries_that_do_not_make_the_signed_tree_are_not_given_out(tmp_path):
    copied(tmp_path, 300)
    for lines in (LINES[300:399], [*LINES[300:399], b"another"], LINES[301:401]):
        mirror = Mirror(tmp_path, KEY)
        mirror.add(lines)
        with pytest.raises(CredproofError) as error:
            mirror.finish(checkpoint(400))
        assert error.value.reason == "TREE_MISMATCH"
        assert (tmp_path / "checkpoint").read_bytes() == checkpoint(300).note


DAMAGE = {
    "gone": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "altered": lambda path: path.write_bytes(
        bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]
    ),
    "another of its size": lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_and_the_copy_not_continued(tmp_path, damage):
    copied(tmp_path / "whole", 600)
    for path in sorted(files(tmp_path / "whole") - {"checkpoint"}):
        copy = tmp_path / path.replace("/", "-")
        shutil.copytree(tmp_path / "whole", copy)
        DAMAGE[damage](copy / path)
        with pytest.raises(DataLoss) as error:
            Mirror(copy, KEY)
        assert (error.value.reason, path in error.value.message) == ("MIRROR_DAMAGED", True), path
        assert next_step(error.value).startswith("export into another directory")


def test_a_damaged_file_of_a_smaller_size_is_named_too(tmp_path):
    """It is given out as long as it is there."""
    copied(tmp_path / "whole", 3, 300, 310)
    older = {path for path in files(tmp_path / "whole") if path.endswith(".p/44")}
    assert len(older) == 2, "of entries and of their hashes"
    for path in older:
        copy = tmp_path / path.replace("/", "-")
        shutil.copytree(tmp_path / "whole", copy)
        (copy / path).write_bytes(b"")
        with pytest.raises(DataLoss) as error:
            Mirror(copy, KEY)
        assert (error.value.reason, path in error.value.message) == ("MIRROR_DAMAGED", True)


def test_a_folder_of_other_files_is_not_exported_into(tmp_path):
    """A home with private keys, say: a web server is to offer the copy as it is."""
    (tmp_path / "signing.key").write_bytes(b"secret")
    for folder in (tmp_path, tmp_path / "signing.key"):
        with pytest.raises(Conflict) as error:
            Mirror(folder, KEY)
        assert error.value.reason == "NOT_EMPTY"
    copied(tmp_path / "copy", 300)
    (tmp_path / "copy" / "note.txt").write_bytes(b"hi")
    with pytest.raises(Conflict) as error:
        Mirror(tmp_path / "copy", KEY)
    assert error.value.reason == "NOT_EMPTY"
    (tmp_path / "new" / "tile").mkdir(parents=True)
    assert copied(tmp_path / "new", 3).size == 3, "what an interrupted export left"


@pytest.mark.parametrize("content", [b"", b"x", b"log.example/credit\n600\n", b"\xff"])
def test_a_checkpoint_that_is_none_is_named(tmp_path, content):
    copied(tmp_path, 300)
    (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(DataLoss) as error:
        Mirror(tmp_path, KEY)
    assert error.value.reason == "MIRROR_DAMAGED"
    assert error.value.message.startswith("checkpoint")


@pytest.mark.parametrize("content", [None, checkpoint(300).note.replace(b"\n300\n", b"\n301\n")])
def test_a_checkpoint_of_a_copy_that_is_lost_or_changed_speaks_against_nobody(tmp_path, content):
    """It was BAD_SIGNATURE, "ask the operator why", or "other files are here"."""
    copied(tmp_path, 300)
    (tmp_path / "timestamps").mkdir()
    (tmp_path / "checkpoint").unlink()
    if content is not None:
        (tmp_path / "checkpoint").write_bytes(content)
    with pytest.raises(DataLoss) as error:
        Mirror(tmp_path, KEY)
    assert error.value.reason == "MIRROR_DAMAGED"
    assert error.value.message.startswith("checkpoint")


def test_files_of_another_log_than_the_checkpoint_says_are_not_continued(tmp_path):
    others = [b"another", *LINES[1:]]
    mirror = Mirror(tmp_path, KEY)
    mirror.add(others[:300])
    mirror.finish(checkpoint(300, lines=others))
    (tmp_path / "checkpoint").write_bytes(checkpoint(300).note)
    with pytest.raises(DataLoss) as error:
        Mirror(tmp_path, KEY)
    assert (error.value.reason, "checkpoint" in error.value.message) == ("MIRROR_DAMAGED", True)


def test_the_copy_of_another_log_is_not_continued(tmp_path):
    other = NoteSigner("log.example/other", Ed25519Signer(bytes(32)))
    mirror = Mirror(tmp_path, other.verifier_key)
    mirror.finish(checkpoint(0, log=other))
    with pytest.raises(Conflict) as error:
        Mirror(tmp_path, KEY)
    assert error.value.reason == "NO_KNOWN_SIGNATURE"
    assert next_step(error.value) is None, "nobody is asked why: the message says what to do"
