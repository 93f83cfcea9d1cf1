"""The auditor's index: a SQLite file made of the verified log alone, to search in.

It holds every entry's line, what the rules between entries remember, and what they found. One
transaction takes a page in whole; whoever is interrupted goes on after the last page. It can be
deleted at any time: the next audit reads the log anew, and tells again what it tells once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from credproof.auditing.database import Database
from credproof.base.encoding import canonical_json, parse_own_json
from credproof.base.errors import DataLoss
from credproof.base.limits import CLOCK_SKEW_S
from credproof.log.audit import AuditState, parse_state
from credproof.log.entry import Entry, parse_entry
from credproof.verification.log_rules import TIME_IN_FUTURE, Finding
from credproof.verification.rule_state import Thing

T = TypeVar("T")
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS entries (
    log_index INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    object TEXT NOT NULL,
    policy TEXT,
    purpose TEXT,
    outcome TEXT,
    reason TEXT,
    consent TEXT,
    case_digest TEXT,
    staff_digest TEXT,
    line BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS entries_by_time ON entries (time);
CREATE INDEX IF NOT EXISTS entries_by_kind ON entries (kind, time);
CREATE INDEX IF NOT EXISTS entries_by_actor ON entries (actor, time);
CREATE INDEX IF NOT EXISTS entries_by_object ON entries (object);
CREATE INDEX IF NOT EXISTS entries_by_consent ON entries (consent) WHERE consent IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_by_case ON entries (case_digest) WHERE case_digest IS NOT NULL;
CREATE INDEX IF NOT EXISTS entries_by_staff
    ON entries (staff_digest) WHERE staff_digest IS NOT NULL;
CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS findings (
    log_index INTEGER NOT NULL,
    rule TEXT NOT NULL,
    message TEXT NOT NULL,
    shown_by BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS marks (
    log_index INTEGER NOT NULL,
    rule TEXT NOT NULL,
    mark TEXT NOT NULL,
    PRIMARY KEY (log_index, rule, mark)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS state (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""
_ADD: Final = "INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INDEX_NAME: Final = "audit.db"
"""Its name in an auditor's home."""
TOLD: Final = "told"
"""The mark of a finding that somebody was told of."""
FILED: Final = "filed"
"""The mark of a finding that has its files."""
_CHECK_BYTES: Final = 16
_VARIABLES: Final = 500
"""How many names are looked up at once; SQLite allows at least 999."""


