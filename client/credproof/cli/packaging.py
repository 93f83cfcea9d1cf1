"""`credproof audit evidence`: an answer as one page for a regulator."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.history import History
from credproof.auditing.package import judge, page
from credproof.cli.output import (
    FAILED,
    HomeOption,
    err,
    out,
    read_file,
    require_writable,
    write_file,
)
from credproof.home import Home
from credproof.verification.answer import parse_answer
from credproof.wire import answer as answer_wire


def evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE.answer", help="The lender's kept answer.")],
    home: HomeOption = Path(),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; if not given, FILE.html beside the file."),
    ] = None,
) -> None:
    """Make a page of an answer that a regulator reads and checks years later.

    One HTML file, complete in itself: what was asked and answered, each numbered check with its
    result, algorithms, keys and since when the registry had them, the entries with their proofs,
    and how to verify them with other tools. An answer that does not verify gets its page too,
    and exit code 1. Reads the trust that your home keeps (registry/ of audit follow); needs no
    network.

    \b
    Example:
      credproof audit evidence alice.answer -o alice.html --home audit
    """
    bundle, found, now = answer_wire.parse(read_file(file)), Home(home), int(time.time())
    target = output or file.with_suffix(".html")
    require_writable(target)
    trust = found.trust(at=0)
    history = list(History(found.folder, found.settings.root).all())
    write_file(target, page(bundle, trust, history, now=now))
    out.print(f"Written:   {target}", markup=False)
    judged = judge(bundle, trust, parse_answer(bundle.answer)[1].lender, now)
    if judged.error is not None:
        err.print(f"error: the answer does not verify ({judged.error.reason})", markup=False)
        raise typer.Exit(FAILED)
