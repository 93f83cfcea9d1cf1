"""`credproof lender known`, and what `policy lint` prints: how exactly answers tell a claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from credproof import standard
from credproof.base.errors import CredproofError
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    out,
    print_error,
    print_json,
    read_file,
)
from credproof.cli.verifying import answer_files
from credproof.home import Home
from credproof.lender import OfflineVerifier
from credproof.verification.explain import value_text
from credproof.verification.known import Known, Told, known, told
from credproof.verification.meter import Cells, Interval, Named, broken, meter
from credproof.verification.policy import Policy
from credproof.wire import answer as answer_wire

Answers = list[Told]


def register(app: typer.Typer) -> None:
    """Add the command to the lender's."""
    app.command("known", epilog=EXIT_CODES)(known_command)


def known_command(
    file: Annotated[
        list[Path], typer.Argument(help="Kept answers (*.answer), or directories of them.")
    ],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Show what kept answers together imply about each borrower: an interval for each claim.

    Verifies them first, offline. Counts what is proved, and why no better tier was granted, as if
    all figures were known, recent and unchanged; where answers contradict one another, only the
    newer ones. An interval is of every account, and where more is known of one, that is said.
    With --json numbers are as on the ladder: money in minor units, shares in basis points.

    Bands are the parts of a claim's ladder between neighbouring rungs. "8 of 17 bands left, never
    fewer than 5" says: of 17 the figure is in one of 8; whatever these policies had answered, 5
    would be left at least. A policy promises such a number by narrowest. Exit code 1 when an answer
    does not verify. Needs no network. Writes nothing.

    \b
    Example:
      credproof lender known answers --home lend
    """
    answered = _by_borrower(file, Home(home), as_json=as_json)
    found = {name: known(answers) for name, answers in answered.items()}
    if as_json:
        print_json([_known_json(name, rows) for name, rows in found.items()])
        return
    for name, rows in found.items():
        out.print(f"Borrower:  {name}", markup=False)
        _print_known(rows, _currencies(answered[name]))


def _by_borrower(paths: Sequence[Path], home: Home, *, as_json: bool) -> dict[str, Answers]:
    """The answers that verify, by the id of whom they are about; exits when one does not."""
    verifier = OfflineVerifier(home)
    found: dict[str, Answers] = {}
    for path in answer_files(paths):
        data = read_file(path)
        try:
            verified = verifier.verify(data)
        except CredproofError as error:
            print_error(error, path, as_json=as_json)
            raise typer.Exit(FAILED) from None
        bundle = answer_wire.parse(data)
        assert bundle.kept is not None, "an answer without it does not verify"
        answers = found.setdefault(bundle.kept.transcript.subject_id, [])
        answers.append(told(verified.policy, verified.answer, bundle))
    return found


def _currencies(answers: Answers) -> dict[Named, str]:
    """The currency of each claim that was asked for in one only."""
    found: dict[Named, set[str]] = {}
    for question in (q for item in answers for q in item.policy.questions.values()):
        if question.condition is not None and question.currency is not None:
            name = (question.schema.id, question.condition.claim)
            found.setdefault(name, set()).add(question.currency)
    return {name: next(iter(each)) for name, each in found.items() if len(each) == 1}


def _print_known(rows: Sequence[Known], currencies: Mapping[Named, str]) -> None:
    for row in rows:
        currency = currencies.get((row.schema.id, row.claim))
        words = partial(_words, row.cells, kind=row.schema.claims[row.claim].type, money=currency)
        some = "" if row.some == row.every else f" (on one account {words(row.some)})"
        left = f"{row.cells.bands(row.every)} of {len(row.cells.edges) - 1} bands left"
        said = f"{words(row.every)}{some}: {left}, never fewer than {row.cells.narrowest}"
        out.print(f"  {row.schema.id}: {row.claim}: {said}", markup=False)


def _words(cells: Cells, part: Interval, *, kind: str, money: str | None) -> str:
    text = standard.text("en")
    low = f"at least {value_text(part.low, kind, money, text)}" if part.low > cells.edges[0] else ""
    end = f"below {value_text(part.end, kind, money, text)}" if part.end < cells.edges[-1] else ""
    return ", ".join(filter(None, [low, end])) or "anything"


def _known_json(subject: str, rows: Sequence[Known]) -> dict[str, object]:
    return {
        "subject": subject,
        "claims": [
            {
                "schema": row.schema.id,
                "claim": row.claim,
                "every": {"at_least": row.every.low, "below": row.every.end},
                "some": {"at_least": row.some.low, "below": row.some.end},
                "bands_left": row.cells.bands(row.every),
                "bands": len(row.cells.edges) - 1,
                "narrowest": row.cells.narrowest,
            }
            for row in rows
        ],
    }


def print_meter(policies: Sequence[Policy]) -> None:
    """What answers under these policies can tell at most, to one lender or to several."""
    out.print("Whatever is answered, all who share what they know can tell apart at most:")
    for (schema, claim), cells in meter(policies).items():
        out.print(f"  {schema}: {claim}: {_cells_text(cells)}", markup=False)
    for item in broken(policies):
        said = f"{item.claim} is promised {item.bands} bands, one lender is refused (TOO_NARROW)"
        out.print(f"  {item.schema.id}: {said}", markup=False)


def _cells_text(cells: Cells) -> str:
    ladder = f"{len(cells.all)} cells on {len(cells.edges) - 1} bands"
    return f"{ladder}, the narrowest has {cells.narrowest}"


def meter_json(policies: Sequence[Policy]) -> list[dict[str, object]]:
    """The same for machines, one object per claim."""
    refused = {(item.schema.id, item.claim) for item in broken(policies)}
    return [_cells_json(name, cells, refused) for name, cells in meter(policies).items()]


def _cells_json(name: Named, cells: Cells, refused: set[Named]) -> dict[str, object]:
    return {
        "schema": name[0],
        "claim": name[1],
        "cells": len(cells.all),
        "bands": len(cells.edges) - 1,
        "narrowest": cells.narrowest,
        "kept": name not in refused,
    }
