"""`credproof borrower`: hold a key, see who asks, consent, pause, revoke."""

from __future__ import annotations

import datetime as dt
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from credproof import borrower as sdk
from credproof.base.errors import CredproofError, Refused
from credproof.cli.held import fault_lines, held_lines, held_report
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    err,
    exit_code,
    out,
    plain,
    print_error,
    print_json,
    read_file,
    read_text,
    require_writable,
    write_file,
)
from credproof.cli.parts import GROUPS
from credproof.cli.telling import DETAILS, WORDS, LanguageOption, say
from credproof.files import replace_file
from credproof.verification.checked import CheckedRequest
from credproof.verification.link import is_link, request_of

app = typer.Typer(help=GROUPS["borrower"], no_args_is_help=True)
RequestArgument = Annotated[
    str, typer.Argument(help="A lender's request: a file, or a link in quotation marks.")
]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="The file to be written.")]
GivenArgument = Annotated[
    Path, typer.Argument(metavar="CONSENT", help="The consent you gave, a file.")
]


@app.command(epilog=EXIT_CODES)
def create(
    home: Annotated[Path, typer.Argument(help="A directory for your key.")],
    language: LanguageOption = "zh",
) -> None:
    """Make your key. It never leaves the directory.

    Writes signing.key; a key that is there is not overwritten. Needs no network.

    \b
    Example:
      credproof borrower create me
    """
    say(language, "key", kid=sdk.create(home).kid)


