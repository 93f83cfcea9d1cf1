"""The operator's commands about who is known by which key, and what lenders may ask."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from credproof.base.errors import Conflict, Malformed
from credproof.cli.output import (
    EXIT_CODES,
    JsonOption,
    out,
    print_json,
    read_file,
    read_text,
    require_writable,
    tell,
    write_file,
)
from credproof.home import Admission, is_admission
from credproof.verification.bundle import RelyingParty, relying_party_json
from credproof.verification.participant import NEVER, Licence, Participant, licence_json
from credproof.verification.policy import PURPOSES
from credproof.verification.purpose import ANY, Template

from credproof_server import renewal, standing
from credproof_server.directory import now

DAY_S = 86_400
YEAR_DAYS = 365
_DATE = ["%Y-%m-%d"]

ServiceArgument = Annotated[Path, typer.Argument(metavar="DIR", help="The service's directory.")]
LenderArgument = Annotated[str, typer.Argument(metavar="ID", help="The lender's id.")]
PurposeArgument = Annotated[
    str, typer.Argument(metavar="PURPOSE", help=f"One of {', '.join(PURPOSES)}.")
]
LenderOption = Annotated[str, typer.Option(help="One lender's id; without it, for any lender.")]
RootKeyOption = Annotated[
    Path | None,
    typer.Option(help="The root's private key; DIR/offline-root/root.key if not given."),
]
NumberArgument = Annotated[str, typer.Argument(metavar="NUMBER", help="The licence's number.")]
FromOption = Annotated[
    dt.datetime | None,
    typer.Option("--from", formats=_DATE, help="Its first day, UTC; today if not given."),
]
UntilOption = Annotated[
    dt.datetime | None,
    typer.Option("--until", formats=_DATE, help="Its last day, UTC; a year from now if not given."),
]

purposes = typer.Typer(
    help="What is fair for a purpose: caps for every lender.", no_args_is_help=True
)


def register(root: typer.Typer, participants: typer.Typer) -> None:
    """Add the commands to `credproof` and to `credproof participant`."""
    root.command("bureau", epilog=EXIT_CODES)(bureau_command)
    root.add_typer(purposes, name="purpose")
    participants.command("renew", epilog=EXIT_CODES)(renew_command)
    participants.command("licence", epilog=EXIT_CODES)(licence_command)
    participants.command("certify", epilog=EXIT_CODES)(certify_command)
    participants.command("accept", epilog=EXIT_CODES)(accept_command)
    root.command("passkeys", epilog=EXIT_CODES)(passkeys_command)


def renew_command(
    folder: ServiceArgument,
    enrolment: Annotated[
        Path, typer.Argument(help="The new enrolment.json, of the id and role that are admitted.")
    ],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="The admission, a file to be written and sent back."),
    ],
    key_set: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A provider's key set that its old key has signed."),
    ] = None,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a participant's new key, in place of those that it had: they end now.

    It enrols in a new home, under its id and role, and joins there by what this writes. What its
    keys of before signed until now stays valid; what they sign later is refused, and so is every
    call with the certificates of then. All else stays: licence, purposes, schemas, acceptance,
    title, suspension. That it is who it says, you check.

    A provider with a key set of its own signs the new key into it first (credproof provider keys
    sign --add), and sends you that too: by --key-set it comes into force with the new key, also
    while the provider is suspended. If it has lost all its keys, or a thief was first
    (TUF_VERSION), two people say in a root that it begins anew (credproof root draft --begin-anew).
    Needs the root key. The service may run meanwhile. Not for custodians, nor for the service's own
    operator.

    \b
    Examples:
      credproof participant renew service lend2/enrolment.json -o lend2.admission.json
      credproof participant renew service bank2/enrolment.json --key-set bank.keys.json \\
        -o bank2.admission.json
    """
    require_admission_file(output)
    signed = b"" if key_set is None else read_file(key_set)
    done = renewal.renew(folder, read_file(enrolment), root_key=root_key, key_set=signed)
    told = "Suspended:  as before (credproof participant resume ends it)"
    notes = (told,) if done.is_suspended else ()
    word = "Renewed" if done.is_changed else "Already"
    write_admission(output, done.admission, word, *notes, as_json=as_json)


def require_admission_file(output: Path) -> None:
    """Refuse to write an admission over any other file, before anything is done.

    One that a full disk left empty may be written anew.

    Raises:
        Conflict: `NOT_EMPTY`.
        typer.BadParameter: it cannot be written.
    """
    there = read_file(output) if output.is_file() else b""
    if there and not is_admission(there):
        raise Conflict("NOT_EMPTY", "there is another file of this name: name a new one")
    require_writable(output)


