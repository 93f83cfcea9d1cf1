"""A lender wants to tell somebody who is refused from somebody who is not known at all.

Before a consent nothing can be told: `tests/adversary/test_uniform_refusals.py`. Under one the
lender learns what the policy tells, and no more.
"""

from __future__ import annotations

import json

import pytest
from credproof.attestation.token import parse_token
from credproof.verification.answer import parse_answer

from tests.rpc.test_standing import ask
from tests.world import GOOD, POOR

OVERDRAWN = {**GOOD, "used_amount": 10_000_000, "utilisation_bp": 10_000}
"""Refused for its use of the limit, where `POOR` is for being overdue."""


@pytest.fixture(scope="module")
def referred(running):
    """The answers about two people who are referred, each for another reason."""
    with running.world.lender() as lender:
        asked = [running.consented(lender, values)[:2] for values in (POOR, OVERDRAWN)]
        return [ask(lender, *pair) for pair in asked]


def test_a_silent_referral_does_not_tell_which_question_failed(referred):
    told = [parse_answer(kept.bundle.answer)[1] for kept in referred]
    assert {(t.outcome.kind, t.outcome.tier, t.outcome.reasons) for t in told} == {
        ("REFER", None, ())
    }
    assert {(t.results, tuple(t.offer)) for t in told} == {((), ())}


def test_two_silent_referrals_have_the_same_shape_and_no_evidence_of_figures(referred):
    shapes = {
        (len(kept.bundle.answer), len(kept.bundle.tokens), len(kept.bundle.bindings))
        for kept in referred
    }
    assert [count for _, *counts in shapes for count in counts] == [0, 1]
    schemas = [parse_token(b.token).vct for kept in referred for b in kept.bundle.bindings]
    assert set(schemas) == {"urn:credproof:key-binding:1"}


def test_the_log_shows_of_a_tier_and_a_referral_their_kind_alone(running, lender, referred):
    """Auditors search by it; which tier, and what failed, stands there as a salted digest."""
    granted = ask(lender, *running.consented(lender, GOOD)[:2])
    entries = [json.loads(kept.bundle.logged.line) for kept in (granted, *referred)]
    kinds = [entry["fields"].pop("outcome") for entry in entries]
    assert kinds == ["TIER"] + ["REFER"] * len(referred)
    shapes = {
        (e["kind"], e["actor"], tuple((k, len(v)) for k, v in sorted(e["fields"].items())))
        for e in entries
    }
    assert len(shapes) == 1
    assert len({e["fields"]["verdicts"] for e in entries}) == len(entries)
