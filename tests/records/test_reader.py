"""Reading records: one bad row costs one row, and no message repeats what a row holds."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from credproof.base.errors import Malformed
from credproof.records.mapping import Record, RecordMapping, parse_mapping
from credproof.records.reader import (
    LINE_CHARS_MAX,
    RejectedRow,
    count_rows,
    read_records,
    read_rows,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

DAY = dt.date(2026, 1, 2)
MAPPING = b"""
mapping: 1
schema: small/1
subject: {scheme: ref, column: ID}
account: {prefix: card-, column: ID}
currency: TWD
as_of: {column: DAY, format: "%Y-%m-%d"}
claims:
  amount: {column: AMOUNT}
  state: {enum: {column: STATE, values: {"1": ACTIVE}}}
"""
HEADER = "ID,DAY,AMOUNT,STATE\n"


@pytest.fixture
def mapping() -> RecordMapping:
    return parse_mapping(MAPPING)


def write(folder: Path, name: str, text: str | bytes) -> Path:
    data = text.encode() if isinstance(text, str) else text
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def read(path: Path, mapping: RecordMapping) -> list[Record | RejectedRow]:
    return list(read_records(path, mapping, day_of_run=DAY))


def lines(items: Sequence[Record | RejectedRow], kind: type) -> list[int]:
    return [item.line for item in items if isinstance(item, kind)]


ROWS = """1,2025-12-01,500,1
2,2025-12-01,secret-amount,1
3,2025-12-01,700,secret-state
4,secret-day,700,1
5,,700,1
,2025-12-01,600,1
7,2025-12-01,700
8,2025-12-01,700,1,secret-more
9,2025-12-01,,
"""


@pytest.mark.parametrize("name", ["cards.csv", "cards.csv.gz"])
def test_bad_rows_are_named_by_line_and_the_others_go_on(
    tmp_path: Path, mapping: RecordMapping, name: str
) -> None:
    items = read(write(tmp_path, name, HEADER + ROWS), mapping)
    rejected = [item for item in items if isinstance(item, RejectedRow)]
    assert lines(items, Record) == [2, 10]
    assert lines(items, RejectedRow) == [3, 4, 5, 6, 7, 8, 9]
    assert {item.reason for item in rejected} == {"BAD_RECORD"}
    assert [item.message for item in rejected[:2]] == [
        "column AMOUNT is not a whole number",
        "column STATE has a value that is not in the table",
    ]
    assert "secret" not in repr(rejected)
    last = items[-1]
    assert isinstance(last, Record)
    assert last.values == {"amount": None, "state": None}
    assert last.as_of == dt.date(2025, 12, 1)


@pytest.mark.parametrize("name", ["cards.jsonl", "cards.ndjson", "cards.jsonl.gz"])
def test_json_lines_give_the_records_that_csv_gives(
    tmp_path: Path, mapping: RecordMapping, name: str
) -> None:
    text = HEADER + "1,2025-12-01,500,1\n2,2025-12-01,,\n"
    rows = list(csv.DictReader(io.StringIO(text)))
    typed = [{**rows[0], "AMOUNT": 500, "ID": 1, "STATE": 1}, {**rows[1], "AMOUNT": None}]
    as_csv = read(write(tmp_path, "cards.csv", text), mapping)
    for lot in (rows, typed):
        data = "".join(json.dumps(row) + "\n" for row in lot)
        found = read(write(tmp_path, name, data), mapping)
        assert lines(found, Record) == [1, 2]
        bases = [[r.basis("a/1") for r in x if isinstance(r, Record)] for x in (found, as_csv)]
        assert bases[0] == bases[1]


def test_bad_json_lines_are_named_and_the_others_go_on(
    tmp_path: Path, mapping: RecordMapping
) -> None:
    good = json.dumps({"ID": "1", "DAY": "2025-12-01", "AMOUNT": 5, "STATE": 1})
    bad = [
        "{secret",
        '["secret"]',
        '"secret"',
        "",
        "[" * 100_000,
        good.replace("5,", "5.5,"),
        good.replace("5,", "true,"),
        good.replace("5,", '["secret"],'),
        good.replace("5,", '{"secret": 1},'),
        good.replace("5,", "1" * 5000 + ","),
        good.replace('"AMOUNT"', '"amount"'),
    ]
    items = read(write(tmp_path, "cards.jsonl", "\n".join([good, *bad, good])), mapping)
    assert lines(items, Record) == [1, len(bad) + 2]
    assert lines(items, RejectedRow) == list(range(2, len(bad) + 2))
    assert "secret" not in repr(items)


def test_a_boolean_in_json_is_no_number(tmp_path: Path, mapping: RecordMapping) -> None:
    row = {"ID": "1", "DAY": "2025-12-01", "AMOUNT": True, "STATE": ""}
    (item,) = read(write(tmp_path, "cards.jsonl", json.dumps(row)), mapping)
    assert isinstance(item, RejectedRow)


def test_a_member_given_twice_in_json_is_a_bad_row(tmp_path: Path, mapping: RecordMapping) -> None:
    text = '{"ID": "1", "DAY": "2025-12-01", "AMOUNT": 5, "STATE": 1, "AMOUNT": 50}\n'
    (item,) = read(write(tmp_path, "cards.jsonl", text), mapping)
    assert isinstance(item, RejectedRow)
    assert item.line == 1


BAD_HEADERS = ["", "\n", "ID,AMOUNT,ID\n1,2,3\n", "ID,,\n1,2,3\n"]


@pytest.mark.parametrize("text", BAD_HEADERS)
def test_no_header_or_a_column_twice_is_a_bad_file(tmp_path: Path, text: str) -> None:
    with pytest.raises(Malformed) as caught:
        list(read_rows(write(tmp_path, "cards.csv", text)))
    assert caught.value.reason == "BAD_FILE"


@pytest.mark.parametrize("name", ["cards.csv", "cards.csv.gz"])
def test_a_row_that_is_not_utf8_is_rejected_alone(
    tmp_path: Path, mapping: RecordMapping, name: str
) -> None:
    rows = [b"1,2025-12-01,500,1", "2,2025-12-01,银行,1".encode("gbk"), b"3,2025-12-01,700,1"]
    items = read(write(tmp_path, name, HEADER.encode() + b"\n".join(rows)), mapping)
    assert (lines(items, Record), lines(items, RejectedRow)) == ([2, 4], [3])


@pytest.mark.parametrize("bad", [b"\xff", b"\\ud800"])
def test_json_text_that_is_not_unicode_is_rejected_alone(
    tmp_path: Path, mapping: RecordMapping, bad: bytes
) -> None:
    row = b'{"ID": "1%s", "DAY": "2025-12-01", "AMOUNT": 5, "STATE": 1}\n'
    items = read(write(tmp_path, "cards.jsonl", row % b"" + row % bad + row % b"2"), mapping)
    assert (lines(items, Record), lines(items, RejectedRow)) == ([1, 3], [2])


@pytest.mark.parametrize(("number", "amount"), [("500000.0", 500_000), ("5e5", 500_000)])
def test_a_json_number_is_read_as_the_cell_of_a_csv_file_is(
    tmp_path: Path, mapping: RecordMapping, number: str, amount: int
) -> None:
    text = f'{{"ID": 1, "DAY": "2025-12-01", "AMOUNT": {number}, "STATE": 1}}'
    (item,) = read(write(tmp_path, "cards.jsonl", text), mapping)
    assert isinstance(item, Record)
    assert item.values["amount"] == amount


def test_broken_quotes_stop_the_reading_so_that_no_cell_becomes_a_row(
    tmp_path: Path, mapping: RecordMapping
) -> None:
    forged = '1,2025-12-01,500,"note"x\n666,2025-12-01,1,1\n'
    rows = read_records(write(tmp_path, "a.csv", HEADER + forged), mapping, day_of_run=DAY)
    with pytest.raises(Malformed, match="line 2 breaks"):
        next(rows)
    assert list(rows) == []


def compressed_but_bent(at: int) -> bytes:
    data = bytearray(gzip.compress((HEADER + ROWS * 500).encode()))
    data[at] ^= 0xFF
    return bytes(data)


BAD_FILES: dict[str, tuple[str, bytes]] = {
    "quotes that do not end": ("a.csv", b'ID,DAY\n"1,2\n'),
    "text after a quote": ("a.csv", b'ID,DAY\n"1"x,2\n'),
    "a header that is not UTF-8": ("a.csv", b"ID,D\xff\n1,2\n"),
    "UTF-16": ("a.csv", "ID,DAY\n1,2\n".encode("utf-16")),
    "many cells in a line without end": ("a.csv", b"ID,DAY\n" + b"1," * LINE_CHARS_MAX + b"\n"),
    "a cell too long": ("a.csv", b"ID,DAY\n" + b"1" * (LINE_CHARS_MAX + 1) + b",2\n"),
    "a JSON line too long": ("a.jsonl", b" " * (LINE_CHARS_MAX + 1)),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_to_its_end_is_a_bad_file(tmp_path: Path, name: str) -> None:
    file, data = BAD_FILES[name]
    with pytest.raises(Malformed) as caught:
        list(read_rows(write(tmp_path, file, data)))
    assert caught.value.reason == "BAD_FILE"


@pytest.mark.parametrize("at", [0, 2, 12, 20, 60, -30, -8, -1])
def test_a_damaged_gzip_file_is_a_bad_file_and_never_a_crash(tmp_path: Path, at: int) -> None:
    path = tmp_path / "cards.csv.gz"
    path.write_bytes(compressed_but_bent(at))
    with pytest.raises(Malformed) as caught:
        list(read_rows(path))
    assert caught.value.reason == "BAD_FILE"


def test_a_cut_gzip_file_and_plain_text_named_gz_are_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "cards.csv.gz"
    for data in (gzip.compress((HEADER + ROWS).encode())[:-9], (HEADER + ROWS).encode()):
        path.write_bytes(data)
        with pytest.raises(Malformed) as caught:
            list(read_rows(path))
        assert caught.value.reason == "BAD_FILE"


def test_a_missing_file_is_a_bad_file(tmp_path: Path) -> None:
    for name in ("none.csv", "none.csv.gz", "none.jsonl"):
        with pytest.raises(Malformed) as caught:
            list(read_rows(tmp_path / name))
        assert caught.value.reason == "BAD_FILE"


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(
    tmp_path: Path, mapping: RecordMapping
) -> None:
    text = HEADER + "1,2025-12-01,500,1\n"
    data = b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode()
    (item,) = read(write(tmp_path, "cards.csv", data), mapping)
    assert isinstance(item, Record)
    assert item.values == {"amount": 500, "state": "ACTIVE"}


def test_a_quoted_line_end_counts_lines_as_an_editor_shows_them(
    tmp_path: Path, mapping: RecordMapping
) -> None:
    text = HEADER + '"a\nb",2025-12-01,500,1\n2,2025-12-01,x,1\n'
    items = read(write(tmp_path, "cards.csv", text), mapping)
    assert [item.line for item in items] == [3, 4]


def test_a_limit_counts_rows_good_and_bad(tmp_path: Path, mapping: RecordMapping) -> None:
    path = write(tmp_path, "cards.csv", HEADER + ROWS)
    assert count_rows(path) == 9
    for limit in (0, 1, 3, 9, 99):
        items = list(read_records(path, mapping, day_of_run=DAY, limit=limit))
        assert len(items) == min(limit, 9)


CELL = st.text(
    st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=("Cs",)), max_size=8
)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(CELL, CELL, CELL), max_size=8))
def test_what_csv_writes_is_read_back(tmp_path: Path, rows: list[tuple[str, str, str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("A", "B", "C"), *rows])
    found = list(read_rows(write(tmp_path, "cards.csv", out.getvalue())))
    assert [tuple(item[1].values()) for item in found if isinstance(item, tuple)] == rows
