"""The page of evidence by hand: its own commands, run as they stand, say what is so."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from credproof.auditing.page.steps import entry_steps
from credproof.auditing.page.words import words_in
from credproof.base import jws
from credproof.base.encoding import b64
from credproof.log.merkle import Tree, leaf_hash
from credproof.verification.answer import Logged
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.auditing.test_page import blocks, files, made
from tests.world import World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def by_hand(world, tmp_path):
    """The files of a page in a directory, and its commands in their order."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    for number in range(5):  # the answer is not the log's only entry
        world.log.append("filler", "somebody", bytes([number]) * 32)
    bundle = world.finish(world.case())
    text = made(world, bundle)
    for name, data in files(text).items():
        (tmp_path / name).write_bytes(data)
    how = text[text.index("How to check") :]
    lines = [line for block in blocks(how) for line in block.split("\n")]
    return bundle, text, [line for line in lines if not line.startswith("credproof ")]


def ran(commands: list[str], folder) -> list[str]:
    """What each command prints, one after the other."""
    words = [["sh", "-c", command] for command in commands]
    done = [
        subprocess.run(w, cwd=folder, capture_output=True, check=False, timeout=60) for w in words
    ]
    return [item.stdout.decode().strip() for item in done]


def test_openssl_verifies_what_the_page_says_by_the_commands_in_it(world, by_hand, tmp_path):
    _, text, commands = by_hand
    told = ran(commands, tmp_path)
    signed = ["trust", "answer", "token-1", "binding-1", "checkpoint"]
    verified = [c for c, out in zip(commands, told, strict=True) if "Verified Successfully" in out]
    assert [re.search(r"inkey (\S+)\.pem", c)[1] for c in verified] == signed
    digests = [out.split("= ")[1] for out in told if "SHA2-256" in out]
    assert digests[0][:32] == world.root.public.kid
    assert f"Leaf hash: {digests[1]}" in text
    assert [out for out in told if ".pem: " in out] == [
        "answer.pem: signs the answers of the service",
        "token-1.pem: a key of the provider bank",
        "binding-1.pem: a key of the provider bank",
        "checkpoint.pem: signs the log",
    ]
    assert [out for out in told if "logged" in out] == [
        "entry-1.json: logged answer.signed",
        "entry-2.json: logged token-1.signed",
        "entry-3.json: logged binding-1.signed",
    ]
    assert [out for out in told if "in the log" in out] == [
        f"entry-{number}.json: in the log that the checkpoint signs" for number in (1, 2, 3, 4)
    ]


def test_the_page_has_the_answer_read_as_it_was_signed(world, by_hand, tmp_path):
    """Else its head could say anything: all signatures hold whatever the page tells of them."""
    bundle, _, commands = by_hand
    (said,) = [out for out in ran(commands, tmp_path) if out.startswith('{"')]
    assert said.encode() == jws.parse(bundle.answer, jws.ANSWER).payload


def test_an_object_that_another_entry_logged_is_not_told_as_logged(by_hand, tmp_path):
    _, _, commands = by_hand
    for end in ("signed", "sig", "pem"):
        (tmp_path / f"token-1.{end}").write_bytes((tmp_path / f"binding-1.{end}").read_bytes())
    told = [out for out in ran(commands, tmp_path) if "logged" in out]
    assert told == ["entry-1.json: logged answer.signed", "entry-3.json: logged binding-1.signed"]


def test_no_key_passes_for_another_ones_and_no_entry_that_was_not_logged(world, by_hand, tmp_path):
    """Each participant's key is in the bundle: the lender's must not pass for the service's."""
    _, _, commands = by_hand
    lend = next(p for p in world.trust().participants.values() if p.role == "lender")
    lender = lend.keys[0].public
    for name in ("answer", "token-1", "checkpoint"):
        (tmp_path / f"{name}.pem").write_bytes(lender.pem())
    entry = tmp_path / "entry-1.json"
    entry.write_bytes(entry.read_bytes().replace(b"TIER", b"REFER"))
    told = ran(commands, tmp_path)
    assert [out for out in told if ".pem: " in out] == ["binding-1.pem: a key of the provider bank"]
    assert "entry-1.json: in the log that the checkpoint signs" not in told


@given(size=st.integers(1, 70), data=st.data())
@settings(max_examples=8, deadline=None)
def test_an_entry_hashes_up_to_the_root_at_every_place(size, data):
    """By the page's own commands, where they lie: each side of each level."""
    index = data.draw(st.integers(0, size - 1))
    tree, line = Tree(), b"line"
    tree.extend([leaf_hash(line if i == index else bytes([i])) for i in range(size)])
    root = b64(tree.root(size)).encode()
    place = Logged(line, index, tuple(tree.inclusion_proof(index, size)))
    commands = list(entry_steps(1, place, b"origin\n%d\n%s\n" % (size, root), words_in("en")))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "entry-1.json").write_bytes(line)
        (Path(folder) / "checkpoint.signed").write_bytes(b"origin\n%d\n%s\n" % (size, root))
        assert ran(commands, folder)[-1].startswith("entry-1.json: in the log")
