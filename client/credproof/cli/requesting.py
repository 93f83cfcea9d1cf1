"""`credproof lender request` and `wait`: a consent request on its way there, the consent back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final

import segno
import typer

from credproof.base.encoding import DAY_S
from credproof.base.errors import LimitExceeded
from credproof.cli.output import (
    EXIT_CODES,
    HomeOption,
    JsonOption,
    out,
    print_json,
    read_text,
    require_writable,
    tell,
    write_file,
)
from credproof.lender import Lender
from credproof.verification.consent import CONSENT_LIFE_DAYS_MAX, DATA_LIFE_DAYS_MAX, Mode
from credproof.verification.link import link_to

TERMINAL: Final = "-"
PICTURES: Final = (".svg", ".png")
PIXELS: Final = 4
"""The side of one module of a QR code in a picture, in pixels."""

SubjectOption = Annotated[
    str, typer.Option(help="The borrower's id, as the provider has it: cn-id:…, ref:…")
]
PolicyOption = Annotated[str, typer.Option(help="The policy's id; revolving-standing ships.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the lender's."""
    app.command("request", epilog=EXIT_CODES)(request)
    app.command("wait", epilog=EXIT_CODES)(wait)


def request(
    subject: SubjectOption,
    policy: PolicyOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The request file to be written.")],
    home: HomeOption = Path(),
    continuing: Annotated[
        bool, typer.Option(help="Ask for as many answers as the policy allows.")
    ] = False,
    days: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=CONSENT_LIFE_DAYS_MAX,
            help="How long the consent is to last; 30, or what the purpose allows.",
        ),
    ] = None,
    data_life: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=DATA_LIFE_DAYS_MAX,
            help="For how many days you keep answers; 365, or what it allows.",
        ),
    ] = None,
    digest: Annotated[
        str, typer.Option(help="The policy that you expect, 64 digits of policy lint or list.")
    ] = "",
    link: Annotated[
        str, typer.Option(metavar="URL", help="A consent page: print a link to the request there.")
    ] = "",
    qr: Annotated[
        str, typer.Option(metavar="FILE", help="Draw the link: a .svg or .png file, - is here.")
    ] = "",
    return_to: Annotated[
        str, typer.Option(metavar="URL", help="Where the page sends the person afterwards.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Write a signed request for a borrower's consent; send it to the borrower.

    As a file, as a link to a consent page, or as a QR code of the link. The borrower has seven
    days to consent, once. Needs the service, your licence, and your certification of the policy's
    purpose; asking for more than the purpose allows is an error that names what is too much. The
    borrower need not be known yet.

    \b
    Examples:
      credproof lender request --subject ref:client-7 --policy revolving-standing \\
        -o client-7.request --home lend
      credproof lender request --subject ref:client-7 --policy revolving-standing \\
        -o client-7.request --link https://consent.example --qr client-7.svg --home lend
    """
    _require_drawable(qr, link, as_json=as_json)
    with Lender.open(home) as lender:
        mode: Mode = "continuing" if continuing else "once"
        token = lender.request(
            lender.subject(subject),
            policy_id=policy,
            mode=mode,
            days=days,
            data_life_days=data_life,
            digest=_digest(digest) if digest else None,
            return_to=return_to or None,
        )
    made = link_to(link, token) if link else ""
    write_file(output, token.encode("ascii"))
    _tell(output, made, qr, as_json=as_json)


def _tell(output: Path, link: str, qr: str, *, as_json: bool) -> None:
    """What was made; the link is drawn, and printed also where it is too long for that."""
    if as_json:
        _draw(link, qr)
        print_json({"request": str(output), "link": link or None, "qr": qr or None})
        return
    out.print(f"Request:  {output} (the borrower runs credproof borrower show, then consent)")
    if link:
        out.print(f"Link:     {link}", markup=False)
    _draw(link, qr)
    if qr not in {"", TERMINAL}:
        out.print(f"QR code:  {qr}", markup=False)


def _digest(text: str) -> bytes:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise typer.BadParameter("a policy's digest has 64 small hexadecimal digits")
    return bytes.fromhex(text)


def _require_drawable(qr: str, link: str, *, as_json: bool = False) -> None:
    if qr and not link:
        raise typer.BadParameter("--qr draws the link: name the page by --link")
    if qr == TERMINAL and as_json:
        raise typer.BadParameter("--qr - draws for people: name a file, or leave --json out")
    if qr and qr != TERMINAL and Path(qr).suffix not in PICTURES:
        raise typer.BadParameter("--qr takes a file that ends in .svg or .png, or - for here")


def _draw(link: str, where: str) -> None:
    if not where:
        return
    try:
        code = segno.make(link, error="l", micro=False, boost_error=False)
    except segno.DataOverflowError as error:
        message = "the link is too long for a QR code: send it as it is"
        raise LimitExceeded("LINK_TOO_LONG", message) from error
    if where == TERMINAL:
        code.terminal(compact=True)
        return
    require_writable(Path(where))
    code.save(where, scale=PIXELS)


def wait(
    file: Annotated[Path, typer.Argument(metavar="REQUEST", help="The request, a file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The consent, a file to be written.")
    ],
    home: HomeOption = Path(),
    timeout: Annotated[
        int, typer.Option(min=0, max=30 * DAY_S, help="For how many seconds at most; 0 asks once.")
    ] = 600,
    as_json: JsonOption = False,
) -> None:
    """Wait until the borrower has consented to a request, and fetch the consent.

    For who sent a link: the consent page registers consents with the service, which gives yours
    to you alone. A paused consent is waited for, a revoked one is an error. Exit code 3 when there
    is none in time: run it again, it goes on waiting. Needs the service.

    \b
    Example:
      credproof lender wait client-7.request -o client-7.consent --home lend
    """
    require_writable(output)
    with Lender.open(home) as lender:
        consent = lender.wait(read_text(file), timeout_s=timeout)
    write_file(output, consent.encode("ascii"))
    tell({"consent": str(output)}, f"Consent:  {output}", as_json=as_json)
