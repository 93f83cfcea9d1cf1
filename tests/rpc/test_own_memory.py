"""What an auditor verified binds by whichever file has the newest of it, in every command."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
from credproof.auditing.trusted import CHECKPOINT_NAME, STATE_NAME, WITNESSED_NAME
from credproof.auditor import Auditor
from credproof.base.errors import CredproofError, DataLoss, VerificationFailed

from tests.rpc.stories import Story, start_again, told

INDEX_NAME = "audit.db"
NOTES = (CHECKPOINT_NAME, STATE_NAME, WITNESSED_NAME)
BACK = 2
"""How many entries fewer a backup of the home has."""


@pytest.fixture
def backup(auditor, story, tmp_path) -> Path:
    """The auditor's files as they were some entries ago; the home has verified all."""
    start_again(auditor)
    with told(auditor, shorter(story)):
        auditor.verify()
        for name in (CHECKPOINT_NAME, STATE_NAME, INDEX_NAME):
            (tmp_path / name).write_bytes((auditor._home.folder / name).read_bytes())
    with told(auditor, story):
        auditor.verify()
    yield tmp_path
    (auditor._home.folder / WITNESSED_NAME).unlink(missing_ok=True)
    start_again(auditor, "*.damaged", "lost-*")


def shorter(story: Story) -> Story:
    before = Story.__new__(Story)
    before.signer, before.lines = story.signer, story.lines[:-BACK]
    return before


def restore(auditor: Auditor, backup: Path, *names: str) -> None:
    for name in names:
        (auditor._home.folder / name).write_bytes((backup / name).read_bytes())


def remove(auditor: Auditor, *names: str) -> None:
    for name in names:
        (auditor._home.folder / name).unlink(missing_ok=True)


def memory(auditor: Auditor) -> Mapping[str, object]:
    """All that a home remembers of the log."""
    folder = auditor._home.folder
    found: dict[str, object] = {
        name: (folder / name).read_bytes() for name in NOTES if (folder / name).exists()
    }
    with auditor.index() as index:
        found[INDEX_NAME] = list(index.lines())
    return found


def forked(story: Story) -> str:
    """Another past, some entries further on: beyond what a backup covers."""
    story.rewritten(len(story.lines) - 1, actor="somebody")
    return "LOG_FORKED"


def forked_and_grown(story: Story) -> str:
    forked(story)
    story.add("answer.whispered", "lend", bytes(32))
    return "LOG_FORKED"


def cut(story: Story) -> str:
    story.lines = story.lines[:-BACK]
    return "LOG_SHRANK"


def cut_and_forked(story: Story) -> str:
    story.lines = story.lines[: 1 - BACK]
    return forked(story)


LEFT = {
    "an older checkpoint": lambda a, b: restore(a, b, CHECKPOINT_NAME),
    "an older checkpoint and state": lambda a, b: restore(a, b, CHECKPOINT_NAME, STATE_NAME),
    "no checkpoint": lambda a, b: remove(a, CHECKPOINT_NAME),
    "neither checkpoint nor state": lambda a, b: remove(a, CHECKPOINT_NAME, STATE_NAME),
}


@pytest.mark.parametrize("lie", [forked, forked_and_grown, cut, cut_and_forked])
def test_own_lines_tell_a_fork_and_a_cut_that_an_older_checkpoint_does_not(
    auditor, story, backup, lie
):
    """Reading all of it again took what contradicted them, and wrote it over them."""
    newest = backup / "newest"
    newest.mkdir()
    for name in (CHECKPOINT_NAME, STATE_NAME):
        (newest / name).write_bytes((auditor._home.folder / name).read_bytes())
    reason = lie(story)
    for left in LEFT.values():
        restore(auditor, newest, CHECKPOINT_NAME, STATE_NAME)
        left(auditor, backup)
        before = memory(auditor)
        for look in (
            partial(auditor.verify, whole=True),
            auditor.verify,
            auditor.require_continued,
        ):
            with told(auditor, story), pytest.raises(VerificationFailed) as caught:
                look()
            assert (caught.value.reason, memory(auditor)) == (reason, before)


@pytest.mark.parametrize("lie", [forked, cut])
def test_a_newer_checkpoint_of_witnesses_binds_where_all_else_is_older(auditor, story, backup, lie):
    (auditor._home.folder / WITNESSED_NAME).write_bytes(story.checkpoint().note)
    restore(auditor, backup, CHECKPOINT_NAME, STATE_NAME, INDEX_NAME)
    before, reason = memory(auditor), lie(story)
    for whole in (True, False):
        with told(auditor, story), pytest.raises(VerificationFailed) as caught:
            auditor.verify(whole=whole)
        assert (caught.value.reason, memory(auditor)) == (reason, before)
        assert caught.value.files["seen.checkpoint"] == before[WITNESSED_NAME]


@pytest.mark.parametrize("lie", [forked, cut])
def test_a_newer_state_that_nothing_else_bears_out_stops_and_accuses_nobody(
    auditor, story, backup, lie
):
    """It is signed by nobody: it can be damaged, and all else can be of a backup."""
    restore(auditor, backup, CHECKPOINT_NAME, INDEX_NAME)
    before = memory(auditor)
    lie(story)
    for whole in (True, False):
        with told(auditor, story), pytest.raises(DataLoss) as caught:
            auditor.verify(whole=whole)
        assert (caught.value.reason, memory(auditor)) == ("AUDITED_AHEAD", before)


def test_files_of_a_backup_are_no_harm_where_the_log_is_the_same(auditor, story, backup):
    before = memory(auditor)
    for whole in (True, False):
        for name in (INDEX_NAME, CHECKPOINT_NAME, STATE_NAME):
            restore(auditor, backup, name)
            with told(auditor, story):
                auditor.verify(whole=whole)
            assert memory(auditor) == before


def test_lines_that_were_changed_here_accuse_nobody(auditor, story, backup):
    restore(auditor, backup, CHECKPOINT_NAME, STATE_NAME)
    with auditor.index() as index:
        index._database.execute("UPDATE entries SET line = x'7b7d' WHERE log_index = 1")
    before = memory(auditor)
    forked(story)
    for whole in (True, False):
        with told(auditor, story), pytest.raises(CredproofError) as caught:
            auditor.verify(whole=whole)
        assert (caught.value.reason, memory(auditor)) == ("INDEX_DAMAGED", before)


def test_a_new_origin_is_measured_by_own_lines_that_go_further_than_the_checkpoint(
    auditor, story, backup
):
    """It says that nothing was lost, and ends before the newest of what was signed."""
    restore(auditor, backup, CHECKPOINT_NAME, STATE_NAME)
    before = memory(auditor)
    story.continued(shorter(story).checkpoint(), lost=0)
    with told(auditor, story), pytest.raises(VerificationFailed) as caught:
        auditor.verify()
    assert (caught.value.reason, memory(auditor)) == ("LOG_REPLACED", before)


def test_reading_all_again_does_not_get_into_the_way_of_who_reads_the_index(auditor):
    """Its pages of before were mixed into the new ones: an honest service was accused, and the
    index was damaged for good."""
    auditor.verify()
    with auditor.index() as reader:
        before = reader.state
        auditor.search_person("ref:uci-1", reason="a complaint of today")
        auditor.verify()  # in SQLite's write-ahead log, which stays as long as somebody reads
        auditor.verify(whole=True)
        with auditor.index() as index:
            index.require_whole()
            assert index.state == reader.state != before
    auditor.verify()
