"""`credproof enrol` and `join`: becoming a participant, with keys of one's own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.cli.output import EXIT_CODES, JsonOption, read_file, tell
from credproof.verification.participant import ROLES


def register(app: typer.Typer) -> None:
    """Add the commands to the root."""
    app.command(epilog=EXIT_CODES)(enrol)
    app.command(epilog=EXIT_CODES)(join)


def enrol(
    home: Annotated[Path, typer.Argument(help="A directory for your keys; made if needed.")],
    role: Annotated[
        str,
        typer.Option(
            help="provider, lender or auditor; init makes operators, custodian init custodians."
        ),
    ],
    name: Annotated[
        str, typer.Option("--id", help="Your id for good: 3 to 40 of a-z, 0-9, hyphen.")
    ],
    title: Annotated[
        str, typer.Option(help="Your name as borrowers will read it, 1 to 100 characters.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Make your keys, and the enrolment that you send to the operator.

    Writes signing.key and tls.key, which never leave HOME, signing.key.pub, and enrolment.json: a
    certificate request, and a proof that you hold the signing key. The operator can admit it for
    seven days. For new keys enrol in a new HOME under your id, and the operator renews you.
    Keys that are there are not overwritten. Needs no network.

    \b
    Example:
      credproof enrol bank --role provider --id bank --title "Bank Ltd"
    """
    if role not in ROLES:
        raise typer.BadParameter(f"role must be one of: {', '.join(ROLES)}")
    enrolments.enrol(home, role=role, participant_id=name, title=title)
    enrolment = home / "enrolment.json"
    tell(
        {"enrolment": str(enrolment), "fingerprint": homes.signing_key(home).public.kid},
        f"Enrolment:   {enrolment}",
        "Next:        send it to the operator, then run",
        f"             credproof join {home} ADMISSION --root FINGERPRINT",
        as_json=as_json,
    )


def join(
    home: Annotated[Path, typer.Argument(help="The directory that you enrolled with.")],
    admission: Annotated[Path, typer.Argument(help="The file that the operator sent.")],
    root: Annotated[
        str | None,
        typer.Option(
            help="The root's fingerprint, 32 hexadecimal digits, as the operator told you."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Put the operator's admission to use: certificate, addresses, trust.

    Get the root's fingerprint from the operator by another way than the file, and give it with
    --root: everything you verify later ends in it. Without --root any root is taken, and printed.
    Writes tls.crt, ca.crt, participant.json and trust.json into HOME. Needs no network.

    \b
    Example:
      credproof join bank bank.admission.json --root 00112233445566778899aabbccddeeff
    """
    joined = homes.join(home, read_file(admission), root_kid=root, now=int(time.time()))
    settings = joined.settings
    shares = joined.trust(at=0).oprf_key.shares
    custodians = [share.custodian for share in shares if share.custodian]
    who = {"domain": settings.domain, "role": settings.role, "id": settings.id}
    kid = joined.signer.public.kid
    tell(
        {**who, "root": settings.root.kid, "custodians": custodians, "fingerprint": kid},
        f"Joined:      {settings.domain} as {settings.role} {settings.id}",
        f"Root:        {settings.root.kid}",
        f"Pseudonyms:  need {' and '.join(share.holder for share in shares)}",
        f"Your key:    {kid}",
        as_json=as_json,
    )
