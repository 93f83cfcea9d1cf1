"""What was verified before is compared, in turn, with what the service gives out now."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from credproof.auditing import rereading
from credproof.auditing.rereading import Reread, Rewritten, reread
from credproof.auditor import Auditor
from credproof.base.errors import DataLoss
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.log.entry import parse_entry
from credproof.log.proof import verify_proof

from tests.cli.command import run, run_both
from tests.rpc.conftest import AUDITOR
from tests.rpc.stories import start_again, told


def go_on_at(auditor: Auditor, log_index: int) -> None:
    """The next run begins with this entry: how much others logged here does not matter."""
    with auditor.index() as index:
        index.mark_reread(log_index)


def read_again(auditor: Auditor) -> Reread:
    """What the next run compares with the service."""
    report = auditor.verify()
    with auditor.index() as index:
        return reread(auditor, index, report, ["vkey"])


def test_in_time_all_that_was_verified_is_read_again(auditor, monkeypatch):
    page = auditor.verify().checkpoint.tree_size // 4
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", page)
    go_on_at(auditor, 0)
    seen = list(read_again(auditor).page)
    while (more := read_again(auditor).page).start:
        seen += more
    assert seen == list(range(seen[-1] + 1))
    assert (more, seen[-1] >= 3 * page) == (range(page), True)


def test_a_log_that_grows_between_the_runs_is_read_again_from_its_start_too(auditor, monkeypatch):
    """Whoever ran after its end compared only what was new a moment ago."""
    report = auditor.verify()
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", page := report.checkpoint.tree_size // 4)
    before, size = replace(report, entries_read=3), report.checkpoint.tree_size
    with auditor.index() as index:
        while reread(auditor, index, before, ["vkey"]).page.stop < size - 3:
            pass
        assert reread(auditor, index, report, ["vkey"]).page == range(page)


LIES = {
    "another": ("ENTRY_CHANGED", lambda line: [replace(parse_entry(line), actor="x").to_line()]),
    "rubbish": ("ENTRY_CHANGED", lambda _: [b"{"]),
    "left out": ("SEQ_GAP", lambda _: []),
}


@pytest.mark.parametrize("at", [0, 7, -1])
@pytest.mark.parametrize("lie", LIES)
def test_an_entry_that_was_verified_and_is_served_otherwise_now_is_shown(auditor, story, at, lie):
    """The auditor's copy is the true one; that others are given something else is the finding."""
    reason, served = LIES[lie]
    at %= len(story.lines)
    if (at, lie) == (len(story.lines) - 1, "left out"):
        reason = "ENTRIES_MISSING"
    lines = [*story.lines[:at], *served(story.lines[at]), *story.lines[at + 1 :]]
    with told(auditor, story):
        auditor.verify()
    go_on_at(auditor, at - at % ENTRIES_PAGE_MAX)
    with told(auditor, story, serve=lines):
        for _ in range(2):
            (fault,) = read_again(auditor).faults
    files, key = fault.files, story.signer.verifier_key
    assert (fault.reason, f"entry {at}" in fault.message) == (reason, True)
    name = f"entry-{at}.seen"
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    assert files[f"{name}.json"] == story.lines[at]
    assert (f"entry-{at}.served.json" in files) == (reason != "ENTRIES_MISSING")
    assert not read_again(auditor).faults, "the service gives the signed ones again"


def test_one_entry_that_differs_hides_no_other_and_is_told_until_it_is_right(
    auditor, story, monkeypatch
):
    """Else whoever lost a dull one to a disk might rewrite the others unseen."""
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", 5)
    lines = [b"{" if at in (1, 3, 7) else line for at, line in enumerate(story.lines)]
    with told(auditor, story):
        auditor.verify()
    go_on_at(auditor, 0)
    with told(auditor, story, serve=lines):
        runs = [read_again(auditor) for _ in range(2)]
    told_of = [[fault.message.split()[1] for fault in run.faults] for run in runs]
    assert told_of == [["1", "3"], ["1", "3", "7"]]
    assert [run.page for run in runs] == [range(5), range(5, min(10, len(story.lines)))]
    with told(auditor, story):
        assert not read_again(auditor).faults
    assert not read_again(auditor).faults


def rewritten(auditor: Auditor) -> Rewritten:
    """What reading all of it again comes to, where something differs."""
    with pytest.raises(Rewritten) as caught:
        auditor.verify(whole=True)
    return caught.value


