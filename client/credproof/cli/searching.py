"""`credproof audit search`: entries of the verified log, out of the auditor's index."""

from __future__ import annotations

import csv
import datetime as dt
import sys
from binascii import unhexlify
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from credproof.auditing.index import Index
from credproof.auditing.searching import COLUMNS, Found, Query, search
from credproof.auditing.trusted import open_index
from credproof.auditor import Auditor
from credproof.base.encoding import DAY_S, b64url, parse_b64, parse_b64url, parse_json
from credproof.base.errors import Malformed
from credproof.base.limits import PERSON_ENTRIES_MAX
from credproof.cli.output import (
    HomeOption,
    JsonOption,
    err,
    out,
    plain,
    print_error,
    print_json_list,
)
from credproof.log.continued import ENTRY_CONTINUED, parse_continued
from credproof.log.entry import parse_entry
from credproof.verification.answer import Reference
from credproof.verification.entry_rules import ENTRY_SEARCHED, RULES
from credproof.verification.policy import PURPOSES, OutcomeKind
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.unseal_rules import parse_decided
from credproof.verification.unsealing import (
    ENTRY_APPROVED,
    ENTRY_ASKED,
    ENTRY_DECLINED,
    ENTRY_UNSEALED,
)

TimeOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="2026-11-26 or 2026-11-26T09:30:00Z; UTC if no zone."),
]
UntilOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="As --since, up to then; a date takes its whole day in."),
]
ObjectOption = Annotated[
    str | None,
    typer.Option("--object", metavar="ID", help="An answer's, token's, consent's … id."),
]
ConsentOption = Annotated[
    str | None, typer.Option(metavar="ID", help="A consent's id: answers and refusals under it.")
]
StaffOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="A lender's reference of its staff.")
]
CaseOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Its reference of a case.")]
SaltOption = Annotated[
    str | None, typer.Option(metavar="SALT", help="The reference's salt, from the lender.")
]
PersonOption = Annotated[
    bool,
    typer.Option("--person", help="Of one person, whose id is read from standard input."),
]
WhyOption = Annotated[
    str | None, typer.Option("--why", metavar="TEXT", help="Why you look for a person.")
]
LimitOption = Annotated[
    int | None,
    typer.Option(min=1, help="At most so many; if not given, a table has 100, else all."),
]
Format = Literal["table", "json", "csv"]
_TABLE_ROWS = 100
"""How many entries a person reads at once; machines get all."""
_INPUT_CHARS = 1000
"""How far standard input is looked at for a second line."""
_FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet evaluates begins with one of these; an apostrophe keeps it a text."""
_DIGESTED = (ENTRY_ASKED, ENTRY_SEARCHED)
"""Their reason is a salted digest, which says nothing to who reads a table."""
_BESIDE = {
    ENTRY_CHANGED: ("version",),
    **dict.fromkeys((ENTRY_ASKED, ENTRY_UNSEALED), ("detail", "entry")),
}
_COLUMNS_MIN = 72
"""What entry, time, kind and a word beside them need; a terminal that is narrower folds lines."""
_PIPED_COLUMNS = 200
"""How wide a table is where no terminal ends it: an entry has one line."""


def find(
    home: HomeOption = Path(),
    since: TimeOption = None,
    until: UntilOption = None,
    kind: Annotated[str | None, typer.Option(help="Like answer.given or consent.revoked.")] = None,
    actor: Annotated[str | None, typer.Option(help="A participant's id, or borrower.")] = None,
    policy: Annotated[str | None, typer.Option(help="A policy's id.")] = None,
    purpose: Annotated[str | None, typer.Option(help="Like ORIGINATION.")] = None,
    outcome: Annotated[OutcomeKind | None, typer.Option(help="What an answer came to.")] = None,
    reason: Annotated[str | None, typer.Option(help="Of a refusal or withdrawal.")] = None,
    object_id: ObjectOption = None,
    consent: ConsentOption = None,
    staff: StaffOption = None,
    case: CaseOption = None,
    salt: SaltOption = None,
    person: PersonOption = False,
    why: WhyOption = None,
    after: Annotated[int, typer.Option(min=-1, help="Go on after this log index.")] = -1,
    limit: LimitOption = None,
    shown_as: Annotated[Format, typer.Option("--format", help="How they are shown.")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Find log entries: by time, kind, actor, policy, outcome, reference, object or person.

    Looks at what audit verify or audit follow verified, in audit.db, without the service. A
    lender's references are salted: it gives you text and salt, as lender export prints them of its
    *.answer file. Ids and salts are taken as commands print them: hexadecimal or base64.
    Times are UTC: in a table and in CSV written out (ISO 8601), in JSON whole seconds, as in the
    signed entries. In CSV an apostrophe keeps what begins like a formula a text. Where there is
    more than is shown, the last line says how to go on (of JSON and CSV on stderr).

    --person finds one person's consents and their changes, answers, anomalies about the person, and
    what was unsealed: the newest 10,000. It finds no refusals (--consent finds those under each
    consent), no attestations, no earlier searches. Needs the service, and --why: the id is never
    sent, the search is logged for other auditors, its reason is kept here, in searches.jsonl.

    \b
    Example:
      credproof audit search --kind answer.refused --since 2026-11-01 --actor lend --home audit
      echo ref:alice | credproof audit search --person --why "complaint 17" --home audit
    """
    begin, end = _period(since, until)
    _require_fitting(
        (staff is not None and case is not None, "give --staff or --case: each has its own salt"),
        (as_json and shown_as == "csv", "give --json or --format csv"),
        (salt is not None and staff is case is None, "--salt belongs to --staff or --case"),
        (why is not None and not person, "--why belongs to --person"),
    )
    shown_as = "json" if as_json else shown_as
    most = _TABLE_ROWS if limit is None and shown_as == "table" else limit
    query = Query(
        since=begin,
        until=end,
        kind=kind,
        actor=actor,
        object=None if object_id is None else _bytes(object_id, "--object", 32).hex(),
        policy=policy,
        purpose=purpose,
        outcome=outcome,
        reason=reason,
        consent=None if consent is None else b64url(_bytes(consent, "--consent", 32)),
        case=_digest(case, salt),
        staff=_digest(staff, salt),
        after=after,
        limit=None if most is None else most + 1,
    )
    if person:
        query = _of_person(query, home, why)
    with open_index(home) as index:
        _tell(index, query, most, shown_as)


