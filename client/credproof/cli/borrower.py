"""`credproof borrower`: hold a key, see who asks, consent, revoke."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from credproof import borrower as sdk
from credproof.cli.output import (
    HomeOption,
    out,
    read_file,
    read_text,
    require_writable,
    write_file,
)

app = typer.Typer(
    help="For borrowers: see who asks, consent, revoke. 借款人:查看请求、授权、撤回。",
    no_args_is_help=True,
)
LanguageOption = Annotated[str, typer.Option("--language", "-l", help="zh or en.")]
OutputOption = Annotated[Path, typer.Option("--output", "-o", help="Where the result goes.")]


@app.command()
def create(home: Annotated[Path, typer.Argument(help="A directory for your key.")]) -> None:
    """Make your key. It never leaves the directory."""
    out.print(f"Your key:  {sdk.create(home).kid}")


@app.command()
def prove(
    provider: Annotated[str, typer.Option(help="The provider's id.")],
    output: OutputOption,
    home: HomeOption = Path(),
) -> None:
    """Prove to a provider, who knows you, that the key is yours. Good for ten minutes."""
    token = sdk.prove_possession(sdk.load_signer(home), provider=provider)
    write_file(output, token.encode("ascii"))
    out.print(f"Proof:  {output} (give it to {provider})")


@app.command()
def join(
    found: Annotated[Path, typer.Argument(metavar="PASS", help="The pass from your provider.")],
    home: HomeOption = Path(),
) -> None:
    """Keep the pass that your provider gave you."""
    out.print(f"Service:  {sdk.join(home, read_file(found)).domain}")


@app.command()
def show(
    request: Annotated[Path, typer.Argument(help="A lender's request.")],
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
) -> None:
    """Check a lender's request, and show who asks for what, why and how long."""
    checked = sdk.Borrower.open(home).check(read_text(request))
    out.print(checked.notice(language), markup=False)


@app.command()
def consent(
    request: Annotated[Path, typer.Argument(help="A lender's request.")],
    output: OutputOption,
    home: HomeOption = Path(),
    language: LanguageOption = "zh",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
) -> None:
    """Show a lender's request, and sign it if you agree."""
    require_writable(output)
    borrower = sdk.Borrower.open(home)
    checked = borrower.check(read_text(request))
    out.print(checked.notice(language), markup=False)
    if not yes:
        question = "同意吗？" if language == "zh" else "Do you agree?"
        typer.confirm(question, abort=True)
    write_file(output, borrower.consent(checked, language=language).encode("ascii"))
    done = "授权书" if language == "zh" else "Consent"
    out.print(f"{done}:  {output}")


@app.command()
def revoke(
    given: Annotated[Path, typer.Argument(metavar="CONSENT", help="The consent you gave.")],
    home: HomeOption = Path(),
) -> None:
    """Revoke a consent. No answer is given under it once this returns."""
    index = sdk.Borrower.open(home).revoke(read_text(given))
    out.print(f"Revoked, log entry {index}. 已撤回。")