@app.command(epilog=EXIT_CODES)
def prove(
    provider: Annotated[str, typer.Option(help="The provider's id; it tells you.")],
    output: OutputOption,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Prove to a provider, who knows you, that the key is yours. Good for ten minutes.

    Give the file to the provider, who gives you a pass back. Needs no network.

    \b
    Example:
      credproof borrower prove --provider bank -o me.proof --home me
    """
    token = sdk.prove_possession(sdk.load_signer(home), provider=provider)
    write_file(output, token.encode("ascii"))
    say(language, "proof", file=output, provider=provider)


@app.command(epilog=EXIT_CODES)
def join(
    found: Annotated[Path, typer.Argument(metavar="PASS", help="The pass from your provider.")],
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Keep the pass that your provider gave you.

    Writes pass.json: who you are to the service, and where it is. Needs no network.
    """
    say(language, "service", domain=sdk.join(home, read_file(found)).domain)


@app.command(epilog=EXIT_CODES)
def show(
    request: RequestArgument,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Check a lender's request, and show who asks for what, why and how long.

    Needs the service, which does not see the request. Writes nothing.

    \b
    Example:
      credproof borrower show client-7.request --language en --home me
    """
    checked = sdk.Borrower.open(home).check(_request(request))
    out.print(checked.notice(language), markup=False)


@app.command(epilog=EXIT_CODES)
def consent(
    request: RequestArgument,
    output: OutputOption,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
) -> None:
    """Show a lender's request, and sign it if you agree.

    Writes the consent, then registers it with the service; give the file to the lender, and keep
    a copy: you need it to revoke. When this was interrupted, run it again: a consent to this
    request that lies there already is registered as it is. Exit code 1 when you do not agree.

    \b
    Example:
      credproof borrower consent client-7.request -o client-7.consent --home me
    """
    require_writable(output)
    borrower = sdk.Borrower.open(home)
    checked = borrower.check(_request(request))
    if not output.exists() or not borrower.signed_before(read_text(output), checked):
        _agree(checked, language, yes=yes)
        replace_file(output, borrower.sign(checked, language=language).encode("ascii"))
    borrower.grant(read_text(output))
    say(language, "consent", file=output)


def _request(given: str) -> str:
    """The request out of a link, or out of a file."""
    return request_of(given) if is_link(given) else read_text(Path(given))


def _agree(checked: CheckedRequest, language: str, *, yes: bool) -> None:
    out.print(checked.notice(language), markup=False)
    if not yes and not typer.confirm(WORDS[language]["agree"]):
        print_error(Refused("NOT_AGREED", "you did not agree: nothing was signed"))
        raise typer.Exit(FAILED)


@app.command(epilog=EXIT_CODES)
def cosign(
    given: Annotated[Path, typer.Argument(metavar="CONSENT", help="A consent you gave, a file.")],
    output: OutputOption,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Add this home's signature to a consent that another key of yours has signed.

    For a new key in the place of a lost one, whose consents are paused; or for a key that another
    provider bound. Give the new file to the lender; it stays the same consent. Needs the service.

    \b
    Example:
      credproof borrower cosign client-7.consent -o client-7-new.consent --home new-phone
    """
    require_writable(output)
    whole = sdk.Borrower.open(home).cosign(read_text(given))
    write_file(output, whole.encode("ascii"))
    say(language, "consent", file=output)


@app.command(epilog=EXIT_CODES)
def pause(
    given: GivenArgument,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Pause a consent. No answer is given under it once this returns, until you resume it.

    The lender is told that it is paused (CONSENT_PAUSED). Its end stays as it is. Answers given
    before stay with the lender. Needs the service, and a key that signed the consent and counts.
    Writes nothing. 暂停授权：返回即生效，可随时恢复。

    \b
    Example:
      credproof borrower pause client-7.consent --home me
    """
    index = sdk.Borrower.open(home).pause(read_text(given))
    say(language, "paused", index=index)


@app.command(epilog=EXIT_CODES)
def resume(
    given: GivenArgument,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Make a consent that you paused active again.

    A consent that is paused since its key was lost is resumed by cosign. Needs the service, and a
    key that signed the consent and counts. Writes nothing. 恢复已暂停的授权。

    \b
    Example:
      credproof borrower resume client-7.consent --home me
    """
    index = sdk.Borrower.open(home).resume(read_text(given))
    say(language, "resumed", index=index)


@app.command(epilog=EXIT_CODES)
def revoke(
    given: GivenArgument,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Revoke a consent. No answer is given under it once this returns.

    Answers given before stay with the lender. Needs the service. Writes nothing.

    \b
    Example:
      credproof borrower revoke client-7.consent --home me
    """
    index = sdk.Borrower.open(home).revoke(read_text(given))
    say(language, "revoked", index=index)


@app.command(epilog=EXIT_CODES)
def unsealed(
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
    as_json: JsonOption = False,
) -> None:
    """List which details about you auditors were given, each by two of them for a reason.

    The service tells it: compare with the log through an auditor you know. The newest 1,000 are
    listed. Needs the service, and a key that a provider binds for you now. Writes nothing.
    查看审计员调阅过哪些关于您的详情（每次须两名审计员同意并说明理由）。

    \b
    Example:
      credproof borrower unsealed --language en --home me
    """
    found = sdk.Borrower.open(home).unsealed()
    if as_json:
        print_json([asdict(item) for item in found])
        return
    for item in found:
        when = dt.datetime.fromtimestamp(item.time, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
        what = WORDS[language].get(DETAILS.get(item.detail, ""), item.detail)
        say(language, "unsealed", when=when, auditor=item.auditor, what=what)
        say(language, "entries", entry=item.entry_index, index=item.log_index)
    say(language, "count", count=len(found))


@app.command("self-check", epilog=EXIT_CODES)
def self_check(
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
    as_json: JsonOption = False,
) -> None:
    """Verify what the service holds about you: by whom, of what kind, how old. 核对关于您的记录。

    Each attestation is signed by its provider, filed as yours, and none is left out. You see those
    of the providers for whom your key counts; of others how many there are. Shows no figures: no
    key but the service's opens them. Exit code 1 when something does not verify, or when the
    service has lost or keeps back some of it (HELD_NOT_SHOWN). Needs the service. Writes nothing.

    \b
    Example:
      credproof borrower self-check --language en --home me
    """
    try:
        found = sdk.Borrower.open(home).self_check()
    except CredproofError as error:
        lines = fault_lines(error, language)
        if as_json or not lines:
            raise
        for line in lines:
            err.print(line, markup=False)
        raise typer.Exit(exit_code(error)) from None
    if as_json:
        print_json(held_report(found))
    else:
        for line in held_lines(found, language):
            out.print(plain(line), markup=False)
