"""`credproof audit`: verify the log, read it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from credproof.auditing.evidence import LogFault, findings_json, write
from credproof.auditing.index import TOLD
from credproof.auditing.raised import RaisedAnomaly
from credproof.auditing.replaying import ReplayReport
from credproof.auditing.rereading import Rewritten
from credproof.auditor import Auditor, audit_token
from credproof.base.encoding import Json, parse_own_json, time_text
from credproof.base.errors import CredproofError, DataLoss, VerificationFailed
from credproof.cli import monthly, searching, stamps, unsealing
from credproof.cli.comparing import compare
from credproof.cli.evidence_page import evidence
from credproof.cli.following import (
    evidence_text,
    faults_json,
    follow,
    lost_json,
    newest_text,
    print_continued,
    print_findings,
    print_lost,
    uncompared,
)
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    err,
    out,
    print_error,
    print_json,
    progress_bar,
)
from credproof.cli.parts import GROUPS
from credproof.cli.registry import registry
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
from credproof.log.entry import Entry
from credproof.verification.log_rules import Finding
from credproof.verification.root_rules import behind

app = typer.Typer(help=GROUPS["audit"], no_args_is_help=True)
app.command(epilog=EXIT_CODES)(follow)
app.command(epilog=EXIT_CODES)(compare)
app.command(epilog=EXIT_CODES)(evidence)
app.add_typer(stamps.app, name="authority")
app.command("search", epilog=EXIT_CODES)(searching.find)
app.command("registry", epilog=EXIT_CODES)(registry)
app.command("report", epilog=EXIT_CODES)(monthly.monthly)
app.command(epilog=EXIT_CODES)(unsealing.unseal)
app.command(epilog=EXIT_CODES)(unsealing.unseals)
app.command(epilog=EXIT_CODES)(unsealing.approve)
app.command(epilog=EXIT_CODES)(unsealing.decline)
app.command("open", epilog=EXIT_CODES)(unsealing.open_detail)


@app.command(epilog=EXIT_CODES)
def verify(
    home: HomeOption = Path(),
    whole: Annotated[
        bool, typer.Option("--whole", help="Start at the first entry, not where you last stood.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify the audit log up to its newest checkpoint.

    Checks the checkpoint's signature, every entry's place in the hash chain, that times never go
    back and are not in the future by your clock, that the entries make the tree that was signed,
    and that what they say fits together (no answer without a consent, and so on). Holds timestamps
    of authorities that you trust against the times of entries, and tells where there was none for
    two hours; and which entries have waited as long for the witnesses that a quorum asks for.
    Remembers how far it went in audited.json and newest.checkpoint in your home, and keeps in
    witnessed.checkpoint what witnesses cosigned last, in timestamps.db what was stamped; keep all
    four, and registry/. One that is damaged is told, with exit code 1, and moved aside (.damaged);
    the others are gone by. It fills audit.db, which audit search reads. Under a new origin all but
    the tail that was lost must be what you verified (LOG_FORKED); what you verified of that tail
    stays in lost-SIZE.db, and is told (Lost) as long as that lies there. What entries say wrongly
    is told each time, with exit code 1; audit follow --evidence writes files about it. So is
    LOG_FORKED or LOG_BEHIND that the service tells: a witness showed it another log than its own.
    Needs the service.

    --whole also compares all that you verified before with what the service gives now, and names
    each entry that it gives otherwise (ENTRY_CHANGED) or not at all (SEQ_GAP, ENTRIES_MISSING), up
    to 100 of them; what was signed stays in audit.db, and the next audit follow --evidence writes
    files. Without audit.db it ends at the first.

    A home that followed a fork is told LOG_FORKED for ever. To begin anew with the log that others
    have (audit compare), move audited.json, newest.checkpoint, witnessed.checkpoint, timestamps.db
    and audit.db into another directory, and keep them: they show the fork.

    \b
    Example:
      credproof audit verify --home audit
    """
    bar, at = progress_bar("verifying", None, hidden=as_json), int(time.time())
    with Auditor.open(home) as auditor, bar as advance:
        damage = _tell_damage(auditor, as_json=as_json)
        report, rewritten = _verified(auditor, whole, advance)
        stamped, lost = auditor.timestamps(report.checkpoint), auditor.lost()
        with auditor.index() as index:
            findings = index.findings()
            if findings:
                auditor.require_judged(index)
            index.mark(findings, TOLD)
            late = behind(index, at)
        witnesses, disproof = _told_of_witnesses(auditor, report), _disproof(auditor)
    told = (*rewritten, *uncompared(report), late, witnesses, disproof)
    faults = [fault for fault in told if isinstance(fault, CredproofError)]
    if as_json:
        shown = {"lost": lost_json(lost), "timestamps": stamps_json(stamped)}
        beside = shown | _witnesses_json(witnesses)
        print_json(_summary(report, findings) | beside | {"faults": faults_json(faults)})
    else:
        _print_report(report, findings)
        print_lost(lost)
        if not isinstance(witnesses, DataLoss):
            print_witnesses(witnesses)
        print_stamps(stamped)
        print_findings(findings)
    for fault in faults:
        print_error(fault, as_json=as_json)
    if findings or faults or damage:
        raise typer.Exit(FAILED)


