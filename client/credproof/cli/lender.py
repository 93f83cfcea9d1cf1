"""`credproof lender`: request consent, ask, verify offline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from credproof import standard
from credproof.base.encoding import DAY_S, time_text
from credproof.base.errors import CredproofError
from credproof.cli import deciding, metering, refreshing, requesting
from credproof.cli.asking import ask_file, ask_once
from credproof.cli.output import (
    EXIT_CODES,
    FAILED,
    HomeOption,
    JsonOption,
    out,
    print_error,
    print_json,
    read_file,
    read_text,
    require_file,
    require_writable,
    tell,
)
from credproof.cli.parts import GROUPS
from credproof.cli.requesting import PolicyOption, SubjectOption
from credproof.cli.verifying import answer_files, failure, verify_files
from credproof.home import Home
from credproof.lender import OfflineVerifier
from credproof.records.asks import Ask
from credproof.verification.explain import result_text
from credproof.verification.report import not_shown, report, witness_text
from credproof.verification.verify import VerifiedAnswer
from credproof.wire import answer as answer_wire
from credproof.witnessing import WITNESS_WAIT_S

app = typer.Typer(help=GROUPS["lender"], no_args_is_help=True)

requesting.register(app)
deciding.register(app)
metering.register(app)
refreshing.register(app)


@app.command(epilog=EXIT_CODES)
def ask(
    policy: PolicyOption,
    subject: SubjectOption = "",
    consent: Annotated[Path | None, typer.Option(help="The borrower's consent, a file.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The answer file to be written.")
    ] = None,
    home: HomeOption = Path(),
    case: Annotated[
        str,
        typer.Option(
            help="Your reference of the case; stays with you, the service sees a salted digest."
        ),
    ] = "",
    staff: Annotated[
        str, typer.Option(help="Who asks; stays with you, the service sees a salted digest.")
    ] = "",
    batch: Annotated[
        Path | None, typer.Option(help="Ask about every row: CSV or JSON lines (.jsonl); .gz too.")
    ] = None,
    output_dir: Annotated[
        Path | None,
        typer.Option(help="Where the answers of a batch go, one file each; made if needed."),
    ] = None,
    wait: Annotated[
        float,
        typer.Option(
            min=0, max=DAY_S, help="Seconds to wait for witnesses that a policy requires."
        ),
    ] = WITNESS_WAIT_S,
    as_json: JsonOption = False,
) -> None:
    """Put a policy's questions about a borrower; verify the answer and keep it in one file.

    With --batch about many: columns subject, consent (a file, or the consent itself), and if
    wanted case, staff, name (of the answer file). Prints one JSON object per row. Rows that fail
    are told with line and reason, the others go on; exit code 1 when one failed. A rerun asks
    only what has no answer yet, and never loses a consent for one answer to an interruption.
    Where the policy requires witnesses and they are late, the answer is kept as pending, with exit
    code 3 (1 in a batch): credproof lender refresh ends that. Needs the service. Writes asked.db in
    your home.

    \b
    Examples:
      credproof lender ask --policy revolving-standing --subject ref:client-7 \\
        --consent client-7.consent -o client-7.answer --home lend
      credproof lender ask --policy revolving-standing --batch loans.csv \\
        --output-dir answers --home lend
    """
    if batch is not None and output_dir is not None:
        _require(not (subject or consent or output or case or staff))
        _ask_many(home, batch, policy, output_dir, quiet=as_json, wait_s=wait)
    elif subject and consent is not None and output is not None:
        _require(batch is None and output_dir is None)
        asked = Ask(subject, policy, read_text(consent), case, staff)
        _ask_one(home, asked, output, as_json, wait_s=wait)
    else:
        _require(False)


def _require(whole: bool) -> None:
    if not whole:
        message = "give --subject, --consent and --output, or else --batch and --output-dir"
        raise typer.BadParameter(message)


def _ask_many(
    home: Path, file: Path, policy: str, folder: Path, *, quiet: bool, wait_s: float
) -> None:
    require_file(file)
    if ask_file(home, file, policy_id=policy, folder=folder, quiet=quiet, wait_s=wait_s):
        raise typer.Exit(FAILED)


def _ask_one(home: Path, asked: Ask, output: Path, as_json: bool, *, wait_s: float) -> None:
    require_writable(output)
    kept = ask_once(home, asked, output, wait_s=wait_s)
    if as_json:
        print_json({"file": str(output), **report(kept.verified)})
        return
    _print_verified(kept.verified)
    out.print(f"Kept:       {output}")


@app.command(epilog=EXIT_CODES)
def verify(
    file: Annotated[
        list[Path], typer.Argument(help="Kept answers (*.answer), or directories of them.")
    ],
    home: HomeOption = Path(),
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1, help="How many processes for many files; one per processor if not given."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Verify kept answers offline, as of the time they were given.

    Uses only the files and your home: the root you pinned, the trust bundle, the providers' keys
    you pinned. Exit code 1 when a check fails; it names the check. Of many files those that fail
    are listed, then all are counted; --json prints one object per file, each in its own line.
    Needs no network. Writes nothing.

    \b
    Example:
      credproof lender verify answers --home lend
    """
    if len(file) == 1 and not file[0].is_dir():
        _verify_one(file[0], home, as_json)
        return
    found, own = answer_files(file), Home(home)
    with _failing(as_json):
        valid = verify_files(found, own, jobs=jobs, as_json=as_json)
    if not valid:
        raise typer.Exit(FAILED)


