"""`credproof audit evidence`: an answer as one page for a regulator."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.package import judge, page
from credproof.auditing.stamping import StampProof, stamp_of
from credproof.auditing.stamps import Authorities, Stamps
from credproof.auditor import INDEX_NAME
from credproof.cli.output import (
    FAILED,
    HomeOption,
    JsonOption,
    err,
    read_file,
    require_writable,
    tell,
    write_file,
)
from credproof.home import Home
from credproof.verification.answer import Logged, parse_answer
from credproof.wire import answer as answer_wire


def evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE.answer", help="The lender's kept answer.")],
    home: HomeOption = Path(),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; if not given, FILE.html beside the file."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a page of an answer that a regulator reads and checks years later.

    One HTML file, complete in itself: what was asked and answered, each numbered check with its
    result, algorithms, keys and since when the registry had them, the entries with their proofs, a
    timestamp where one is kept, and how to verify them with other tools. An answer that does not
    verify gets its page too, and exit code 1. Reads the trust that your home keeps (registry/ of
    audit follow), and its timestamps; needs no network.

    \b
    Example:
      credproof audit evidence alice.answer -o alice.html --home audit
    """
    bundle, found, now = answer_wire.parse(read_file(file)), Home(home), int(time.time())
    target = output or file.with_suffix(".html")
    require_writable(target)
    trust = found.trust(at=0)
    history = list(History(found.folder, found.roots).all())
    stamp = _stamp(found, bundle.logged)
    write_file(target, page(bundle, trust, history, now=now, stamp=stamp))
    error = judge(bundle, trust, parse_answer(bundle.answer)[1].lender, now).error
    told = {"file": str(target), "valid": error is None, "reason": error and error.reason}
    tell(told, f"Written:   {target}", as_json=as_json)
    if error is not None and not as_json:
        err.print(f"error: the answer does not verify ({error.reason})", markup=False)
    if error is not None:
        raise typer.Exit(FAILED)


def _stamp(home: Home, logged: Logged) -> StampProof | None:
    """A timestamp that covers an entry, out of what the home keeps."""
    index_file = home.folder / INDEX_NAME
    if not index_file.exists():
        return None
    with Stamps(home.folder) as stamps, Index(index_file) as index:
        stamps.look(Authorities(home.folder))
        return stamp_of(stamps, index, logged.log_index, logged.line)
