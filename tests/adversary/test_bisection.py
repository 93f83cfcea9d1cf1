"""A lender looks for a figure as one looks for a word in a dictionary: by policies that each cut
what is left in two, chosen by the answers so far."""

from __future__ import annotations

import pytest

from tests.adversary.guessing import (
    SHARE,
    Attacker,
    bands,
    never_narrower,
    promise,
    publish_all,
    share,
)
from tests.rpc.registry import changed, templates
from tests.world import GOOD

RUNGS = [4000, 5000, 6000, 7000, 8000, 9000, 10000]
PROMISED = 4
FREE = {rung: share(f"free-below-{rung}", rung) for rung in RUNGS}
BOUND = {rung: share(f"bound-below-{rung}", rung, narrowest=promise(PROMISED)) for rung in RUNGS}


@pytest.fixture(scope="module", autouse=True)
def policies(running):
    publish_all(running, [*FREE.values(), *BOUND.values()])
    with changed(running, templates(answers_per_month=100)):
        yield


def middle(left: list[int]) -> int:
    return left[len(left) // 2]


def outside_in(left: list[int]) -> int:
    return left[0]


def search(running, choices, figure: int, pick) -> Attacker:
    """Ask, as long as a rung lies within what is left and was not refused."""
    attacker = Attacker()
    subject_id, borrower = running.person({**GOOD, SHARE: figure})
    open_ = dict(choices)
    with running.world.lender() as lender:
        while True:
            part = attacker.hull(SHARE)
            useful = sorted(rung for rung in open_ if part.low < rung < part.end)
            if not useful:
                return attacker
            attacker.ask(lender, subject_id, borrower, open_.pop(pick(useful)))


@pytest.mark.parametrize("pick", [middle, outside_in])
@pytest.mark.parametrize("figure", [4500, 6000, 9000])
def test_it_never_finds_more_than_the_bands_that_the_policies_promise(running, figure, pick):
    attacker = search(running, BOUND, figure, pick)
    never_narrower(attacker, {SHARE: figure})
    assert bands(SHARE, attacker.hull(SHARE)) >= PROMISED
    assert {error.reason for _, error in attacker.refused} <= {"TOO_NARROW"}
    assert attacker.refused


def test_without_a_promise_it_finds_a_band_and_no_figure(running):
    attacker = search(running, FREE, 7777, middle)
    never_narrower(attacker, {SHARE: 7777})
    assert attacker.hull(SHARE) == attacker.cell(SHARE, 7777)
    assert bands(SHARE, attacker.hull(SHARE)) == 1
    assert not attacker.refused
