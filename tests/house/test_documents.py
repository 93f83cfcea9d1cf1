"""What the documents tell people to type exists."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from credproof.cli.app import SERVER_COMMANDS, app

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = typer.main.get_command(app)


def lines(path: Path) -> Iterator[str]:
    """Lines in fenced blocks that call `credproof`, without their comments."""
    inside = False
    for line in path.read_text("utf-8").splitlines():
        if line.startswith("```"):
            inside = not inside
        elif inside and line.startswith("credproof "):
            yield re.sub(r"\s{2,}#.*| # .*", "", line).partition(" | ")[0]


def wrong(line: str) -> list[str]:
    """The words of a line that the command line does not know."""
    command, words = COMMAND, shlex.split(line)[1:]
    while words and (inner := getattr(command, "commands", {}).get(words[0])):
        command, words = inner, words[1:]
    if hasattr(command, "commands"):
        return words[:1] or [line]
    options = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    return [w for w in words if w.startswith("-") and w.partition("=")[0] not in options]


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


def test_a_made_up_command_or_option_would_be_found():
    assert sum(len(list(lines(path))) for path in DOCUMENTS) > 20
    assert wrong("credproof provider sumbit x.csv") == ["sumbit"]
    assert wrong("credproof provider submit x.csv --mappings y") == ["--mappings"]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_a_document_links_to_is_there(path):
    links = re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_without_its_parts_every_server_command_says_what_to_install():
    import credproof_server.cli as server

    root = typer.Typer()
    server.register(root)
    assert set(typer.main.get_command(root).commands) == set(SERVER_COMMANDS)
