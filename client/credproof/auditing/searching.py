"""Searching the verified log, in the auditor's index alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from credproof.auditing.index import Index
from credproof.base.encoding import parse_b64url
from credproof.base.errors import Malformed

COLUMNS: Final = (
    "log_index",
    "time",
    "kind",
    "actor",
    "object",
    "policy",
    "purpose",
    "outcome",
    "reason",
    "consent",
)
"""What is shown of an entry: `object` and `consent` in hexadecimal."""


@dataclass(frozen=True, slots=True)
class Query:
    """What must hold of an entry; what is None does not matter.

    `since` and `until` are whole seconds, the second one is not included. `case` and `staff` are
    digests, `consent` an id, all in base64url; `object` is in hexadecimal. `indexes`, when given,
    are the only entries looked at. `after` is the log index of the last entry seen before. Without
    `limit` all entries are found.
    """

    since: int | None = None
    until: int | None = None
    kind: str | None = None
    actor: str | None = None
    object: str | None = None
    policy: str | None = None
    purpose: str | None = None
    outcome: str | None = None
    reason: str | None = None
    consent: str | None = None
    case: str | None = None
    staff: str | None = None
    indexes: frozenset[int] | None = None
    after: int = -1
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that was found. `line` is the entry itself."""

    values: tuple[object, ...]
    line: bytes

    @property
    def log_index(self) -> int:
        index = self.values[0]
        assert isinstance(index, int)
        return index


_EQUAL: Final = {
    "kind": "kind",
    "actor": "actor",
    "object": "object",
    "policy": "policy",
    "purpose": "purpose",
    "outcome": "outcome",
    "reason": "reason",
    "consent": "consent",
    "case": "case_digest",
    "staff": "staff_digest",
}
"""Members of a query, and the columns that must be equal to them."""
_NO_LIMIT: Final = -1
"""How SQLite spells it."""


def search(index: Index, query: Query) -> Iterator[Found]:
    """The entries that a query asks for, in the order of the log, one by one."""
    terms = ["log_index > :after"]
    values = {"after": query.after, "limit": _NO_LIMIT if query.limit is None else query.limit}
    if query.since is not None:
        terms.append("time >= :since")
    if query.until is not None:
        terms.append("time < :until")
    given = {name: getattr(query, name) for name in ("since", "until", *_EQUAL)}
    terms += [f"{_EQUAL[name]} = :{name}" for name in _EQUAL if given[name] is not None]
    if query.indexes is not None:
        listed = ", ".join(str(int(i)) for i in sorted(query.indexes))
        terms.append(f"log_index IN ({listed})")
    select = f"SELECT {', '.join(COLUMNS)}, line FROM entries WHERE {' AND '.join(terms)}"  # noqa: S608
    rows = index.stream(f"{select} ORDER BY log_index LIMIT :limit", given | values)
    return (Found((*row[:-2], _hexadecimal(row[-2])), index.blob(row[-1])) for row in rows)


def _hexadecimal(text: str | None) -> str | None:
    """A consent's id as it is asked for; what an entry has in its place stays as it is."""
    try:
        return None if text is None else parse_b64url(text).hex()
    except Malformed:
        return text
