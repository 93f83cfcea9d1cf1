"""`credproof quorum`: which witnesses count for the log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Final

import typer
from credproof.base.encoding import time_text
from credproof.cli.output import EXIT_CODES, JsonOption, out, print_json, read_file, tell
from credproof.verification.report import witness_report, witness_text

from credproof_server import quorums

ServiceArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The service's directory.")]
RootKeyOption = Annotated[
    Path | None,
    typer.Option(help="The root's private key; DIR/offline-root/root.key if not given."),
]
_RESTORE: Final = "stop the service, then credproof restore brings the log back that was signed"
_WHY: Final[Mapping[tuple[str, int | None], str]] = {
    ("LOG_FORKED", None): f"it shows another log, signed by this log's key; {_RESTORE}",
    ("LOG_BEHIND", None): f"it shows more entries, signed by this log's key; {_RESTORE}",
    ("WITNESS_DISAGREES", None): "it says that it saw another log, and shows none: ask it why",
    ("WITNESS_AHEAD", None): "it says that it saw more entries, and shows none: ask it why",
    ("WITNESS_REFUSED", 404): "it does not know this log: credproof witness add-log",
    ("WITNESS_REFUSED", 403): "it knows this log by another key",
    ("WITNESS_REFUSED", 200): "it did not cosign by the key in the quorum file",
    ("BAD_SIGNATURE", None): "what it sent as its cosignature is of something else: ask it why",
    ("WITNESS_UNREACHABLE", None): "no answer at its URL",
}
"""What the operator makes of it, by reason and status."""
_NOTHING: Final = dict.fromkeys(("at", "status", "reason", "tree_size"))

app = typer.Typer(help="Say which witnesses count for the log.", no_args_is_help=True)


@app.command("set", epilog=EXIT_CODES)
def set_command(
    folder: ServiceArgument,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A quorum file (C2SP tlog-policy).")],
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a quorum file in force: which witnesses count, and how many must have cosigned.

    It takes the place of the one before, which stays listed in the trust bundle: answers of its
    time stay witnessed. An empty file takes it away. From then on the service asks the witnesses
    about every checkpoint, and verifiers say whether enough of them have cosigned. A line
    `witness NAME VKEY URL` per witness; `group NAME 2 NAME NAME NAME`; `quorum NAME`. Each witness
    must know the log: credproof witness add-log, with the key that quorum show prints.
    Needs the root key. The service may run meanwhile.

    \b
    Example:
      credproof quorum set service quorum.txt
    """
    data = read_file(file)
    quorums.set_quorum(folder, data, root_key=root_key)
    tell({"quorum": data.decode("utf-8", "replace")}, "Quorum:     in force", as_json=as_json)


@app.command("ml-dsa", epilog=EXIT_CODES)
def ml_dsa_command(
    folder: ServiceArgument, root_key: RootKeyOption = None, as_json: JsonOption = False
) -> None:
    """Let the log sign what it publishes by ML-DSA-44 (FIPS 204) too, from now on.

    Makes the key and a trust bundle that names it: what init --ml-dsa does at the start. Stop the
    service first; checkpoints have the new signature once it runs again. It counts for no quorum.
    Needs the root key.

    \b
    Example:
      credproof quorum ml-dsa service
    """
    vkey = quorums.add_ml_dsa(folder, root_key=root_key)
    tell({"vkey": str(vkey)}, f"ML-DSA-44:  {vkey}", as_json=as_json)


@app.command("show", epilog=EXIT_CODES)
def show_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Show the log's key, what was witnessed last, each witness's last word, the quorum file.

    Of each witness that is asked: how many entries it has cosigned, and what it said last. One
    that was not asked about the newest entries was not needed, or is left alone for up to a minute
    after it failed. LOG_FORKED and LOG_BEHIND say that the witness showed another log, signed by
    this log's key: the service writes nothing more, and `Disproof:` tells what was shown until the
    log has it, or a restore has dealt with it. The service may run. Writes nothing.

    \b
    Example:
      credproof quorum show service
    """
    found = quorums.shown(folder)
    if as_json:
        print_json(_json(found))
        return
    out.print(f"Log:        {found.log}", markup=False)
    if found.newest is None:
        out.print("Witnessed:  nothing yet" if found.text else "Witnessed:  nobody is asked")
    else:
        checkpoint, witnesses = found.newest
        out.print(f"Witnessed:  {checkpoint.tree_size} entries", markup=False)
        out.print(f"By:         {witness_text(witnesses)}", markup=False)
    if found.disproof is not None:
        told = f"Disproof:   {found.disproof.tree_size} entries of another or longer log, signed by"
        out.print(f"{told} this log's key, as a witness showed: {_RESTORE}", markup=False)
    for name, said in found.witnesses.items():
        out.print(f"{name}: {_text(said)}", markup=False)
    out.print(found.text, markup=False, end="")


def _text(said: quorums.LastWord | None) -> str:
    if said is None:
        return "not asked yet"
    at = time_text(said.at)
    told = f"{said.tree_size} entries cosigned; at {at} "
    if said.reason is None:
        return f"{told}it cosigned"
    status = "" if said.status is None else f", HTTP status {said.status}"
    advice = _WHY.get((said.reason, said.status)) or _WHY.get((said.reason, None))
    return f"{told}{said.reason}{status}" + (f": {advice}" if advice else "")


def _json(found: quorums.Shown) -> dict[str, object]:
    newest = None
    if found.newest is not None:
        checkpoint, witnesses = found.newest
        newest = {"size": checkpoint.tree_size, **witness_report(witnesses)}
    asked = [
        {"name": name, **(_NOTHING if said is None else asdict(said))}
        for name, said in found.witnesses.items()
    ]
    shown = None if found.disproof is None else found.disproof.note.decode()
    told = {"log": found.log, "quorum": found.text, "witnessed": newest, "disproof": shown}
    return {**told, "witnesses": asked}


def register(root: typer.Typer) -> None:
    """Add the commands to `credproof`."""
    root.add_typer(app, name="quorum")
