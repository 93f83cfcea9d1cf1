"""Instalments: exact to the minor unit, whatever the amount, the rate and the way of repayment."""

from __future__ import annotations

from fractions import Fraction

import pytest
from credproof.base.errors import Malformed
from credproof.base.money import money_text
from credproof.verification.instalments import instalments
from credproof.verification.policy import REPAYMENTS
from hypothesis import example, given, reject
from hypothesis import strategies as st

AMOUNTS = st.integers(1, 10**12)
MONTHS = st.integers(1, 120)
RATES = st.integers(0, 5000)


def table_of(amount, months, rate_bp, repayment):
    """The table, of loans that are large enough for their months."""
    try:
        return instalments(amount, months, rate_bp=rate_bp, repayment=repayment)
    except Malformed:
        if amount >= 10**6:
            raise
        reject()


@given(AMOUNTS, MONTHS, RATES, st.sampled_from(REPAYMENTS))
def test_all_that_was_lent_is_repaid_and_nothing_more(amount, months, rate_bp, repayment):
    table = table_of(amount, months, rate_bp, repayment)

    assert [row.month for row in table] == list(range(1, months + 1))
    assert sum(row.principal for row in table) == amount
    assert table[-1].owed == 0
    assert all(row.principal >= 0 and row.interest >= 0 for row in table)


@given(AMOUNTS, MONTHS, RATES)
def test_equal_instalments_are_equal_but_for_the_end_which_is_not_larger(amount, months, rate_bp):
    first, *others = [row.due for row in table_of(amount, months, rate_bp, "equal_instalments")]

    assert all(due == first for due in others[:-1])
    assert all(0 < due <= first for due in others)


@given(AMOUNTS, st.integers(1, 60), RATES)
@example(998_619, 8, 2872)
def test_no_smaller_equal_instalment_repays_with_a_last_one_that_is_not_larger(
    amount, months, rate_bp
):
    first = table_of(amount, months, rate_bp, "equal_instalments")[0].due

    smaller = range(max(0, first - 50), first)
    assert all(last_due(amount, months, rate_bp, due) > due for due in smaller)
    assert last_due(amount, months, rate_bp, first) <= first


def last_due(amount, months, rate_bp, due):
    """What is due in the last month, where `due` is paid in all others."""
    for _ in range(months - 1):
        amount = max(0, amount + round(Fraction(amount * rate_bp, 120_000)) - due)
    return amount + round(Fraction(amount * rate_bp, 120_000))


def test_the_smallest_payment_may_be_below_the_annuity_formula():
    table = instalments(998_619, 8, rate_bp=2872, repayment="equal_instalments")
    assert [row.due for row in table[:-1]] == [138_642] * 7
    assert table[-1].due <= 138_642


@pytest.mark.parametrize("repayment", ["equal_instalments", "equal_principal"])
def test_a_loan_that_would_have_months_with_nothing_due_is_refused(repayment):
    with pytest.raises(Malformed) as caught:
        instalments(10, 12, rate_bp=0, repayment=repayment)
    assert caught.value.reason == "BAD_LOAN"
    assert "months" in caught.value.message
    assert len(instalments(10, 12, rate_bp=0, repayment="bullet")) == 12


@given(AMOUNTS, MONTHS, RATES)
def test_what_is_owed_falls_by_the_principal_and_interest_is_on_what_was_owed(
    amount, months, rate_bp
):
    owed = amount
    for row in table_of(amount, months, rate_bp, "equal_principal"):
        assert abs(row.interest * 120_000 - owed * rate_bp) <= 60_000, "half a unit at most"
        owed -= row.principal
        assert row.owed == owed


def test_a_loan_of_twelve_months_at_twelve_per_cent_has_the_payment_of_the_annuity_formula():
    """10,000.00 at 1 % a month: 888.49 (10000 * 0.01 * 1.01^12 / (1.01^12 - 1), rounded up)."""
    table = instalments(1_000_000, 12, rate_bp=1200, repayment="equal_instalments")

    assert [row.due for row in table[:-1]] == [88_849] * 11
    assert table[-1].due == 88_847
    assert table[0].interest == 10_000


def test_interest_first_repays_at_the_end_and_a_bullet_pays_everything_there():
    rows = instalments(120_000, 3, rate_bp=1000, repayment="interest_first")
    assert [(row.principal, row.interest) for row in rows] == [
        (0, 1000),
        (0, 1000),
        (120_000, 1000),
    ]
    rows = instalments(120_000, 3, rate_bp=1000, repayment="bullet")
    assert [(row.principal, row.interest) for row in rows] == [(0, 0), (0, 0), (120_000, 3000)]


@pytest.mark.parametrize(
    ("wrong", "amount", "months", "rate_bp", "repayment"),
    [
        ("amount", 0, 1, 0, "bullet"),
        ("months", 1, 0, 0, "bullet"),
        ("months", 1, 601, 0, "bullet"),
        ("rate_bp", 1, 1, -1, "bullet"),
        ("rate_bp", 1, 1, 100_001, "bullet"),
        ("amount", 2**53, 1, 0, "bullet"),
        ("repayment", 1, 1, 0, "never"),
    ],
)
def test_what_is_no_loan_is_refused_by_what_is_wrong(wrong, amount, months, rate_bp, repayment):
    with pytest.raises(Malformed) as caught:
        instalments(amount, months, rate_bp=rate_bp, repayment=repayment)
    assert caught.value.reason == "BAD_LOAN"
    assert caught.value.message.startswith(f"{wrong}: ")


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        (5_000_000, "TWD", "50,000.00 TWD"),
        (5, "CNY", "0.05 CNY"),
        (-123_456, "CNY", "-1,234.56 CNY"),
        (1_234_567, "JPY", "1,234,567 JPY"),
        (1_234_567, "KWD", "1,234.567 KWD"),
        (1_234_567, "CLF", "123.4567 CLF"),
        (1_234_567, "UYW", "123.4567 UYW"),
        (1_234_567, "UYI", "1,234,567 UYI"),
        (1_234_567, "XDR", "1,234,567 XDR"),
    ],
)
def test_money_is_written_with_the_digits_of_its_currency(amount, currency, text):
    assert money_text(amount, currency) == text