def _verified(
    auditor: Auditor, whole: bool, progress: Callable[[int], None]
) -> tuple[AuditReport, Sequence[LogFault]]:
    """What was verified, and older entries that the service gives otherwise now."""
    try:
        return auditor.verify(whole=whole, progress=progress), ()
    except Rewritten as found:
        return found.report, found.faults


def _told_of_witnesses(auditor: Auditor, report: AuditReport) -> WitnessLook | DataLoss:
    """What the service says of itself is told beside what was verified, not instead of it."""
    try:
        return look_at_witnesses(auditor, report)
    except DataLoss as fault:
        return fault


def _disproof(auditor: Auditor) -> VerificationFailed | DataLoss | None:
    """What the service gives as shown against its own log, as far as it shows that."""
    try:
        auditor.require_undisproved()
    except (VerificationFailed, DataLoss) as fault:
        return fault
    return None


def _witnesses_json(found: WitnessLook | DataLoss) -> dict[str, Json]:
    if isinstance(found, DataLoss):
        return {**NO_WITNESSES, "reason": found.reason}
    return witnesses_json(found)


def _tell_damage(auditor: Auditor, *, as_json: bool) -> Sequence[DataLoss]:
    """Files of the home that are damaged: the log is verified by the others."""
    found = auditor.damage()
    for fault in found:
        print_error(fault, as_json=as_json)
    return found


_RULES: Final = ", rules between entries"


def _print_report(report: AuditReport, findings: Sequence[Finding]) -> None:
    checkpoint = report.checkpoint
    out.print(f"Log:         {checkpoint.origin}")
    out.print(f"Entries:     {checkpoint.tree_size}, of which {report.entries_read} read now")
    out.print(f"Newest:      {newest_text(report)}")
    out.print(f"Root:        {checkpoint.root_hash.hex()}")
    for kind, count in sorted(report.kinds.items()):
        out.print(f"             {count:>8}  {kind}")
    print_continued(report)
    checked = "signature, hash chain, order of times, Merkle tree"
    out.print(f"Verified:    {checked}{'' if findings else _RULES}")
    if findings:
        out.print(f"Broken:      rules between entries, {len(findings)} times")


def _kept(home: Path) -> Auditor:
    """An auditor who goes by the trust bundle that is kept, and asks nobody."""
    kept = Home(home)
    return Auditor(kept, kept.trust(at=0))


