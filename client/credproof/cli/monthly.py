"""`credproof audit report`: a month of the verified log, out of the auditor's index."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from credproof.auditing.monthly import Report, parse_month, report
from credproof.auditing.trusted import open_index
from credproof.cli.output import HomeOption, JsonOption, out, plain, print_json
from credproof.cli.searching import when


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
    with open_index(home) as index:
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
    until, day = f"verified up to {when(found.until)} UTC", when(found.began)[:10]
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
