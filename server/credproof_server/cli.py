"""The operator's commands; they plug into `credproof` by entry point."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from credproof.base.errors import DataLoss
from credproof.cli.advice import next_step
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    JsonOption,
    err,
    out,
    print_json,
    progress_bar,
    read_file,
    tell,
)
from credproof.verification.participant import Participant, licence_json

from credproof_server import (
    admission,
    app,
    custodian_cli,
    policy_cli,
    quorum_cli,
    registry_cli,
    root_cli,
    rules_cli,
    setup,
    timestamps_cli,
)
from credproof_server import new_origin as new_origins
from credproof_server.backups import making, marks, refilling, restoring
from credproof_server.backups.reached import Restored
from credproof_server.checking import WITNESSES, CheckReport, check
from credproof_server.demo.cli import demo
from credproof_server.directory import ServiceDirectory
from credproof_server.registry_cli import (
    certified_for_a_year,
    licence_of,
    require_admission_file,
    standing_text,
    write_admission,
)
from credproof_server.witness import cli as witness_cli

ServiceArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The service's directory.")]

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The participant's id.")]
RootKeyOption = Annotated[
    Path | None,
    typer.Option(help="The root's private key; DIR/offline-root/root.key if not given."),
]

participants = typer.Typer(
    help="Admit, license, suspend and list providers, lenders, auditors and custodians.",
    no_args_is_help=True,
)


def register(root: typer.Typer) -> None:
    """Add the commands to `credproof`."""
    root.command("init", epilog=EXIT_CODES)(init_command)
    root.command("serve", epilog=EXIT_CODES)(serve_command)
    root.command("check", epilog=EXIT_CODES)(check_command)
    root.command("upgrade", epilog=EXIT_CODES)(upgrade_command)
    root.command("backup", epilog=EXIT_CODES)(backup_command)
    root.command("export", epilog=EXIT_CODES)(export_command)
    root.command("restore", epilog=EXIT_CODES)(restore_command)
    root.command("demo", epilog=EXIT_CODES)(demo)
    root.add_typer(participants, name="participant")
    root.add_typer(custodian_cli.app, name="custodian")
    policy_cli.register()
    registry_cli.register(root, participants)
    witness_cli.register(root)
    quorum_cli.register(root)
    rules_cli.register(root)
    root_cli.register(root)
    timestamps_cli.register(root)


def init_command(
    folder: ServiceArgument,
    domain: Annotated[
        str, typer.Option(help="The service's name for good: a-z, 0-9, dots, hyphens.")
    ],
    participants_listen: Annotated[
        str, typer.Option(help="host:port where providers, lenders, auditors connect.")
    ] = "127.0.0.1:7443",
    borrowers_listen: Annotated[str, typer.Option(help="host:port where borrowers connect.")] = (
        "127.0.0.1:7444"
    ),
    ml_dsa: Annotated[
        bool,
        typer.Option("--ml-dsa", help="Sign published checkpoints by ML-DSA-44 (FIPS 204) too."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a new service in an empty directory: keys, databases, the first trust bundle.

    Prints the root's fingerprint, which every participant needs to join. Move DIR/offline-root
    away afterwards: whoever has the root key decides who is trusted. Port 0 takes a free port. The
    settings stand, explained, in DIR/credproof.toml.

    \b
    Example:
      credproof init service --domain bureau.example
    """
    setup.init(
        folder,
        domain=domain,
        participants_listen=participants_listen,
        borrowers_listen=borrowers_listen,
        ml_dsa=ml_dsa,
    )
    kid = ServiceDirectory(folder).root().kid
    tell(
        {"folder": str(folder), "domain": domain, "root": kid},
        f"Service:   {folder} ({domain})",
        f"Root:      {kid} (tell it to every participant)",
        f"Next:      credproof serve {folder}",
        f"Then:      give {folder}/operator-2 to another person: a policy needs both of you",
        f"And:       move {folder}/offline-root to another machine or a safe",
        as_json=as_json,
    )


