"""Notes and checkpoints, byte for byte those of other people's log."""

from __future__ import annotations

from pathlib import Path

import pytest
from credproof.base.encoding import parse_b64
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner, VerifierKey, parse_note, sign_note, verify_note

VECTORS = Path(__file__).parent.parent / "vectors" / "tlog-tiles"
ORIGIN = "example.com/log/testdata"
SEED = parse_b64("AeymY/SZAX0jZcJ8enZ5FY1Dz+wTML2yWSkK+9DSF3eg")[1:]
VKEY = "example.com/log/testdata+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx"
ENTRIES = (
    *("one", "two", "three", "four", "five", "six", "seven", "eit", "nain", "ten"),
    *("ileven", "twelf", "threeten", "fourten", "fivten"),
)
"""Spelled as the vector log spells them."""
SIGNER = NoteSigner(ORIGIN, Ed25519Signer(SEED))
FOO = VerifierKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
FOO_NOTE = (
    "This is an example message.\n\n"
    "\N{EM DASH} example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXs"
    "YjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
).encode()


def tree(size: int) -> Tree:
    made = Tree()
    made.extend([leaf_hash(entry.encode()) for entry in ENTRIES[:size]])
    return made


@pytest.mark.parametrize("size", range(16))
def test_each_checkpoint_of_the_vector_log_is_reproduced(size):
    note = (VECTORS / f"checkpoint.{size}").read_bytes()
    made = sign_checkpoint(Checkpoint(ORIGIN, size, tree(size).root()), [SIGNER])

    assert note == made
    verified = verify_checkpoint(note, ORIGIN, [VerifierKey.parse(VKEY)])
    assert (size, tree(size).root()) == (verified.tree_size, verified.root_hash)


@pytest.mark.parametrize("size", range(1, 16))
def test_the_vector_logs_tiles_are_our_leaf_hashes(size):
    tile = (VECTORS / "tile" / "0" / "000.p" / str(size)).read_bytes()
    assert tile == b"".join(leaf_hash(entry.encode()) for entry in ENTRIES[:size])


@pytest.mark.parametrize("size", range(1, 16))
def test_the_vector_logs_entry_bundles_hold_our_entries(size):
    bundle = (VECTORS / "tile" / "entries" / "000.p" / str(size)).read_bytes()
    entries = [entry.encode() for entry in ENTRIES[:size]]
    assert bundle == b"".join(len(e).to_bytes(2, "big") + e for e in entries)


def test_a_verifier_key_has_one_text():
    assert VKEY == str(VerifierKey.parse(VKEY)) == str(SIGNER.verifier_key)


def test_the_example_note_of_the_specification_verifies():
    assert verify_note(FOO_NOTE, [FOO]).text == "This is an example message.\n"


def test_signatures_of_unknown_keys_are_ignored_but_one_known_must_verify():
    note = sign_note("text\n", [SIGNER, NoteSigner("other.example", Ed25519Signer(bytes(32)))])
    assert verify_note(note, [SIGNER.verifier_key])
    with pytest.raises(VerificationFailed) as caught:
        verify_note(note, [FOO])
    assert caught.value.reason == "NO_KNOWN_SIGNATURE"


def test_a_known_key_whose_signature_fails_spoils_the_whole_note():
    other = NoteSigner("other.example", Ed25519Signer(bytes(32)))
    good = sign_note("text\n", [SIGNER, other])
    bad = good.replace(b"text", b"test")
    with pytest.raises(VerificationFailed) as caught:
        verify_note(bad, [SIGNER.verifier_key, other.verifier_key])
    assert caught.value.reason == "BAD_SIGNATURE"


def bent_notes():
    text, _, signature = FOO_NOTE.partition(b"\n\n")
    yield text + b"\n\n"
    yield text + b"\n"
    yield FOO_NOTE[:-1]
    yield FOO_NOTE + b"x"
    yield FOO_NOTE.replace(b"\n\n", b"\r\n\n")
    yield FOO_NOTE.replace("\N{EM DASH}".encode(), b"--")
    yield FOO_NOTE.replace(b"aQM=", b"aQN=")
    yield FOO_NOTE.replace(b"aQM=", b"aQM")
    yield FOO_NOTE.replace(b"example.com/foo ", b"example.com/f+o ")
    yield text + b"\n\n" + signature + signature
    yield FOO_NOTE.replace(b"This", b"\xff\xfe")
    yield FOO_NOTE.replace(b"This", b"T\x00is")


@pytest.mark.parametrize("note", list(bent_notes()))
def test_a_note_in_a_second_spelling_is_refused(note):
    with pytest.raises(CredproofError):
        verify_note(note, [FOO])


def test_every_flipped_bit_of_a_checkpoint_is_refused():
    note = (VECTORS / "checkpoint.15").read_bytes()
    for at in range(len(note)):
        for bit in range(8):
            flipped = note[:at] + bytes([note[at] ^ 1 << bit]) + note[at + 1 :]
            with pytest.raises(CredproofError):
                verify_checkpoint(flipped, ORIGIN, [SIGNER.verifier_key])


@pytest.mark.parametrize(
    "text",
    [
        "o\n01\n" + "A" * 43 + "=\n",
        "o\n-1\n" + "A" * 43 + "=\n",
        "o\n+1\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 42 + "==\n",
        "\n1\n" + "A" * 43 + "=\n",
        "o\n1\n" + "A" * 43 + "=\nextension\n",
        "o\n1\n",
        "o\n99999999999999999999\n" + "A" * 43 + "=\n",
    ],
)
def test_a_checkpoint_text_outside_the_format_is_refused(text):
    with pytest.raises(Malformed):
        parse_checkpoint(text)


def test_a_checkpoint_of_another_log_by_the_same_key_is_refused():
    note = sign_checkpoint(Checkpoint("elsewhere.example/log", 0, tree(0).root()), [SIGNER])
    with pytest.raises(VerificationFailed) as caught:
        verify_checkpoint(note, ORIGIN, [SIGNER.verifier_key])
    assert caught.value.reason == "OTHER_LOG"


@pytest.mark.parametrize(
    "vkey",
    [
        VKEY.replace("33d7b496", "33d7b497"),
        VKEY.replace("33d7b496", "33D7B496"),
        VKEY.replace("+AeH", "+BeH"),
        VKEY[:-1],
        "no plus",
        "+33d7b496+AeHTu4Q3hEIMHNqc6fASMsq3rKNx280NI+oO5xCFkkSx",
    ],
)
def test_a_verifier_key_in_a_second_spelling_is_refused(vkey):
    with pytest.raises(CredproofError):
        VerifierKey.parse(vkey)


def test_a_note_may_hold_empty_lines_in_its_text():
    note = sign_note("one\n\ntwo\n", [SIGNER])
    assert parse_note(note).text == "one\n\ntwo\n"
