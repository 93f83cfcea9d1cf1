"""A command line that cannot be read is told like every other error: reason, what to do next."""

from __future__ import annotations

import json

import pytest
import typer
from credproof.cli import parts

from tests.cli.command import run

CASES = {
    "a missing argument": ("provider submit", ()),
    "a missing option": ("lender request", ()),
    "a time that is none": ("audit search", ("--since", "yesterday")),
    "a person without a reason": ("audit search", ("--person",)),
    "a reference without its salt": ("audit search", ("--staff", "clerk 4")),
    "a person for a blank reason": ("audit search", ("--person", "--why", " ")),
    "a reason without a person": ("audit search", ("--why", "complaint 17")),
    "a salt without a reference": ("audit search", ("--salt", "00" * 16)),
    "two references, of which each has its salt": (
        "audit search",
        ("--staff", "clerk 4", "--case", "7", "--salt", "00" * 16),
    ),
    "an id that is none": ("audit search", ("--consent", "xyz")),
    "an object that is none": ("audit search", ("--object", "zz")),
    "an object that is empty": ("audit search", ("--object", "")),
    "a salt that is too long": ("audit search", ("--staff", "clerk 4", "--salt", "00" * 17)),
    "a number that is too small": ("audit search", ("--limit", "0")),
    "a number that no database holds": ("audit search", ("--after", "9" * 30)),
    "a number of a kind that there is not": ("audit search", ("--after", "-5")),
    "an end before the beginning": (
        "audit search",
        ("--since", "2026-11-28", "--until", "2026-11-26"),
    ),
    "a folder that is empty": ("audit follow", ("--evidence", "")),
    "a home that is empty": ("audit follow", ("--home=",)),
    "a file that is empty, of several": ("lender verify", ("x.answer", "")),
    "a folder that is empty, of an operator": ("check", ("",)),
    "a word that is no choice": ("audit search", ("--outcome", "GOOD")),
    "an option that is not there": ("audit token", ("--hour", "1")),
    "a command that is not there": ("audit", ("serach",)),
    "a group that is not there": ("", ("adit",)),
    "of an operator": ("participant suspend", ()),
    "of an operator, two ways at once": ("restore", ("x", "--new-origin", "y", "--from", "z")),
    "of the page": ("consent-page", ("--listen", "here")),
}


def reason_of(line: str) -> str:
    """The reason in brackets that an error's first line ends with."""
    return line.rpartition(" (")[2].rstrip(")\n")


@pytest.mark.parametrize(("name", "more"), CASES.values(), ids=CASES)
def test_wrong_usage_has_its_reason_and_points_to_the_commands_help(name, more):
    first, second = run(*name.split(), *more, code=2).splitlines()
    assert first.startswith("error: ")
    assert reason_of(first) == "WRONG_USAGE"
    assert "Value error" not in first, "a word of the library's"
    assert second == f"next:  {' '.join(['credproof', *name.split()])} --help says how"


@pytest.mark.parametrize(("name", "more"), CASES.values(), ids=CASES)
def test_machines_get_the_same(name, more):
    told = json.loads(run(*name.split(), *more, "--json", code=2))
    assert told["reason"] == "WRONG_USAGE"
    assert told["message"]
    assert told["advice"] == f"{' '.join(['credproof', *name.split()])} --help says how"


def test_no_command_takes_an_empty_path():
    """A shell variable that is not set would be the current directory."""
    taken, seen = [], 0

    def walk(command, words):
        nonlocal seen
        for name, child in getattr(command, "commands", {}).items():
            walk(child, (*words, name))
        for option in command.params:
            if "pathlib" in str(option.type_descriptor.annotation):
                seen += 1
                try:
                    option.process_value(typer.Context(typer.core.TyperCommand("x")), "")
                    taken.append((words, option.name))
                except typer.BadParameter:
                    pass

    for name in parts.TEXTS:
        walk(parts.load(name)[name], (name,))
    assert (taken, seen > 100) == ([], True)


@pytest.mark.parametrize("given", ["", "ref:alice\nref:bob\n"])
def test_one_person_is_looked_for_at_a_time(given):
    told = run("audit", "search", "--person", "--why", "complaint 17", given=given, code=2)
    assert reason_of(told.splitlines()[0]) == "WRONG_USAGE"
    assert "one id on standard input" in told


def test_a_group_without_a_command_shows_its_help():
    told = run("provider", code=2)
    assert told.startswith("Usage: credproof provider")
    assert "WRONG_USAGE" not in told


def test_what_the_system_refuses_has_a_reason_in_text_too(tmp_path):
    (tmp_path / "audit.db").mkdir()
    told = run("audit", "report", "--month", "2026-11", home=tmp_path, code=2)
    assert reason_of(told) == "SYSTEM_ERROR"


def test_a_question_that_nobody_answers_is_no_agreement(monkeypatch):
    app = typer.Typer()

    @app.command()
    def ask() -> None:
        typer.confirm("Do you agree?")

    monkeypatch.setattr("credproof.cli.app.app", app)
    assert reason_of(run(code=1)) == "NOT_AGREED"


def test_a_command_whose_parts_are_missing_says_what_to_install(monkeypatch):
    def missing(point):
        raise ImportError(point.name)

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", missing)
    parts._plug_in.cache_clear()
    try:
        told = run("serve", "service", code=2)
    finally:
        parts._plug_in.cache_clear()
    assert reason_of(told) == "PARTS_MISSING"
    assert "pip install 'credproof[server]'" in told
