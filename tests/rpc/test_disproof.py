"""What a service gives as shown against its own log counts only as far as it shows that."""

from __future__ import annotations

import json
from contextlib import nullcontext

import pytest
from credproof.auditing.evidence import LogFault
from credproof.auditor import Auditor
from credproof.base.errors import VerificationFailed
from credproof.base.limits import NOTE_BYTES_MAX
from credproof.log.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from credproof.log.note import NoteSigner

from tests.cli.command import run
from tests.rpc.stories import Story, start_again, told


@pytest.fixture(autouse=True)
def afresh(auditor):
    yield
    start_again(auditor)


def shows(auditor: Auditor, monkeypatch: pytest.MonkeyPatch, note: bytes) -> None:
    """The service gives this, whatever it is."""
    monkeypatch.setattr(auditor, "disproof", lambda: note)


def signed(story: Story, size: int, root: bytes, signer: NoteSigner | None = None) -> bytes:
    return sign_checkpoint(Checkpoint(story.signer.name, size, root), [signer or story.signer])


def test_a_service_that_was_shown_nothing_gives_nothing(auditor):
    assert auditor.disproof() == b""
    auditor.require_undisproved()


@pytest.mark.parametrize("more", [-3, 0])
def test_another_past_under_the_logs_own_signature_is_a_fork_that_others_see(
    auditor, story, monkeypatch, tmp_path, more
):
    size, home = len(story.lines) + more, auditor._home.folder
    note = signed(story, size, bytes(32))
    shows(auditor, monkeypatch, note)
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    with told(auditor, story):
        words = ["audit", "follow", "--evidence", tmp_path, "--json", "--home", home]
        for _ in range(2):
            found = json.loads(run(*words, code=1))
        assert "(LOG_FORKED)" in run("audit", "verify", "--home", home, code=1)
    assert [fault["reason"] for fault in found["faults"]] == ["LOG_FORKED"]
    (folder,) = tmp_path.iterdir()
    assert found["evidence"] == [str(folder)]
    assert (folder / "other.checkpoint").read_bytes() == note
    assert f"\n{size}\n".encode() in (folder / "past.checkpoint").read_bytes()
    file = folder / "other.checkpoint"
    assert "(LOG_FORKED)" in run("audit", "compare", file, "--home", home, code=1)


def test_a_longer_log_than_the_service_has_is_told_with_both_checkpoints(
    auditor, story, monkeypatch
):
    note = signed(story, len(story.lines) + 5, bytes(32))
    shows(auditor, monkeypatch, note)
    with told(auditor, story), pytest.raises(LogFault) as caught:
        auditor.require_undisproved()
    files, key = caught.value.files, story.signer.verifier_key
    assert caught.value.reason == "LOG_BEHIND"
    sizes = [
        verify_checkpoint(files[f"{name}.checkpoint"], key.name, [key]).tree_size
        for name in ("seen", "other")
    ]
    assert sizes == [len(story.lines), len(story.lines) + 5]
    assert b"its word and ours" in b" ".join(files["README.txt"].split())


def test_what_was_not_verified_yet_is_not_held_against_anybody(auditor, story, monkeypatch):
    """An audit that stopped before it knows nothing of these entries, and the service has them."""
    shows(auditor, monkeypatch, signed(story, len(story.lines) + 1, bytes(32)))
    for _ in range(3):
        story.add("answer.whispered", "lend", bytes(32))
    with told(auditor, story):
        auditor.require_undisproved()


def false(story: Story) -> dict[str, bytes]:
    size, name = len(story.lines), story.signer.name
    stranger = Story.__new__(Story)
    stranger.signer = NoteSigner(f"{name}2", story.signer.signer)
    return {
        "the past that was verified": signed(story, size - 3, story.tree.root(size - 3)),
        "the newest itself": story.checkpoint().note,
        "another log": signed(stranger, size, bytes(32)),
        "a signature of another key": signed(story, size, bytes(32), stranger.signer),
        "rubbish": b"not a note",
        "no text": b"\xff",
        "too much": b"a" * (NOTE_BYTES_MAX + 1),
    }


def test_what_shows_nothing_against_the_log_is_told_as_that_and_has_no_files(
    auditor, story, monkeypatch, tmp_path
):
    """Nobody is accused by what anybody could have made, be it the operator itself."""
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    words = ["audit", "follow", "--evidence", tmp_path, "--json", "--home", auditor._home.folder]
    for what, note in false(story).items():
        shows(auditor, monkeypatch, note)
        with told(auditor, story):
            with pytest.raises(VerificationFailed) as caught:
                auditor.require_undisproved()
            reasons = [fault["reason"] for fault in json.loads(run(*words, code=1))["faults"]]
        assert (caught.value.reason, reasons) == ("NOT_DISPROVED", ["NOT_DISPROVED"]), what
    assert list(tmp_path.iterdir()) == []
