"""A lender asks the same again and again, and after every new attestation, to follow a figure."""

from __future__ import annotations

from dataclasses import replace

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

WATCH = share("watching", 7000, narrowest=promise(5))
NEXT = share("watching-closer", 5000, narrowest=promise(5))


@pytest.fixture(scope="module", autouse=True)
def policies(running):
    publish_all(running, [WATCH, NEXT])
    with changed(running, templates(answers_per_month=100)):
        yield


def attest(running, subject_id: str, figure: int) -> None:
    """A new attestation of the borrower's one account."""
    number = subject_id.rpartition("-")[2]
    record = replace(
        running.record({**GOOD, SHARE: figure}), subject=subject_id, account=f"account-{number}"
    )
    with running.world.provider() as provider:
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1


def test_repeats_tell_nothing_that_the_first_answer_did_not(running, lender):
    attacker = Attacker()
    subject_id, borrower = running.person({**GOOD, SHARE: 6500})
    parts = []
    for _ in range(4):
        assert attacker.ask(lender, subject_id, borrower, WATCH)
        parts.append(attacker.hull(SHARE))
    assert set(parts) == {attacker.cell(SHARE, 6500)}


def test_of_every_snapshot_no_more_is_known_than_its_cell(running, lender):
    path = [1000, 6999, 7000, 30_000, 2000]
    subject_id, borrower = running.person({**GOOD, SHARE: path[0]})
    outcomes = []
    for place, figure in enumerate(path):
        if place:
            attest(running, subject_id, figure)
        attacker = Attacker()
        assert attacker.ask(lender, subject_id, borrower, WATCH)
        never_narrower(attacker, {SHARE: figure})
        outcomes.append(attacker.answered[0][1].verified.outcome.kind)
    assert outcomes == ["TIER", "TIER", "REFER", "REFER", "TIER"], "transitions are seen"


def test_a_new_snapshot_gives_no_second_share_of_the_meter(running, lender):
    """Else who asks by turns about a figure that stays would have it cut at every rung."""
    attacker = Attacker()
    subject_id, borrower = running.person({**GOOD, SHARE: 6500})
    assert attacker.ask(lender, subject_id, borrower, WATCH)
    attest(running, subject_id, 6501)
    assert not attacker.ask(lender, subject_id, borrower, NEXT)
    assert attacker.refused[0][1].reason == "TOO_NARROW"
    assert bands(SHARE, attacker.hull(SHARE)) == 7
