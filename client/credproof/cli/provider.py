"""`credproof provider`: submit records, bind borrowers' keys."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path
from typing import Annotated

import typer

from credproof.base.errors import VerificationFailed
from credproof.base.keys import DatedKey
from credproof.borrower import make_pass
from credproof.cli import signed_keys
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    USAGE,
    HomeOption,
    JsonOption,
    err,
    out,
    plain,
    print_error,
    print_json,
    progress_bar,
    read_file,
    read_text,
    require_file,
    tell,
    write_file,
)
from credproof.cli.parts import GROUPS
from credproof.filed import FilingReport
from credproof.home import Home
from credproof.provider import Provider, SubmitReport, WithdrawReport
from credproof.records.mapping import parse_mapping
from credproof.records.reader import count_rows, read_records
from credproof.updating.own_keys import signed_here
from credproof.verification.acceptance import sign_acceptance
from credproof.verification.registry import ListedKey

app = typer.Typer(help=GROUPS["provider"], no_args_is_help=True)
app.add_typer(signed_keys.app, name="keys")
REJECTED_SHOWN = 20
ROWS_WORTH_PROCESSES = 5000
"""From how many rows on signing in several processes saves more than their start costs."""


@app.command(epilog=EXIT_CODES)
def submit(
    file: Annotated[
        Path,
        typer.Argument(help="CSV with a header, or JSON lines (.jsonl, .ndjson); .gz too; UTF-8."),
    ],
    mapping: Annotated[Path, typer.Option(help="YAML file: which columns make which claims.")],
    home: HomeOption = Path(),
    limit: Annotated[
        int | None, typer.Option(min=1, help="Take only so many rows; all if not given.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="How many processes sign; 0 chooses by rows and CPUs.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Attest records: sign them here, seal them, submit them, keep the receipts.

    Signed attestations wait in an outbox in your home until their receipt is there, so a rerun
    sends the same bytes, and only what is missing. Rows that cannot be used are listed with
    line and reason; the others go on. Exit code 2 when a row was rejected: mend it, run again.
    Needs the service. Writes outbox.db in your home.

    \b
    Example:
      credproof provider submit cards.csv --mapping cards.mapping.yaml --home bank
    """
    read = parse_mapping(read_file(mapping))
    require_file(file)
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


@app.command(epilog=EXIT_CODES)
def runs(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """List the runs of submit that your outbox knows, oldest first.

    A line holds the run's name, its schema, and how many of its attestations are in which state.
    Needs the service. Writes nothing.
    """
    with Provider.open(home) as provider:
        found = provider.runs()
    if as_json:
        print_json([{"run": r.run, "schema": r.schema_id, **r.counts} for r in found])
        return
    for run in found:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(run.counts.items()))
        out.print(f"{run.run or 'unknown':<21}  {run.schema_id:<22}  {counts}")


@app.command(epilog=EXIT_CODES)
def withdraw(
    accounts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ACCOUNT]...",
            help="Account names, as the mapping made them (prefix included).",
        ),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="Why: error, wrong-person, closed or transferred.")
    ] = "error",
    schema: Annotated[
        str, typer.Option(help="The schema that the accounts were attested under.")
    ] = "consumer-revolving/1",
    run: Annotated[
        str | None, typer.Option(help="Withdraw a whole run instead, by its name in provider runs.")
    ] = None,
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Take attestations back: of accounts, or all of a run that nothing superseded.

    Once it returns, no answer rests on them. Answers given before stay valid. The same record
    is not attested again; a corrected one is. Exit code 2 when one could not be withdrawn.
    Needs the service, and the outbox for --run.

    \b
    Examples:
      credproof provider withdraw card-7 card-9 --reason wrong-person --home bank
      credproof provider withdraw --run 20260131T120000Z-0a1b --home bank
    """
    if bool(accounts) == bool(run):
        raise typer.BadParameter("name accounts, or a run by --run, and not both")
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


@app.command(epilog=EXIT_CODES)
def bind(
    proof: Annotated[
        Path, typer.Argument(help="The borrower's proof of possession, at most ten minutes old.")
    ],
    subject: Annotated[
        str, typer.Option(help="Whose key it is, as in your records: cn-id:…, ref:…")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The pass, a file to be written.")],
    replaces: Annotated[
        str,
        typer.Option(metavar="FINGERPRINT", help="The lost key that this one replaces, if any."),
    ] = "",
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Bind a borrower's key, and write the pass that the borrower needs.

    You vouch that the person who gave the proof is the one with this id. With --replaces the lost
    key ends first, for all providers; its consents pause until the new key signs them too
    (credproof borrower cosign). Needs the service.

    \b
    Example:
      credproof provider bind me.proof --subject ref:client-7 -o me.pass --home bank
    """
    with Provider.open(home) as provider:
        if replaces:
            bound = provider.replace_key(subject, read_text(proof), lost=replaces)
        else:
            bound = provider.bind([(subject, read_text(proof))])[0]
    write_file(output, make_pass(Home(home), bound.sub).to_bytes())
    tell(
        {"fingerprint": bound.kid, "pass": str(output)},
        f"Bound:  key {bound.kid}",
        f"Pass:   {output} (give it to the borrower)",
        as_json=as_json,
    )


