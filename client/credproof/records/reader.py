"""Reading a provider's records: CSV or JSON lines, plain or gzipped, row by row.

A row is rejected alone where it is certain at which byte the next one begins. Where that is
lost (broken quotes, an endless line, damaged compression) reading stops: the text of a cell
must never be taken for a row.
"""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from credproof.base.errors import Malformed
from credproof.records.mapping import Record, RecordMapping, Row

LINE_CHARS_MAX = 1_000_000
"""One line of a file of records, in characters."""


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that could not be used: where, and why. It never holds the row's content."""

    line: int
    reason: str
    message: str


def read_records(
    path: Path, mapping: RecordMapping, *, day_of_run: dt.date, limit: int | None = None
) -> Iterator[Record | RejectedRow]:
    """The records of the first `limit` rows (all, if None), mapped; bad rows do not stop it.

    Raises:
        Malformed: `BAD_FILE` when the file as a whole cannot be read.
    """
    for count, item in enumerate(read_rows(path)):
        if limit is not None and count >= limit:
            return
        yield item if isinstance(item, RejectedRow) else _map(mapping, *item, day_of_run)


def _map(mapping: RecordMapping, line: int, row: Row, day: dt.date) -> Record | RejectedRow:
    try:
        return mapping.apply(line, row, day_of_run=day)
    except Malformed as error:
        return RejectedRow(line, error.reason, error.message)


def read_rows(path: Path) -> Iterator[tuple[int, Row] | RejectedRow]:
    """The rows of a file with their line numbers; flat in memory.

    Names ending in `.jsonl` or `.ndjson` (`.gz`) are JSON lines, all others CSV with a header.

    Raises:
        Malformed: `BAD_FILE`.
    """
    is_json = path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson"))
    try:
        with _open(path) as file:
            yield from _json_rows(file) if is_json else _csv_rows(file)
    except (OSError, EOFError, zlib.error) as error:
        raise Malformed("BAD_FILE", "the file of records cannot be read to its end") from error


def count_rows(path: Path) -> int:
    """How many rows the file has, for a progress bar."""
    return sum(1 for _ in read_rows(path))


def _open(path: Path) -> IO[str]:
    """The file as text; bytes that are not UTF-8 become lone surrogates, which no row may hold."""
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return path.open("r", encoding="utf-8-sig", errors="surrogateescape", newline="")


def _lines(file: IO[str]) -> Iterator[str]:
    number = 0
    while line := file.readline(LINE_CHARS_MAX + 1):
        number += 1
        if len(line) > LINE_CHARS_MAX:
            raise Malformed("BAD_FILE", f"line {number} is too long")
        yield line


def _csv_rows(file: IO[str]) -> Iterator[tuple[int, Row] | RejectedRow]:
    csv.field_size_limit(LINE_CHARS_MAX)
    reader = csv.reader(_lines(file), strict=True)
    try:
        header = next(reader, None)
        if not header or len(set(header)) != len(header) or not _is_text(header):
            raise Malformed("BAD_FILE", "the file has no header in UTF-8, or a column twice")
        for cells in reader:
            yield _csv_row(reader.line_num, header, cells)
    except csv.Error as error:
        raise Malformed("BAD_FILE", f"line {reader.line_num} breaks the rules of CSV") from error


def _csv_row(number: int, header: list[str], cells: list[str]) -> tuple[int, Row] | RejectedRow:
    if len(cells) != len(header):
        message = f"row has {len(cells)} cells, the header {len(header)}"
        return RejectedRow(number, "BAD_RECORD", message)
    if not _is_text(cells):
        return RejectedRow(number, "BAD_RECORD", "row is not UTF-8")
    return number, dict(zip(header, cells, strict=True))


def _is_text(cells: Iterable[str]) -> bool:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _json_rows(file: IO[str]) -> Iterator[tuple[int, Row] | RejectedRow]:
    for number, line in enumerate(_lines(file), 1):
        yield _json_row(number, line)


def _json_row(number: int, line: str) -> tuple[int, Row] | RejectedRow:
    """Numbers stay as they were written: the mapping reads a cell, not JSON."""
    try:
        value = json.loads(line, object_pairs_hook=_once, parse_float=str, parse_int=str)
    except (ValueError, RecursionError):
        return RejectedRow(number, "BAD_RECORD", "line is not JSON, or has a member twice")
    if not isinstance(value, dict):
        return RejectedRow(number, "BAD_RECORD", "line is not a JSON object")
    cells = {name: _cell(cell) for name, cell in value.items()}
    row = {name: cell for name, cell in cells.items() if cell is not None}
    if not _is_text([*row, *row.values()]):
        return RejectedRow(number, "BAD_RECORD", "row is not UTF-8")
    return number, row


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member twice")
    return members


def _cell(value: object) -> str | None:
    """A JSON value as the text that a CSV cell would have; null is an empty cell, a list none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else None
