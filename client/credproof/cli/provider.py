"""`credproof provider`: submit records, bind borrowers' keys."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Annotated

import typer

from credproof.borrower import make_pass
from credproof.cli.output import (
    USAGE,
    HomeOption,
    JsonOption,
    err,
    out,
    print_json,
    progress_bar,
    read_file,
    read_text,
    write_file,
)
from credproof.home import Home
from credproof.provider import Provider, SubmitReport, WithdrawReport
from credproof.records.mapping import parse_mapping
from credproof.records.reader import count_rows, read_records

app = typer.Typer(
    help="For data providers: submit and withdraw records, bind borrowers' keys.",
    no_args_is_help=True,
)
REJECTED_SHOWN = 20
ROWS_WORTH_PROCESSES = 5000
"""From how many rows on signing in several processes saves more than their start costs."""


@app.command()
def submit(
    file: Annotated[
        Path, typer.Argument(help="CSV with a header, or JSON lines (.jsonl); .gz too.")
    ],
    mapping: Annotated[Path, typer.Option(help="YAML: from columns to claims.")],
    home: HomeOption = Path(),
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first rows.")] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="How many processes sign; 0 chooses by rows and CPUs.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Attest records: sign them here, seal them, submit them, keep the receipts.

    Signed attestations wait in an outbox in your home until their receipt is there, so a rerun
    sends the same bytes, and only what is missing. Rows that cannot be used are listed with
    line and reason; the others go on. Exit code 2 when a row was rejected.
    """
    read = parse_mapping(read_file(mapping))
    if not file.is_file():
        raise typer.BadParameter(f"cannot read {file}")
    counted = count_rows(file)
    total = min(counted, limit or counted)
    rows = read_records(file, read, day_of_run=dt.datetime.now(dt.UTC).date(), limit=limit)
    bar = progress_bar("attesting", total, hidden=as_json)
    with Provider.open(home) as provider, bar as advance:
        report = provider.submit(
            rows,
            schema_id=read.schema_id,
            processes=processes or _processes(total),
            progress=advance,
        )
    _print_report(report, as_json=as_json)
    if report.rejected:
        raise typer.Exit(USAGE)


def _processes(rows: int) -> int:
    """As many as there are CPUs, where the work is worth their start."""
    return 1 if rows < ROWS_WORTH_PROCESSES else len(os.sched_getaffinity(0))


def _print_report(report: SubmitReport, *, as_json: bool) -> None:
    rejected = [
        {"line": row.line, "reason": row.reason, "message": row.message} for row in report.rejected
    ]
    if as_json:
        counts = {"accepted": report.accepted, "already": report.already}
        print_json({**counts, "rejected": rejected})
        return
    out.print(f"accepted  {report.accepted:>8}")
    out.print(f"already   {report.already:>8}")
    out.print(f"rejected  {len(rejected):>8}")
    for row in rejected[:REJECTED_SHOWN]:
        err.print(f"line {row['line']}: {row['message']} ({row['reason']})", markup=False)
    if len(rejected) > REJECTED_SHOWN:
        err.print(f"… and {len(rejected) - REJECTED_SHOWN} more: see --json")


@app.command()
def runs(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """List the runs of submit that your outbox knows, oldest first."""
    with Provider.open(home) as provider:
        found = provider.runs()
    if as_json:
        print_json([{"run": r.run, "schema": r.schema_id, **r.counts} for r in found])
        return
    for run in found:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(run.counts.items()))
        out.print(f"{run.run or 'unknown':<18}{run.schema_id:<24}{counts}")


@app.command()
def withdraw(
    accounts: Annotated[
        list[str] | None, typer.Argument(metavar="[ACCOUNT]...", help="Your account names.")
    ] = None,
    reason: Annotated[
        str, typer.Option(help="error, wrong-person, closed or transferred.")
    ] = "error",
    schema: Annotated[
        str, typer.Option(help="What was attested about the accounts.")
    ] = "consumer-revolving/1",
    run: Annotated[
        str | None, typer.Option(help="Withdraw a whole run instead: see provider runs.")
    ] = None,
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take attestations back: of accounts, or all of a run that nothing superseded.

    Once it returns, no answer rests on them. Answers given before stay valid. The same record
    is not attested again; a corrected one is. Exit code 2 when one could not be withdrawn.
    """
    if bool(accounts) == bool(run):
        raise typer.BadParameter("name accounts, or a run by --run")
    with Provider.open(home) as provider:
        if run:
            report = provider.withdraw_run(run, reason=reason)
        else:
            report = provider.withdraw(accounts or [], schema_id=schema, reason=reason)
    _print_withdrawn(report, as_json=as_json)
    if report.refused:
        raise typer.Exit(USAGE)


def _print_withdrawn(report: WithdrawReport, *, as_json: bool) -> None:
    refused = [
        {"account": item.account, "reason": item.reason, "message": item.message}
        for item in report.refused
    ]
    if as_json:
        print_json({"withdrawn": report.withdrawn, "refused": refused})
        return
    out.print(f"withdrawn {report.withdrawn:>8}")
    out.print(f"refused   {len(refused):>8}")
    for item in refused[:REJECTED_SHOWN]:
        err.print(f"{item['account']}: {item['message']} ({item['reason']})", markup=False)


@app.command()
def bind(
    proof: Annotated[Path, typer.Argument(help="The borrower's proof of possession.")],
    subject: Annotated[str, typer.Option(help="Whose key it is: cn-id:…, ref:…")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where the pass goes.")],
    home: HomeOption = Path(),
) -> None:
    """Bind a borrower's key, and write the pass that the borrower needs.

    You vouch that the person who gave the proof is the one with this id.
    """
    with Provider.open(home) as provider:
        bound = provider.bind([(subject, read_text(proof))])[0]
    write_file(output, make_pass(Home(home), bound.sub).to_bytes())
    out.print(f"Bound:  key {bound.kid}")
    out.print(f"Pass:   {output} (give it to the borrower)")


@app.command()
def fingerprint(home: HomeOption = Path()) -> None:
    """Print your signing key's fingerprint, for lenders to pin."""
    out.print(Home(home).signer.public.kid)
