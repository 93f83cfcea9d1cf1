"""What a lender asks: one question about one borrower, and files of many.

The columns of such a file: `subject` (the borrower's id), `consent` (the path of a consent file,
from the file's own folder, or the consent itself), and if wanted `case`, `staff` and `name`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from credproof.attestation.pseudonym import parse_subject_id
from credproof.base.encoding import tagged_hash
from credproof.base.errors import Malformed
from credproof.base.limits import REFERENCE_CHARS_MAX, TOKEN_BYTES_MAX, at_most
from credproof.records.mapping import Row
from credproof.records.reader import RejectedRow, read_rows

NEEDED: Final = frozenset({"subject", "consent"})
WANTED: Final = frozenset({"case", "staff", "name"})
NAME_CHARS_MAX: Final = 64
"""The name of a question, in characters."""
KEY_HEX: Final = 32
"""So many hexadecimal digits of its key name a question that has no name."""

_TOKEN: Final = re.compile(r"eyJ[A-Za-z0-9_-]*\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_NAME: Final = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9._-]{{0,{NAME_CHARS_MAX - 1}}}\Z")


@dataclass(frozen=True, slots=True)
class Ask:
    """A policy's questions about one borrower. Its repr hides the borrower and the references."""

    subject: str = field(repr=False)
    policy_id: str
    consent: str = field(repr=False)
    case: str = field(default="", repr=False)
    staff: str = field(default="", repr=False)

    @property
    def key(self) -> bytes:
        """32 bytes that are the same for the same question only; they tell nothing about it,
        since a consent holds what nobody can guess."""
        parts = (self.policy_id, self.subject, self.consent, self.case, self.staff)
        return tagged_hash("ask-row", *(part.encode() for part in parts))


@dataclass(frozen=True, slots=True)
class AskRow:
    """A question out of a file, and the name that its answer is to be kept under."""

    line: int
    name: str
    ask: Ask


def read_asks(path: Path, *, policy_id: str) -> Iterator[AskRow | RejectedRow]:
    """The questions of a file, row by row; bad rows do not stop it.

    Raises:
        Malformed: `BAD_FILE` when the file as a whole cannot be read.
    """
    for item in read_rows(path):
        if isinstance(item, RejectedRow):
            yield item
            continue
        line, row = item
        try:
            yield _parse(line, row, path.parent, policy_id)
        except Malformed as error:
            yield RejectedRow(line, error.reason, error.message)


def _parse(line: int, row: Row, folder: Path, policy_id: str) -> AskRow:
    if not NEEDED <= set(row) <= NEEDED | WANTED:
        raise Malformed("BAD_RECORD", "columns are subject, consent; case, staff, name if wanted")
    references = {name: row.get(name, "") for name in ("case", "staff")}
    for name, text in references.items():
        at_most(len(text), REFERENCE_CHARS_MAX, name)
    parse_subject_id(row["subject"])
    consent = _consent(row["consent"], folder)
    ask = Ask(row["subject"], policy_id, consent, **references)
    name = row.get("name") or ask.key.hex()[:KEY_HEX]
    if not _NAME.match(name):
        raise Malformed("BAD_NAME", "name has other characters than letters, digits, dot, - and _")
    return AskRow(line, name, ask)


def _consent(cell: str, folder: Path) -> str:
    if _TOKEN.match(cell):
        return cell
    try:
        with (folder / cell).open("rb") as file:
            data = file.read(TOKEN_BYTES_MAX + 1)
        at_most(len(data), TOKEN_BYTES_MAX, "consent")
        return data.decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise Malformed("NO_CONSENT", "the consent cannot be read") from error
