"""Mapping files: from the columns of a provider's records to the claims of a schema.

A closed set of operations, no expressions: what a mapping does can be read at a glance.

    {column: X}                                a whole number
    {constant: 5}                              an integer, text or boolean
    {scale: {of: …, by: 100}}                  of × by
    {at_least_zero: …}                         max(0, …)
    {max_of: [… , …]}                          the largest
    {count_at_least: {of: [… , …], threshold: 1}}   how many reach the threshold
    {ratio_bp: {of: …, over: …}}               floor(10000 × of / over); unknown when over <= 0
    {date: {column: X, format: "%Y-%m-%d"}}    a date; %H, %M and %S are read and left out
    {enum: {column: X, values: {"1": ACTIVE}}} a text out of a table

An empty cell is unknown, and so is all that is computed from it: unknown is not zero.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from credproof.attestation.schema import Value
from credproof.base.encoding import canonical_json, tagged_hash
from credproof.base.errors import LimitExceeded, Malformed
from credproof.base.limits import ACCOUNT_CHARS_MAX, INTEGER_MAX, SCHEMA_CLAIMS_MAX
from credproof.base.members import Members
from credproof.base.yaml import parse_yaml

DEPTH_MAX = 8
"""How deep operations may be nested."""
OPERANDS_MAX = 64
"""Operands of one `max_of` or `count_at_least`."""

_ACCOUNT = re.compile(rf"[!-~]{{1,{ACCOUNT_CHARS_MAX}}}\Z")
_NUMBER = re.compile(r"[+-]?[0-9]{1,16}(\.[0-9]{1,16})?([eE][+-]?[0-9]{1,2})?\Z")
Row: TypeAlias = Mapping[str, str]
Node: TypeAlias = Callable[[Row], Any]


@dataclass(frozen=True, slots=True)
class Record:
    """One record, mapped: whose (`scheme:value`), which account, of which day, what.

    Raises:
        Malformed: `BAD_RECORD` for an account's name that no package can hold: the service
            refuses a whole question for one, so it must cost one row only.
    """

    line: int
    subject: str
    account: str
    as_of: dt.date
    currency: str | None
    values: Mapping[str, Value]

    def __post_init__(self) -> None:
        if not _ACCOUNT.match(self.account):
            message = f"an account's name has 1 to {ACCOUNT_CHARS_MAX} printable ASCII characters"
            raise Malformed("BAD_RECORD", f"{message} and no space")

    def basis(self, schema_id: str) -> bytes:
        """The digest of the record, 32 bytes: the same record makes the same attestation."""
        return tagged_hash(
            "basis",
            schema_id.encode(),
            self.subject.encode(),
            self.account.encode(),
            self.as_of.isoformat().encode(),
            (self.currency or "").encode(),
            canonical_json(self.values),
        )


@dataclass(frozen=True, slots=True)
class _Text:
    """A prefix and a column."""

    prefix: str
    column: str

    def of(self, row: Row) -> str:
        value = _cell(row, self.column)
        if not value:
            raise Malformed("BAD_RECORD", f"column {self.column} is empty")
        return self.prefix + value


@dataclass(frozen=True, slots=True)
class RecordMapping:
    """A parsed mapping file."""

    schema_id: str
    scheme: str
    subject: _Text
    account: _Text
    currency: str | None
    as_of: Node | None
    claims: Mapping[str, Node]

    def apply(self, line: int, row: Row, *, day_of_run: dt.date) -> Record:
        """Map one row.

        Raises:
            Malformed: `BAD_RECORD`, never holding a cell.
        """
        day = day_of_run.isoformat() if self.as_of is None else self.as_of(row)
        if day is None:
            raise Malformed("BAD_RECORD", "the day of the record is empty")
        return Record(
            line=line,
            subject=f"{self.scheme}:{self.subject.of(row)}",
            account=self.account.of(row),
            as_of=dt.date.fromisoformat(day),
            currency=self.currency,
            values={name: node(row) for name, node in self.claims.items()},
        )


def parse_mapping(data: bytes) -> RecordMapping:
    """The mapping in a YAML file.

    Raises:
        Malformed: `BAD_MAPPING` naming the place in the file, or as `parse_yaml`.
    """
    try:
        return _parse(Members(parse_yaml(data), "mapping"))
    except LimitExceeded:
        raise
    except Malformed as error:
        raise Malformed("BAD_MAPPING", error.message) from error


def _parse(top: Members) -> RecordMapping:
    if top.take("mapping", int) != 1:
        raise _bad("mapping", "must be 1")
    subject = Members(top.take("subject", dict), "subject")
    account = Members(top.take("account", dict), "account")
    claims = top.take("claims", dict)
    if not 0 < len(claims) <= SCHEMA_CLAIMS_MAX:
        raise _bad("claims", f"must be 1 to {SCHEMA_CLAIMS_MAX}")
    mapping = RecordMapping(
        schema_id=top.take("schema", str),
        scheme=subject.take("scheme", str),
        subject=_Text(subject.optional("prefix", str) or "", subject.take("column", str)),
        account=_Text(account.optional("prefix", str) or "", account.take("column", str)),
        currency=top.nullable("currency", str),
        as_of=_parse_as_of(top),
        claims={name: _node(item, f"claims.{name}", 0) for name, item in claims.items()},
    )
    for members in (top, subject, account):
        members.finish()
    return mapping


def _parse_as_of(top: Members) -> Node | None:
    """None for the day of the run."""
    value = top.take_any("as_of")
    return None if value == "day-of-run" else _date(value, "as_of", 0)


def _node(value: Any, place: str, depth: int) -> Node:
    if not isinstance(value, dict) or len(value) != 1:
        raise _bad(place, "is not one operation")
    ((name, operand),) = value.items()
    if name not in _OPERATIONS or depth > DEPTH_MAX:
        raise _bad(place, "has an unknown operation, or is nested too deeply")
    return _OPERATIONS[name](operand, f"{place}.{name}", depth + 1)


def _column(value: Any, place: str, _depth: int) -> Node:
    name = _text(value, place)

    def node(row: Row) -> int | None:
        cell = _cell(row, name).strip()
        if not cell:
            return None
        return _in_range(_whole(cell, name), name)

    return node


def _constant(value: Any, place: str, _depth: int) -> Node:
    if not isinstance(value, int | str | bool):
        raise _bad(place, "is not an integer, text or boolean")
    if isinstance(value, int):
        _safe(value, place)
    return lambda _row: value


def _scale(value: Any, place: str, depth: int) -> Node:
    members = Members(value, place)
    of = _node(members.take("of", dict), f"{place}.of", depth)
    by = _safe(members.take("by", int), f"{place}.by")
    members.finish()
    return _unless_unknown([of], lambda values: _in_range(values[0] * by, place))


def _at_least_zero(value: Any, place: str, depth: int) -> Node:
    return _unless_unknown([_node(value, place, depth)], lambda values: max(0, values[0]))


def _max_of(value: Any, place: str, depth: int) -> Node:
    return _unless_unknown(_nodes(value, place, depth), max)


def _count_at_least(value: Any, place: str, depth: int) -> Node:
    members = Members(value, place)
    nodes = _nodes(members.take("of", list), f"{place}.of", depth)
    threshold = _safe(members.take("threshold", int), f"{place}.threshold")
    members.finish()
    return _unless_unknown(nodes, lambda values: sum(item >= threshold for item in values))


def _ratio_bp(value: Any, place: str, depth: int) -> Node:
    members = Members(value, place)
    nodes = [_node(members.take(name, dict), f"{place}.{name}", depth) for name in ("of", "over")]
    members.finish()

    def ratio(values: Sequence[int]) -> int | None:
        of, over = values
        return _in_range(10_000 * of // over, place) if over > 0 else None

    return _unless_unknown(nodes, ratio)


def _date(value: Any, place: str, _depth: int) -> Node:
    members = Members(value, place)
    name, pattern = members.take("column", str), members.take("format", str)
    members.finish()
    _check_date_format(pattern, f"{place}.format")

    def node(row: Row) -> str | None:
        cell = _cell(row, name).strip()
        if not cell:
            return None
        try:
            return dt.datetime.strptime(cell, pattern).date().isoformat()  # noqa: DTZ007 - a day
        except ValueError as error:
            raise Malformed("BAD_RECORD", f"column {name} is not a date") from error

    return node


def _check_date_format(pattern: str, place: str) -> None:
    """`strptime` makes up the parts that a format leaves out: 1900, January, the 1st."""
    parts = re.findall("%(.?)", pattern, re.DOTALL)
    once = len(set(parts)) == len(parts)
    if not (once and set("Ymd") <= set(parts) <= set("YmdHMS")):
        raise _bad(place, "must name %Y, %m and %d once each, and %H, %M, %S at most once")


def _enum(value: Any, place: str, _depth: int) -> Node:
    members = Members(value, place)
    name, table = members.take("column", str), members.take("values", dict)
    members.finish()
    if not table or not all(isinstance(text, str) for text in table.values()):
        raise _bad(f"{place}.values", "is not a table of texts")
    if any(not cell or cell != cell.strip() for cell in table):
        raise _bad(f"{place}.values", "has a key that no cell equals: cells are stripped")

    def node(row: Row) -> str | None:
        cell = _cell(row, name).strip()
        if cell and cell not in table:
            raise Malformed("BAD_RECORD", f"column {name} has a value that is not in the table")
        return table[cell] if cell else None

    return node


_OPERATIONS: Mapping[str, Callable[[Any, str, int], Node]] = {
    "column": _column,
    "constant": _constant,
    "scale": _scale,
    "at_least_zero": _at_least_zero,
    "max_of": _max_of,
    "count_at_least": _count_at_least,
    "ratio_bp": _ratio_bp,
    "date": _date,
    "enum": _enum,
}


def _nodes(value: Any, place: str, depth: int) -> list[Node]:
    if not isinstance(value, list) or not 0 < len(value) <= OPERANDS_MAX:
        raise _bad(place, f"is not a list of 1 to {OPERANDS_MAX} operations")
    return [_node(item, f"{place}[{i}]", depth) for i, item in enumerate(value)]


def _unless_unknown(nodes: Sequence[Node], compute: Callable[[Sequence[int]], Any]) -> Node:
    def node(row: Row) -> Any:
        values = [operand(row) for operand in nodes]
        if None in values:
            return None
        if not all(type(value) is int for value in values):
            raise Malformed("BAD_RECORD", "an operation on numbers met something else")
        return compute(values)

    return node


def _whole(cell: str, name: str) -> int:
    """A whole number; spreadsheets write 500000 as 5.00E+05, which is the same number."""
    number = Decimal(cell) if _NUMBER.match(cell) else None
    if number is None or number != number.to_integral_value():
        raise Malformed("BAD_RECORD", f"column {name} is not a whole number")
    return int(number)


def _cell(row: Row, name: str) -> str:
    try:
        return row[name]
    except KeyError as error:
        raise Malformed("BAD_RECORD", f"there is no column {name}") from error


def _in_range(value: int, what: str) -> int:
    if abs(value) > INTEGER_MAX:
        raise Malformed("BAD_RECORD", f"{what} is out of range")
    return value


def _safe(value: int, place: str) -> int:
    """A number of the mapping itself, small enough for every JSON reader."""
    if abs(value) > INTEGER_MAX:
        raise _bad(place, "is out of range")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise _bad(place, "is not the name of a column")
    return value


def _bad(place: str, what: str) -> Malformed:
    return Malformed("BAD_MAPPING", f"{place} {what}")
