"""Gossip beyond roots: entries of an answer that goes further, and checkpoints of an old origin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from credproof.auditing.trusted import CHECKPOINT_NAME
from credproof.auditor import Auditor
from credproof.log.merkle import leaf_hash
from credproof.log.proof import verify_proof
from credproof.verification.answer import AnswerBundle, Logged
from credproof.wire import answer as answer_wire

from tests.cli.command import run
from tests.rpc.stories import Story, start_again, told

WHISPER = ("answer.whispered", "lend", bytes(32))


@pytest.fixture
def office(auditor: Auditor, story: Story) -> Iterator[Path]:
    """The home of an auditor who has verified just this story."""
    with told(auditor, story):
        auditor.verify()
    yield auditor._home.folder
    start_again(auditor)
    for path in auditor._home.folder.glob("lost-*"):
        path.unlink()


def other(running, story: Story) -> Story:
    """A copy of the log, to tell otherwise."""
    return Story(running, story.lines)


def compared(
    office: Path, tmp_path: Path, *given: bytes, code: int, evidence: bool = False
) -> list[dict[str, Any]]:
    files = [tmp_path / f"{place}.given" for place in range(len(given))]
    for file, data in zip(files, given, strict=True):
        file.write_bytes(data)
    more = ["--evidence", tmp_path / "findings"] if evidence else []
    words = ["audit", "compare", *files, *more, "--home", office]
    run(*words, code=code)
    lines = run(*words, "--json", code=code).splitlines()
    return [json.loads(line) for line in lines if line.startswith("{")]


def results(*args: Any, **how: Any) -> list[str]:
    return [found.get("reason", "same") for found in compared(*args, **how)]


def answer(story: Story, *places: int) -> bytes:
    """A lender's file: its checkpoint, and entries that it shows."""
    tree, note = story.tree, story.checkpoint().note
    shown = [Logged(story.lines[at], at, tree.inclusion_proof(at, tree.size)) for at in places] or [
        Logged(b"\xff", 0, ())
    ]
    return answer_wire.to_bytes(AnswerBundle("\N{BULLET}", "", (), (), shown[0], note))


def files_in(tmp_path: Path) -> dict[str, bytes]:
    (folder,) = (tmp_path / "findings").iterdir()
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_of_an_answer_that_goes_further_the_entries_tell_it(running, office, story, tmp_path):
    """A lender asks on a fork after the auditor looked: what was there before differs already."""
    at = len(story.lines) - 2
    fork = other(running, story).rewritten(at, actor="somebody").add(*WHISPER)
    given = answer(fork, at)
    assert results(office, tmp_path, given, code=1, evidence=True) == ["LOG_FORKED"]
    files, key = files_in(tmp_path), story.signer.verifier_key
    notes = [
        verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key]).note
        for name in (f"entry-{at}.seen", f"entry-{at}.other")
    ]
    assert notes == [files["seen.checkpoint"], files["other.checkpoint"]]
    assert leaf_hash(files[f"entry-{at}.seen.json"]) != leaf_hash(files[f"entry-{at}.other.json"])


def test_an_answer_whose_entry_was_changed_is_not_the_same_past(office, story, tmp_path):
    """Its checkpoint is the log's: whoever changed the rest is not the log."""
    at, note = len(story.lines) - 2, story.checkpoint().note
    line, proof = story.lines[at], tuple(story.tree.inclusion_proof(at, len(story.lines)))
    bundles = [
        AnswerBundle("", "", (), (), Logged(shown, place, proof), note)
        for shown, place in ((line, at), (line + b" ", at), (line, at + 1), (line, 10**6))
    ]
    given = [answer_wire.to_bytes(replace(bundle, answer="\N{BULLET}")) for bundle in bundles]
    assert results(office, tmp_path, *given, code=1, evidence=True) == ["same"] + 3 * [
        "OTHER_ENTRY"
    ]
    assert not (tmp_path / "findings").exists(), "nothing is held against the operator"


def test_an_entry_without_a_proof_accuses_nobody(running, office, story, tmp_path):
    """Whoever sends a file could put any line into it."""
    longer = other(running, story).add(*WHISPER)
    note = longer.checkpoint().note
    shown = Logged(b"\xff", 3, ())
    forged = answer_wire.to_bytes(AnswerBundle("", "", (), (), shown, note))
    assert results(office, tmp_path, forged, code=2) == ["NOT_COMPARED"]


def test_checkpoints_of_the_old_origin_are_compared_too(
    running, auditor, office, story, tmp_path, monkeypatch
):
    """What survived, the last one that the new origin names, and what the old one signed beyond."""
    lost = 3
    before, old = other(running, story), story.checkpoint()
    end = len(story.lines) - lost
    story.continued(old, lost=lost).add(*WHISPER)
    with told(auditor, story):
        auditor.verify()
    vkeys = [str(key.verifier_key) for key in (story.signer, before.signer)]
    monkeypatch.setattr("credproof.auditing.trusted.log_vkeys", lambda _trust: vkeys)
    monkeypatch.setattr("credproof.auditing.comparing.log_vkeys", lambda _trust: vkeys)

    def cut(size: int, at: int | None = None) -> bytes:
        made = other(running, before)
        if at is not None:
            made.rewritten(at, actor="somebody")
        while len(made.lines) < size:
            made.add(*WHISPER)
        del made.lines[size:]
        return made.checkpoint().note

    assert results(office, tmp_path, cut(end), code=0) == ["same"]
    given = cut(end + 1), cut(end + lost)
    assert results(office, tmp_path, *given, code=2) == ["NOT_COMPARED"] * 2
    given = cut(end, end - 1), cut(end + lost, end + 1), cut(end + lost + 1)
    found = results(office, tmp_path, *given, code=1, evidence=True)
    assert found == ["LOG_FORKED", "LOG_FORKED", "LOG_REPLACED"]
    for folder in (tmp_path / "findings").iterdir():
        assert (folder / f"entry-{end}.logged.tlog-proof").exists()


def test_two_forks_have_two_directories(running, office, story, tmp_path):
    """The second is no repetition of the first."""
    forks = [
        other(running, story).rewritten(at, actor="somebody").checkpoint().note for at in (3, 5)
    ]
    assert results(office, tmp_path, *forks, code=1, evidence=True) == ["LOG_FORKED"] * 2
    assert len(list((tmp_path / "findings").iterdir())) == 2


def test_a_home_that_verified_nothing_or_is_damaged_compares_nothing(office, story, tmp_path):
    given = story.checkpoint().note
    file = tmp_path / "given"
    file.write_bytes(given)
    words = ("audit", "compare", file, "--home", office)
    (office / CHECKPOINT_NAME).write_bytes(given[:-3])
    assert "(CHECKPOINT_DAMAGED)" in run(*words, code=1)
    (office / "audit.db").unlink()
    assert "(NOTHING_VERIFIED)" in run(*words, code=2)
