"""Files of questions: one bad row costs one row, and no message repeats what a row holds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from credproof.base.limits import TOKEN_BYTES_MAX
from credproof.records.asks import Ask, AskRow, read_asks
from credproof.records.reader import RejectedRow

TOKEN = "eyJh.eyJi.c2ln"


def read(path: Path, text: str, name: str = "asks.csv") -> list[AskRow | RejectedRow]:
    file = path / name
    data = text.encode()
    file.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return list(read_asks(file, policy_id="p"))


def reason(path: Path, cells: dict[str, str]) -> str:
    """Why a row with these cells is rejected."""
    found = read(path, json.dumps(cells) + "\n", "asks.jsonl")[0]
    assert isinstance(found, RejectedRow)
    for cell in cells.values():
        assert cell in ("", ".") or cell not in found.message
    return found.reason


@pytest.mark.parametrize("name", ["asks.csv", "asks.csv.gz"])
def test_a_row_of_csv_is_a_question(tmp_path, name):
    text = f"subject,consent,case,staff,name\nref:a,{TOKEN},loan 17,clerk-1,first\n"
    ask = Ask("ref:a", "p", TOKEN, "loan 17", "clerk-1")
    assert read(tmp_path, text, name) == [AskRow(2, "first", ask)]


@pytest.mark.parametrize("name", ["asks.jsonl", "asks.jsonl.gz"])
def test_a_line_of_json_is_a_question(tmp_path, name):
    text = json.dumps({"subject": "ref:a", "consent": TOKEN}) + "\n"
    ask = Ask("ref:a", "p", TOKEN)
    assert read(tmp_path, text, name) == [AskRow(1, ask.key.hex()[:32], ask)]


def test_a_consent_may_be_a_file_beside_the_file_of_questions(tmp_path):
    (tmp_path / "consents").mkdir()
    (tmp_path / "consents" / "a.consent").write_text(TOKEN + "\n")
    found = read(tmp_path, "subject,consent\nref:a,consents/a.consent\n")[0]
    assert isinstance(found, AskRow)
    assert found.ask.consent == TOKEN


def test_bad_rows_are_told_by_line_and_the_rest_goes_on(tmp_path):
    text = f"subject,consent\nref:with space,{TOKEN}\nref:a\nref:b,{TOKEN}\nref:c,gone\n"
    found = read(tmp_path, text)
    assert [(row.line, getattr(row, "reason", "")) for row in found] == [
        (2, "BAD_SUBJECT_ID"), (3, "BAD_RECORD"), (4, ""), (5, "NO_CONSENT")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cells", "told"),
    [
        ({"subject": "ref:a"}, "BAD_RECORD"),
        ({"subject": "ref:a", "consent": TOKEN, "cas": "typing error"}, "BAD_RECORD"),
        ({"subject": "", "consent": TOKEN}, "BAD_SUBJECT_ID"),
        ({"subject": "ref:a", "consent": ""}, "NO_CONSENT"),
        ({"subject": "ref:a", "consent": "."}, "NO_CONSENT"),
        ({"subject": "ref:a", "consent": "nul\0byte"}, "NO_CONSENT"),
        ({"subject": "ref:a", "consent": TOKEN, "case": "c" * 129}, "LIMIT_EXCEEDED"),
        ({"subject": "ref:a", "consent": TOKEN, "name": "../escape"}, "BAD_NAME"),
        ({"subject": "ref:a", "consent": TOKEN, "name": ".hidden"}, "BAD_NAME"),
        ({"subject": "ref:a", "consent": TOKEN, "name": "n" * 65}, "BAD_NAME"),
        ({"subject": "ref:a", "consent": TOKEN, "name": "line\nbreak"}, "BAD_NAME"),
    ],
)
def test_what_is_no_question_is_rejected(tmp_path, cells, told):
    assert told == reason(tmp_path, cells)


def test_a_consent_file_without_end_is_not_read(tmp_path):
    (tmp_path / "long").write_bytes(b"a" * (TOKEN_BYTES_MAX + 1))
    assert reason(tmp_path, {"subject": "ref:a", "consent": "long"}) == "LIMIT_EXCEEDED"


def test_the_key_of_a_question_changes_with_every_part_of_it():
    ask = ("ref:a", "p", TOKEN, "case", "staff")
    others = [Ask(*ask[:i], ask[i] + "x", *ask[i + 1 :]).key for i in range(len(ask))]
    assert len({Ask(*ask).key, *others}) == 6


def test_a_question_does_not_show_whom_it_is_about():
    assert "somebody" not in repr(AskRow(1, "name", Ask("ref:somebody", "p", TOKEN)))
