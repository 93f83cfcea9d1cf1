"""`credproof audit follow`: go on from the last checkpoint, once or for ever; built for cron."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditing.evidence import RULE_BROKEN, LogFault, findings_json, write
from credproof.auditing.index import FILED, INDEX_NAME, TOLD, Index
from credproof.auditing.lost import Lost
from credproof.auditing.stamping import NO_STAMPS, StampReport
from credproof.auditor import Auditor
from credproof.base.encoding import DAY_S, Json, parse_own_json
from credproof.base.errors import CredproofError, DataLoss, Unreachable, VerificationFailed
from credproof.cli.output import (
    FAILED,
    OK,
    HomeOption,
    JsonOption,
    exit_code,
    out,
    plain,
    print_error,
    print_json,
    progress_bar,
    system_error,
)
from credproof.cli.stamps import print_stamps, stamps_json
from credproof.cli.witnesses import (
    NO_WITNESSES,
    WitnessLook,
    look_at_witnesses,
    print_witnesses,
    witnesses_json,
)
from credproof.home import Home
from credproof.log.audit import AuditReport
from credproof.verification.log_rules import Finding
from credproof.verification.root_rules import behind

_NOT_REPLAYED = " in the entries; --replay looks for who was left out of the directory."


def follow(
    home: HomeOption = Path(),
    interval: Annotated[
        int | None,
        typer.Option(min=1, max=DAY_S, help="Go on: look again after so many seconds."),
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

    As audit verify, for cron; an interrupted run goes on where it was. Exit code 1 means a finding:

    \b
      LOG_FORKED            the log has another past; or a witness showed the service
                            that it has (so LOG_BEHIND), and it writes nothing more
      NOT_DISPROVED         the service says so, and gives nothing that shows it
      LOG_SHRANK            it lost its tail
      SEQ_GAP               it leaves an entry out
      ENTRY_CHANGED         it gives out an entry that was not signed
      TREE_MISMATCH         it signed a root that its entries do not make
      BAD_ENTRY, CHAIN_BROKEN, TIME_WENT_BACK
                            it signed an entry that no log may sign
      REGISTRY_WITHHELD     it names a trust bundle that nobody shows: what follows
                            cannot be judged
      OTHER_TRUST           it names another trust bundle than it gives
      TIMESTAMP_NOT_OF_LOG  it gives a timestamp of something else
      ROOT_BEHIND           it makes no root of the directory, by your clock: answers
                            leave out what came since
      RULE_BROKEN           entries do not fit together: no consent, revoked, beyond
                            a cap, a time that contradicts a timestamp or is in
                            the future by your clock, and so on
      ROOT_DIFFERS          with --replay: a root of the directory leaves somebody out
      CHECKPOINT_DAMAGED, AUDITED_DAMAGED, INDEX_DAMAGED
                            a file of your own is damaged; the log is not in doubt
      AUDITED_AHEAD         audited.json alone goes further than what else you keep,
                            and the log is not what it says

    A broken rule is told once and then counted (Standing: audit verify lists them); what is wrong
    with the log itself is told as long as it is wrong, and what you verified of entries that a new
    origin lost (Lost; no finding) as long as lost-SIZE.db lies in your home. With --evidence, files
    that a third party checks with other tools are written, with a README.txt, into a directory
    named for what they show: once, or again where that is gone. --replay reads all that is kept of
    the log. With --interval, what stops one look is told on stderr, and the next look tries again.
    Needs the service.

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
    told = _look(home, evidence, replay=replay, quiet=as_json)
    written = _written(told, evidence) if evidence else []
    _tell(told, written, as_json=as_json)
    if told.findings:
        with Index(home / INDEX_NAME) as index:  # not before: what failed is done the next time
            index.mark(told.findings, TOLD)
            index.mark(told.findings[: len(told.shown)], FILED)
    return told.code


def _written(told: Told, evidence: Path) -> Sequence[tuple[Path, bool]]:
    """The directories of what can be shown; where they cannot be written, that is told too."""
    try:
        return [write(evidence, *shown) for shown in told.evidence()]
    except OSError as error:
        told.faults.append(system_error(error))
        told.shown = ()  # the next look writes them
        return []


@dataclass
class Told:
    """What one look comes to, in the making.

    `shown` are files about the first `findings`, by name. `standing` counts broken rules that were
    told before, `reread` older entries, `roots` those of the directory that were computed anew.
    """

    report: AuditReport | None = None
    stamps: StampReport = NO_STAMPS
    reread: int = 0
    roots: int | None = None
    witnesses: WitnessLook | None = None
    findings: list[Finding] = field(default_factory=list)
    standing: int = 0
    lost: Sequence[Lost] = ()
    shown: Sequence[Mapping[str, bytes]] = ()
    faults: list[CredproofError] = field(default_factory=list)

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """What is wrong inside is told, and the look goes on with the next thing."""
        try:
            yield
        except (VerificationFailed, DataLoss, Unreachable) as fault:
            if not any(_is_same(fault, other) for other in self.faults):
                self.faults.append(fault)

    @property
    def code(self) -> int:
        """The exit code: a finding counts more than what was not reached."""
        codes = [exit_code(fault) for fault in self.faults]
        return FAILED if self.findings or FAILED in codes else max(codes, default=OK)

    @property
    def gravest(self) -> CredproofError | None:
        """What is told first of all; None when that is a broken rule, or nothing is wrong."""
        grave = [fault for fault in self.faults if exit_code(fault) == FAILED]
        return next(iter(grave or ([] if self.findings else self.faults)), None)

    @property
    def reason(self) -> str:
        """What it is first of all, in capitals; empty when nothing is wrong."""
        if self.gravest is not None:
            return self.gravest.reason
        return RULE_BROKEN if self.findings else ""

    def evidence(self) -> Iterator[tuple[str, Mapping[str, bytes]]]:
        """The reason and the files of each thing that can be shown."""
        for fault in self.faults:
            if isinstance(fault, LogFault):
                yield fault.reason, fault.files
        for files in self.shown:
            yield RULE_BROKEN, files


def _is_same(fault: CredproofError, other: CredproofError) -> bool:
    """Whether two faults are one: a damaged file is met at more than one place."""
    damaged = isinstance(fault, DataLoss) and isinstance(other, DataLoss)
    return fault.reason == other.reason if damaged else str(fault) == str(other)


def _look(home: Path, evidence: Path | None, *, replay: bool, quiet: bool) -> Told:
    """Look once; `evidence` is where there must be files about each finding."""
    told, at = Told(), int(time.time())
    try:
        opened = Auditor.open(home)
    except (VerificationFailed, DataLoss, Unreachable) as fault:
        told.faults += [*_by_kept_trust(home, fault), fault]
        return told
    with opened as auditor:
        told.faults += auditor.damage()
        with told.gathering(), progress_bar("following", None, hidden=quiet) as advance:
            told.report = auditor.verify(progress=advance)
        for found in told.faults:
            if isinstance(found, LogFault) and found.before:
                told.report = AuditReport(found.before, 0, {}, auditor.trusted())
        if told.report is not None:
            told.faults += uncompared(told.report)
            _look_on(told, auditor, told.report, at, replay=replay)
        with auditor.index() as index:
            known = _known(told, auditor, index)
            marks = [TOLD] if evidence is None else [TOLD, FILED]
            told.findings = index.findings(without=marks) if known else []
        if evidence is not None:
            told.findings += [f for f in known if f not in told.findings and _lost(f, evidence)]
        told.standing = len(known) - len(told.findings)
        with told.gathering():
            told.lost = auditor.lost()
        with told.gathering():
            told.shown = auditor.finding_evidence(told.findings) if evidence is not None else ()
    return told


def uncompared(report: AuditReport) -> Sequence[DataLoss]:
    """What of the log under a new origin could not be held against what was verified before."""
    if not report.uncompared:
        return []
    first, last = report.uncompared[0], report.uncompared[-1]
    which = f"whether entries {first} to {last} are those of the old origin is not known here"
    what = "audit.db was not there; compare what other auditors have of it: credproof audit compare"
    return [DataLoss("NOT_COMPARED", f"{which}: {what}")]


def _known(told: Told, auditor: Auditor, index: Index) -> list[Finding]:
    """What was found between entries; nothing where own lines do not bear out what is new."""
    with told.gathering():
        if index.findings(without=[TOLD]):
            auditor.require_judged(index)
        return index.findings()
    return []


def _lost(finding: Finding, evidence: Path) -> bool:
    """Whether the files about a finding that has had them are there no more."""
    last = max(finding.log_index, *finding.shown_by, 0)
    return not any(evidence.glob(f"{RULE_BROKEN}-{last}-*"))


def _look_on(told: Told, auditor: Auditor, report: AuditReport, at: int, *, replay: bool) -> None:
    """At all else once the newest entries, read after the time `at`, were verified."""
    with told.gathering():
        told.witnesses = look_at_witnesses(auditor, report)
    with told.gathering():
        auditor.require_undisproved()
    with told.gathering():
        told.stamps = auditor.timestamps(report.checkpoint)
    with told.gathering(), auditor.index() as index:
        if (fault := behind(index, at)) is not None:
            told.faults.append(fault)
        again = auditor.reread(index, report)
        told.reread = len(again.page)
        told.faults += again.faults
        auditor.require_registry(index, again.page)
    if replay:
        with told.gathering():
            told.roots = auditor.replay(report.checkpoint).roots


def _by_kept_trust(home: Path, fault: CredproofError) -> Sequence[LogFault]:
    """What becomes of the log where the service gives out another trust bundle than it may.

    A service that was set back as a whole is told by its bundle first; that its log is shorter,
    signed by a key that is known, is what others can check.
    """
    if not isinstance(fault, VerificationFailed):
        return []
    kept = Home(home)
    try:
        with Auditor(kept, kept.trust(at=0)) as auditor:
            auditor.require_continued()
    except LogFault as found:
        return [found]
    except CredproofError:
        return []  # it shows nothing that the bundle kept here can judge
    return []


def evidence_text(written: tuple[Path, bool]) -> str:
    """Where evidence is, and whether an earlier run wrote it."""
    where, is_new = written
    return f"{where} (README.txt says how to check it)" if is_new else f"already in {where}"


def _tell(told: Told, written: Sequence[tuple[Path, bool]], *, as_json: bool) -> None:
    if as_json:
        print_json(_json(told, [where for where, _ in written]))
        return
    for fault in told.faults:
        print_error(fault)
    if told.report is not None:
        size, read = told.report.checkpoint.tree_size, told.report.entries_read
        out.print(f"Entries:   {size}, of which {read} are new; {told.reread} older ones compared")
        print_continued(told.report)
        if told.roots is not None:
            out.print(f"Roots:     {told.roots}, each what the entries before it make")
        if told.witnesses is not None:
            print_witnesses(told.witnesses)
        print_stamps(told.stamps)
    print_lost(told.lost)
    print_findings(told.findings)
    if told.standing:
        out.print(f"Standing:  {told.standing} told before: credproof audit verify lists them")
    if told.code == OK and not told.standing and not told.lost:
        out.print("Nothing is wrong" + ("." if told.roots is not None else _NOT_REPLAYED))
    for one in written:
        out.print(f"Evidence:  {evidence_text(one)}", markup=False)


def print_continued(report: AuditReport) -> None:
    """Where the log goes on under a new origin, among the entries that were read now."""
    for found in report.continued:
        out.print(plain(f"Continues:   {found.says}"), markup=False)


def print_lost(found: Sequence[Lost]) -> None:
    """What was verified here and is not in the log any more."""
    for item in found:
        out.print(plain(f"Lost:        {item.says}"), markup=False)


def lost_json(found: Sequence[Lost]) -> list[Json]:
    """The same as JSON: `first` to `last` of `origin`, null where the log does not name them."""
    return [
        {
            "file": item.file,
            "first": item.end.kept if item.end else None,
            "last": item.size - 1 if item.end else None,
            "origin": item.end.origin if item.end else None,
        }
        for item in found
    ]


def print_findings(findings: Sequence[Finding]) -> None:
    """The rules that are broken, one a line."""
    for finding in findings:
        shown = ", ".join(map(str, finding.shown_by))
        after = f" (see {shown})" if shown else ""
        line = f"Finding:   entry {finding.log_index}: {finding.message}{after} ({finding.rule})"
        out.print(plain(line), markup=False)


def faults_json(faults: Sequence[CredproofError]) -> list[Json]:
    """What is wrong as JSON."""
    return [{"message": fault.message, "reason": fault.reason} for fault in faults]


def _json(told: Told, written: Sequence[Path]) -> dict[str, Json]:
    report, faults = told.report, told.faults
    return {
        "evidence": [str(where) for where in written],
        "faults": faults_json(faults),
        "findings": parse_own_json(findings_json(told.findings)),
        "lost": lost_json(told.lost),
        "message": "" if told.gravest is None else told.gravest.message,
        "read": 0 if report is None else report.entries_read,
        "reason": told.reason,
        "reread": told.reread,
        "roots": told.roots,
        "size": None if report is None else report.checkpoint.tree_size,
        "standing": told.standing,
        "timestamps": stamps_json(told.stamps),
        **(witnesses_json(told.witnesses) if told.witnesses is not None else NO_WITNESSES),
    }
