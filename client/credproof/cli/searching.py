"""`credproof audit search` and `report`: what the auditor's index says of the verified log."""

from __future__ import annotations

import csv
import datetime as dt
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.table import Table
from rich.text import Text

from credproof.auditing.index import Index
from credproof.auditing.monthly import Report, parse_month, report
from credproof.auditing.searching import COLUMNS, Found, Query, search
from credproof.auditor import INDEX_NAME, Auditor
from credproof.base.encoding import b64url, parse_json
from credproof.base.errors import Conflict
from credproof.cli.output import HomeOption, JsonOption, out, plain, print_json
from credproof.verification.answer import Reference
from credproof.verification.entry_rules import RULES
from credproof.verification.policy import PURPOSES, OutcomeKind

TimeOption = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="2026-11-26 or 2026-11-26T09:30:00Z; UTC if no zone."),
]
ObjectOption = Annotated[
    str | None,
    typer.Option("--object", metavar="HEX", help="An answer's, token's, consent's … id."),
]
ConsentOption = Annotated[
    str | None, typer.Option(metavar="HEX", help="A consent's id: answers and refusals under it.")
]
StaffOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="A lender's reference of its staff.")
]
CaseOption = Annotated[str | None, typer.Option(metavar="TEXT", help="Its reference of a case.")]
SaltOption = Annotated[
    str | None, typer.Option(metavar="HEX", help="The reference's salt, from the lender.")
]
PersonOption = Annotated[
    bool,
    typer.Option("--person", help="What concerns one person; the id is read from standard input."),
]
Format = Literal["table", "json", "csv"]
_PIPED_COLUMNS = 200
"""How wide a table is where no terminal ends it: nothing is cut."""


def find(
    home: HomeOption = Path(),
    since: TimeOption = None,
    until: TimeOption = None,
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
    why: Annotated[
        str | None, typer.Option("--why", metavar="TEXT", help="Why you look for a person.")
    ] = None,
    after: Annotated[int, typer.Option(help="Go on after this log index.")] = -1,
    limit: Annotated[int, typer.Option(min=1, help="At most so many entries.")] = 100,
    shown_as: Annotated[Format, typer.Option("--format", help="How they are shown.")] = "table",
    as_json: JsonOption = False,
) -> None:
    """Find log entries: by time, kind, actor, policy, outcome, reference, object or person.

    Looks at what audit verify or audit follow verified, in audit.db, without the service. A
    lender's references are salted: it gives you text and salt, which stand in its *.answer file.
    --person needs the service, and --why: the id is never sent, the search itself is logged for
    other auditors, and its reason is kept here, in searches.jsonl. Times are UTC: in a table and
    in CSV written out (ISO 8601), in JSON whole seconds, as in the signed entries.

    \b
    Example:
      credproof audit search --kind answer.refused --since 2026-11-01 --actor lend --home audit
      echo ref:alice | credproof audit search --person --why "complaint 17" --home audit
    """
    if as_json:
        shown_as = "json"
    query = Query(
        since=_seconds(since),
        until=_seconds(until),
        kind=kind,
        actor=actor,
        object=object_id and object_id.lower(),
        policy=policy,
        purpose=purpose,
        outcome=outcome,
        reason=reason,
        consent=consent and b64url(_hex(consent, "consent", 32)),
        case=_digest(case, salt),
        staff=_digest(staff, salt),
        after=after,
        limit=limit,
    )
    if person:
        query = replace(query, indexes=_of_person(home, why))
    with _index(home) as index:
        found = search(index, query)
    if not found:
        _require_known("kind", kind, RULES)
        _require_known("purpose", purpose, PURPOSES)
    _show(found, shown_as)
    if len(found) == limit and shown_as == "table":
        out.print(f"More:  --after {found[-1].log_index}")


def _require_known(name: str, text: str | None, known: Iterable[str]) -> None:
    """Nothing found of a misspelled kind must not read as: there was none."""
    if text is not None and text not in known:
        raise typer.BadParameter(f"no such {name}: {text}; there are {', '.join(sorted(known))}")


def _of_person(home: Path, why: str | None) -> frozenset[int]:
    if not why:
        raise typer.BadParameter("looking for a person needs a reason: --why TEXT")
    subject_id = sys.stdin.readline().strip()
    with Auditor.open(home) as auditor:
        indexes = auditor.search_person(subject_id, reason=why)
        auditor.verify()  # what was found is in the index then, and so is the search itself
    return indexes


def _index(home: Path) -> Index:
    if not (home / INDEX_NAME).exists():
        raise Conflict("NOTHING_VERIFIED", "nothing was verified in this home yet")
    return Index(home / INDEX_NAME)


