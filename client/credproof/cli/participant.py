"""`credproof enrol` and `join`: becoming a participant, with keys of one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from credproof import home as homes
from credproof.cli.output import out, read_file
from credproof.verification.trust import ROLES


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command()(enrol)
    app.command()(join)


def enrol(
    home: Annotated[Path, typer.Argument(help="A directory for your keys; made if needed.")],
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")],
    name: Annotated[str, typer.Option("--id", help="3 to 40 of: a-z, 0-9, hyphen.")],
    title: Annotated[str, typer.Option(help="Your name as borrowers will read it.")],
) -> None:
    """Make your keys, and the enrolment that you send to the operator.

    The private keys stay in HOME. The enrolment holds a certificate request and a proof that
    you hold the signing key.
    """
    if role not in ROLES:
        raise typer.BadParameter(f"role must be one of: {', '.join(ROLES)}")
    homes.enrol(home, role=role, participant_id=name, title=title)
    out.print(f"Enrolment:   {home / 'enrolment.json'}")
    out.print("Next:        send it to the operator, then run")
    out.print(f"             credproof join {home} ADMISSION")


def join(
    home: Annotated[Path, typer.Argument(help="The directory that you enrolled with.")],
    admission: Annotated[Path, typer.Argument(help="The file that the operator sent.")],
    root: Annotated[
        str | None, typer.Option(help="The root's fingerprint, as the operator told you.")
    ] = None,
) -> None:
    """Put the operator's admission to use: certificate, addresses, trust.

    Compare the root's fingerprint with the operator by another way than the file: everything
    you verify later ends in it.
    """
    joined = homes.join(home, read_file(admission), root_kid=root, now=int(time.time()))
    settings = joined.settings
    out.print(f"Joined:      {settings.domain} as {settings.role} {settings.id}")
    out.print(f"Root:        {settings.root.kid}")
    out.print(f"Your key:    {joined.signer.public.kid}")
