"""The lender's journal: on disk before anything is sent, shared, and private."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from credproof.records.journal import Journal


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "asked.db"


def test_what_was_added_is_there_after_a_crash(path):
    journal = Journal(path)  # never closed
    journal.add({b"one": b"1", b"two": b"2"})
    with Journal(path) as again:
        assert again.find([b"one", b"two", b"three"]) == {b"one": b"1", b"two": b"2"}


def test_of_two_that_meet_a_question_the_second_takes_the_firsts(path):
    with Journal(path) as first, Journal(path) as second:
        first.add({b"one": b"1"})
        assert second.add({b"one": b"other", b"two": b"2"}) == {b"one": b"1", b"two": b"2"}


def test_what_is_settled_is_forgotten(path):
    with Journal(path) as journal:
        journal.add({b"one": b"1", b"two": b"2"})
        journal.drop([b"one", b"never there"])
        assert journal.find([b"one", b"two"]) == {b"two": b"2"}
        assert len(journal) == 1


def test_nothing_changes_nothing(path):
    with Journal(path) as journal:
        assert journal.add({}) == journal.find([]) == {}
        journal.drop([])


def test_only_the_owner_can_read_it(path):
    before = os.umask(0)
    try:
        with Journal(path) as journal:
            journal.add({b"one": b"1"})
            modes = {file.stat().st_mode & 0o777 for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert modes == {0o600}
