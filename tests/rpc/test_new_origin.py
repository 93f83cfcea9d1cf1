"""A log that goes on under a new origin: only the tail that was lost may differ."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
from credproof.auditing.trusted import CHECKPOINT_NAME, STATE_NAME, WITNESSED_NAME
from credproof.auditor import Auditor
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, VerificationFailed
from credproof.log.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from credproof.log.entry import parse_entry
from credproof.log.merkle import verify_consistency
from credproof.log.note import parse_note
from credproof.log.proof import verify_proof
from credproof.log.witness import parse_add_checkpoint

from tests.cli.command import run
from tests.rpc.stories import Story, fault, start_again, told

LOST = 2
KEPT = (CHECKPOINT_NAME, STATE_NAME, "audit.db")


@pytest.fixture(autouse=True)
def afresh(auditor):
    yield
    start_again(auditor, "lost-*")


def kept(auditor: Auditor) -> dict[str, bytes]:
    return {name: (auditor._home.folder / name).read_bytes() for name in KEPT}


def seen(auditor: Auditor, story: Story) -> VerifiedCheckpoint:
    checkpoint = story.checkpoint()
    assert checkpoint.note == (auditor._home.folder / CHECKPOINT_NAME).read_bytes()
    return checkpoint


def line_of(auditor: Auditor, at: int) -> bytes | None:
    with auditor.index() as index:
        return index.line(at)


def require_signed(files: dict[str, bytes], at: int, word: str, by: Story) -> bytes:
    """An entry in the evidence, and the note under which it is proved."""
    key, name = by.signer.verifier_key, f"entry-{at}.{word}"
    return verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key]).note


@pytest.mark.parametrize("back", [1, 5])
def test_an_entry_below_the_loss_that_is_not_the_one_verified_is_a_fork(auditor, story, back):
    """The tail was lost, says the operator, and an answer of before became another."""
    old, own = seen(auditor, story), list(story.lines)
    end = len(own) - LOST
    at, before, was = end - back, kept(auditor), Story.__new__(Story)
    was.signer = story.signer
    story.rewritten(at, actor="somebody").continued(old, lost=LOST)
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    assert require_signed(files, at, "seen", was) == old.note == files["seen.checkpoint"]
    assert require_signed(files, at, "now", story) == files["now.checkpoint"]
    assert require_signed(files, end, "logged", story) == files["now.checkpoint"]
    assert files[f"entry-{at}.seen.json"] == own[at] != files[f"entry-{at}.now.json"]
    assert b"our word alone" not in files["README.txt"]
    assert (kept(auditor), line_of(auditor, at)) == (before, own[at]), "nothing was replaced"


def require_two_roots(files: dict[str, bytes]) -> int:
    """Both logs say what their first entries are, and say it otherwise."""
    roots = []
    for word, signed in ("past", "seen"), ("now-past", "now"):
        past = parse_checkpoint(files[f"{word}.checkpoint"].decode())
        asked = parse_add_checkpoint(files[f"{word}.request"])
        new = parse_checkpoint(parse_note(files[f"{signed}.checkpoint"]).text)
        assert asked.note == files[f"{signed}.checkpoint"]
        verify_consistency(
            past.tree_size, past.root_hash, new.tree_size, new.root_hash, asked.proof
        )
        roots.append((past.tree_size, past.root_hash))
    (size, one), (same, other) = roots
    assert (size, one != other) == (same, True)
    return size


def test_without_the_own_lines_peaks_tell_it_as_far_as_they_go(auditor, story):
    if len(story.lines).bit_count() == 1:  # one peak, of which entries were lost
        with told(auditor, story.add("answer.whispered", "lend", bytes(32))):
            auditor.verify()
    old = seen(auditor, story)
    (auditor._home.folder / "audit.db").unlink()
    story.rewritten(3, actor="somebody").continued(old, lost=1)
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    size = require_two_roots(files)
    assert 3 < size < old.tree_size
    assert not any(name.startswith("entry-3.") for name in files)


def test_what_neither_lines_nor_peaks_tell_of_is_told_as_that(auditor, story, monkeypatch):
    """A silent pass would let whoever waits until an index is deleted write it anew."""
    while len(story.lines) % 2 or len(story.lines).bit_count() == 1:
        with told(auditor, story.add("answer.whispered", "lend", bytes(32))):
            auditor.verify()
    old = seen(auditor, story)
    (auditor._home.folder / "audit.db").unlink()
    at = old.tree_size - 2
    story.rewritten(at, actor="somebody").continued(old, lost=1)
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    with told(auditor, story):
        found = run("audit", "follow", "--home", auditor._home.folder, code=1)
        assert f"to {at} are those of the old origin is not known here" in found
        assert "(NOT_COMPARED)" in found


@pytest.mark.parametrize("back", [0, 1])
def test_without_the_own_lines_what_witnesses_saw_tells_it(auditor, story, back):
    """A checkpoint that covers no more than what survived has the root of its first entries."""
    whole = Story.__new__(Story)
    whole.signer, whole.lines = story.signer, story.lines[: len(story.lines) - LOST - back]
    folder, old, cosigned = auditor._home.folder, seen(auditor, story), whole.checkpoint()
    (folder / WITNESSED_NAME).write_bytes(cosigned.note)
    for name in ("audit.db", STATE_NAME):
        (folder / name).unlink()
    at = cosigned.tree_size - 1
    story.rewritten(at, actor="somebody").continued(old, lost=LOST)
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    (folder / WITNESSED_NAME).unlink()
    assert files["seen.checkpoint"] == cosigned.note
    assert require_two_roots(files) == cosigned.tree_size


def test_a_new_origin_that_lost_nothing_of_what_was_seen_is_measured_by_it(auditor, story):
    old = seen(auditor, story)
    story.rewritten(3, actor="somebody").add("answer.whispered", "lend", bytes(32))
    longer = story.checkpoint()
    story.continued(longer, lost=0)
    with told(auditor, story):
        fault(auditor, "LOG_FORKED")
    assert old.note == (auditor._home.folder / CHECKPOINT_NAME).read_bytes()


def test_a_new_origin_that_names_another_root_than_was_signed_is_a_fork(auditor, story):
    old = seen(auditor, story)
    other = sign_checkpoint(Checkpoint(old.origin, old.tree_size, bytes(32)), [story.signer])
    story.continued(replace(old, root_hash=bytes(32), note=other), lost=LOST)
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    at = old.tree_size - LOST
    assert require_signed(files, at, "logged", story) == files["now.checkpoint"]
    assert parse_entry(files[f"entry-{at}.logged.json"]).fields["tree_size"] == old.tree_size


def ended(story: Story, origin: str, size: int, root: bytes) -> VerifiedCheckpoint:
    """A checkpoint of the old log, as a new origin names it."""
    key = story.signer.verifier_key
    note = sign_checkpoint(Checkpoint(origin, size, root), [story.signer])
    return verify_checkpoint(note, key.name, [key])


@pytest.mark.parametrize("lines", [True, False])
def test_who_followed_a_fork_sees_it_by_what_the_new_origin_names(auditor, story, lines):
    """The fork went further than the log that witnesses saw, whose end the new origin names."""
    while not lines and len(story.lines) % 2 == 0:  # peaks tell the root of one entry less
        with told(auditor, story.add("answer.whispered", "lend", bytes(32))):
            auditor.verify()
    old, before = seen(auditor, story), kept(auditor)
    if not lines:
        (auditor._home.folder / "audit.db").unlink()
    size = old.tree_size - 1
    end = size - LOST
    story.continued(ended(story, old.origin, size, bytes(32)), lost=LOST)
    with told(auditor, story):
        files = fault(auditor, "LOG_FORKED")
    assert require_signed(files, end, "logged", story) == files["now.checkpoint"]
    named = parse_entry(files[f"entry-{end}.logged.json"]).fields
    past = parse_checkpoint(files["past.checkpoint"].decode())
    proof = parse_add_checkpoint(files["past.request"]).proof
    verify_consistency(past.tree_size, past.root_hash, old.tree_size, old.root_hash, proof)
    assert files["seen.checkpoint"] == old.note
    assert past.tree_size == named["tree_size"] == size
    assert b64url(past.root_hash) != named["root"]
    assert not lines or kept(auditor) == before
    for name in (*KEPT, WITNESSED_NAME):
        (auditor._home.folder / name).unlink(missing_ok=True)
    with told(auditor, story):
        assert auditor.verify().continued, "whoever moves these aside begins anew"


def test_a_new_origin_that_names_fewer_entries_than_were_signed_is_shown_by_files(auditor, story):
    old, size = seen(auditor, story), len(story.lines) - 1
    story.continued(ended(story, old.origin, size, story.tree.root(size)), lost=LOST)
    with told(auditor, story):
        files = fault(auditor, "LOG_REPLACED")
    require_signed(files, size - LOST, "logged", story)
    assert files["seen.checkpoint"] == old.note
    assert b"does not say" in files["README.txt"]


def test_a_new_origin_must_name_what_witnesses_saw_too(auditor, story):
    old, folder = seen(auditor, story), auditor._home.folder
    longer = Checkpoint(old.origin, old.tree_size + 1, bytes(32))
    (folder / WITNESSED_NAME).write_bytes(sign_checkpoint(longer, [story.signer]))
    story.continued(old, lost=LOST)
    with told(auditor, story), pytest.raises(VerificationFailed) as caught:
        auditor.verify()
    (folder / WITNESSED_NAME).unlink()
    assert caught.value.reason == "LOG_REPLACED"


@pytest.mark.parametrize("lost", [0, 3])
def test_the_tail_that_was_lost_may_differ_and_the_own_lines_of_it_are_kept(auditor, story, lost):
    old, own, folder = seen(auditor, story), list(story.lines), auditor._home.folder
    story.continued(old, lost=lost)
    with told(auditor, story):
        report = auditor.verify()
    (found,) = report.continued
    assert (found.log_index, found.tree_size) == (len(own) - lost, len(own))
    assert line_of(auditor, len(own) - lost) == story.lines[len(own) - lost]
    aside = {path.name for path in folder.glob("lost-*")}
    names = {f"lost-{len(own)}.db", f"lost-{len(own)}.checkpoint"}
    assert aside == (names if lost else set())
    if lost:
        assert (folder / f"lost-{len(own)}.checkpoint").read_bytes() == old.note


def test_no_copy_is_made_of_a_new_origin_that_was_not_verified(auditor, story, tmp_path):
    story.continued(seen(auditor, story), lost=LOST)
    with told(auditor, story), pytest.raises(CredproofError) as caught:
        auditor.export(tmp_path / "copy")
    assert caught.value.reason == "NOT_VERIFIED_YET"
    assert not (tmp_path / "copy").exists()


def twice(auditor: Auditor, story: Story, *, lost: int) -> tuple[VerifiedCheckpoint, Story]:
    """The old log's last checkpoint, and that of a new origin that the auditor never saw."""
    old = seen(auditor, story)
    story.continued(old, lost=lost)
    return old, story


