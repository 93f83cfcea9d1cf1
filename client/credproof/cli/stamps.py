"""What timestamps say, printed; and `credproof audit authority`: whom an auditor believes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from credproof.auditing.stamping import StampReport
from credproof.auditing.stamps import Authorities
from credproof.base.encoding import Json, time_text
from credproof.cli.output import (
    EXIT_CODES,
    HomeOption,
    JsonOption,
    out,
    print_json,
    read_file,
    tell,
)
from credproof.home import Home

GAPS_SHOWN: Final = 5
"""How many gaps are printed, the newest of them; --json has all."""

app = typer.Typer(help="Say which timestamp authorities you trust.", no_args_is_help=True)


def print_stamps(report: StampReport) -> None:
    """What was verified, and where entries had no timestamp for too long."""
    if report.newest is None:
        why = "no authority that you trust has any" if report.untrusted else "none"
        out.print(f"Not shown:   timestamps ({why})")
        _print_untrusted(report)
        return
    newest = report.newest
    told = f"{newest.tree_size} entries at {time_text(newest.time)} by {newest.authority}"
    out.print(f"Timestamps:  {report.verified}, newest of {told}", markup=False)
    for gap in report.gaps[-GAPS_SHOWN:]:
        until = "now" if gap.until is None else time_text(gap.until)
        where = f"entries {gap.first} to {gap.last}"
        out.print(f"             no timestamp between {time_text(gap.since)} and {until}: {where}")
    _print_untrusted(report)


def _print_untrusted(report: StampReport) -> None:
    """What does not count, and where one sees by what it would have to."""
    if report.untrusted:
        told = "do not verify by the certificates and policies in credproof audit authority list"
        out.print(f"             {report.untrusted} others {told}")


def stamps_json(report: StampReport) -> dict[str, Json]:
    """The same as JSON; times are whole seconds."""
    newest = report.newest
    gaps: list[Json] = [
        {"first": g.first, "last": g.last, "since": g.since, "until": g.until} for g in report.gaps
    ]
    named: Json = None
    if newest is not None:
        named = {"size": newest.tree_size, "time": newest.time, "authority": newest.authority}
    return {
        "verified": report.verified,
        "untrusted": report.untrusted,
        "newest": named,
        "gaps": gaps,
    }


NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="What you call it: a-z, 0-9 and hyphens.")
]


@app.command("add", epilog=EXIT_CODES)
def add_command(
    name: NameArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE.pem", help="Its issuers' certificates, up to a root.")
    ],
    policy: Annotated[
        str, typer.Option(help="An OID: only timestamps under this policy count.")
    ] = "",
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Trust a timestamp authority (RFC 3161) from now on, in place of one of the same name.

    FILE.pem holds a root and what it issued, not the signing certificate alone. Get it from the
    authority, not from the operator: you want to catch an operator that dates entries back. The
    service asks the authorities that it is set up with; only those
    that you trust count for you. What your home keeps already is verified anew by the next audit.
    Writes timestamp-authorities.json in your home; needs no network.

    \b
    Example:
      credproof audit authority add one one.pem --home audit
    """
    Authorities(Home(home).folder).add(name, read_file(file), policy)
    tell({"name": name, "policy": policy}, f"Trusted:    {name}", as_json=as_json)


@app.command("remove", epilog=EXIT_CODES)
def remove_command(
    name: NameArgument, home: HomeOption = Path(), as_json: JsonOption = False
) -> None:
    """Trust a timestamp authority no more: what it stamped does not count for you.

    \b
    Example:
      credproof audit authority remove one --home audit
    """
    Authorities(Home(home).folder).remove(name)
    tell({"name": name}, f"Removed:    {name}", as_json=as_json)


@app.command("list", epilog=EXIT_CODES)
def list_command(home: HomeOption = Path(), as_json: JsonOption = False) -> None:
    """Show which timestamp authorities you trust, by which certificates. Writes nothing.

    \b
    Example:
      credproof audit authority list --home audit
    """
    found = Authorities(Home(home).folder).all()
    shown = [(a, [c.subject.rfc4514_string() for c in a.certificates]) for a in found]
    if as_json:
        print_json([{"name": a.name, "policy": a.policy, "names": names} for a, names in shown])
        return
    for authority, names in shown:
        told = f"{authority.name:<20}  {'; '.join(names)}  {authority.policy}"
        out.print(told.rstrip(), markup=False)
