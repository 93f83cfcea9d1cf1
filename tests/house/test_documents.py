"""What the documents and the help texts tell people to type exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import typer
from credproof.base.errors import Conflict, DataLoss, Refused, Unreachable, VerificationFailed
from credproof.cli.advice import NEXT
from credproof.cli.app import app
from credproof.cli.output import print_error
from credproof.cli.parts import PLUGINS, TEXTS, load

from tests.house.test_reasons import every, product, raised

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND: Any = typer.main.get_command(app)
COMMAND.commands = {name: load(name)[name] for name in TEXTS}
SPAN = re.compile(r"`(credproof [^`]+)`")
USAGE_ERROR: Any = typer.BadParameter.__base__
"""What the command line raises when a line lacks something, or has too much."""


def joined(text: str) -> list[str]:
    """The lines of a text, each with those that it goes on in after a backslash."""
    return re.sub(r"\\\n\s*", " ", text).splitlines()


def calls(text: str) -> Iterator[str]:
    """The lines that call `credproof`, without comments, pipes and what follows."""
    for line in joined(text):
        if line.strip().startswith("credproof "):
            yield re.split(r"\s#\s| \| |; | && ", line.strip())[0].strip()


def lines(path: Path) -> Iterator[str]:
    """Whole command lines: in fenced blocks, help texts left out, which are compared elsewhere."""
    text = re.sub(r"(?s)<!-- help:.*?\n```\n.*?\n```\n", "", path.read_text("utf-8"))
    for block in re.findall(r"(?ms)^```\w*\n(.*?)^```", text):
        yield from calls(block)


def spans(path: Path) -> Iterator[str]:
    """Commands named in running text: they may leave out what a command needs."""
    outside = re.sub(r"(?ms)^```.*?^```", "", path.read_text("utf-8"))
    yield from (" ".join(span.split()) for span in SPAN.findall(outside))


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that the words call, and the words after its name."""
    command: Any = COMMAND
    while words and (inner := getattr(command, "commands", {}).get(words[0])):
        command, words = inner, words[1:]
    return command, words


def wrong(line: str) -> list[str]:
    """The words of a line that the command line does not know."""
    command, words = command_of(shlex.split(line)[1:])
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    options |= {name for parameter in command.params for name in parameter.secondary_opts}
    unknown = [w for w in words if w.startswith("-") and w.partition("=")[0] not in options]
    if hasattr(command, "commands"):
        return unknown or [w for w in words[:1] if not w.startswith("-")]
    return unknown


def lacking(line: str) -> list[str]:
    """What a whole line lacks, or has too much of: it is parsed, nothing runs."""
    command, words = command_of(shlex.split(line)[1:])
    if hasattr(command, "commands"):
        return [line]
    try:
        command.make_context("credproof", words)
    except USAGE_ERROR as error:
        return [f"{line}: {error.format_message()}"]
    return []


def commands(command: Any = COMMAND, name: str = "credproof") -> Iterator[tuple]:
    """Every command with its whole name."""
    for word, inner in getattr(command, "commands", {}).items():
        yield f"{name} {word}", inner
        yield from commands(inner, f"{name} {word}")


def test_every_document_for_people_is_there():
    names = {path.name for path in DOCUMENTS}
    assert {
        "README.md",
        "README.zh-CN.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    } <= names


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_shows_exists_with_its_options(path):
    assert [(line, wrong(line)) for line in lines(path) if wrong(line)] == []
    assert [error for line in lines(path) for error in lacking(line)] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_that_a_document_names_in_passing_exists(path):
    assert [(span, wrong(span)) for span in spans(path) if wrong(span)] == []


def test_every_example_of_a_help_text_can_be_typed():
    found = [line for _, command in commands() for line in calls(command.help or "")]
    assert len(found) > 15
    assert [error for line in found for error in wrong(line) + lacking(line)] == []


def test_every_command_tells_its_exit_codes():
    leaves = [(name, c) for name, c in commands() if not hasattr(c, "commands")]
    assert [name for name, c in leaves if "Exit codes" not in (c.epilog or "")] == []


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Unreachable("NO_ANSWER", "the service did not answer"), "the service runs"),
        (Unreachable("COMMIT_FAILED", "ask again"), "run this again"),
        (VerificationFailed("BAD_SIGNATURE", "it does not verify", step=4), "check 4"),
        (VerificationFailed("BAD_SIGNATURE", "it does not verify"), "do not rely on it"),
        (Refused("CONSENT_USED_UP", "it was given"), "credproof lender request"),
        (DataLoss("LOG_BEHIND", "the log lacks entries"), "--from-export"),
        (DataLoss("LOG_FORKED", "the log is not the one that was signed"), "credproof restore"),
        (DataLoss("LOG_FORKED", "not the one it signed", told=True), "credproof quorum show"),
        (DataLoss("LOG_BEHIND", "not the one it signed", told=True), "credproof quorum show"),
        (DataLoss("DISPROOF_DAMAGED", "it is no checkpoint"), "DIR/disproof"),
        (DataLoss("KEY_NOT_OPENED", "a stored key does not open"), "DIR/kek"),
        (DataLoss("KEY_NOT_OPENED", "a stored key does not open", told=True), "tell the operator"),
        (DataLoss("KEY_MISSING", "a subject has no data key", told=True), "tell the operator"),
        (DataLoss("ROW_DIFFERS", "a stored row differs", told=True), "tell the operator"),
    ],
)
def test_an_error_at_the_command_line_says_what_to_do(capsys, error, told):
    print_error(error)
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("error")
    assert second.startswith("next:  ")
    assert told in second


@pytest.mark.parametrize(
    "error",
    [
        VerificationFailed("EXPIRED", "request has lapsed: ask the lender for a new one"),
        Unreachable("NOT_SIGNED_YET", "the answer is not covered yet: ask again"),
        Conflict("CHAIN_BROKEN", "token does not continue the account's chain"),
    ],
)
def test_what_the_message_says_is_not_said_again_nor_to_somebody_else(capsys, error):
    print_error(error)
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_advice_is_for_reasons_that_exist():
    assert set(NEXT) - every(product(), raised) == set()


def test_a_made_up_command_or_option_would_be_found():
    assert sum(len(list(lines(path))) for path in DOCUMENTS) > 60
    assert sum(len(list(spans(path))) for path in DOCUMENTS) > 30
    assert wrong("credproof provider sumbit x.csv") == ["sumbit"]
    assert wrong("credproof sreve") == ["sreve"]
    assert wrong("credproof provider submit x.csv --mappings y") == ["--mappings"]
    assert lacking("credproof provider submit x.csv")
    assert lacking("credproof provider fingerprint bank")
    assert lacking("credproof provider")


@pytest.mark.parametrize(("option", "most"), [("--days", 1830), ("--data-life", 3660)])
def test_terms_that_no_consent_can_have_are_told_at_the_option(option, most):
    line = "credproof lender request --subject ref:x --policy x -o x.request"
    assert lacking(f"{line} {option} {most}") == []
    (told,) = lacking(f"{line} {option} {most + 1}")
    assert option in told
    assert str(most) in told


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_is_there(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("extra", PLUGINS)
def test_without_its_parts_every_command_says_what_to_install(extra):
    (point,) = entry_points(group="credproof.commands", name=extra)
    root = typer.Typer()
    root.callback()(lambda: None)
    point.load()(root)
    assert set(typer.main.get_command(root).commands) == set(PLUGINS[extra])


@pytest.mark.parametrize("name", TEXTS)
def test_every_command_that_is_listed_can_be_loaded(name):
    assert load(name)[name].get_short_help_str(), "and says what it does"