class Index(Database):
    """The index in a file; also the memory of the rules between entries."""

    def __init__(self, path: Path) -> None:
        """Open it, or begin one.

        Raises:
            DataLoss: `INDEX_DAMAGED`.
        """
        super().__init__(path, _SCHEMA)

    def damaged(self) -> DataLoss:
        """It may be deleted, but says what was signed where the service does not."""
        message = f"{self.path.name} is damaged: move it away, it may still show what was signed"
        return DataLoss("INDEX_DAMAGED", message)

    # -- how far it goes

    @property
    def state(self) -> AuditState:
        """Where the log stood after the last page that was taken in."""
        return self._value("audit", parse_state) or AuditState()

    @property
    def trust_version(self) -> int:
        """The version of the registry in force there; 0 at the beginning of a log."""
        version = self._value("trust", int)
        if version is None and self._value("audit", parse_state) is not None:
            raise self.damaged()
        return version or 0

    @property
    def until(self) -> int | None:
        """The latest time of an entry that was not in the future when it was read."""
        return self._value("until", int)

    @property
    def reread(self) -> int:
        """The entry from which on the service is compared with it the next time."""
        return self._value("reread", int) or 0

    @property
    def differing(self) -> list[int]:
        """The entries that the service gave otherwise the last time."""
        return self._value("differing", parse_own_json) or []

    def mark_reread(self, log_index: int, differing: Sequence[int] = ()) -> None:
        """Compare from this entry on the next time, and those that differed now."""
        self._put("reread", b"%d" % log_index)
        self._put("differing", canonical_json(list(differing)))

    def _value(self, name: str, parse: Callable[[bytes], T]) -> T | None:
        """What stands in the state; a flipped bit of it would be held against the operator."""
        row = self._database.execute("SELECT value FROM state WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        value = self.blob(row[0])[_CHECK_BYTES:]
        if row[0] != _checked(name, value):
            raise self.damaged()
        return self.own(value, parse)

    def _put(self, name: str, value: bytes) -> None:
        row = (name, _checked(name, value))
        self._database.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", row)

    def add(
        self,
        lines: Sequence[bytes],
        entries: Sequence[Entry],
        findings: Sequence[Finding],
        state: AuditState,
        trust_version: int,
        now: int,
    ) -> None:
        """Take in a page read at `now`, what is wrong with it, and where the log is after it."""
        rows = [_row(line, entry) for line, entry in zip(lines, entries, strict=True)]
        self._database.executemany(_ADD, rows)
        self._database.executemany(
            "INSERT INTO findings (log_index, rule, message, shown_by) VALUES (?, ?, ?, ?)",
            [(f.log_index, f.rule, f.message, canonical_json(list(f.shown_by))) for f in findings],
        )
        self._put("audit", state.to_bytes())
        self._put("trust", b"%d" % trust_version)
        past = [entry.time for entry in entries if entry.time <= now + CLOCK_SKEW_S]
        if past:
            self._put("until", b"%d" % max(past))

    # -- what the rules remember

    def load(self, names: Collection[str]) -> Mapping[str, Thing]:
        """Those of these things that are known."""
        left = list(names)
        found: dict[str, object] = {}
        while left:
            some, left = left[:_VARIABLES], left[_VARIABLES:]
            marks = ", ".join("?" * len(some))
            query = f"SELECT name, value FROM things WHERE name IN ({marks})"  # noqa: S608
            found.update(self._database.execute(query, some).fetchall())
        return {name: self.own(value, parse_own_json) for name, value in found.items()}

    def keep(self, things: Mapping[str, Thing]) -> None:
        """Remember these things in place of what was known of them."""
        rows = [(name, canonical_json(thing)) for name, thing in things.items()]
        self._database.executemany("INSERT OR REPLACE INTO things VALUES (?, ?)", rows)

    # -- what was found

    def findings(self, *, without: Sequence[str] = ()) -> list[Finding]:
        """What is wrong between entries, in the order of the log; or only what lacks a mark."""
        query = (
            "SELECT rule, log_index, message, shown_by FROM findings AS f WHERE ? = 0 OR ? >"
            " (SELECT count(*) FROM marks AS m WHERE m.log_index = f.log_index AND m.rule = f.rule"
            " AND m.mark IN (SELECT value FROM json_each(?))) ORDER BY log_index, rowid"
        )
        values = (len(without), len(without), canonical_json(list(without)).decode())
        rows = self._database.execute(query, values).fetchall()
        parse = parse_own_json
        return [Finding(a, b, c, tuple(self.own(shown, parse))) for a, b, c, shown in rows]

    def note(self, findings: Iterable[Finding]) -> None:
        """Add what was found in another way; what is known already is not told again."""
        query = (
            "INSERT INTO findings (log_index, rule, message, shown_by) SELECT ?, ?, ?, ?"
            " WHERE NOT EXISTS (SELECT 1 FROM findings WHERE log_index = ? AND rule = ?)"
        )
        for f in findings:
            row = (f.log_index, f.rule, f.message, canonical_json(list(f.shown_by)))
            self._database.execute(query, (*row, f.log_index, f.rule))

    def mark(self, findings: Iterable[Finding], mark: str) -> None:
        """These were told, or have their files."""
        rows = [(found.log_index, found.rule, mark) for found in findings]
        self._database.executemany("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", rows)

    def take_over(self, other: Index) -> None:
        """What reading again does not tell of the same entries, out of an index that read before.

        That is what was marked, and which entries were in the future when they were read.
        """
        found = [f for f in other.findings() if f.rule == TIME_IN_FUTURE]
        self.note(f for f in found if self._has_of(other, f.log_index))
        rows = other.select("SELECT log_index, rule, mark FROM marks", {})
        same = [row for row in rows if self._has_of(other, row[0])]
        self._database.executemany("INSERT OR IGNORE INTO marks VALUES (?, ?, ?)", same)

    def _has_of(self, other: Index, log_index: int) -> bool:
        return self.line(log_index) == other.line(log_index)

    def require_whole(self) -> None:
        """It has the lines up to where it says that it goes, and none after.

        Raises:
            DataLoss: `INDEX_DAMAGED`.
        """
        (last,) = self._database.execute("SELECT max(log_index) FROM entries").fetchone()
        if (-1 if last is None else last) != self.state.position.size - 1:
            raise self.damaged()

    def require_columns(self) -> None:
        """What is searched in says the same as the lines, which were verified.

        Raises:
            DataLoss: `INDEX_DAMAGED`.
        """
        for row in self._database.execute("SELECT * FROM entries"):
            if row != _row(line := self.blob(row[-1]), self.own(line, parse_entry)):
                message = f"{self.path.name} says something else of entry {row[0]} than its line"
                raise DataLoss("INDEX_DAMAGED", message)

    # -- reading

    def line(self, log_index: int) -> bytes | None:
        """An entry's line."""
        query = "SELECT line FROM entries WHERE log_index = ?"
        row = self._database.execute(query, (log_index,)).fetchone()
        return None if row is None else self.blob(row[0])

    @property
    def kinds(self) -> Sequence[str]:
        """The kinds of entries that there are."""
        return [kind for (kind,) in self._database.execute("SELECT DISTINCT kind FROM entries")]

    def time(self, log_index: int) -> int | None:
        """An entry's time, in whole seconds, as its line says it."""
        line = self.line(log_index)
        return None if line is None else self.own(line, parse_entry).time

    def lines(self, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """The lines of the entries start … end - 1, or of all from `start` on, in order."""
        query = "SELECT line FROM entries WHERE log_index >= ? ORDER BY log_index LIMIT ?"
        limit = -1 if end is None else end - start
        return (self.blob(row[0]) for row in self._database.execute(query, (start, limit)))

    def lines_of(self, kinds: Collection[str], before: int | None = None) -> Iterator[bytes]:
        """The lines of the entries of some kinds, in order; only those before an index, if any."""
        query = (
            "SELECT line FROM entries WHERE kind IN (SELECT value FROM json_each(?))"
            " AND log_index < coalesce(?, log_index + 1) ORDER BY log_index"
        )
        values = (canonical_json(sorted(kinds)).decode(), before)
        return (self.blob(row[0]) for row in self._database.execute(query, values))

    def select(self, query: str, values: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """The rows of a query of this room."""
        return list(self.stream(query, values))

    def stream(self, query: str, values: Mapping[str, object]) -> Iterator[tuple[Any, ...]]:
        """The same, row by row: there may be more than memory holds."""
        return iter(self._database.execute(query, values))


def _checked(name: str, value: bytes) -> bytes:
    """A value behind a check of itself."""
    return hashlib.sha256(name.encode() + value).hexdigest()[:_CHECK_BYTES].encode() + value


def _row(line: bytes, entry: Entry) -> tuple[object, ...]:
    fields = entry.fields
    policy = fields.get("policy")
    named = policy.get("id") if isinstance(policy, dict) else None
    texts = (named, *map(fields.get, ("purpose", "outcome", "reason", "consent", "case", "staff")))
    shown = [text if isinstance(text, str) else None for text in texts]
    return (entry.seq, entry.time, entry.kind, entry.actor, entry.object.hex(), *shown, line)