@app.command(epilog=EXIT_CODES)
def replay(
    home: HomeOption = Path(),
    evidence: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write what shows a wrong root into a directory there."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Replay what you verified last; ask nobody.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute every root of the directory anew from the log: is anything left out of it?

    Verifies what is new as audit verify does, then compares each logged root, from the first
    entry on, with what the entries before it make. A root that differs is named with its entry
    (ROOT_DIFFERS): somebody was left out, or kept. With --evidence, that entry, its proof and a
    README.txt are written for others to check. An audit.db that is not what you verified is
    INDEX_DAMAGED, and names nobody. A change that no root covers (Uncovered) is ROOT_BEHIND, with
    exit code 1, once it has waited for more than 3 minutes by your clock, as in audit follow. Holds
    the directory in memory: about 1 KB for each borrower and schema. Needs the service, but for
    --offline: that reads what audit.db has of the last audit, and is for a service that does not
    answer; whether its roots are behind is not said then, for nobody knows what came since. Writes
    what audit verify writes.

    \b
    Example:
      credproof audit replay --evidence findings --home audit
    """
    at, late = int(time.time()), None
    with _kept(home) if offline else Auditor.open(home) as auditor:
        damage, audited = _tell_damage(auditor, as_json=as_json), None
        if not offline:
            with progress_bar("verifying", None, hidden=as_json) as advance:
                audited = auditor.verify(progress=advance).checkpoint
            with auditor.index() as index:
                late = behind(index, at)
        size = audited.tree_size if audited else None
        with progress_bar("replaying", size, hidden=as_json) as advance:
            try:
                report = auditor.replay(audited, advance)
            except LogFault as error:
                if evidence is not None:
                    written = write(evidence, error.reason, error.files)
                    err.print(f"evidence: {evidence_text(written)}", markup=False)
                raise
    if as_json:
        print_json(
            {
                "origin": report.checkpoint.origin,
                "size": report.checkpoint.tree_size,
                "roots": report.roots,
                "indexes": report.indexes,
                "root": report.root.hex(),
                "uncovered": report.uncovered,
            }
        )
    else:
        _print_replay(report)
    if late is not None:
        print_error(late, as_json=as_json)
    if damage or late:
        raise typer.Exit(FAILED)


def _print_replay(report: ReplayReport) -> None:
    out.print(f"Log:         {report.checkpoint.origin}, {report.checkpoint.tree_size} entries")
    out.print(f"Roots:       {report.roots}, each what the entries before it make")
    out.print(f"Directory:   {report.indexes} leaves, root {report.root.hex()}")
    out.print(f"Uncovered:   {report.uncovered} changes after the newest root")


def _summary(report: AuditReport, findings: Sequence[Finding]) -> dict[str, object]:
    checkpoint = report.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.tree_size,
        "root": checkpoint.root_hash.hex(),
        "read": report.entries_read,
        "kinds": dict(report.kinds),
        "continued": [
            {
                "origin": c.origin,
                "log_index": c.log_index,
                "kept": c.kept,
                "tree_size": c.tree_size,
            }
            for c in report.continued
        ],
        "findings": parse_own_json(findings_json(findings)),
        "chain_ok": True,
        "tree_ok": True,
    }


@app.command(epilog=EXIT_CODES)
def show(
    home: HomeOption = Path(),
    start: Annotated[
        int, typer.Option(min=0, help="The first entry to print, counted from 0.")
    ] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="How many entries; all to the end if not given.")
    ] = None,
) -> None:
    """Print log entries, one line of JSON each, to be read with jq.

    They are not verified: run audit verify for that. Needs the service. Writes nothing.

    \b
    Example:
      credproof audit show --start 100 --limit 20 --home audit
    """
    with Auditor.open(home) as auditor:
        size = auditor.checkpoint().tree_size
        end = size if limit is None else min(size, start + limit)
        for line in auditor.lines(start, end):
            typer.echo(line.decode("utf-8"))


@app.command(epilog=EXIT_CODES)
def anomalies(
    home: HomeOption = Path(),
    since: Annotated[int, typer.Option(min=0, help="The first log entry to look at.")] = 0,
    evidence: Annotated[
        bool, typer.Option("--evidence", help="Fetch and verify the entries that each names too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what the service raised as misuse: which rule, by whom, what was counted, and which
    entry lifted a throttle before its time.

    Each entry is verified to be in the log under its newest checkpoint, which must continue what
    you verified last (LOG_FORKED, LOG_SHRANK), and so must the entries that you have. Version and
    digest name the rules that were in force: credproof rules show prints those of an operator.
    Needs the service. Writes nothing.

    \b
    Example:
      credproof audit anomalies --since 4711 --home audit
    """
    bar = progress_bar("looking", None, hidden=as_json)
    with Auditor.open(home) as auditor, bar as advance:
        found = list(auditor.anomalies(since, progress=advance))
        shown = [list(auditor.evidence(item.anomaly)) if evidence else [] for item in found]
    if as_json:
        print_json([_anomaly(*pair) for pair in zip(found, shown, strict=True)])
        return
    for item, entries in zip(found, shown, strict=True):
        _print_anomaly(item, entries)
    out.print(f"Anomalies:  {len(found)}, each verified in the log")


def _print_anomaly(item: RaisedAnomaly, entries: Sequence[Entry]) -> None:
    anomaly = item.anomaly
    when = time_text(item.time)
    counts = ", ".join(f"{name} {count}" for name, count in anomaly.counts.items())
    out.print(f"{item.log_index}  {when}  {anomaly.rule}: {', '.join(anomaly.participants)}")
    out.print(f"    counted in {anomaly.window_s} s: {counts}; {_follows(item)}")
    out.print(f"    rules {anomaly.rules_version}, digest {anomaly.rules_digest.hex()}")
    out.print(f"    evidence: entries {', '.join(map(str, anomaly.evidence)) or 'none'}")
    for entry in entries:
        reason = entry.fields.get("reason", "")
        out.print(
            f"      {entry.seq}  {entry.kind}  {entry.actor}  {reason}".rstrip(), markup=False
        )


def _follows(item: RaisedAnomaly) -> str:
    if not item.anomaly.throttle_s:
        return "only told"
    lifted = "" if item.lifted_index is None else f", lifted at entry {item.lifted_index}"
    return f"throttled for {item.anomaly.throttle_s} s{lifted}"


def _anomaly(item: RaisedAnomaly, entries: Sequence[Entry]) -> dict[str, object]:
    """An anomaly as JSON; times are whole seconds, digests hexadecimal."""
    anomaly = item.anomaly
    told = {
        **anomaly.fields(),
        "log_index": item.log_index,
        "time": item.time,
        "lifted_index": item.lifted_index,
        "rules": anomaly.rules_digest.hex(),
    }
    named = ({"log_index": e.seq, "kind": e.kind, "actor": e.actor, **e.fields} for e in entries)
    return told | ({"entries": list(named)} if entries else {})


@app.command(epilog=EXIT_CODES)
def export(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the copy is, or will be.")],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Copy the log into static files that other tools read (C2SP tlog-tiles).

    Writes the checkpoint (the newest that witnesses cosigned, where a quorum is asked for), hash
    tiles, entry bundles and timestamps; run it again for what is new. The entries must make the
    tree that was signed, and the log must be the one that you audited last (newest.checkpoint). All
    tiles and bundles of a copy that is there are verified first; a file that is damaged is named
    (MIRROR_DAMAGED), and nothing is written. Timestamps are held against what the service gives:
    one that is missing is written again, one that is another is named. A folder that holds anything
    else is refused. A web server can offer the folder as it is; whoever reads its bundles reads the
    whole log. Needs the service.

    \b
    Example:
      credproof audit export log-copy --home audit
    """
    bar = progress_bar("copying", None, hidden=as_json)
    with Auditor.open(home) as auditor, bar as advance:
        mirror = auditor.export(folder, progress=advance)
    checkpoint = mirror.checkpoint
    assert checkpoint is not None, "export ends with one"
    if as_json:
        root = checkpoint.root_hash.hex()
        print_json({"origin": checkpoint.origin, "size": checkpoint.tree_size, "root": root})
        return
    out.print(f"Log:      {checkpoint.origin}", markup=False)
    out.print(f"Entries:  {checkpoint.tree_size}")
    out.print(f"Root:     {checkpoint.root_hash.hex()}")


@app.command(epilog=EXIT_CODES)
def token(
    home: HomeOption = Path(),
    hours: Annotated[int, typer.Option(min=1, max=24, help="How long it is good, in hours.")] = 1,
) -> None:
    """Print a token that lets other tools read the log's entries over HTTP.

    Whoever has it reads the log as you until it ends: keep it out of files. Needs no network.

    \b
    Example:
      curl -H "Authorization: Bearer $(credproof audit token --home audit)" \
        http://127.0.0.1:7446/tile/entries/000.p/7
    """
    typer.echo(audit_token(Home(home), hours=hours))
