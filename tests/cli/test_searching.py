"""What `credproof audit search` shows of an index: machines get all, people see nothing cut."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from credproof.auditing.index import Index
from credproof.log.audit import AuditState
from credproof.log.entry import parse_entry

from tests.cli.command import run, run_both
from tests.world import Log, NoteSigner, signer_of

ENTRIES = 250


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """An auditor's home with an index of more entries than a table shows."""
    folder = tmp_path_factory.mktemp("audit")
    log = Log(NoteSigner("log.example", signer_of("log")))
    for at in range(ENTRIES):
        log.append("consent.revoked", "borrower", at.to_bytes(32, "big"), time=1_795_000_000 + at)
    entries = [parse_entry(line) for line in log.lines]
    with Index(folder / "audit.db") as index, index.transaction():
        index.add(log.lines, entries, [], AuditState(), 1)
    return folder


def search(home: Path, *more: str) -> str:
    return run("audit", "search", *more, home=home)


def test_machines_get_all_entries_unless_they_ask_for_fewer(home):
    assert len(json.loads(search(home, "--json"))) == ENTRIES
    assert len(list(csv.DictReader(io.StringIO(search(home, "--format", "csv"))))) == ENTRIES
    assert json.loads(search(home, "--json", "--after", "900")) == []


@pytest.mark.parametrize("shown_as", ["json", "csv", "table"])
def test_what_is_cut_is_told_with_how_to_go_on(home, shown_as):
    told, beside = run_both("audit", "search", "--format", shown_as, "--limit", "20", home=home)
    assert "More:  --after 19" in (told if shown_as == "table" else beside)
    all_of_it = ("--after", "229", "--limit", "20")
    told, beside = run_both("audit", "search", "--format", shown_as, *all_of_it, home=home)
    assert "More" not in told + beside, "these are the last ones"
