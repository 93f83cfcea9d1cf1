"""`credproof custodian`: holding a share of the OPRF key, beside the service."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer
from credproof.cli.output import EXIT_CODES, JsonOption, out, read_file, tell

from credproof_server.custodian import directory, serving

DirectoryArgument = Annotated[
    Path, typer.Argument(metavar="DIR", help="The custodian's directory.")
]

app = typer.Typer(
    help="Hold a share of the pseudonym key, so that no operator alone can try out ids.",
    no_args_is_help=True,
)


@app.command(epilog=EXIT_CODES)
def init(
    folder: DirectoryArgument,
    name: Annotated[
        str, typer.Option("--id", help="Your id for good: 3 to 40 of a-z, 0-9, hyphen.")
    ],
    title: Annotated[str, typer.Option(help="Your name, 1 to 100 characters.")],
    listen: Annotated[str, typer.Option(help="host:port to listen on.")] = "127.0.0.1:7445",
    address: Annotated[
        str | None,
        typer.Option(help="host:port where participants reach you; as --listen if not given."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a custodian: its keys, its share of the pseudonym key, and its enrolment.

    A custodian is somebody else than the operator, on another machine: else nothing is won. It sees
    who asks and how often, never an id, a pseudonym or a figure. Writes keys and settings into DIR,
    and enrolment.json, which the operator admits within seven days, before anybody has made a
    pseudonym. Back DIR up: without the share nobody can make a pseudonym again. Needs no network.

    \b
    Example:
      credproof custodian init notary --id notary --title "Notary Office"
    """
    directory.init(folder, custodian_id=name, title=title, listen=listen, address=address or listen)
    enrolment = folder / "enrolment.json"
    tell(
        {"enrolment": str(enrolment)},
        f"Enrolment:   {enrolment}",
        "Next:        send it to the operator, who runs participant add --role custodian;",
        f"             then credproof custodian join {folder} ADMISSION --root FINGERPRINT",
        as_json=as_json,
    )


@app.command(epilog=EXIT_CODES)
def join(
    folder: DirectoryArgument,
    admission: Annotated[Path, typer.Argument(help="The file that the operator sent.")],
    root: Annotated[
        str, typer.Option(help="The root's fingerprint, as the operator told you by another way.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Put the operator's admission to use: certificate, addresses, trust.

    Checks that the trust bundle names your own share. Writes tls.crt, ca.crt, participant.json and
    trust.json into DIR. Needs no network.

    \b
    Example:
      credproof custodian join notary notary.admission.json --root 00112233445566778899aabbccddeeff
    """
    key = directory.join(folder, read_file(admission), root_kid=root)
    tell(
        {"shares": len(key.shares), "key": key.id},
        f"Joined:      {folder} holds a share of {len(key.shares)}",
        f"Key:         {key.id}",
        f"Next:        credproof custodian serve {folder}",
        as_json=as_json,
    )


@app.command(epilog=EXIT_CODES)
def renew(folder: DirectoryArgument, as_json: JsonOption = False) -> None:
    """Make the enrolment again with the same keys and share.

    For a new certificate (it ends after 397 days), or after you changed `address` in
    custodian.toml. The operator admits it like the first one; then join again, and restart. Needs
    no network.

    \b
    Example:
      credproof custodian renew notary
    """
    directory.renew(folder)
    enrolment = folder / "enrolment.json"
    tell({"enrolment": str(enrolment)}, f"Enrolment:   {enrolment}", as_json=as_json)


@app.command(epilog=EXIT_CODES)
def serve(folder: DirectoryArgument) -> None:
    """Answer for the share until SIGTERM, then let calls in flight end.

    Reads the trust bundle from the service, again and again: whom it suspends is refused here too.
    Each caller's evaluations are counted by day in quota.db; the quotas stand in custodian.toml.
    Prints its address once it listens. Logs one JSON line per call on stderr; no line holds an
    identity. Needs a directory that init and join made.

    \b
    Example:
      credproof custodian serve notary
    """
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("tuf").setLevel(logging.WARNING)

    def announce(address: str) -> None:
        out.print(f"custodian  {address}")
        sys.stdout.flush()

    serving.run(folder, announce)