def _verify_one(file: Path, home: Path, as_json: bool) -> None:
    data, own = read_file(file), Home(home)
    with _failing(as_json):
        verified = OfflineVerifier(own).verify(data)
    if as_json:
        print_json(report(verified))
    else:
        _print_verified(verified)


@contextmanager
def _failing(as_json: bool) -> Iterator[None]:
    """Print why a verification failed, and exit with 1."""
    try:
        yield
    except CredproofError as error:
        if as_json:
            print_json(failure(error))
        else:
            print_error(error)
        raise typer.Exit(FAILED) from None


def _print_verified(verified: VerifiedAnswer) -> None:
    answer = verified.answer
    given = time_text(answer.issued_at)
    outcome = answer.outcome
    told = f"tier {outcome.tier}" if outcome.tier else outcome.kind
    out.print(f"Outcome:    {told} {' '.join(outcome.reasons)}".rstrip())
    out.print(f"Policy:     {answer.policy.id} version {answer.policy.version}")
    out.print(f"Given:      {given}, verified {verified.mode.replace('-', ' ')}")
    for result in answer.results:
        question = verified.policy.questions[result.question]
        said = result_text(question, result.verdict, standard.text("en"))
        out.print(f"Proved:     {said}, data of {result.as_of}", markup=False)
    word = "Signed by:" if answer.results else "Bound by: "  # without figures, the key alone
    for source in verified.sources:
        how = "key pinned by you" if source.pinned else "key known from the trust bundle only"
        out.print(f"{word}  {source.provider} ({how})")
    place = f"entry {verified.log_index} of {verified.checkpoint.tree_size}"
    out.print(f"Logged:     {verified.checkpoint.origin}, {place}")
    found = verified.completeness
    for schema in found.absent:
        out.print(f"Absent:     {schema}, no attestation of it about this borrower")
    if found.state in ("complete", "partial"):
        shown = f"{found.shown} of {found.of} current attestations shown"
        out.print(f"Complete:   {'yes' if found.state == 'complete' else 'in part'}, {shown}")
    out.print(f"Witness:    {witness_text(verified.witnesses)}", markup=False)
    for told in not_shown(verified):
        out.print(f"Not shown:  {told}")


@app.command(epilog=EXIT_CODES)
def export(
    file: Annotated[Path, typer.Argument(help="A kept answer (*.answer).")],
) -> None:
    """Print a kept answer with all its evidence as JSON, unverified.

    An auditor looks for a case or a member of staff by text and salt, which stand under
    kept.caseReference and kept.staffReference: give these alone, beside them stands the borrower's
    id. Needs no home and no network. Verify an answer before you believe what is printed.

    \b
    Example:
      credproof lender export client-7.answer
    """
    typer.echo(answer_wire.to_json(answer_wire.parse(read_file(file))))


@app.command(epilog=EXIT_CODES)
def pin(
    provider: Annotated[str, typer.Argument(help="The provider's id.")],
    fingerprint: Annotated[
        str, typer.Argument(help="Its key's fingerprint, 32 hexadecimal digits.")
    ],
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Pin a provider's signing key, as the provider itself told you.

    From then on an answer that rests on another key of this provider is refused, whatever the
    operator's trust bundle says. A second pin of a provider is added to the
    first. Writes pins.json in your home. Needs no network.

    \b
    Example:
      credproof lender pin bank 00112233445566778899aabbccddeeff --home lend
    """
    Home(home).pin(provider, fingerprint)
    pinned = {"provider": provider, "fingerprint": fingerprint}
    tell(pinned, f"Pinned:  {provider} {fingerprint}", as_json=as_json)