def _tell(index: Index, query: Query, most: int | None, shown_as: Format) -> None:
    found = _Page(search(index, query), most)
    if found.is_empty:
        _require_known(query, index)
    if found.is_empty and shown_as == "table":
        count = index.state.position.size
        out.print(f"Nothing found in the {count} entries that were verified.")
        return
    _show(found, shown_as, index)
    if found.rest:
        (out if shown_as == "table" else err).print(f"More:  --after {found.last}")
    if query.kind == ENTRY_CHANGED and shown_as == "table":
        out.print("What each of them changed:  credproof audit registry")


class _Page:
    """The first of what is found, at most `most`, one by one."""

    def __init__(self, found: Iterator[Found], most: int | None) -> None:
        first = list(islice(found, 1))
        self.is_empty = not first
        self.last = -1
        self._found = chain(first, found)
        self._most = most

    def __iter__(self) -> Iterator[Found]:
        for item in islice(self._found, self._most):
            self.last = item.log_index
            yield item

    @property
    def rest(self) -> bool:
        """Whether more is found, once all of the page was read."""
        return next(self._found, None) is not None


def _require_known(query: Query, index: Index) -> None:
    """Nothing found of a misspelled kind must not read as: there was none."""
    for name, text, known in (
        ("kind", query.kind, {*RULES, *index.kinds}),
        ("purpose", query.purpose, PURPOSES),
    ):
        if text is not None and text not in known:
            there = ", ".join(sorted(known))
            raise typer.BadParameter(f"no such {name}: {text}; there are {there}")


def _require_fitting(*wrong: tuple[bool, str]) -> None:
    """An option that would be ignored is refused: what is found would not be what was meant."""
    for is_wrong, message in wrong:
        if is_wrong:
            raise typer.BadParameter(message)


def _of_person(query: Query, home: Path, why: str | None) -> Query:
    """The query about one person; what cannot be found is refused before the search is logged."""
    if not why or not why.strip():
        raise typer.BadParameter("looking for a person needs a reason: --why TEXT")
    subject_id = _one_line()
    with Auditor.open(home) as auditor:
        with auditor.index() as index:
            _require_known(query, index)
        indexes = auditor.search_person(subject_id, reason=why)
        for fault in auditor.damage():
            print_error(fault)
        auditor.verify()  # what was found is in the index then, and so is the search itself
    if len(indexes) >= PERSON_ENTRIES_MAX:
        err.print(f"Not all:  of the person only the newest {PERSON_ENTRIES_MAX} entries are told")
    return replace(query, indexes=indexes)


