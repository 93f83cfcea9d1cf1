"""What an auditor is told where its own audit.db is not all that it verified, or is damaged."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing, nullcontext
from pathlib import Path

import pytest
from credproof.auditing.trusted import CHECKPOINT_NAME, STATE_NAME
from credproof.auditor import Auditor

from tests.cli.command import run
from tests.rpc.stories import start_again, told

INDEX_NAME = "audit.db"
READS = (
    ("search", "--kind", "attestation.accepted"),
    ("report", "--month", "2026-11"),
    ("registry", "--participant", "bank"),
)


@pytest.fixture(autouse=True)
def afresh(auditor):
    yield
    start_again(auditor, "*.damaged")


def change(folder: Path, statement: str) -> None:
    with closing(sqlite3.connect(folder / INDEX_NAME)) as database, database:
        database.execute(statement)


def damaged(folder: Path, words: Sequence[str | Path]) -> None:
    """The command names the file, and ends with the exit code of a finding."""
    told = run("audit", *words, "--home", folder, code=1)
    assert ("(INDEX_DAMAGED)" in told, INDEX_NAME in told) == (True, True)


@pytest.mark.parametrize("left", [STATE_NAME, CHECKPOINT_NAME])
def test_who_lost_what_was_verified_is_not_told_that_there_was_nothing(auditor, left):
    """A clerk who asked for a month's refusals was told that there were none."""
    folder = auditor._home.folder
    for name in {STATE_NAME, CHECKPOINT_NAME} - {left}:
        (folder / name).unlink()
    whole = (folder / INDEX_NAME).read_bytes()
    (folder / INDEX_NAME).write_bytes(b"")
    for words in READS:
        damaged(folder, words)
    (folder / INDEX_NAME).write_bytes(whole)
    for words in READS:
        run("audit", *words, "--home", folder)


ALL = (("follow",), ("verify",), *READS)
OTHER_TYPES = {
    "UPDATE entries SET line = CAST(line AS TEXT)": (
        ("follow",),
        ("replay", "--offline"),
        READS[0],
    ),
    "UPDATE entries SET line = 5": (("replay", "--offline"), READS[2]),
    "UPDATE entries SET kind = CAST(x'ff' AS TEXT)": (READS[1],),
    "UPDATE state SET value = CAST(value AS TEXT)": ALL,
    "UPDATE state SET value = x'7b'": ALL,
}


@pytest.mark.parametrize("statement", OTHER_TYPES)
def test_what_is_of_another_type_than_was_written_is_damage(auditor, statement):
    """One bit of a record of SQLite makes a text of bytes: it was a traceback."""
    change(auditor._home.folder, statement)
    for words in OTHER_TYPES[statement]:
        damaged(auditor._home.folder, words)


@pytest.mark.parametrize("value", ["x'7b'", "'{}'"])
def test_what_the_rules_remember_is_named_where_it_cannot_be_read(auditor, running, value):
    change(auditor._home.folder, f"UPDATE things SET value = {value}")
    running.person()
    damaged(auditor._home.folder, ("follow",))


LAST = b'{"actor":"bank","ahead":0,"at":1,"lost":true}'.hex()
ACCUSING = {
    "what the rules remember": f"UPDATE things SET value = x'{LAST}' WHERE name = 'last'",
    "what they found": "INSERT INTO findings VALUES (3, 'NO_CONSENT', 'no consent', x'5b5d')",
}


@pytest.mark.parametrize("what", ACCUSING)
def test_nobody_is_named_for_a_broken_rule_that_own_lines_do_not_break(
    auditor, running, tmp_path, what
):
    """One flipped bit made findings, with files, against an honest operator."""
    folder = auditor._home.folder
    change(folder, ACCUSING[what])
    running.person()
    for words in (("follow", "--evidence", tmp_path), ("verify",), ("follow",)):
        told = run("audit", *words, "--home", folder, code=1)
        assert ("(INDEX_DAMAGED)" in told, "Finding:" in told) == (True, False)
    assert list(tmp_path.iterdir()) == []
    run("audit", "verify", "--whole", "--home", folder)
    assert "Nothing is wrong" in run("audit", "follow", "--home", folder)


ELSEWHERE = {
    "UPDATE state SET value = x'3939' WHERE name = 'trust'": [("follow",)],
    "DELETE FROM state WHERE name = 'trust'": [("follow",)],
    "DELETE FROM state WHERE name = 'audit'": [("follow",), READS[0]],
    "DELETE FROM entries WHERE log_index > 3": [("follow",), READS[0]],
}


@pytest.mark.parametrize("statement", ELSEWHERE)
def test_where_the_index_says_that_it_is_is_where_its_lines_end(auditor, running, statement):
    """A version of the registry that no line names was one "that nobody shows"."""
    change(auditor._home.folder, statement)
    running.person()
    for words in ELSEWHERE[statement]:
        damaged(auditor._home.folder, words)


def test_a_version_of_the_registry_that_broke_a_rule_is_no_damage_of_ones_own(
    auditor, story, monkeypatch
):
    """The log names it, and it was never put in force."""
    folder = auditor._home.folder
    story.add("registry.changed", "lend", bytes(32), version=99)
    monkeypatch.setattr(Auditor, "open", lambda _home: nullcontext(auditor))
    with told(auditor, story):
        for _ in range(2):
            assert "INDEX_DAMAGED" not in run("audit", "follow", "--home", folder, code=1)
            story.add("answer.whispered", "lend", bytes(32))