def write_admission(
    output: Path, admitted: Admission, word: str, *notes: str, as_json: bool
) -> None:
    """Write an admission, and tell for whom; `word` says what was done, `notes` are lines more."""
    try:
        write_file(output, admitted.to_bytes())
    except typer.BadParameter as error:
        again = "the registry is changed all the same: run this again, and it is written"
        raise typer.BadParameter(f"{error.message}; {again}") from error
    settings = admitted.settings
    tell(
        {"role": settings.role, "id": settings.id, "admission": str(output)},
        f"{word + ':':<12}{settings.role} {settings.id}",
        f"Admission:  {output} (send it back)",
        *notes,
        as_json=as_json,
    )


def licence_command(
    folder: ServiceArgument,
    lender: LenderArgument,
    number: NumberArgument,
    first: FromOption = None,
    last: UntilOption = None,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter a lender's licence, in place of the one before.

    Without a valid licence a lender is refused, on open connections too, within a second of its
    end. An --until in the past ends it now. Needs the root key. The service may run meanwhile.

    \b
    Example:
      credproof participant licence service lend LEND-2026-7 --until 2027-06-30
    """
    found = licence_of(number, first, last)
    standing.set_licence(folder, lender, found, root_key=root_key)
    told = f"Licensed:   {lender}, {number}, until {date_text(found.valid_until)}"
    tell({"id": lender, "licence": licence_json(found)}, told, as_json=as_json)


def certify_command(
    folder: ServiceArgument,
    lender: LenderArgument,
    purpose: PurposeArgument,
    last: Annotated[
        dt.datetime | None,
        typer.Option("--until", formats=_DATE, help="Its last day, at most 366 days from now."),
    ] = None,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter that a lender has certified what it asks for: for a year if nothing is said.

    You hold the lender's declaration; without one in force, its questions for this purpose are
    refused. Needs the root key. The service may run meanwhile.

    \b
    Example:
      credproof participant certify service lend REVIEW
    """
    until = _end(last)
    standing.certify(folder, lender, {known_purpose(purpose): until}, root_key=root_key)
    told = f"Certified:  {lender}, {purpose}, until {date_text(until)}"
    tell({"id": lender, "purpose": purpose, "until": until}, told, as_json=as_json)


def accept_command(
    folder: ServiceArgument,
    acceptance: Annotated[Path, typer.Argument(metavar="FILE", help="What the provider signed.")],
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter a provider's word about whose bindings of borrowers' keys count for it.

    The provider makes it by credproof provider accept; it takes the place of the one before.
    Needs the root key. The service may run meanwhile.

    \b
    Example:
      credproof participant accept service bank.acceptance
    """
    found = standing.set_acceptance(folder, read_text(acceptance).strip(), root_key=root_key)
    told = f"Accepted:   by {found.provider}: {', '.join(found.binders) or 'nobody else'}"
    tell({"id": found.provider, "binders": list(found.binders)}, told, as_json=as_json)


def passkeys_command(
    folder: ServiceArgument,
    rp_id: Annotated[
        str | None, typer.Argument(metavar="[DOMAIN]", help="The WebAuthn RP id: a domain name.")
    ] = None,
    origins: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ORIGIN...]", help="Its pages, like https://host:port."),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Let nothing new be signed by passkeys of DOMAIN.")
    ] = False,
    as_json: JsonOption = False,
    root_key: RootKeyOption = None,
) -> None:
    """Let borrowers sign by passkeys of a domain, on these pages and no others; or list them.

    Whoever serves these pages shows the borrower what is signed: it is trusted for that. They count
    from now on, in place of the domain's pages before; what was signed on those stays valid, and
    is revoked or paused on the pages that count now. With DIR alone it lists all pages, ended ones
    too, and writes nothing. The rest needs the root key. The service may run meanwhile.

    \b
    Examples:
      credproof passkeys service bureau.example https://consent.bureau.example
      credproof passkeys service
      credproof passkeys service bureau.example --remove
    """
    if rp_id is None:
        if remove:
            raise typer.BadParameter("--remove takes a DOMAIN")
        _show_pages(standing.pages(folder), as_json)
    elif remove:
        if origins:
            raise typer.BadParameter("--remove takes a DOMAIN and no pages")
        standing.end_page(folder, rp_id, root_key=root_key)
        tell({"id": rp_id, "origins": []}, f"Passkeys:   {rp_id} has ended", as_json=as_json)
    else:
        pages = list(origins or ())
        standing.set_page(folder, RelyingParty(rp_id, tuple(pages)), root_key=root_key)
        told = f"Passkeys:   {rp_id} on {', '.join(pages)}"
        tell({"id": rp_id, "origins": pages}, told, as_json=as_json)


def _show_pages(found: Sequence[RelyingParty], as_json: bool) -> None:
    if as_json:
        print_json([relying_party_json(party) for party in found])
        return
    for party in found:
        begun = "always" if party.valid_from == 0 else date_text(party.valid_from)
        ended = f", ended {date_text(party.valid_until)}" if party.valid_until < NEVER else ""
        out.print(f"{party.id:<24}  {', '.join(party.origins)}  from {begun}{ended}")


def bureau_command(
    folder: ServiceArgument,
    number: NumberArgument,
    first: FromOption = None,
    last: UntilOption = None,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enter your own licence as a credit bureau, in place of the one before.

    Policies that say `route: licensed-bureau` are answered only while it is valid; verifiers check
    it in the trust bundle. Needs the root key. The service may run meanwhile.

    \b
    Example:
      credproof bureau service PCR-2026-1 --until 2028-12-31
    """
    found = licence_of(number, first, last)
    standing.set_bureau(folder, found, root_key=root_key)
    told = f"Bureau:     {number}, until {date_text(found.valid_until)}"
    tell({"licence": licence_json(found)}, told, as_json=as_json)


@purposes.command("list", epilog=EXIT_CODES)
def list_command(folder: ServiceArgument, as_json: JsonOption = False) -> None:
    """Show what is fair for each purpose. The service may run. Writes nothing.

    What stands for one lender comes after what stands for any, and wins.
    """
    found = standing.templates(folder)
    if as_json:
        print_json([item.to_json() for item in found])
        return
    for item in found:
        days = f"data life {item.data_life_days}, window {item.window_days}"
        told = f"{item.answers_per_month} a month, {days}, consent {item.consent_days} days"
        out.print(f"{item.purpose:<12}  {item.lender:<16}  {told}")


@purposes.command("set", epilog=EXIT_CODES)
def set_command(
    folder: ServiceArgument,
    purpose: PurposeArgument,
    answers: Annotated[
        int, typer.Option(min=1, help="Answers about one borrower in a calendar month, UTC.")
    ],
    data_life: Annotated[int, typer.Option(min=1, help="Days for which answers may be kept.")],
    window: Annotated[int, typer.Option(min=1, help="Days that the oldest data may be old.")],
    consent: Annotated[int, typer.Option(min=1, help="Days of the longest consent.")],
    lender: LenderOption = ANY,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is fair for a purpose, for one lender or for any; the one lender's wins.

    Takes effect at once, also for consents that were given. Needs the root key. The service may
    run meanwhile.

    \b
    Example:
      credproof purpose set service REVIEW --answers 3 --data-life 31 --window 90 --consent 366
    """
    template = Template(lender, known_purpose(purpose), answers, data_life, window, consent)
    standing.set_template(folder, template, root_key=root_key)
    tell(template.to_json(), f"Fair:       {purpose} for {lender}", as_json=as_json)


@purposes.command("remove", epilog=EXIT_CODES)
def remove_command(
    folder: ServiceArgument,
    purpose: PurposeArgument,
    lender: LenderOption = ANY,
    root_key: RootKeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take away what was said for a purpose: without any, all its questions are refused.

    Needs the root key. The service may run meanwhile.
    """
    standing.remove_template(folder, lender, known_purpose(purpose), root_key=root_key)
    told = f"Removed:    {purpose} for {lender}"
    tell({"purpose": purpose, "lender": lender}, told, as_json=as_json)


def licence_of(number: str, first: dt.datetime | None, last: dt.datetime | None) -> Licence:
    """A licence by its first and last day, UTC.

    Raises:
        Malformed: `BAD_LICENCE` when it ends before it begins.
    """
    today = now() - now() % DAY_S
    found = Licence(number, today if first is None else _start(first), _end(last))
    if found.valid_until < found.valid_from:
        if first is not None:
            raise Malformed("BAD_LICENCE", "a licence ends after it begins: see --from and --until")
        found = Licence(number, found.valid_until, found.valid_until)
    return found


def certified_for_a_year(names: str) -> Mapping[str, int]:
    """Purposes, as `ORIGINATION,REVIEW`, certified for a year from now."""
    until = _end(None)
    return {known_purpose(name): until for name in names.split(",") if name}


def known_purpose(name: str) -> str:
    if name not in PURPOSES:
        raise typer.BadParameter(f"a purpose is one of {', '.join(PURPOSES)}")
    return name


def standing_text(participant: Participant) -> str:
    """A lender's licence and certified purposes in a line."""
    if participant.role != "lender":
        return ""
    licence = participant.licence
    told = f"{licence.number} until {date_text(licence.valid_until)}" if licence else "no licence"
    each = (f"{name} until {date_text(until)}" for name, until in participant.certified.items())
    return "; ".join((told, *each))


def date_text(time: int) -> str:
    """The day of a time in whole seconds, UTC."""
    return dt.datetime.fromtimestamp(time, dt.UTC).strftime("%Y-%m-%d")


def _start(day: dt.datetime) -> int:
    return calendar.timegm(day.timetuple())


def _end(day: dt.datetime | None) -> int:
    """The last second of a day; without one, of the day a year from now."""
    if day is None:
        return now() - now() % DAY_S + YEAR_DAYS * DAY_S - 1
    return _start(day) + DAY_S - 1
