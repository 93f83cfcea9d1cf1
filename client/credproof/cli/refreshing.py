"""`credproof lender refresh`: kept answers under checkpoints that witnesses have cosigned."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from credproof.base.errors import CredproofError, Malformed, Unreachable
from credproof.cli.asking import JOURNAL, asked_in
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    exit_code,
    out,
    print_error,
    read_file,
)
from credproof.cli.verifying import answer_files, failure
from credproof.files import replace_file
from credproof.lender import KeptAnswer, Lender
from credproof.records.journal import Journal
from credproof.verification.report import report, witness_text
from credproof.wire import answer as answer_wire


def register(app: typer.Typer) -> None:
    """Add the command to `credproof lender`."""
    app.command("refresh", epilog=EXIT_CODES)(refresh_command)


def refresh_command(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Kept answers, or directories of them."),
    ],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Put kept answers under a checkpoint that enough witnesses have cosigned.

    Proofs of place in the log are fetched anew; the log must continue what the answer showed, and
    all of it verifies before the file is replaced. One that is witnessed already stays as it is.
    LOG_FORKED says that the log of an answer is not the one that witnesses saw, or that the service
    was shown so by a witness (LOG_BEHIND too), ENTRIES_LOST that the log goes on under a new origin
    without the answer's entry: keep that file.
    Exit code 3 when witnesses have not come so far: run it again later. Needs the service. With
    --json one object per file, each in its own line.

    \b
    Example:
      credproof lender refresh answers --home lend
    """
    found, codes = answer_files(files), {0}
    with Lender.open(home) as lender, Journal(home / JOURNAL) as journal:
        for file in found:
            try:
                kept, is_new = _refreshed(file, lender, journal)
            except CredproofError as error:
                codes.add(FAILED if isinstance(error, Malformed) else exit_code(error))
                _tell_error(file, error, as_json=as_json)
                if isinstance(error, Unreachable) and error.reason != "NOT_WITNESSED_YET":
                    break
            else:
                _tell(file, kept, is_new=is_new, as_json=as_json)
    raise typer.Exit(min(codes - {0}, default=0))


def _refreshed(file: Path, lender: Lender, journal: Journal) -> tuple[KeptAnswer, bool]:
    """The answer, and whether it was replaced; one that is no answer is damaged, as for verify."""
    data = read_file(file)
    bundle = answer_wire.parse(data)
    kept = lender.refresh(bundle)
    is_new = kept.to_bytes() != data
    if is_new:
        replace_file(file, kept.to_bytes())
    journal.drop([asked_in(kept.bundle, kept.verified).key])  # it may have been open until now
    return kept, is_new


def _tell(file: Path, kept: KeptAnswer, *, is_new: bool, as_json: bool) -> None:
    if as_json:
        _print({"file": str(file), "refreshed": is_new, **report(kept.verified)})
    else:
        before = "" if is_new else "was witnessed before: "
        out.print(f"{file}: {before}{witness_text(kept.verified.witnesses)}", markup=False)


def _tell_error(file: Path, error: CredproofError, *, as_json: bool) -> None:
    if as_json:
        _print({"file": str(file), **failure(error)})
    else:
        out.print(f"{file}: not refreshed", markup=False)
        print_error(error)


def _print(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