@pytest.mark.parametrize("more", [0, 3])
def test_whoever_reads_all_of_it_again_is_told_of_each_entry_that_differs(
    auditor, story, more, monkeypatch
):
    """The first one hid the others, and all that came after it."""
    monkeypatch.setattr(rereading, "ENTRIES_PAGE_MAX", 5)
    with told(auditor, story):
        auditor.verify()
    wrong = {1: b"{", 3: None, 4: None, 8: b"{}"}
    for _ in range(more):
        story.add("answer.whispered", "lend", bytes(32))
    lines = [wrong.get(at, line) for at, line in enumerate(story.lines)]
    served = [line for line in lines if line is not None]
    with told(auditor, story, serve=served):
        found = rewritten(auditor)
        kept = auditor.trusted()
    assert [(fault.reason, fault.message.split()[1].rstrip(",")) for fault in found.faults] == [
        ("ENTRY_CHANGED", "1"),
        ("SEQ_GAP", "3"),
        ("SEQ_GAP", "4"),
        ("ENTRY_CHANGED", "8"),
    ]
    assert found.reason == "ENTRY_CHANGED"
    assert kept.position.size == len(story.lines) == found.report.entries_read
    key, name = story.signer.verifier_key, "entry-3.seen"
    files = found.faults[1].files
    verify_proof(files[f"{name}.json"], files[f"{name}.tlog-proof"], key.name, [key])
    with told(auditor, story, serve=served):
        again = read_again(auditor).faults
    assert len(again) == len(wrong), "the next run has their files"
    with told(auditor, story):
        assert auditor.verify(whole=True).entries_read == len(story.lines)
        assert not read_again(auditor).faults
    start_again(auditor)


def test_not_more_entries_are_named_than_anybody_reads(auditor, story, monkeypatch):
    monkeypatch.setattr(rereading, "EVIDENCE_FINDINGS_MAX", 3)
    asked = []
    with told(auditor, story, serve=[b"{"] * len(story.lines)):
        honest = auditor.pages
        auditor.pages = lambda start, end: asked.append(start) or honest(start, end)
        found = rewritten(auditor)
    assert [fault.message.split()[1] for fault in found.faults] == ["0", "1", "2"]
    assert asked == [0, len(story.lines)]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE entries SET line = x'7b' WHERE log_index = 3",
        "DELETE FROM entries WHERE log_index = 3",
        "DELETE FROM entries WHERE log_index > 9",
    ],
)
def test_a_copy_that_is_damaged_itself_is_not_held_against_the_service(auditor, damage):
    with closing(sqlite3.connect(auditor._home.folder / "audit.db")) as database, database:
        database.execute(damage)
    with pytest.raises(DataLoss) as caught:
        read_again(auditor)
    assert caught.value.reason == "INDEX_DAMAGED"
    start_again(auditor)


def test_cron_is_told_of_an_old_entry_that_was_rewritten_in_the_database(
    running, auditor, tmp_path
):
    home, path = running.home(AUDITOR).folder, running.world.service / "log.db"
    go_on_at(auditor, 0)
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        ((line,),) = database.execute("SELECT line FROM entries WHERE log_index = 5").fetchall()
        change = "UPDATE entries SET line = ? WHERE log_index = 5"
        database.execute(change, (line.replace(b'"prev"', b'"perv"'),))
        try:
            words = ["audit", "follow", "--evidence", tmp_path, "--home", home]
            as_text = run(*words, code=1)
            told_as = json.loads(run(*words, "--json", code=1))
            whole = ["audit", "verify", "--whole", "--home", home]
            whole_as_text, whole_as_json = run(*whole, code=1), run_both(*whole, "--json", code=1)
        finally:
            database.execute(change, (line,))
    assert "entry 5 is not the one that was verified before (ENTRY_CHANGED)" in as_text
    assert (told_as["reason"], len(told_as["faults"])) == ("ENTRY_CHANGED", 1)
    assert "entry 5 is not the one that was verified before (ENTRY_CHANGED)" in whole_as_text
    assert "Verified:" in whole_as_text
    assert json.loads(whole_as_json[0])["faults"] == told_as["faults"]
    (folder,) = tmp_path.iterdir()
    assert (folder / "entry-5.seen.json").read_bytes() == line
    well = json.loads(run(*words, "--json"))
    assert well["reread"] == min(ENTRIES_PAGE_MAX, well["size"] - well["read"]) > 5