def _one_line() -> str:
    """The only line of standard input: a second id would not be looked for."""
    line = sys.stdin.readline().strip()
    more = "" if sys.stdin.isatty() else sys.stdin.read(_INPUT_CHARS)
    if not line or more.strip():
        raise typer.BadParameter("give one id on standard input, in one line; run it once for each")
    return line


def _period(since: str | None, until: str | None) -> tuple[int | None, int | None]:
    begin, end = _seconds(since), _seconds(until, whole_day=True)
    in_order = begin is None or end is None or begin < end
    _require_fitting((not in_order, "--until is not after --since"))
    return begin, end


def _seconds(text: str | None, *, whole_day: bool = False) -> int | None:
    """A time in seconds; with `whole_day` a mere date is the end of it."""
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text} is no time: write it like 2026-11-26 or 2026-11-26T09:30:00Z"
        raise typer.BadParameter(message) from error
    seconds = int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp())
    return seconds + DAY_S if whole_day and _is_date(text) else seconds


def _is_date(text: str) -> bool:
    try:
        dt.date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _digest(text: str | None, salt: str | None) -> str | None:
    if text is None:
        return None
    if salt is None:
        raise typer.BadParameter("a reference is salted: give its --salt too")
    return b64url(Reference(text, _bytes(salt, "--salt", 16)).digest)


def _bytes(text: str, option: str, size: int) -> bytes:
    """An id or a salt, in each form that a command prints it in."""
    for parse in (unhexlify, parse_b64url, parse_b64):
        with suppress(ValueError, Malformed):
            data = parse(text)
            if len(data) == size:
                return data
    raise typer.BadParameter(f"{option} takes {2 * size} hexadecimal digits, base64url or base64")


def when(seconds: object) -> str:
    assert isinstance(seconds, int)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _show(found: Iterable[Found], shown_as: Format, index: Index) -> None:
    if shown_as == "json":
        print_json_list(parse_json(item.line) for item in found)
    elif shown_as == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        writer.writerows(_row(item) for item in found)
    else:
        _show_table(found, index)


def _row(item: Found) -> list[object]:
    """The values of a line of CSV: the time as --since takes it."""
    index, seconds, *rest = item.values
    return [index, f"{when(seconds).replace(' ', 'T')}Z", *map(_cell, rest)]


def _cell(value: object) -> str:
    """A text that a spreadsheet takes for a text: what an operator logs may be a formula."""
    text = "" if value is None else plain(str(value))
    return f"'{text}" if text.startswith(_FORMULA) else text


def _beside(kind: str, line: bytes, index: Index) -> list[str]:
    """What an entry says that has no column: a version, a detail of which entry, what was lost, a
    consent, the number of the request that it decides."""
    if kind == ENTRY_CONTINUED:
        return [parse_continued(line).says]
    entry = parse_entry(line)
    if kind in (ENTRY_APPROVED, ENTRY_DECLINED):
        with suppress(Malformed):  # an entry that may not be so is a finding, and is shown
            asked = Query(kind=ENTRY_ASKED, object=parse_decided(entry).hex())
            return [f"number {item.log_index}" for item in search(index, asked)]
    if kind.startswith("consent."):
        return [entry.object.hex()]
    fields = entry.fields
    return [f"{name} {fields[name]}" for name in _BESIDE.get(kind, ()) if name in fields]


def _show_table(found: Iterable[Found], index: Index) -> None:
    """A table in which nothing is cut: what is too long for a terminal goes on below."""
    table = Table(box=None, pad_edge=False)
    for name in ("entry", "time", "kind"):
        table.add_column(name, no_wrap=True)
    for name in ("actor", "what it says"):
        table.add_column(name, overflow="fold")
    for item in found:
        place, seconds, kind, actor, _, *said, reason, _ = item.values
        said += [] if kind in _DIGESTED else [reason]
        said += _beside(str(kind), item.line, index)
        texts = (kind, actor, " ".join(str(text) for text in said if text))
        table.add_row(str(place), when(seconds), *(Text(plain(text)) for text in texts))
    width = max(out.width, _COLUMNS_MIN) if out.is_terminal else _PIPED_COLUMNS
    Console(highlight=False, width=width).print(table)