@app.command(epilog=EXIT_CODES)
def freeze(
    kid: Annotated[
        str,
        typer.Argument(metavar="FINGERPRINT", help="The key's, as bind printed it."),
    ],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """End a borrower's key that was reported lost: at once, and for all providers.

    A report of loss can do no more than this: consents under the key pause, nothing is revoked.
    To give the borrower a new key, use credproof provider bind --replaces. Needs the service.

    \b
    Example:
      credproof provider freeze 00112233445566778899aabbccddeeff --home bank
    """
    with Provider.open(home) as provider:
        provider.freeze(kid)
    tell({"fingerprint": kid}, f"Ended:  key {kid}", as_json=as_json)


@app.command(epilog=EXIT_CODES)
def accept(
    binders: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Providers whose key bindings you accept."),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Your signed word, a file to be written.")
    ] = Path("acceptance.jws"),
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Say whose bindings of borrowers' keys count for your attestations, beside your own.

    Your attestations can then be used under consents by keys that these providers bound. Send the
    file to the operator (credproof participant accept). It takes the place of the one before; no
    id takes all back. Needs no network.

    \b
    Example:
      credproof provider accept telco -o bank.acceptance --home bank
    """
    found = Home(home)
    text = sign_acceptance(
        found.signer,
        provider=found.settings.id,
        domain=found.settings.domain,
        binders=binders or [],
        now=int(time.time()),
    )
    write_file(output, text.encode("ascii"))
    named = sorted(binders or [])
    tell(
        {"binders": named, "file": str(output)},
        f"Accepted:  {', '.join(named) or 'nobody else'}",
        f"Written:   {output} (send it to the operator)",
        as_json=as_json,
    )


@app.command("self-check", epilog=EXIT_CODES)
def self_check(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """Verify that the service filed all of your attestations where they belong.

    Of every accepted item of your outbox the log entry is fetched: it must be in the log, name the
    directory's place of the very borrower, and say which attestation it replaces. Each that does
    not, or that is no longer shown, is listed with its log entry (exit code 1). Whether the roots
    of the directory follow from the entries is what an auditor computes (audit replay); what
    lookups give out of the service's own tables, borrowers verify (borrower self-check). You learn
    nothing of attestations by others. Needs the service and the outbox. Writes nothing.

    \b
    Example:
      credproof provider self-check --home bank
    """
    bar = progress_bar("checking", None, hidden=as_json)
    with Provider.open(home) as provider, bar as advance:
        report = provider.self_check(advance)
    _print_filing(report, as_json=as_json)
    if report.faults:
        raise typer.Exit(FAILED)


def _print_filing(report: FilingReport, *, as_json: bool) -> None:
    if as_json:
        print_json(asdict(report))
        return
    out.print(f"filed right {report.checked - len(report.faults):>8}")
    out.print(f"found wrong {len(report.faults):>8}")
    for fault in report.faults:
        told = f"entry {fault.log_index}: {plain(fault.message)} ({fault.reason})"
        err.print(told, markup=False)
    if report.faults:
        err.print(
            "next:  keep your outbox and these lines, ask the operator why,"
            " and let an auditor look at these entries"
        )


@app.command(epilog=EXIT_CODES)
def fingerprint(home: HomeOption = Path()) -> None:
    """Print your signing key's fingerprint, for lenders to pin.

    Tell it to lenders by another way than through the operator. Needs no network.
    """
    out.print(Home(home).signer.public.kid)


@app.command(epilog=EXIT_CODES)
def watch(
    home: HomeOption = Path(),
    known: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Fingerprint of a key that you had before; repeat it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """See every key that the registry ever listed in your name; a strange one ends with code 1.

    Reads all versions of the trust bundle and proves each to be the one that the log names. Whoever
    lists a key for you can sign attestations as you: run this daily. Yours are the one in your home
    and, once it has ended, each of before that your home's key has signed into your key set
    (credproof provider keys sign --known). Tells too whether that is in force: while it is, whoever
    has seen it takes no key in your name that is not in it, unless two people said in a root that
    you begin anew (RELEASED). Two trust bundles of one version that your home was given are told
    until you move them away (TRUST_FORKED). Needs the service. Writes nothing.

    \b
    Example:
      credproof provider watch --home bank
    """
    own = Home(home).signer.public.kid
    with Provider.open(home) as provider:
        with progress_bar("versions", provider.trust.bundle.version, hidden=as_json) as advance:
            keys, checkpoint = provider.registered_keys(advance)
        versions, signed = provider.trust.bundle.version, provider.signed_keys()
        released, forked = provider.is_released(), provider.forked_versions()
        now_listed = provider.trust.participants[provider.id].keys
    present = {key.public.kid: key for key in now_listed}
    mine = {own, *(known or []), *_of_before(keys, own, signed_here(Home(home)), present)}
    strange = [item for item in keys if item.key.public.kid not in mine]
    if as_json:
        listed = [_listed_key(item, item not in strange, present) for item in keys]
        found = {"keys": listed, "log_size": checkpoint.tree_size, "versions": versions}
        found |= {"key_set": list(signed or ()), "released": released, "forked": forked}
        print_json(found)
    else:
        for item in keys:
            word = "STRANGE" if item in strange else "yours  "
            since = f"since version {item.version}, log entry {item.log_index}"
            out.print(f"{word}   {item.key.public.kid}  {since}{_ended(item, present)}")
        out.print(f"Versions:  {versions}, each proved to be in the log")
        told = "none: the root key decides alone (credproof provider keys sign)"
        out.print(f"Key set:   {told if signed is None else ', '.join(signed)}")
        if released:
            out.print("RELEASED   two people said in a root that you begin anew: sign it once more")
    if strange and not as_json:
        lists = "lists" if any(item.key.public.kid in present for item in strange) else "listed"
        message = f"the registry {lists} a key in your name that you do not know"
        print_error(VerificationFailed("STRANGE_KEY", message))
    if forked and not as_json:
        message = f"two trust bundles were given as version {', '.join(map(str, forked))}"
        print_error(VerificationFailed("TRUST_FORKED", message))
    if strange or forked:
        raise typer.Exit(FAILED)


def _of_before(
    keys: Sequence[ListedKey], own: str, word: Sequence[str], present: Mapping[str, DatedKey]
) -> Iterator[str]:
    """Ended keys that were listed before the own one, and are in the key set that it signed.

    One that was listed later stays strange: a thief of the home can sign it in too.
    """
    before = takewhile(lambda item: item.key.public.kid != own, keys)
    for item in before:
        if item.key.public.kid in word and _ended(item, present):
            yield item.key.public.kid


def _ended(item: ListedKey, present: Mapping[str, DatedKey]) -> str:
    key = present.get(item.key.public.kid)
    if key is None:
        return ", not listed any more"
    return ", ended" if key.not_after <= time.time() else ""


def _listed_key(
    item: ListedKey, is_yours: bool, present: Mapping[str, DatedKey]
) -> dict[str, object]:
    """A key as JSON; times are whole seconds. `present` are those that are listed now."""
    return {
        "fingerprint": item.key.public.kid,
        "from": item.key.not_before,
        "listed": item.key.public.kid in present,
        "log_index": item.log_index,
        "time": item.time,
        "until": present.get(item.key.public.kid, item.key).not_after,
        "version": item.version,
        "yours": is_yours,
    }
