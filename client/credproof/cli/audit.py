"""`credproof audit`: verify the log, read it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from credproof.auditor import Auditor, RaisedAnomaly, audit_token
from credproof.cli.output import (
    EXIT_CODES,
    HomeOption,
    JsonOption,
    out,
    print_json,
    progress_bar,
)
from credproof.home import Home
from credproof.log.audit import AuditReport
from credproof.log.entry import Entry

app = typer.Typer(help="For compliance officers: verify the log, read it.", no_args_is_help=True)


@app.command(epilog=EXIT_CODES)
def verify(
    home: HomeOption = Path(),
    whole: Annotated[
        bool, typer.Option("--whole", help="Start at the first entry, not where you last stood.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Verify the audit log up to its newest checkpoint.

    Checks the checkpoint's signature, every entry's place in the hash chain, that times never
    go back, and that the entries make the tree that was signed. Remembers how far it went in
    audited.json and newest.checkpoint in your home; keep both. Needs the service.

    \b
    Example:
      credproof audit verify --home audit
    """
    bar = progress_bar("verifying", None, hidden=as_json)
    with Auditor.open(home) as auditor, bar as advance:
        report = auditor.verify(whole=whole, progress=advance)
    if as_json:
        print_json(_summary(report))
        return
    checkpoint = report.checkpoint
    out.print(f"Log:         {checkpoint.origin}")
    out.print(f"Entries:     {checkpoint.tree_size}, of which {report.entries_read} read now")
    out.print(f"Root:        {checkpoint.root_hash.hex()}")
    for kind, count in sorted(report.kinds.items()):
        out.print(f"             {count:>8}  {kind}")
    for found in report.continued:
        lost = f"entries {found.log_index} to {found.tree_size - 1} of it were lost"
        out.print(f"Continues:   {found.origin}: {lost}")
    out.print("Verified:    signature, hash chain, times, Merkle tree")
    out.print("Not shown:   witnesses (none)")


@app.command(epilog=EXIT_CODES)
def replay(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """Compute every root of the directory anew from the log: is anything left out of it?

    Reads the whole log, verifies it as audit verify does, and compares each logged root with what
    the entries before it make. A root that differs is named with its entry (ROOT_DIFFERS). Holds
    the directory in memory: about 1 KB for each borrower and schema. Needs the service. Writes
    nothing.

    \b
    Example:
      credproof audit replay --home audit
    """
    bar = progress_bar("replaying", None, hidden=as_json)
    with Auditor.open(home) as auditor, bar as advance:
        report = auditor.replay(advance)
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
        return
    out.print(f"Log:         {report.checkpoint.origin}, {report.checkpoint.tree_size} entries")
    out.print(f"Roots:       {report.roots}, each what the entries before it make")
    out.print(f"Directory:   {report.indexes} leaves, root {report.root.hex()}")
    out.print(f"Uncovered:   {report.uncovered} changes after the newest root")


def _summary(report: AuditReport) -> dict[str, object]:
    checkpoint = report.checkpoint
    return {
        "origin": checkpoint.origin,
        "size": checkpoint.tree_size,
        "root": checkpoint.root_hash.hex(),
        "read": report.entries_read,
        "kinds": dict(report.kinds),
        "continued": [
            {"origin": c.origin, "log_index": c.log_index, "tree_size": c.tree_size}
            for c in report.continued
        ],
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
    """Show what the service raised as misuse: which rule, by whom, what was counted.

    Each entry is verified to be in the log under its newest checkpoint. Version and digest name the
    rules that were in force: credproof rules show prints those of an operator. Needs the service.
    Writes nothing.

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
    when = dt.datetime.fromtimestamp(item.time, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    counts = ", ".join(f"{name} {count}" for name, count in anomaly.counts.items())
    follows = f"throttled for {anomaly.throttle_s} s" if anomaly.throttle_s else "only told"
    out.print(f"{item.log_index}  {when}  {anomaly.rule}: {', '.join(anomaly.participants)}")
    out.print(f"    counted in {anomaly.window_s} s: {counts}; {follows}")
    out.print(f"    rules {anomaly.rules_version}, digest {anomaly.rules_digest.hex()}")
    out.print(f"    evidence: entries {', '.join(map(str, anomaly.evidence)) or 'none'}")
    for entry in entries:
        reason = entry.fields.get("reason", "")
        out.print(
            f"      {entry.seq}  {entry.kind}  {entry.actor}  {reason}".rstrip(), markup=False
        )


def _anomaly(item: RaisedAnomaly, entries: Sequence[Entry]) -> dict[str, object]:
    """An anomaly as JSON; times are whole seconds, digests hexadecimal."""
    anomaly = item.anomaly
    told = {
        **anomaly.fields(),
        "log_index": item.log_index,
        "time": item.time,
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

    Writes the checkpoint, hash tiles and entry bundles; run it again for what is new. The entries
    must make the tree that was signed. A web server can offer the folder as it is; whoever reads
    its bundles reads the whole log. Needs the service.

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
        http://127.0.0.1:7445/tile/entries/000.p/7
    """
    typer.echo(audit_token(Home(home), hours=hours))
