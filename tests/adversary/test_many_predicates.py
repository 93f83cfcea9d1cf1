"""A lender puts many comparisons into one request, so that one answer tells what many would."""

from __future__ import annotations

import pytest
from credproof.base.errors import Malformed

from tests.adversary.guessing import (
    SHARE,
    Attacker,
    asking,
    bands,
    never_narrower,
    promise,
    publish_all,
)
from tests.world import GOOD

LADDER = [{f"q{rung}": {"claim": SHARE, "below": rung}} for rung in range(3000, 11000, 1000)]
"""Eight tiers, each of one question: the tier tells the band."""
MIXED = [
    {
        "much": {"claim": "used_amount", "at_least": 2_000_000},
        "light": {"claim": SHARE, "below": 5000},
    },
    {
        "some": {"claim": "used_amount", "at_least": 500_000},
        "peak": {"claim": "peak_used_6m", "below": 5_000_000},
    },
]
WHOLE = asking("whole-ladder", *LADDER)
TOLD = asking("mixed-claims", *MIXED, otherwise={"outcome": "REFER", "reasons": "first_failing"})
BOUND = asking("few-rungs", LADDER[3], narrowest=promise(6))


@pytest.fixture(scope="module", autouse=True)
def policies(running):
    publish_all(running, [WHOLE, TOLD, BOUND])


def answered(running, policy, figures) -> Attacker:
    attacker = Attacker()
    subject_id, borrower = running.person({**GOOD, **figures})
    with running.world.lender() as lender:
        assert attacker.ask(lender, subject_id, borrower, policy)
    return attacker


@pytest.mark.parametrize("figure", [2999, 3000, 9999, 10_000])
def test_one_answer_with_eight_rungs_tells_a_band_and_the_meter_says_so(running, figure):
    attacker = answered(running, WHOLE, {SHARE: figure})
    never_narrower(attacker, {SHARE: figure})
    assert attacker.hull(SHARE) == attacker.cell(SHARE, figure)


def test_a_policy_that_promises_more_bands_than_that_cannot_be_written():
    with pytest.raises(Malformed) as caught:
        asking("too-fine", *LADDER, narrowest=promise(2))
    assert caught.value.reason == "BELOW_NARROWEST"


def test_after_one_rung_eight_at_once_are_refused(running):
    attacker = Attacker()
    subject_id, borrower = running.person()
    with running.world.lender() as lender:
        assert attacker.ask(lender, subject_id, borrower, BOUND)
        assert not attacker.ask(lender, subject_id, borrower, WHOLE)
    assert attacker.refused[0][1].reason == "TOO_NARROW"
    assert bands(SHARE, attacker.hull(SHARE)) >= 6


@pytest.mark.parametrize(
    "figures",
    [
        {"used_amount": 3_000_000, "peak_used_6m": 3_000_000, SHARE: 4000},
        {"used_amount": 3_000_000, "peak_used_6m": 9_000_000, SHARE: 6000},
        {"used_amount": 600_000, "peak_used_6m": 600_000, SHARE: 100},
        {"used_amount": 0, "peak_used_6m": 4_999_999, SHARE: 20_000},
    ],
)
def test_comparisons_of_several_claims_tell_no_more_than_the_meter_says_of_each(running, figures):
    attacker = answered(running, TOLD, figures)
    never_narrower(attacker, figures)