def serve_command(folder: ServiceArgument) -> None:
    """Run a service until SIGTERM, then let calls in flight end.

    Prints its addresses once it listens. Logs one JSON line per call on stderr; no line holds
    an identity or a figure. A line with "damaged" says that a stored row was needed and is not what
    it was: credproof check names it. Needs a directory that init made and no other service runs on.

    \b
    Example:
      credproof serve service
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    for name in ("alembic", "tuf"):
        logging.getLogger(name).setLevel(logging.WARNING)

    def announce(addresses: Mapping[str, str]) -> None:
        for name, address in addresses.items():
            out.print(f"{name:<14}{address}")
        sys.stdout.flush()

    app.run(folder, announce)


@participants.command("add", epilog=EXIT_CODES)
def add_command(
    folder: ServiceArgument,
    enrolment: Annotated[
        Path, typer.Argument(help="The applicant's enrolment.json, at most seven days old.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The admission, a file to be written and sent back."),
    ],
    schema: Annotated[
        list[str] | None,
        typer.Option(
            help="A schema that the provider may attest, like consumer-revolving/1; may be"
            " repeated; all in force if not given."
        ),
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(help="The role that you expect; must be said for operators and custodians."),
    ] = None,
    licence: Annotated[
        str | None,
        typer.Option(help="A lender's licence by its number, valid for a year from now."),
    ] = None,
    purposes: Annotated[
        str,
        typer.Option(help="What a lender certified that it asks for: ORIGINATION,REVIEW; a year."),
    ] = "",
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Admit a participant: its certificate, and a new trust bundle that names its key.

    Checks that the applicant holds both private keys; that it is who it says, you check. Needs the
    root key. The service may run meanwhile: it takes effect at once.
    An admission that was lost is made again for the same enrolment. A custodian's share becomes
    part of the pseudonym key, so everybody's pseudonym is another one: it is refused once one was
    made. A lender without a licence, or
    that has not certified a purpose, is refused: participant licence and certify enter them later,
    and with other dates.

    \b
    Examples:
      credproof participant add service bank/enrolment.json -o bank.admission.json
      credproof participant add service lend/enrolment.json -o lend.admission.json \\
        --licence LEND-7 --purposes ORIGINATION,REVIEW
      credproof participant add service notary/enrolment.json -o notary.admission.json \\
        --role custodian
    """
    require_admission_file(output)
    admitted = admission.admit(
        folder,
        read_file(enrolment),
        root_key=root_key,
        schemas=tuple(schema or ()),
        role=role,  # type: ignore[arg-type]
        licence=None if licence is None else licence_of(licence, None, None),
        certified=certified_for_a_year(purposes),
    )
    write_admission(output, admitted, "Admitted", as_json=as_json)