@pytest.mark.parametrize("back", [0, 3])
def test_a_second_new_origin_names_both_that_ended_though_the_first_left_nothing(
    auditor, story, back
):
    """Each is named by the one that goes on: what the auditor saw is held against that."""
    own = list(story.lines)
    old, story = twice(auditor, story, lost=LOST)
    between, kept = story.checkpoint(), len(own) - LOST - back
    story.continued(old, between, lost=0, kept=kept)
    with told(auditor, story):
        report = auditor.verify()
    assert [(end.origin, end.kept) for end in report.continued] == [
        (old.origin, kept),
        (between.origin, kept),
    ]
    assert (auditor._home.folder / f"lost-{len(own)}.db").exists()
    assert line_of(auditor, kept) == story.lines[kept]


def test_who_followed_the_origin_between_is_told_what_is_left_of_it(auditor, story, monkeypatch):
    """The first entry of the second stands where its own first one stood: that is no fork."""
    keys = [str(story.signer.verifier_key)]
    old, story = twice(auditor, story, lost=LOST)
    keys.append(str(story.signer.verifier_key))
    monkeypatch.setattr("credproof.auditing.trusted.log_vkeys", lambda _trust: keys)
    with told(auditor, story):
        auditor.verify()
    between = story.checkpoint()
    story.continued(old, between, lost=0, kept=(kept := old.tree_size - LOST))
    story.rewritten(kept, salt=bytes(15) + b"s")
    with told(auditor, story):
        assert [end.origin for end in auditor.verify().continued] == [old.origin, between.origin]


@pytest.mark.parametrize("lie", ["rewritten", "named less", "not named"])
def test_a_second_new_origin_is_measured_like_the_first(auditor, story, lie):
    old, story = twice(auditor, story, lost=LOST)
    between, kept = story.checkpoint(), old.tree_size - LOST - 1
    named = [old, between]
    if lie == "rewritten":
        story.rewritten(3, actor="somebody")
    if lie == "named less":
        size = old.tree_size - 1
        named[0] = replace(old, tree_size=size, root_hash=story.tree.root(size))
    story.continued(*(named[1:] if lie == "not named" else named), lost=0, kept=kept)
    with told(auditor, story), pytest.raises(VerificationFailed) as caught:
        auditor.verify()
    assert caught.value.reason == ("LOG_REPLACED" if lie == "not named" else "LOG_FORKED")
    assert (between.origin in caught.value.message) == (lie == "not named")
