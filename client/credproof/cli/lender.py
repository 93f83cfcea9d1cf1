"""`credproof lender`: request consent, ask, verify offline."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Annotated, Any

import typer

from credproof.base.errors import CredproofError
from credproof.cli.output import (
    FAILED,
    HomeOption,
    JsonOption,
    out,
    print_error,
    print_json,
    read_file,
    read_text,
    write_file,
)
from credproof.home import Home
from credproof.lender import Lender, OfflineVerifier
from credproof.verification.consent import Mode
from credproof.verification.policy import Question
from credproof.verification.report import report
from credproof.verification.verify import CHECKS, VerifiedAnswer
from credproof.wire import answer as answer_wire

app = typer.Typer(help="For lenders: request consent, ask, verify.", no_args_is_help=True)

SubjectOption = Annotated[str, typer.Option(help="The borrower's id: cn-id:…, ref:…")]
PolicyOption = Annotated[str, typer.Option(help="The policy's id.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where the result goes.")]


@app.command()
def request(
    subject: SubjectOption,
    policy: PolicyOption,
    output: OutputOption,
    home: HomeOption = Path(),
    continuing: Annotated[bool, typer.Option(help="Ask for more than one answer.")] = False,
    days: Annotated[int, typer.Option(min=1, help="How long the consent is to last.")] = 30,
) -> None:
    """Write a signed request for a borrower's consent; send it to the borrower."""
    with Lender.open(home) as lender:
        mode: Mode = "continuing" if continuing else "once"
        found = lender.subject(subject)
        token = lender.request(found, policy_id=policy, mode=mode, days=days)
    write_file(output, token.encode("ascii"))
    out.print(f"Request:  {output} (the borrower runs credproof borrower show, then consent)")


@app.command()
def ask(
    subject: SubjectOption,
    policy: PolicyOption,
    consent: Annotated[Path, typer.Option(help="The borrower's consent.")],
    output: OutputOption,
    home: HomeOption = Path(),
    case: Annotated[str, typer.Option(help="Your reference of the case; stays with you.")] = "",
    staff: Annotated[str, typer.Option(help="Who asks; stays with you.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Put a policy's questions about a borrower; verify the answer and keep it in one file."""
    with Lender.open(home) as lender:
        kept = lender.ask(
            lender.subject(subject),
            policy_id=policy,
            consent=read_text(consent),
            case=case,
            staff=staff,
        )
    write_file(output, kept.to_bytes())
    if as_json:
        print_json({"file": str(output), **report(kept.verified)})
        return
    _print_verified(kept.verified)
    out.print(f"Kept:       {output}")


@app.command()
def verify(
    file: Annotated[Path, typer.Argument(help="A kept answer (*.answer).")],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Verify a kept answer offline, as of the time it was given.

    Uses only the file and your home: the root you pinned, the trust bundle, the providers' keys
    you pinned. Exit code 1 when a check fails; it names the check.
    """
    data, own = read_file(file), Home(home)
    try:
        verified = OfflineVerifier(own).verify(data)
    except CredproofError as error:
        if as_json:
            print_json(_failure(error))
        else:
            print_error(error)
        raise typer.Exit(FAILED) from None
    if as_json:
        print_json(report(verified))
    else:
        _print_verified(verified)


def _failure(error: CredproofError) -> dict[str, Any]:
    name = None if error.step is None else CHECKS[error.step]
    return {
        "valid": False,
        "step": error.step,
        "check": name,
        "reason": error.reason,
        "message": error.message,
    }


def _print_verified(verified: VerifiedAnswer) -> None:
    answer = verified.answer
    given = dt.datetime.fromtimestamp(answer.issued_at, dt.UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    outcome = answer.outcome
    told = f"tier {outcome.tier}" if outcome.tier else outcome.kind
    out.print(f"Outcome:    {told} {' '.join(outcome.reasons)}".rstrip())
    out.print(f"Policy:     {answer.policy.id} version {answer.policy.version}")
    out.print(f"Given:      {given}, verified {verified.mode.replace('-', ' ')}")
    for result in answer.results:
        question = verified.policy.questions[result.question]
        out.print(f"Proved:     {describe(question)}, data of {result.as_of}", markup=False)
    for source in verified.sources:
        how = "key pinned by you" if source.pinned else "key known from the trust bundle only"
        out.print(f"Signed by:  {source.provider} ({how})")
    place = f"entry {verified.log_index} of {verified.checkpoint.tree_size}"
    out.print(f"Logged:     {verified.checkpoint.origin}, {place}")
    out.print("Not shown:  completeness (no directory), witnesses (none)")


def describe(question: Question, language: str = "en") -> str:
    """What a question that is answered YES says."""
    if question.condition is None:
        return question.schema.facts[question.fact or ""].title[language]
    condition = question.condition
    title = question.schema.claims[condition.claim].title[language]
    sign = "at least" if condition.direction == "at_least" else "below"
    unit = f" {question.currency} minor units" if question.currency else ""
    return f"{title}: {sign} {condition.threshold}{unit}"


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="A kept answer (*.answer).")],
) -> None:
    """Print a kept answer with all its evidence as JSON, unverified."""
    typer.echo(answer_wire.to_json(answer_wire.parse(read_file(file))))


@app.command()
def pin(
    provider: Annotated[str, typer.Argument(help="The provider's id.")],
    fingerprint: Annotated[str, typer.Argument(help="Its key's fingerprint.")],
    home: HomeOption = Path(),
) -> None:
    """Pin a provider's signing key, as the provider itself told you.

    From then on an answer that rests on another key of this provider is refused, whatever the
    operator's trust bundle says.
    """
    Home(home).pin(provider, fingerprint)
    out.print(f"Pinned:  {provider} {fingerprint}")
