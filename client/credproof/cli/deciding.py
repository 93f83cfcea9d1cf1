"""`credproof lender notice` and `instalments`: what a lender needs after an answer."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from credproof.base.errors import Conflict
from credproof.base.money import money_text
from credproof.cli.output import EXIT_CODES, HomeOption, JsonOption, out, print_json, read_file
from credproof.home import Home
from credproof.lender import OfflineVerifier
from credproof.verification.adverse import adverse_text
from credproof.verification.instalments import Instalment, instalments
from credproof.verification.notice import text_in
from credproof.verification.verify import VerifiedAnswer

AnswerArgument = Annotated[Path, typer.Argument(help="A kept answer (*.answer).")]


def register(app: typer.Typer) -> None:
    """Add the commands to the lender's."""
    app.command("notice", epilog=EXIT_CODES)(notice)
    app.command("instalments", epilog=EXIT_CODES)(offer)


def notice(
    file: AnswerArgument,
    home: HomeOption = Path(),
    language: Annotated[str, typer.Option(help="zh or en.")] = "zh",
) -> None:
    """Print the notice for a borrower you decide against: sources, reason, rights.

    Verifies the answer first, offline. An answer of the best tier gives no reason for such a
    decision, and no notice. Needs no network. Writes nothing.

    \b
    Example:
      credproof lender notice client-7.answer --language en --home lend
    """
    verifier = OfflineVerifier(Home(home))
    verified = verifier.verify(read_file(file))
    trust = verifier.trust
    typer.echo(adverse_text(verified, trust, text_in(trust, language)))


def offer(
    file: AnswerArgument,
    amount: Annotated[int, typer.Option(help="What is lent, in minor units of the currency.")],
    months: Annotated[int, typer.Option(help="Over how many months; the offer says which.")],
    rate_bp: Annotated[
        int, typer.Option(help="Yearly nominal rate in basis points: 1200 is 12 %.")
    ],
    repayment: Annotated[
        str, typer.Option(help="How it is repaid; the offer says which ways. Its first by default.")
    ] = "",
    home: HomeOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Print the instalments of a loan within the offer of an answer's tier.

    Verifies the answer first, offline; refuses what the tier does not offer. A month's interest is
    a twelfth of the rate on what is owed, rounded half to even. Needs no network. Writes nothing.

    \b
    Example:
      credproof lender instalments client-7.answer --amount 3000000 --months 6 \\
        --rate-bp 1200 --home lend
    """
    verified = OfflineVerifier(Home(home)).verify(read_file(file))
    way = _within_offer(verified, amount, months, repayment)
    table = instalments(amount, months, rate_bp=rate_bp, repayment=way)
    currency = str(verified.answer.offer["currency"])
    if as_json:
        rows = [{**asdict(row), "due": row.due} for row in table]
        print_json({"currency": currency, "repayment": way, "instalments": rows})
    else:
        _print_table(table, currency)


def _within_offer(verified: VerifiedAnswer, amount: int, months: int, repayment: str) -> str:
    """The way of repayment; refuses what goes beyond the offer."""
    offered = verified.answer.offer
    ways = offered.get("repayment", [])
    way = repayment or next(iter(ways), "")
    fits = amount <= offered.get("limit_up_to", 0) and months in offered.get("months", [])
    if not fits or way not in ways:
        raise Conflict(
            "NOT_OFFERED", "the answer's tier does not offer this amount, months or repayment"
        )
    return way


def _print_table(table: tuple[Instalment, ...], currency: str) -> None:
    shown = Table("month", "due", "principal", "interest", "owed", box=None)
    for column in shown.columns[1:]:
        column.justify = "right"
    for row in table:
        sums = (row.due, row.principal, row.interest, row.owed)
        shown.add_row(str(row.month), *(money_text(amount, currency) for amount in sums))
    out.print(shown)
    total = money_text(sum(row.interest for row in table), currency)
    out.print(f"Interest in all: {total}")
