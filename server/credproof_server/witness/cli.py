"""`credproof witness`: cosign other logs."""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from credproof import web
from credproof.base.encoding import time_text
from credproof.cli.output import EXIT_CODES, JsonOption, out, print_json, tell
from credproof.files import replace_file
from credproof.log.note import VerifierKey

from credproof_server.witness import store
from credproof_server.witness.app import application

app = typer.Typer(
    help="Witness other logs: cosign what continues all that was seen before.",
    no_args_is_help=True,
)
WitnessArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The witness's directory.")]


@app.command("init", epilog=EXIT_CODES)
def init_command(
    folder: WitnessArgument,
    name: Annotated[str, typer.Option(help="Its name for good: a URL without scheme.")],
    ml_dsa: Annotated[
        bool, typer.Option("--ml-dsa", help="Cosign by ML-DSA-44 too, for when Ed25519 falls.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a witness in an empty directory, with keys of its own.

    Prints its public keys (vkeys): logs put them into their quorum files, verifiers pin them. Needs
    no network.

    \b
    Example:
      credproof witness init witness --name witness.example/one
    """
    keys = [str(cosigner.key) for cosigner in store.init(folder, name, ml_dsa=ml_dsa)]
    tell(
        {"keys": keys},
        *(f"Key:   {key}" for key in keys),
        f"Next:  credproof witness add-log {folder} VKEY, then credproof witness serve {folder}",
        as_json=as_json,
    )


@app.command("add-log", epilog=EXIT_CODES)
def add_log_command(
    folder: WitnessArgument,
    vkey: Annotated[
        str, typer.Argument(metavar="VKEY", help="The log's public key: NAME+HASH+KEY, quoted.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Witness a log from now on, known by its key.

    The log's operator tells the key: credproof quorum show prints it, and it stands in the trust
    bundle. Works beside a running witness. Needs no network.

    \b
    Example:
      credproof witness add-log witness "$(cat log.vkey)"
    """
    with closing(store.Witness(folder)) as witness:
        key = VerifierKey.parse(vkey)
        witness.add_log(key)
    tell({"origin": key.name}, f"Log:  {key.name}", as_json=as_json)


@app.command("list", epilog=EXIT_CODES)
def list_command(folder: WitnessArgument, as_json: JsonOption = False) -> None:
    """Show the logs that it witnesses, how far each was seen, and what speaks against it.

    A fork is another root at a size that was cosigned, signed by the log. A longer checkpoint that
    came with a wrong proof is unproved: anybody who reads the log may have sent it.

    \b
    Example:
      credproof witness list witness
    """
    with closing(store.Witness(folder)) as witness:
        seen = witness.seen()
        rows = [
            {
                "origin": origin,
                "size": seen[origin].tree_size if origin in seen else None,
                "root": seen[origin].root_hash.hex() if origin in seen else None,
                "forks": sum(item.fork for item in against),
                "unproved": sum(not item.fork for item in against),
            }
            for origin in witness.logs()
            for against in [witness.evidence(origin)]
        ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        size = "not seen yet" if row["size"] is None else f"{row['size']} entries"
        told = [f", {row[name]} {name}" for name in ("forks", "unproved") if row[name]]
        out.print(f"{row['origin']}  {size}{''.join(told)}", markup=False)


@app.command("keys", epilog=EXIT_CODES)
def keys_command(folder: WitnessArgument, as_json: JsonOption = False) -> None:
    """Print the witness's public keys (vkeys) again. Needs no network.

    \b
    Example:
      credproof witness keys witness
    """
    with closing(store.Witness(folder)) as witness:
        keys = [str(cosigner.key) for cosigner in witness.cosigners]
    tell({"keys": keys}, *(f"Key:   {key}" for key in keys), as_json=as_json)


@app.command("evidence", epilog=EXIT_CODES)
def evidence_command(
    folder: WitnessArgument,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="A directory to write it to.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show what a log signed and this witness did not cosign, or write it to files.

    A fork shows by itself that the log signed two roots of one size. An unproved one is longer than
    what was cosigned and came with a wrong proof, which anybody may have sent: an auditor of the
    log can tell, by audit compare. With --output two files for each: N.request, the checkpoint as
    it came, signed by the log, and N.cosigned, the newest of that log that this witness had
    cosigned by then. Kept are 1000 forks of each log, the first, and 1000 unproved, the last; none
    that was proved later. Needs no network.

    \b
    Example:
      credproof witness evidence witness -o evidence
    """
    with closing(store.Witness(folder)) as witness:
        found = witness.evidence()
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            for item in found:
                replace_file(output / f"{item.id}.request", item.body)
                replace_file(output / f"{item.id}.cosigned", item.cosigned)
    rows = [
        {"id": i.id, "origin": i.origin, "time": i.time, "size": i.size, "fork": i.fork}
        for i in found
    ]
    if as_json:
        print_json(rows)
        return
    for item in found:
        what = "fork" if item.fork else "unproved"
        told = f"{item.id}  {item.origin}: {what}, {item.size} entries, at {time_text(item.time)}"
        out.print(told, markup=False)


@app.command("serve", epilog=EXIT_CODES)
def serve_command(
    folder: WitnessArgument,
    listen: Annotated[
        str, typer.Option(help="host:port to listen on; port 0 takes a free one.")
    ] = "127.0.0.1:7450",
) -> None:
    """Serve a witness over HTTP until SIGTERM (C2SP tlog-witness).

    A checkpoint is kept in witness.db before its cosignature leaves. Never put an older copy of
    that file back: what was seen since would be forgotten. If it is lost, the witness does not
    start: make another. One JSON line per request on stderr. Put a proxy with TLS before it where
    others reach it.

    \b
    Example:
      credproof witness serve witness
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")

    with closing(store.Witness(folder)) as witness, closing(web.bind_to(listen)) as listening:

        def announce() -> None:
            out.print(f"witness  http://{web.address_of(listening)}")
            sys.stdout.flush()

        web.serve(application(witness), listening, announce=announce)


def register(root: typer.Typer) -> None:
    """Add the commands to `credproof`."""
    root.add_typer(app, name="witness")
