"""With --json every command tells an error as one JSON object on stderr, and nothing else."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from credproof import standard
from credproof.cli import app as commands
from credproof.cli.output import exit_code, system_error
from credproof.cli.parts import TEXTS, load


def with_json() -> list[tuple[str, ...]]:
    """Every command that takes --json, by the words that name it."""

    def walk(command, words):
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, (*words, name))
        if any("--json" in getattr(item, "opts", ()) for item in command.params):
            yield words

    loaded = {name: part for text in TEXTS for name, part in load(text).items()}
    return sorted(words for name, part in loaded.items() for words in walk(part, (name,)))


def fails(monkeypatch, capsys, *words: object) -> tuple[int, dict]:
    """The exit code of a command line, and the one object on stderr."""
    monkeypatch.setattr(sys, "argv", ["credproof", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        commands.main()
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return caught.value.code, json.loads(told.err)


def test_there_are_many_such_commands():
    assert len(with_json()) > 25


@pytest.mark.parametrize("words", with_json(), ids=" ".join)
def test_wrong_usage_is_told_as_json_by_every_command(monkeypatch, capsys, words):
    code, told = fails(monkeypatch, capsys, *words, "--json", "--no-such-option")
    assert (code, told["reason"]) == (2, "WRONG_USAGE")
    assert "no-such-option" in told["message"]
    assert "--help" in told["advice"]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (("audit", "verify"), 2, "NO_PARTICIPANT"),
        (("audit", "report", "--month", "2026-11"), 2, "NOTHING_VERIFIED"),
        (("borrower", "unsealed"), 2, "NO_PASS"),
    ],
)
def test_what_is_wrong_is_told_with_reason_message_and_advice(
    monkeypatch, capsys, tmp_path, words, code, reason
):
    found, told = fails(monkeypatch, capsys, *words, "--home", tmp_path, "--json")
    assert (found, told["reason"]) == (code, reason)
    assert told["message"]
    assert "advice" in told


def test_a_damaged_file_is_named(monkeypatch, capsys, tmp_path):
    bad = tmp_path / "bad.yaml"
    bad.write_text("policy: [", "utf-8")
    good = tmp_path / "good.yaml"
    good.write_bytes(standard.read("policies/revolving-standing.yaml"))
    code, told = fails(monkeypatch, capsys, "policy", "diff", good, bad, "--json")
    assert (code, told["reason"]) == (2, "NOT_YAML")


def test_what_the_system_refuses_is_told_as_json_too(monkeypatch, capsys, tmp_path):
    (tmp_path / "audit.db").mkdir()
    words = ("audit", "report", "--month", "2026-11", "--home", tmp_path, "--json")
    code, told = fails(monkeypatch, capsys, *words)
    assert (code, told["reason"], told["advice"]) == (2, "SYSTEM_ERROR", None)
    assert str(Path(tmp_path)) in told["message"]


def test_a_database_that_is_damaged_is_not_called_a_full_disk(tmp_path):
    path = tmp_path / "asked.db"
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with closing(sqlite3.connect(path)) as database, pytest.raises(sqlite3.Error) as caught:
        database.execute("SELECT * FROM sqlite_schema").fetchall()
    told = system_error(caught.value)
    assert (told.reason, exit_code(told)) == ("DATABASE_DAMAGED", 1)
