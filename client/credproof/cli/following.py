"""`credproof audit follow`: go on from the last checkpoint, once or for ever; built for cron."""

from __future__ import annotations

import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.evidence import LogFault, findings_json, write
from credproof.auditing.index import Index
from credproof.auditing.rereading import reread
from credproof.auditing.stamping import NO_STAMPS, StampReport
from credproof.auditor import INDEX_NAME, Auditor
from credproof.base.encoding import Json, parse_own_json
from credproof.base.errors import CredproofError, DataLoss, Unreachable, VerificationFailed
from credproof.cli.output import (
    FAILED,
    OK,
    UNREACHABLE,
    HomeOption,
    JsonOption,
    out,
    plain,
    print_error,
    print_json,
    progress_bar,
    system_error,
)
from credproof.cli.stamps import print_stamps, stamps_json
from credproof.home import Home
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.verification.log_rules import Finding


def follow(
    home: HomeOption = Path(),
    interval: Annotated[
        int | None,
        typer.Option(min=1, help="Go on: look again after so many seconds, until Ctrl-C."),
    ] = None,
    evidence: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what shows a finding into a directory there."),
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Compute the directory anew each time: audit replay.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Go on from the checkpoint that you trust: fetch what is new, verify it, judge it.

    As audit verify, for cron: tells only what is new. Exit code 1 means a finding: the log has
    another past (LOG_FORKED), lost its tail (LOG_SHRANK), leaves an entry out (SEQ_GAP), gives out
    one that was not signed (ENTRY_CHANGED), signed a root that its entries do not make
    (TREE_MISMATCH) or an entry that no log may sign (BAD_ENTRY, CHAIN_BROKEN, TIME_WENT_BACK),
    gives a timestamp of something else (TIMESTAMP_NOT_OF_LOG), or broke a rule between entries
    (RULE_BROKEN), which is also told of an entry whose time contradicts a timestamp that you trust.
    With --replay, also when a root of the directory leaves somebody out (ROOT_DIFFERS), at the cost
    of reading what is kept of the log. With --evidence, files that a third party checks with other
    tools are written, with a README.txt, into a directory named for what they show: what stands on
    is not written again. An interrupted run goes on where it was. With --interval, what stops one
    look is told on stderr, and the next look tries again. Needs the service.

    Each run also compares 1000 older entries of audit.db with what the service gives now, and the
    next run the 1000 after them: in time it tells that an old entry was rewritten (ENTRY_CHANGED)
    or lost (SEQ_GAP, ENTRIES_MISSING). audit.db still has the signed one, and audit replay reads
    that. audit verify --whole reads all from the service at once: let cron run it once a week.

    \b
    Example:
      credproof audit follow --evidence findings --home audit
    """
    look = partial(_look_and_tell, home, evidence, replay=replay, as_json=as_json)
    if interval is None:
        raise typer.Exit(look())
    _ = Home(home).settings  # a home that is none does not pass
    with _interrupted() as interrupted:
        _outlive(look, as_json=as_json)
        while not interrupted.wait(interval):
            _outlive(look, as_json=as_json)
    raise KeyboardInterrupt


def _outlive(look: Callable[[], int], *, as_json: bool) -> None:
    """Look once; what stops it may pass until the next time."""
    try:
        look()
    except CredproofError as error:
        print_error(error, as_json=as_json)
    except (OSError, sqlite3.Error) as error:
        print_error(system_error(error), as_json=as_json)


@contextmanager
def _interrupted() -> Iterator[threading.Event]:
    """Whether Ctrl-C came, also where Python drops the exception: in a destructor or a callback."""
    came = threading.Event()

    def interrupt(_number: int, _frame: object) -> None:
        came.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, before)


def _look_and_tell(home: Path, evidence: Path | None, *, replay: bool, as_json: bool) -> int:
    """Look once; gives the exit code."""
    told = _look(home, replay=replay, quiet=as_json)
    written = write(evidence, told.reason, told.files) if evidence and told.files else None
    _tell(told, written, as_json=as_json)
    if told.findings and told.error is None:
        with Index(home / INDEX_NAME) as index:
            index.mark_told()  # not before: what could not be told is told the next time
    return told.code


@dataclass(frozen=True)
class Told:
    """What one look came to. `files` are evidence by name, `reread` counts older entries."""

    code: int
    report: AuditReport | None = None
    findings: Sequence[Finding] = ()
    error: CredproofError | None = None
    files: dict[str, bytes] | None = None
    stamps: StampReport = NO_STAMPS
    reread: int = 0

    @property
    def reason(self) -> str:
        """What it is, in capitals; empty when nothing is wrong."""
        if self.error is not None:
            return self.error.reason
        return "RULE_BROKEN" if self.findings else ""


def _look(home: Path, *, replay: bool, quiet: bool) -> Told:
    try:
        with Auditor.open(home) as auditor:
            with progress_bar("following", None, hidden=quiet) as advance:
                report = auditor.verify(progress=advance)
            stamps = auditor.timestamps(report.checkpoint)
            with auditor.index() as index:
                findings = index.findings(untold=True)
            files = dict(auditor.finding_evidence(findings)) if findings else None
            fault, again = _reread(auditor, report)
            if replay:
                fault = _replayed(auditor, report.checkpoint) or fault
    except LogFault as error:
        return Told(FAILED, error=error, files=dict(error.files))
    except Unreachable as error:
        return Told(UNREACHABLE, error=error)
    except (VerificationFailed, DataLoss) as error:
        return Told(FAILED, error=error)
    if fault is not None:
        return Told(FAILED, report, findings, fault, dict(fault.files), stamps, again)
    code = FAILED if findings else OK
    return Told(code, report, findings, files=files, stamps=stamps, reread=again)


def _reread(auditor: Auditor, report: AuditReport) -> tuple[LogFault | None, int]:
    """What the service gives otherwise now than before; how many entries were looked at."""
    bundle = auditor.trust.bundle
    try:
        with auditor.index() as index:
            vkeys = [bundle.log_vkey, *bundle.old_logs]
            return None, len(reread(auditor, index, report, vkeys))
    except LogFault as fault:
        return fault, 0


def _replayed(auditor: Auditor, checkpoint: VerifiedCheckpoint) -> LogFault | None:
    try:
        auditor.replay(checkpoint)
    except LogFault as fault:
        return fault
    return None


def evidence_text(written: tuple[Path, bool]) -> str:
    """Where evidence is, and whether an earlier run wrote it."""
    where, is_new = written
    return f"{where} (README.txt says how to check it)" if is_new else f"already in {where}"


def _tell(told: Told, written: tuple[Path, bool] | None, *, as_json: bool) -> None:
    if as_json:
        print_json(_json(told, written and written[0]))
        return
    if told.error is not None:
        print_error(told.error)
    if told.report is not None:
        size, read = told.report.checkpoint.tree_size, told.report.entries_read
        out.print(f"Entries:   {size}, of which {read} are new; {told.reread} older ones compared")
        print_stamps(told.stamps)
        print_findings(told.findings)
    if written is not None:
        out.print(f"Evidence:  {evidence_text(written)}", markup=False)


def print_findings(findings: Sequence[Finding]) -> None:
    """The rules that are broken, one a line."""
    for finding in findings:
        shown = ", ".join(map(str, finding.shown_by))
        after = f" (see {shown})" if shown else ""
        line = f"Finding:   entry {finding.log_index}: {finding.message}{after} ({finding.rule})"
        out.print(plain(line), markup=False)


def _json(told: Told, where: Path | None) -> dict[str, Json]:
    report = told.report
    return {
        "evidence": None if where is None else str(where),
        "findings": parse_own_json(findings_json(told.findings)),
        "message": "" if told.error is None else told.error.message,
        "read": 0 if report is None else report.entries_read,
        "reason": told.reason,
        "reread": told.reread,
        "size": None if report is None else report.checkpoint.tree_size,
        "timestamps": stamps_json(told.stamps),
    }
