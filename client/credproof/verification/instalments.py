"""Instalment tables in exact minor units: what is repaid is what was lent, to the last cent."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from credproof.base.errors import Malformed
from credproof.base.limits import INTEGER_MAX

MONTHS_MAX: Final = 600
RATE_MAX_BP: Final = 100_000
"""A yearly rate of 1,000 per cent: beyond it somebody mistook the unit."""


@dataclass(frozen=True, slots=True)
class Instalment:
    """What is due after `month` months, and what is owed then; all in minor units."""

    month: int
    principal: int
    interest: int
    owed: int

    @property
    def due(self) -> int:
        """Principal and interest together."""
        return self.principal + self.interest


def instalments(
    amount: int, months: int, *, rate_bp: int, repayment: str
) -> tuple[Instalment, ...]:
    """The table of a loan of `amount` minor units over whole months.

    `rate_bp` is the yearly nominal rate in basis points; a month's interest is a twelfth of it on
    what is owed, rounded half to even. `repayment` is one of the policy's: equal_instalments (the
    smallest whole payment at which the last is not larger), equal_principal, interest_first
    (interest only, all principal at the end), bullet (everything at the end, interest not
    compounded). In the first two something is due every month.

    Raises:
        Malformed: `BAD_LOAN`; the message begins with the argument that is wrong.
    """
    _require_range("amount", amount, 1, INTEGER_MAX)
    _require_range("months", months, 1, MONTHS_MAX)
    _require_range("rate_bp", rate_bp, 0, RATE_MAX_BP)
    rate = Fraction(rate_bp, 120_000)
    match repayment:
        case "equal_instalments":
            return _due_monthly(_annuity(amount, months, rate))
        case "equal_principal":
            return _due_monthly(_table(amount, rate, _shares(amount, months)))
        case "interest_first":
            return _table(amount, rate, [0] * (months - 1) + [amount])
        case "bullet":
            empty = (Instalment(month, 0, 0, amount) for month in range(1, months))
            return (*empty, Instalment(months, amount, round(amount * rate * months), 0))
        case _:
            raise Malformed("BAD_LOAN", "repayment: not one that a policy can offer")


def _require_range(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise Malformed("BAD_LOAN", f"{name}: not from {least} to {most}")


def _due_monthly(table: tuple[Instalment, ...]) -> tuple[Instalment, ...]:
    if not all(row.due for row in table):
        message = "months: in some of them nothing would be due; take fewer, or a larger amount"
        raise Malformed("BAD_LOAN", message)
    return table


def _annuity(amount: int, months: int, rate: Fraction) -> tuple[Instalment, ...]:
    """By the smallest payment that repays; the more is paid, the less is left for the end.

    Each month's interest is rounded by half a unit at most. What all of them come to at the end
    changes the payment by half a unit at most: the smallest is the formula's, one less or one more.
    """
    due = _annuity_payment(amount, months, rate) - 1
    while (table := _repaid(amount, months, rate, due))[-1].due > due:
        due += 1
    return table


def _repaid(amount: int, months: int, rate: Fraction, due: int) -> tuple[Instalment, ...]:
    table, owed = [], amount
    for month in range(1, months + 1):
        interest = round(owed * rate)
        principal = owed if month == months else min(owed, due - interest)
        owed -= principal
        table.append(Instalment(month, principal, interest, owed))
    return tuple(table)


def _annuity_payment(amount: int, months: int, rate: Fraction) -> int:
    if rate == 0:
        return -(-amount // months)
    growth = (1 + rate) ** months
    exact = amount * rate * growth / (growth - 1)
    return -(-exact.numerator // exact.denominator)


def _shares(amount: int, months: int) -> list[int]:
    """Equal shares; the first ones are a minor unit larger where it does not divide."""
    share, rest = divmod(amount, months)
    return [share + (month < rest) for month in range(months)]


def _table(amount: int, rate: Fraction, principals: list[int]) -> tuple[Instalment, ...]:
    table, owed = [], amount
    for month, principal in enumerate(principals, start=1):
        interest = round(owed * rate)
        owed -= principal
        table.append(Instalment(month, principal, interest, owed))
    return tuple(table)