@participants.command("suspend", epilog=EXIT_CODES)
def suspend_command(
    folder: ServiceArgument,
    participant_id: IdArgument,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Refuse a participant from now on; of a provider, nothing attested counts any more.

    Answers given before stay valid. Needs the root key. The service may run meanwhile: it takes
    effect at once.

    \b
    Example:
      credproof participant suspend service bank --root-key safe/root.key
    """
    admission.set_status(folder, participant_id, "suspended", root_key=root_key)
    told = f"Suspended:  {participant_id} (credproof participant resume ends it)"
    tell({"id": participant_id, "status": "suspended"}, told, as_json=as_json)


@participants.command("resume", epilog=EXIT_CODES)
def resume_command(
    folder: ServiceArgument,
    participant_id: IdArgument,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the suspension of a participant.

    Of a provider, what it attested before counts again. Needs the root key. The service may run.
    """
    admission.set_status(folder, participant_id, "active", root_key=root_key)
    told = f"Active:     {participant_id}"
    tell({"id": participant_id, "status": "active"}, told, as_json=as_json)


@participants.command("unthrottle", epilog=EXIT_CODES)
def unthrottle_command(
    folder: ServiceArgument, participant_id: IdArgument, as_json: JsonOption = False
) -> None:
    """End what throttles a participant: you have looked at it, or the alarm was false.

    A throttle also ends by itself. The log says who ended it; what was counted before is not
    counted again. credproof audit anomalies shows what was raised. The service may run meanwhile.

    \b
    Example:
      credproof participant unthrottle service lend
    """
    admission.lift_throttle(folder, participant_id)
    tell({"id": participant_id}, f"Lifted:     what throttled {participant_id}", as_json=as_json)


@participants.command("list", epilog=EXIT_CODES)
def list_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Show every participant, its role and its status; of lenders, licence and purposes.

    The service may run. Writes nothing.
    """
    found = admission.participants(folder)
    if as_json:
        print_json([_listed(item) for item in found])
        return
    for item in found:
        out.print(
            f"{item.id:<40}  {item.role:<9}  {item.status:<9}  {standing_text(item)}".rstrip()
        )


def _listed(item: Participant) -> dict[str, Any]:
    """A participant as JSON; times are whole seconds."""
    licence, certified = licence_json(item.licence), dict(item.certified)
    standing = {"licence": licence, "certified": certified} if item.role == "lender" else {}
    return {"id": item.id, "role": item.role, "status": item.status, **standing}


def check_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Check that everything stored is what was logged; names every row that is not.

    Reads the whole log (chain, times, tree, newest checkpoint) and decrypts every row. Where an
    entry is damaged, those after it and the directory are not checked, and it says so. The service
    may run. Writes nothing. Exit code 1 when something is damaged, or when the service has stopped
    because a witness showed another log than this one (LOG_FORKED, LOG_BEHIND), and what to do.
    """
    with progress_bar("checking", None, hidden=as_json) as advance:
        report = check(ServiceDirectory(folder), advance)
    _print_check(report, as_json=as_json)
    if report.damage:
        raise typer.Exit(FAILED)


def _print_check(report: CheckReport, *, as_json: bool) -> None:
    if as_json:
        counts = {"entries": report.entries, "signed": report.signed, "rows": dict(report.rows)}
        damage = [asdict(d) | ({} if d.is_logged else {"log_index": None}) for d in report.damage]
        print_json({"ok": not damage, **counts, "damage": damage})
        return
    sound = "" if report.entries == report.signed else _not_all(report)
    out.print(f"{'entries':<18}{report.entries:>8}{sound}")
    for what, count in report.rows.items():
        name = {"anomaly": "anomalies", "directory leaf": "directory leaves"}.get(what, f"{what}s")
        told = "not checked: the log is damaged" if count is None else f"{count:>8}"
        out.print(f"{name:<18}{told}")
    for item in report.damage:
        where = f"{item.what} {item.log_index}" if item.is_logged else item.what
        err.print(f"damaged: {where}: {item.message} ({item.reason})", markup=False)
        if item.what == WITNESSES:
            err.print(f"next:    {next_step(DataLoss(item.reason, item.message))}", markup=False)
    if not report.damage:
        out.print("nothing is damaged")


def _not_all(report: CheckReport) -> str:
    of = "" if report.signed is None else f" of {report.signed}"
    return f" sound{of}, those after it not checked"


def upgrade_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Bring a service's databases to this version. The service must not run; back up first.

    Run it after installing a new version. Where there is nothing to do, nothing is changed.
    A database that is lost is not made anew: restore it.
    """
    setup.upgrade(folder)
    tell({"folder": str(folder)}, "The databases are up to date.", as_json=as_json)


KeysToOption = Annotated[
    Path,
    typer.Option("--keys-to", help="Where the borrowers' data keys go: apart, kept shortly."),
]


def backup_command(
    folder: ServiceArgument,
    to: Annotated[Path, typer.Option("--to", help="A new folder for everything but data keys.")],
    keys_to: KeysToOption,
    as_json: JsonOption = False,
) -> None:
    """Back a service up, which may run meanwhile: two folders that must be kept apart.

    The data keys decide how long an erased person could come back: keep their copies for days,
    the others for years. Neither holds the key-encryption key (DIR/kek) nor the offline root:
    keep those by themselves. The high-water mark is in no backup: it stays in DIR.
    """
    size = making.back_up(ServiceDirectory(folder), to, keys_to)
    tell(
        {"backup": str(to), "keys": str(keys_to), "size": size},
        f"Backup:     {to}, {size} log entries",
        f"Data keys:  {keys_to} (keep them apart from it, and only for a short time)",
        f"Later:      credproof export {folder} FILE --since {size}",
        as_json=as_json,
    )


def export_command(
    folder: ServiceArgument,
    file: Annotated[Path, typer.Argument(help="A new file.")],
    since: Annotated[int, typer.Option(min=0, help="The first log entry: where a backup ends.")],
    keys_to: KeysToOption,
    as_json: JsonOption = False,
) -> None:
    """Write what was logged from an entry on, with its rows: what a restored backup lacks.

    With it goes all metadata of the trust bundle, as participants see it. The service may run. The
    data keys as they are now go to a folder of their own.
    """
    directory = ServiceDirectory(folder)
    making.require_apart(file, keys_to)
    size = making.export(directory, file, since)
    making.copy_keys(directory, keys_to)
    held = f"entries {since} to {size - 1}" if size > since else "no entries"
    tell(
        {"export": str(file), "keys": str(keys_to), "since": since, "size": size},
        f"Export:     {file}, {held}",
        f"Data keys:  {keys_to} (keep them apart from it, and only for a short time)",
        f"Later:      credproof export {folder} FILE --since {size}",
        as_json=as_json,
    )


def restore_command(
    folder: ServiceArgument,
    source: Annotated[
        Path | None, typer.Option("--from", help="The main part of a backup.")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option("--keys-from", help="The newest copy of the data keys.")
    ] = None,
    exported: Annotated[
        Path | None, typer.Option("--from-export", help="Then add what this export holds.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(help="The newest signed checkpoint, if the one in DIR is lost or older."),
    ] = None,
    new_origin: Annotated[
        str | None,
        typer.Option(help="Signed entries are lost for good: go on under this name of the log."),
    ] = None,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a service from a backup, an export, or both. The service must not run.

    What is in DIR is kept in DIR/replaced-TIME, data keys too: destroy it once the service runs.
    A borrower who was erased there stays erased. If entries that were signed are still missing,
    the service refuses to start, so that the log cannot fork: refill them from exports, one after
    the other. Exit code 1 when entries are missing. Of a log that forked, restore what witnesses
    saw: what they showed (DIR/disproof) takes the place of the high-water mark. A backup or an
    export of the fork itself is LOG_FORKED, and nothing is changed.

    Metadata of the trust bundle that was published after the backup, and after the export, is lost:
    participants who saw it refuse what is older (TUF_ROLLBACK), and say whose it is, until a
    provider publishes its key set again, or the operator signs the rest anew (root extend).

    If signed entries are lost for good, --new-origin NAME ends the old log and begins a new one
    with what is left; its first entry names the old log's last checkpoint, so that all can see what
    is lost. What changed the registry there is undone, so that a stolen key that had ended counts
    again: renew and suspend anew before you serve it. Witnesses know a log by its key, which has
    the new name in it: give it to them (credproof witness add-log), or they refuse, and nothing is
    witnessed any more.
    """
    if new_origin is not None and (source or keys or exported or checkpoint):
        raise typer.BadParameter("restore first, then name --new-origin by itself")
    if new_origin is not None:
        vkey = new_origins.begin_anew(folder, new_origin, root_key=root_key)
        _tell_new_origin(folder, new_origin, vkey, as_json=as_json)
        return
    if checkpoint is not None and source is None and keys is None:
        reached = marks.set_mark(folder, checkpoint)
    elif source is not None and keys is not None:
        reached = restoring.restore(folder, source, keys, checkpoint)
    elif source is not None or keys is not None or exported is None:
        raise typer.BadParameter("name --from and --keys-from, or --from-export, or all three")
    if exported is not None:
        reached = refilling.refill(ServiceDirectory(folder), exported)
    _tell_restored(folder, reached, as_json=as_json)


def _tell_new_origin(folder: Path, origin: str, vkey: str, *, as_json: bool) -> None:
    tell(
        {"origin": origin, "log": vkey},
        f"Origin:     {origin} (tell auditors: what was lost stands in the log)",
        f"Log key:    {vkey}",
        "Undone:     renewals, suspensions and what else was changed and is lost: keys that had",
        f"            ended count again. Do it anew now: credproof participant list {folder}",
        f"Next:       credproof serve {folder}; where there are witnesses, each must be given the",
        "            new log key: credproof witness add-log WITNESS LOG-KEY",
        as_json=as_json,
    )


def _tell_restored(folder: Path, reached: Restored, *, as_json: bool) -> None:
    size, signed = reached.tree_size, reached.signed_size
    lines = [f"Restored:   {size} log entries, {signed} were signed"]
    if not reached.missing:
        lines.append(f"Next:       credproof check {folder}, then credproof serve {folder}")
    if reached.aside is not None:
        lines.append(f"Set aside:  {reached.aside}/high-water (show it to auditors: of a fork?)")
    told = {"size": size, "signed_size": signed, "missing": reached.missing}
    tell(told, *lines, as_json=as_json)
    if reached.missing and not as_json:
        missing = f"missing: entries {size} to {signed - 1}: restore --from-export"
        err.print(missing, markup=False)
    if reached.missing:
        raise typer.Exit(FAILED)
