"""Encodings, group elements and parts of the log: what is not one is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.attestation.sealing import PUBLIC_BYTES, Route, SealingPublicKey
from credproof.base import oprf
from credproof.base.encoding import b64, frame, parse_b64, parse_date, parse_frame
from credproof.base.errors import CredproofError
from credproof.base.group import parse_element, parse_scalar, scalar_from
from credproof.log.checkpoint import parse_checkpoint
from credproof.log.entry import parse_entry
from credproof.log.merkle import Frontier, Tree
from credproof.log.note import VerifierKey, parse_note, sign_note, verify_note
from credproof.log.proof import TlogProof, format_proof, parse_proof

from tests.world import DOMAIN, World

WORLD = World()
ROUTE = Route(DOMAIN, "bank")


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason


# -- encodings and the group


@pytest.mark.parametrize("text", ["YQ", "YR==", "Y Q==", "YQ==\n", "_w=="])
def test_base64_has_one_spelling(text):
    refused("NOT_BASE64", lambda: parse_b64(text))


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\1", frame([b"ab"])[:-1], frame([b"a"]) + b"\0"])
def test_a_frame_whose_lengths_do_not_fit_is_refused(data):
    refused("BAD_FRAME", lambda: parse_frame(data))


@pytest.mark.parametrize("text", ["2026-02-30", "2026-2-3", "20260203", "2026-02-03T00:00", ""])
def test_a_date_has_one_spelling(text):
    refused("NOT_A_DATE", lambda: parse_date(text))


@pytest.mark.parametrize("data", [bytes(32), b"\xff" * 32, b"\x01" + bytes(31), bytes(31)])
def test_the_identity_and_what_is_no_element_are_refused(data):
    refused("BAD_ELEMENT", lambda: parse_element(data))


@pytest.mark.parametrize("data", [bytes(32), b"\xff" * 32, bytes(31)])
def test_zero_and_what_is_no_scalar_are_refused(data):
    refused("BAD_SCALAR", lambda: parse_scalar(data))


@pytest.mark.parametrize("entropy", [bytes(64), bytes(63)])
def test_a_scalar_is_not_made_from_nothing(entropy):
    refused("BAD_SCALAR", lambda: scalar_from(entropy))


def test_an_empty_batch_is_neither_evaluated_nor_opened():
    refused("EMPTY_BATCH", lambda: oprf.evaluate(WORLD.oprf_secrets[0], []))
    sealed = WORLD.sealing.public.seal([], ROUTE)
    refused("EMPTY_BATCH", lambda: WORLD.sealing.open(sealed, ROUTE))


@pytest.mark.parametrize("data", [b"", bytes(PUBLIC_BYTES - 1), b"\xff" * PUBLIC_BYTES])
def test_what_is_no_sealing_key_is_refused(data):
    refused("BAD_SEALING_KEY", lambda: SealingPublicKey(data))


# -- the log

NOTE = WORLD.log.checkpoint()
VKEY = WORLD.log.signer.verifier_key


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\xff",
        NOTE.partition(b"\n\n")[0],
        NOTE[:-1],
        NOTE.replace("\N{EM DASH} ".encode(), b"- "),
        NOTE.replace(b"\n0\n", b"\n0\r\n"),
        b"text\n\n\xe2\x80\x94 name YQ==\n",
    ],
)
def test_what_is_no_note_is_refused(note):
    refused("BAD_NOTE", lambda: parse_note(note))


def test_a_note_that_a_key_signed_twice_is_refused():
    line = NOTE.rpartition(b"\n\n")[2]
    refused("BAD_NOTE", lambda: verify_note(NOTE + line, [VKEY]))


def test_a_text_without_its_last_newline_is_not_signed():
    refused("BAD_NOTE", lambda: sign_note("text", [WORLD.log.signer]))


def test_a_log_key_under_another_name_or_algorithm_is_refused():
    text = str(VKEY)
    refused("BAD_VKEY", lambda: VerifierKey.parse(f"other{text}"))
    other = f"{VKEY.name}+{VKEY.key_id.hex()}+{b64(bytes([4]) + VKEY.public.data)}"
    refused("BAD_VKEY", lambda: VerifierKey.parse(other))


@pytest.mark.parametrize("text", ["", "a\n1\n", "\n1\nYQ==\n", "a\n01\nYQ==\n", "a\n1\nYQ==\nx\n"])
def test_what_is_no_checkpoint_is_refused(text):
    refused("BAD_CHECKPOINT", lambda: parse_checkpoint(text))


GOOD_PROOF = format_proof(TlogProof(0, (bytes(32),), NOTE))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD_PROOF.partition(b"\n\n")[0],
        GOOD_PROOF.replace(b"@v1", b"@v2"),
        GOOD_PROOF.replace(b"index 0", b"index 00"),
        GOOD_PROOF.replace(b"index 0", b"index 18446744073709551616"),
        GOOD_PROOF.replace(b"\nindex 0", b""),
    ],
)
def test_what_is_no_inclusion_proof_is_refused(data):
    refused("BAD_PROOF", lambda: parse_proof(data))


@pytest.mark.parametrize(
    "change", [{"kind": "Bad Kind"}, {"actor": "Bad Actor"}, {"seq": -1}, {"time": -1}]
)
def test_an_entry_outside_the_grammar_is_refused(change):
    world = World()
    world.log.append("answer.given", "lend", bytes(32))
    line = replace(parse_entry(world.log.lines[0]), **change).to_line()
    refused("BAD_ENTRY", lambda: parse_entry(line))


@pytest.mark.parametrize(("size", "peaks"), [(1, ()), (2, (bytes(32),) * 2), (1, (bytes(31),))])
def test_peaks_that_do_not_fit_their_size_are_refused(size, peaks):
    refused("BAD_FRONTIER", lambda: Frontier(size, peaks))


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_no_proof_for_an_entry_that_is_not_in_the_tree(index):
    tree = Tree()
    tree.extend([bytes(32), bytes(32)])
    refused("NO_SUCH_INDEX", lambda: tree.inclusion_proof(index, 1))
