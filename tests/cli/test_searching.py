"""What `credproof audit search` shows of an index: machines get all, people see nothing cut."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from credproof.auditing.index import Index
from credproof.base.encoding import b64, b64url
from credproof.cli import searching
from credproof.log.audit import AuditState, ChainPosition
from credproof.log.entry import parse_entry
from credproof.verification.answer import Reference
from rich.console import Console

from tests.cli.command import run, run_both
from tests.world import Log, NoteSigner, signer_of

ENTRIES, BEGAN, DAY = 250, 1_795_000_000, "2026-11-18"  # it begins at 11:06:40
LENDER = "a-lender-with-quite-a-long-name"
REFUSED = {
    "case": b64url(bytes(32)),
    "consent": b64url(CONSENT := bytes(range(32))),
    "policy": {"digest": b64url(bytes(32)), "id": "revolving-standing", "version": 1},
    "purpose": "ORIGINATION",
    "reason": "CONSENT_USED_UP",
    "staff": b64url(Reference("clerk 4", SALT := bytes(range(16))).digest),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """An auditor's home with an index of more entries than a table shows."""
    folder = tmp_path_factory.mktemp("audit")
    log = Log(NoteSigner("log.example", signer_of("log")))
    for at in range(ENTRIES):
        log.append("consent.revoked", "borrower", at.to_bytes(32, "big"), time=BEGAN + at)
    log.append("answer.refused", LENDER, bytes(32), time=BEGAN + ENTRIES, fields=REFUSED)
    return audited(log, folder)


def audited(log: Log, folder: Path) -> Path:
    """An auditor's home that has read this log."""
    entries = [parse_entry(line) for line in log.lines]
    with Index(folder / "audit.db") as index, index.transaction():
        state = AuditState(ChainPosition(size=log.tree.size), log.tree.frontier())
        index.add(log.lines, entries, [], state, 1, log.now)
    return folder


def search(home: Path, *more: str) -> str:
    return run("audit", "search", *more, home=home)


def test_machines_get_all_entries_unless_they_ask_for_fewer(home):
    assert len(json.loads(search(home, "--json"))) == ENTRIES + 1
    assert len(list(csv.DictReader(io.StringIO(search(home, "--format", "csv"))))) == ENTRIES + 1
    assert json.loads(search(home, "--json", "--after", "900")) == []


@pytest.mark.parametrize("shown_as", ["json", "csv", "table"])
def test_what_is_cut_is_told_with_how_to_go_on(home, shown_as):
    told, beside = run_both("audit", "search", "--format", shown_as, "--limit", "20", home=home)
    assert "More:  --after 19" in (told if shown_as == "table" else beside)
    all_of_it = ("--after", "230", "--limit", "20")
    told, beside = run_both("audit", "search", "--format", shown_as, *all_of_it, home=home)
    assert "More" not in told + beside, "these are the last ones"


@pytest.mark.parametrize("spelled", [bytes.hex, b64url, b64, lambda data: data.hex().upper()])
def test_ids_and_salts_are_taken_in_each_form_that_a_command_prints(home, spelled):
    at, words = spelled((7).to_bytes(32, "big")), ("--staff", "clerk 4", "--salt", spelled(SALT))
    assert [entry["seq"] for entry in json.loads(search(home, "--json", "--object", at))] == [7]
    for asked in (words, ("--consent", spelled(CONSENT))):
        assert [entry["seq"] for entry in json.loads(search(home, "--json", *asked))] == [ENTRIES]


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (("--since", DAY, "--until", DAY), ENTRIES + 1),
        (("--until", f"{DAY}T00:00:00Z"), 0),
        (("--since", "2026-11-18T19:06:41+08:00", "--until", "2026-11-18T11:06:43Z"), 2),
    ],
)
def test_a_date_takes_its_whole_day_in(home, options, count):
    assert len(json.loads(search(home, "--json", *options))) == count


def test_two_forms_at_once_are_refused(home):
    told = run("audit", "search", "--json", "--format", "csv", home=home, code=2)
    assert json.loads(told)["reason"] == "WRONG_USAGE"


@pytest.mark.parametrize("option", ["--actor", "--policy"])
def test_what_is_asked_for_by_nothing_is_not_everything(home, option):
    assert json.loads(search(home, "--json", option, "")) == []


@pytest.mark.parametrize("columns", [80, 30])
def test_a_table_cuts_nothing_off_however_narrow_the_terminal(home, monkeypatch, columns):
    piped = search(home, "--kind", "answer.refused")
    assert len(piped.splitlines()) == 2, "the header, and a line"
    assert "revolving-standing ORIGINATION CONSENT_USED_UP" in piped
    monkeypatch.setattr(searching, "out", Console(force_terminal=True, width=columns))
    told = search(home, "--kind", "answer.refused")
    assert max(map(len, told.splitlines())) <= max(columns, 72)
    assert sorted("".join(told.split())) == sorted("".join(piped.split()))


def test_a_table_of_nothing_says_so(home):
    told = search(home, "--kind", "anomaly.raised")
    assert told == f"Nothing found in the {ENTRIES + 1} entries that were verified.\n"


def test_a_kind_that_no_rule_knows_is_looked_for_where_the_log_has_it(home, tmp_path):
    log = Log(NoteSigner("log.example", signer_of("log")))
    log.append("answer.whispered", "lend", bytes(32), time=BEGAN)
    whispers = audited(log, tmp_path)
    assert "answer.whispered" in search(whispers, "--kind", "answer.whispered")
    none = search(whispers, "--kind", "answer.whispered", "--actor", "nobody")
    assert none == "Nothing found in the 1 entries that were verified.\n"
    run("audit", "search", "--kind", "answer.whispered", home=home, code=2)


def test_what_an_operator_logs_is_no_formula_and_no_command_to_a_terminal(tmp_path):
    """An audited operator writes what the auditor's spreadsheet opens."""
    log = Log(NoteSigner("log.example", signer_of("log")))
    hostile = REFUSED | {"reason": "=1+1", "purpose": "@SUM(1)\x1b[31m"}
    log.append("answer.refused", "-lend", bytes(32), time=BEGAN, fields=hostile)
    (row,) = csv.DictReader(io.StringIO(search(audited(log, tmp_path), "--format", "csv")))
    assert [row[name] for name in ("reason", "purpose", "actor")] == [
        "'=1+1",
        "'@SUM(1)?[31m",
        "'-lend",
    ]


def test_a_table_says_which_consent_an_entry_is_about_as_consent_takes_it(home):
    told = search(home, "--kind", "consent.revoked", "--limit", "2")
    assert told.splitlines()[2].endswith((1).to_bytes(32, "big").hex())


def test_a_table_says_which_detail_was_seen_of_which_entry(tmp_path):
    log = Log(NoteSigner("log.example", signer_of("log")))
    seen = {"detail": "verdicts", "entry": 17, "tag": None}
    log.append("detail.unsealed", "second", bytes(32), time=BEGAN, fields=seen)
    log.append("registry.changed", "operator", bytes(32), time=BEGAN, fields={"version": 8})
    told = search(audited(log, tmp_path))
    assert "detail verdicts entry 17" in told
    assert "version 8" in told
