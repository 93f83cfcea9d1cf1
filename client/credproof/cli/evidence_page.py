"""`credproof audit evidence`: an answer as one page for a regulator."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.history import History
from credproof.auditing.index import INDEX_NAME, Index
from credproof.auditing.page.judged import judge
from credproof.auditing.page.whole import Known, page
from credproof.auditing.page.words import words_in
from credproof.auditing.registry import put_in_force
from credproof.auditing.stamping import StampProof, stamp_of
from credproof.auditing.stamps import Authorities, Stamps
from credproof.cli.output import (
    FAILED,
    HomeOption,
    JsonOption,
    err,
    read_file,
    require_other,
    require_writable,
    tell,
    write_file,
)
from credproof.cli.telling import LanguageOption
from credproof.home import Home
from credproof.verification.answer import Logged
from credproof.verification.trust import Trust
from credproof.wire import answer as answer_wire


def evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE.answer", help="The lender's kept answer.")],
    home: HomeOption = Path(),
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The page; if not given, FILE.html beside the file."),
    ] = None,
    language: LanguageOption = "zh",
    as_json: JsonOption = False,
) -> None:
    """Make a page of an answer that a regulator reads and checks years later.

    One HTML file, complete in itself: the rule and its questions in words with what was answered,
    each of the ten checks with its result as lender verify has it, algorithms, keys in full and
    since when the registry had them, the proofs, the log entries, a timestamp where one is kept.
    Inside it are the answer file, the trust bundle, and what openssl verifies, with the commands.
    An answer that does not verify gets its page too, and exit code 1. Reads the trust that your
    home keeps, its pins, its registry/ (of audit follow; without it no key's history is told), its
    timestamps; needs no network. One of these files that is damaged is told, and there is no page.
    The page holds the borrower's id, as the answer file does.

    \b
    Example:
      credproof audit evidence alice.answer --language en -o alice.html --home audit
    """
    words = words_in(language)
    bundle, found, now = answer_wire.parse(read_file(file)), Home(home), int(time.time())
    target = output or file.with_suffix(".html")
    require_other(target, file)
    require_writable(target)
    known = _known(found, bundle.logged)
    write_file(target, page(bundle, known, words, now=now))
    error = judge(bundle, known.trust, known.pins, now).error
    told = {"file": str(target), "valid": error is None, "reason": error and error.reason}
    tell(told, f"Written:   {target}", as_json=as_json)
    if error is not None and not as_json:
        err.print(f"error: the answer does not verify ({error.reason})", markup=False)
    if error is not None:
        raise typer.Exit(FAILED)


def _known(home: Home, logged: Logged) -> Known:
    """What the home knows of the service, and of when an entry was logged."""
    stamp = _stamp(home, logged)
    named = stamp.stamped.authority if stamp else None
    authority = next((a for a in Authorities(home.folder).all() if a.name == named), None)
    return Known(
        trust=home.trust(at=0),
        roots=home.roots,
        history=_history(home),
        pins=home.pins(),
        stamp=stamp,
        authority=authority,
    )


def _history(home: Home) -> Sequence[Trust]:
    """The versions of the registry that the verified log put in force; none where none is kept.

    Raises:
        DataLoss: `REGISTRY_NOT_KEPT`: by another one an honest answer would look forged.
    """
    history, index_file = History(home.folder, home.roots), home.folder / INDEX_NAME
    if not index_file.exists():
        return list(history.all())
    with Index(index_file) as index:
        return [trust for _, trust in put_in_force(history, index)] if history.is_begun else []


def _stamp(home: Home, logged: Logged) -> StampProof | None:
    """A timestamp that covers an entry, out of what the home keeps."""
    index_file = home.folder / INDEX_NAME
    if not index_file.exists():
        return None
    with Stamps(home.folder) as stamps, Index(index_file) as index:
        stamps.look()
        return stamp_of(stamps, index, logged.log_index, logged.line)
