"""`credproof consent-page`; it plugs into `credproof` by entry point, when its extra is there."""

from __future__ import annotations

import ipaddress
import logging
import ssl
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from credproof.base.errors import Malformed
from credproof.base.url import origin_of
from credproof.cli.output import EXIT_CODES, HomeOption, out
from credproof.home import Home
from credproof.page.gateway import Gateway
from credproof.verification.bundle import RelyingParty

if find_spec("starlette") is None or find_spec("uvicorn") is None:
    raise ImportError("the page needs starlette and uvicorn")


def register(root: typer.Typer) -> None:
    """Add the command to `credproof`."""
    root.command("consent-page", epilog=EXIT_CODES)(consent_page)


def consent_page(
    home: HomeOption = Path(),
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
    ] = "127.0.0.1:7480",
    origin: Annotated[
        str, typer.Option(help="Where browsers find the page; http://localhost:PORT by default.")
    ] = "",
    rp_id: Annotated[
        str, typer.Option(help="The WebAuthn RP id; the host of the origin by default.")
    ] = "",
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate chain, a PEM file.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Its private key, a PEM file.")] = None,
) -> None:
    """Serve the page where borrowers enrol, consent and revoke by a passkey, until SIGTERM.

    It shows borrowers what they sign, and is trusted for that. It keeps nothing about them: keys
    stay in their devices, passes and consents in their browsers. Of the home it reads only what is
    public (participant.json, ca.crt, trust.json): copy these three to where the page runs.
    Passkeys count only on pages that the operator has named (credproof passkeys). Plain HTTP is
    for this machine only; elsewhere give a certificate, or put a proxy with one before it. Prints
    the page's address once it listens, one JSON line per call on stderr. Needs the service.

    \b
    Examples:
      credproof consent-page --home bank
      credproof consent-page --home page --listen 0.0.0.0:443 --origin https://consent.example \
        --tls-cert chain.pem --tls-key key.pem
    """
    from credproof.page.app import make_app  # noqa: PLC0415 - other commands need not wait for it
    from credproof.web import bind, serve  # noqa: PLC0415

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("tuf").setLevel(logging.WARNING)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    host, port = _address(listen)
    tls = _tls(tls_cert, tls_key)
    _require_private(host, tls)
    with closing(bind(host, port)) as listening:
        found = origin or f"http://localhost:{listening.getsockname()[1]}"
        party = RelyingParty(rp_id or _host(found), (_required_origin(found),))
        with closing(Gateway(Home(home), party)) as gateway:
            gateway.require_named()

            def announce() -> None:
                out.print(f"consent page  {found}")
                sys.stdout.flush()

            serve(make_app(gateway), listening, tls=tls, announce=announce)


def _address(listen: str) -> tuple[str, int]:
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65_535:
        raise typer.BadParameter("--listen takes HOST:PORT, like 127.0.0.1:7480")
    return host.strip("[]"), int(port)


def _required_origin(text: str) -> str:
    try:
        found = origin_of(text)
    except Malformed as error:
        raise typer.BadParameter(f"--origin: {error.message}") from error
    if found != text:
        raise typer.BadParameter("--origin takes scheme, host and port only, no path")
    return found


def _host(origin: str) -> str:
    return _required_origin(origin).partition("://")[2].partition(":")[0]


def _tls(certificate: Path | None, key: Path | None) -> tuple[str, str] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise typer.BadParameter("give --tls-cert and --tls-key, or neither")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        message = "cannot use --tls-cert with --tls-key: give PEM files that belong together"
        raise typer.BadParameter(message) from error
    return str(certificate), str(key)


def _require_private(host: str, tls: tuple[str, str] | None) -> None:
    """Plain HTTP never leaves the machine."""
    if tls is None and not _is_loopback(host):
        message = "listen on 127.0.0.1, or give --tls-cert and --tls-key: plain HTTP is for here"
        raise typer.BadParameter(message)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