def _seconds(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        message = f"{text} is no time: write it like 2026-11-26 or 2026-11-26T09:30:00Z"
        raise typer.BadParameter(message) from error
    return int((found if found.tzinfo else found.replace(tzinfo=dt.UTC)).timestamp())


def _digest(text: str | None, salt: str | None) -> str | None:
    if text is None:
        return None
    if salt is None:
        raise typer.BadParameter("a reference is salted: give its --salt too")
    return b64url(Reference(text, _hex(salt, "salt", 16)).digest)


def _hex(text: str, what: str, size: int) -> bytes:
    try:
        data = bytes.fromhex(text)
    except ValueError:
        data = b""
    if len(data) != size:
        raise typer.BadParameter(f"{what} has {2 * size} hexadecimal digits")
    return data


def _when(seconds: object) -> str:
    assert isinstance(seconds, int)
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%d %H:%M:%S")


def _show(found: Sequence[Found], shown_as: Format) -> None:
    if shown_as == "json":
        print_json([parse_json(item.line) for item in found])
    elif shown_as == "csv":
        writer = csv.writer(sys.stdout)
        writer.writerow(COLUMNS)
        writer.writerows(_row(item) for item in found)
    else:
        _show_table(found)


def _row(item: Found) -> list[object]:
    """The values of a line of CSV: the time as --since takes it."""
    index, seconds, *rest = item.values
    return [index, f"{_when(seconds).replace(' ', 'T')}Z", *rest]


def _show_table(found: Sequence[Found]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("entry", no_wrap=True)
    table.add_column("time", no_wrap=True)
    table.add_column("kind", no_wrap=True, min_width=max(map(len, RULES)))
    for name in ("actor", "policy", "purpose", "came of it"):
        table.add_column(name, no_wrap=True)
    for item in found:
        index, seconds, kind, actor, _, policy, purpose, outcome, reason, _ = item.values
        texts = (kind, actor, policy or "", purpose or "", outcome or reason or "")
        table.add_row(str(index), _when(seconds), *(Text(plain(text)) for text in texts))
    out.print(table, width=None if out.is_terminal else _PIPED_COLUMNS)


# -- report -------------------------------------------------------------------


def monthly(
    month: Annotated[str, typer.Option(metavar="YYYY-MM", help="The calendar month, UTC.")],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Report a month: questions, outcomes, refusals, consents, anomalies, broken rules.

    Counts what audit verify or audit follow verified, in audit.db, without the service. Among
    what providers attested are bindings of keys: the log does not tell them from records. Of a
    month before the log began, one that has not begun, or one of which nothing was verified yet,
    that is told, and no figure (with --json `outside`).

    \b
    Example:
      credproof audit report --month 2026-11 --home audit
    """
    with _index(home) as index:
        found = report(index, parse_month(month), int(time.time()))
    if as_json:
        print_json(_json(found))
    else:
        _print(found)


def _json(found: Report) -> dict[str, Any]:
    told = asdict(found)
    del told["month"]
    return {"month": found.month.name, "whole": found.is_whole, **told}


def _print(found: Report) -> None:
    out.print(f"Month:        {found.month.name} ({_extent(found)})")
    if found.outside is not None:
        return
    out.print(f"Entries:      {found.entries}")
    for lender, purposes in found.questions.items():
        for purpose, counts in purposes.items():
            told = f"{counts['answered']} answered, {counts['refused']} refused"
            out.print(f"Questions:    {plain(lender)}, {plain(purpose)}: {told}", markup=False)
    for title, counts in _titled(found):
        told = ", ".join(f"{plain(name)} {count}" for name, count in counts.items() if count)
        out.print(f"{title:<14}{told or 'none'}", markup=False)
    places = ", ".join(map(str, found.beyond_cap))
    out.print(f"Beyond cap:   {f'entries {places}' if places else 'none'}")


def _extent(found: Report) -> str:
    """What of a month the index has."""
    if found.until is None or found.began is None:
        return "no entry yet"
    until, day = f"verified up to {_when(found.until)} UTC", _when(found.began)[:10]
    words = {
        "BEFORE_LOG": f"before the log, which began on {day}",
        "FUTURE": f"not begun yet; {until}",
        "NOT_VERIFIED": f"nothing of it is verified yet; {until}: run audit follow",
    }
    if found.outside is not None:
        return words[found.outside]
    began = f"the log began on {day}; " if found.began >= found.month.start else ""
    return f"{began}{until}{'' if found.is_whole else ', not whole'}"


def _titled(found: Report) -> Sequence[tuple[str, Mapping[str, int]]]:
    return (
        ("Outcomes:", found.outcomes),
        ("Refusals:", found.refusals),
        ("Consents:", found.consents),
        ("Attested by:", found.attestations),
        ("Withdrawn:", found.withdrawals),
        ("Anomalies:", {**found.anomalies, "lifted": found.lifted}),
        ("Searched by:", found.searches),
        ("Unsealing:", found.unsealed),
        ("Broken rules:", found.findings),
    )
