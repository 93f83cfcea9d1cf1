"""Two lenders ask by different policies and put together all that they have: answers, proofs,
refusals. The meter of what one lender may know does not count the other's answers; the meter of
both says what they can come to."""

from __future__ import annotations

import time

import pytest
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.lender import Lender
from credproof.verification.meter import Interval, meter
from credproof_server import admission
from credproof_server.demo.world import licensed

from tests.adversary.guessing import (
    SHARE,
    Attacker,
    asking,
    bands,
    never_narrower,
    promise,
    publish_all,
    share,
)
from tests.world import GOOD, REVOLVING

PARTNER = "partner-lender"
WIDE = share("wide-half", 7000, narrowest=promise(7))
OTHER = share("other-part", 4000, narrowest=promise(4))
PEAK = asking("peak-below", {"q": {"claim": "peak_used_6m", "below": 5_000_000}})
USED = asking("used-above", {"q": {"claim": "used_amount", "at_least": 2_000_000}})


@pytest.fixture(scope="module")
def partner(running) -> str:
    publish_all(running, [WIDE, OTHER, PEAK, USED])
    folder = running.world.home(PARTNER)
    enrolment = enrolments.enrol(folder, role="lender", participant_id=PARTNER, title="Partner")
    standing = licensed(int(time.time()))
    admitted = admission.admit(running.world.service, enrolment, **standing)
    homes.join(folder, admitted.to_bytes(), root_kid=None, now=int(time.time()))
    return folder


def pooled(running, partner, figures, own, others) -> Attacker:
    """What both have together: the lender asked under `own`, the partner under `others`."""
    both = Attacker()
    subject_id, borrower = running.person({**GOOD, **figures})
    with running.world.lender() as lender, Lender.open(partner) as colluding:
        for policy in own:
            both.ask(lender, subject_id, borrower, policy)
        for policy in others:
            both.ask(colluding, subject_id, borrower, policy)
    return both


@pytest.mark.parametrize("figure", [3999, 5000, 7000])
def test_together_they_know_the_cell_of_all_their_policies_and_nothing_below(
    running, partner, figure
):
    both = pooled(running, partner, {SHARE: figure}, [WIDE], [OTHER])
    assert not both.refused
    never_narrower(both, {SHARE: figure})
    assert both.hull(SHARE) == both.cell(SHARE, figure)
    assert meter([WIDE, OTHER])[REVOLVING.id, SHARE].narrowest == 3


def test_proofs_for_the_two_sides_of_a_figure_prove_no_rung_between(running, partner):
    figures = {"used_amount": 3_000_000, "peak_used_6m": 3_000_000}
    both = pooled(running, partner, figures, [PEAK], [USED])
    never_narrower(both, figures)
    assert both.proved("used_amount").low == 2_000_000
    assert both.proved("peak_used_6m").end == 5_000_000
    part = Interval(2_000_000, 5_000_000)
    assert part == both.cell("used_amount", 3_000_000) == both.cell("peak_used_6m", 3_000_000)


def test_one_of_them_alone_is_refused_what_they_reach_together(running, partner):
    alone = pooled(running, partner, {SHARE: 5000}, [WIDE, OTHER], [])
    assert [error.reason for _, error in alone.refused] == ["TOO_NARROW"]
    assert bands(SHARE, alone.hull(SHARE)) >= 7


def test_a_lender_does_not_learn_from_its_refusals_that_another_asked(running, partner):
    """Were answers to others counted, a refusal would tell of them."""
    both = pooled(running, partner, {SHARE: 5000}, [WIDE], [OTHER, WIDE])
    asked_by_partner = [policy.id for policy, _ in both.refused]
    assert asked_by_partner == [WIDE.id], "for what it was answered itself"
