"""`credproof audit compare`: what others were shown is the same past, another one, or not told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import Checkpoint, parse_checkpoint, sign_checkpoint
from credproof.log.merkle import verify_consistency
from credproof.log.note import NoteSigner, parse_note
from credproof.log.witness import AddCheckpoint, parse_add_checkpoint
from credproof.wire import answer as answer_wire

from tests.cli.command import run
from tests.rpc.conftest import auditor, running, story
from tests.rpc.stories import Story

__all__ = ["auditor", "running", "story"]


def compared(auditor, path, note: bytes, code: int, *words: str) -> dict[str, object]:
    path.write_bytes(note)
    home = ("--home", auditor._home.folder)
    return json.loads(run("audit", "compare", path, *home, "--json", *words, code=code))


def shorter(story: Story, size: int) -> Story:
    del story.lines[size:]
    return story


def test_a_checkpoint_of_the_log_is_the_same_past_however_it_comes(auditor, story, tmp_path):
    file, newest = tmp_path / "file", len(story.lines)
    note = shorter(story, newest - 4).checkpoint().note
    for data in (note, AddCheckpoint(3, (bytes(32),), note).to_bytes()):
        found = compared(auditor, file, data, 0)
        assert (found["same"], found["size"]) == (True, newest - 4)


def test_a_kept_answer_is_compared_by_its_checkpoint(auditor, running, tmp_path):
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
        subject = lender.subject(subject_id)
        kept = lender.ask(subject, policy_id="revolving-standing", consent=consent)
    file = tmp_path / "case.answer"
    assert compared(auditor, file, kept.to_bytes(), 2)["reason"] == "NOT_COMPARED"
    auditor.verify()
    assert compared(auditor, file, kept.to_bytes(), 0)["same"]
    signer = Story(running, []).signer
    other = Checkpoint(signer.name, kept.verified.checkpoint.tree_size, bytes(32))
    forked = replace(kept.bundle, checkpoint=sign_checkpoint(other, [signer]))
    found = compared(auditor, file, answer_wire.to_bytes(forked), 1)
    assert found["reason"] == "LOG_FORKED"


@pytest.mark.parametrize("less", [0, 4])
def test_another_past_is_told_with_files_that_show_it(auditor, story, tmp_path, less):
    at = len(story.lines) - 5
    other = shorter(story.rewritten(at, actor="somebody"), len(story.lines) - less).checkpoint()
    evidence = tmp_path / "findings"
    found = compared(auditor, tmp_path / "file", other.note, 1, "--evidence", str(evidence))
    assert found["reason"] == "LOG_FORKED"
    (where,) = evidence.iterdir()
    files = {path.name: path.read_bytes() for path in where.iterdir()}
    assert files["other.checkpoint"] == other.note
    assert b"our word alone" not in files["README.txt"]
    seen = parse_checkpoint(parse_note(files["seen.checkpoint"]).text)
    if not less:
        assert seen.tree_size == other.tree_size
        assert seen.root_hash != other.root_hash
        return
    past = parse_checkpoint(files["past.checkpoint"].decode())
    proof = parse_add_checkpoint(files["past.request"]).proof
    verify_consistency(past.tree_size, past.root_hash, seen.tree_size, seen.root_hash, proof)
    assert (past.tree_size, past.root_hash != other.root_hash) == (other.tree_size, True)


def test_what_the_log_did_not_sign_or_a_spoilt_index_tells_nothing(auditor, story, tmp_path):
    file, thief = tmp_path / "file", NoteSigner(story.signer.name, Ed25519Signer(bytes(32)))
    stolen = sign_checkpoint(Checkpoint(thief.name, 5, bytes(32)), [thief])
    assert compared(auditor, file, stolen, 1)["reason"] == "NO_KNOWN_SIGNATURE"
    assert compared(auditor, file, b"junk", 2)["reason"] == "BAD_NOTE"
    (auditor._home.folder / "audit.db").unlink()
    note = story.checkpoint().note
    words = ("audit", "compare", file, "--home", auditor._home.folder)
    file.write_bytes(note)
    assert "(NOTHING_VERIFIED)" in run(*words, code=2)
    auditor.verify(whole=True)
    assert "(NO_PARTICIPANT)" in run("audit", "compare", file, "--home", tmp_path, code=2)
    assert not (tmp_path / "audit.db").exists()
    (auditor._home.folder / "newest.checkpoint").rename(tmp_path / "kept")
    home = auditor._home.folder
    assert "(NOTHING_VERIFIED)" in run("audit", "compare", file, "--home", home, code=2)
    (tmp_path / "kept").rename(home / "newest.checkpoint")


def test_what_cannot_be_read_keeps_nothing_behind_it_from_being_compared(auditor, story, tmp_path):
    home, good = auditor._home.folder, tmp_path / "good"
    good.write_bytes(shorter(story, len(story.lines) - 4).checkpoint().note)
    words = ("audit", "compare", tmp_path, tmp_path / "none", good, "--home", home, "--json")
    told = [json.loads(line) for line in run(*words, code=2).splitlines()]
    assert [item.get("reason") for item in told] == ["NOT_READ", "NOT_READ", None]
    assert told[2]["same"]
