"""`credproof audit compare`: what others were given, held against what was verified here."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from credproof.auditing.comparing import Compared, Comparison
from credproof.auditing.evidence import LogFault, write
from credproof.base.encoding import Json
from credproof.base.errors import CredproofError
from credproof.cli.following import evidence_text
from credproof.cli.output import (
    OK,
    UNREACHABLE,
    HomeOption,
    JsonOption,
    err,
    exit_code,
    out,
    print_error,
    read_file,
)
from credproof.cli.searching import open_index
from credproof.home import Home
from credproof.log.checkpoint import Checkpoint

_LONGER: Final = (
    "credproof audit verify, then again; if it stays, let whoever sent it compare your"
    " newest.checkpoint"
)


def compare(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Checkpoints, answers, requests to witnesses."),
    ],
    home: HomeOption = Path(),
    evidence: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what shows a fork into a directory there."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare what others were given with the log that you verified: was it the same one?

    Takes another auditor's newest.checkpoint or witnessed.checkpoint, a lender's kept answer, and
    what credproof witness evidence writes (N.request, N.cosigned). Each must be signed by a key of
    the log that your trust bundle lists, or one that you keep in registry/ did. Of each file:

    \b
      same past   its entries are the first of those that you verified
      LOG_FORKED  the log signed two pasts; --evidence writes files that show both.
                  LOG_REPLACED: it signed more before a new origin than that one says
      not known   it covers more than was verified here, or entries that were lost:
                  exit code 3. Of a longer answer the entries that you know are compared

    Send your own newest.checkpoint to other auditors, and let them do the same. Reads audit.db and
    newest.checkpoint; needs no network. With --json one object per file, each in its own line.

    \b
    Example:
      credproof audit compare theirs.checkpoint --evidence findings --home audit
    """
    contents = [(file, read_file(file)) for file in files]
    codes = {OK}
    with open_index(home) as index:
        comparison = Comparison(Home(home), index)
        for file, data in contents:
            try:
                found = comparison.compare(data)
            except CredproofError as error:
                codes.add(exit_code(error))
                _tell_error(file, error, evidence, as_json=as_json)
            else:
                codes.add(OK if found.is_same else UNREACHABLE)
                _tell(file, found, comparison.verified, as_json=as_json)
    raise typer.Exit(min(codes - {OK}, default=OK))


def _tell(file: Path, found: Compared, verified: Checkpoint, *, as_json: bool) -> None:
    other, size = found.checkpoint, verified.tree_size
    if as_json:
        told: dict[str, Json] = {"file": str(file), "verified": size}
        told |= {"result": "same" if found.is_same else "unknown"}
        _print(told | {"origin": other.origin, "size": other.tree_size})
        return
    covers = f"{other.tree_size} entries of {other.origin}"
    if found.is_same:
        out.print(f"{file}: same past, {covers}", markup=False)
    else:
        here = f"verified here are {size} of {verified.origin}"
        out.print(f"{file}: not known, {covers}; {here}", markup=False)
        err.print(f"next:  {_LONGER}", markup=False)


def _tell_error(file: Path, error: CredproofError, evidence: Path | None, *, as_json: bool) -> None:
    written = None
    if isinstance(error, LogFault) and evidence is not None:
        written = write(evidence, error.reason, error.files)
    if as_json:
        told = {"reason": error.reason, "message": error.message}
        where = None if written is None else str(written[0])
        result = "forked" if isinstance(error, LogFault) else "failed"
        _print({"file": str(file), "result": result, **told, "evidence": where})
        return
    print_error(error, file)
    if written is not None:
        out.print(f"Evidence:  {evidence_text(written)}", markup=False)


def _print(value: dict[str, Json]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")
