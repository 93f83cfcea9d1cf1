"""`credproof audit compare`: what others were shown, held against what this auditor verified."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.comparing import Comparing
from credproof.auditing.evidence import LogFault, write
from credproof.auditing.trusted import open_index
from credproof.base.errors import CredproofError, Malformed
from credproof.cli.following import evidence_text
from credproof.cli.output import (
    HomeOption,
    JsonOption,
    err,
    exit_code,
    out,
    print_error,
)
from credproof.home import Home
from credproof.log.checkpoint import VerifiedCheckpoint


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Of others: newest.checkpoint, a kept answer, N.request or N.cosigned.",
        ),
    ],
    home: HomeOption = Path(),
    evidence: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what shows a fork into a directory there."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what others were shown of the log with what you verified: is it one past?

    Takes checkpoints of other auditors, kept answers of lenders, and what a witness kept (witness
    evidence). Each must be signed by a key that the log has or had. Of each file:

    \b
      same past     its entries are the first of those that you verified
      LOG_FORKED    exit code 1: the log told two stories, and --evidence writes files by
                    which others see it; LOG_REPLACED: it signed more under an old origin
                    than the new one says
      NOT_COMPARED  exit code 2: it covers entries that you have not verified yet, or that
                    were lost. Of a longer answer the entries that you know are compared

    Send your own newest.checkpoint to other auditors, and let them do the same. Reads audit.db,
    newest.checkpoint and the trust that your home keeps; needs no network. With --json one object
    per file, each in its own line.

    \b
    Example:
      credproof audit compare other/newest.checkpoint --evidence findings --home audit
    """
    found_home, codes = Home(home), {0}
    _ = found_home.settings  # nothing is made in a home that is none
    with open_index(home) as index:
        comparing = Comparing(found_home, index)
        for file in files:
            try:
                found = comparing.require_same_past(_content(file))
            except CredproofError as error:
                codes.add(exit_code(error))
                _tell_error(file, error, evidence, as_json=as_json)
            else:
                _tell(file, found, as_json=as_json)
    raise typer.Exit(min(codes - {0}, default=0))


def _content(file: Path) -> bytes:
    """One that cannot be read keeps none of the others from being compared.

    Raises:
        Malformed: `NOT_READ`.
    """
    if not file.is_file():
        raise Malformed("NOT_READ", "there is no such file")
    try:
        return file.read_bytes()
    except OSError as error:
        raise Malformed("NOT_READ", f"it cannot be read: {error.strerror}") from error


def _tell(file: Path, found: VerifiedCheckpoint, *, as_json: bool) -> None:
    if as_json:
        _print({"file": str(file), "same": True, "size": found.tree_size})
    else:
        out.print(f"{file}: {found.tree_size} entries, the same past", markup=False)


def _tell_error(file: Path, error: CredproofError, evidence: Path | None, *, as_json: bool) -> None:
    written = None
    if isinstance(error, LogFault) and evidence is not None:
        written = write(evidence, error.reason, error.files)
    if as_json:
        where = None if written is None else str(written[0])
        told = {"reason": error.reason, "message": error.message, "evidence": where}
        _print({"file": str(file), "same": False, **told})
        return
    print_error(error, file)
    if written is not None:
        err.print(f"evidence: {evidence_text(written)}", markup=False)


def _print(value: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
