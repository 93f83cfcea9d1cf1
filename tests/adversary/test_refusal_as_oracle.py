"""A lender reads a figure off whether and how it is refused: the refusal of the meter is one
and the same for every figure, for a missing one, and for whoever is asked about."""

from __future__ import annotations

import json

import pytest
from credproof.base.errors import CredproofError
from credproof.records.asks import Ask

from tests.adversary.guessing import SHARE, Attacker, promise, publish_all, share
from tests.world import GOOD

TOLD = ("case", "consent", "policy", "purpose", "reason", "staff")
FIGURES = [None, 0, 4000, 7000]
FIRST = share("oracle-first", 7000, narrowest=promise(5))
SECOND = share("oracle-second", 4000, narrowest=promise(4))


@pytest.fixture(scope="module", autouse=True)
def policies(running):
    publish_all(running, [FIRST, SECOND])


def refusal(error: CredproofError) -> tuple:
    return type(error), error.reason, error.message, error.step


def test_the_refusal_is_the_same_for_every_figure(running, lender):
    told = set()
    for figure in FIGURES:
        attacker = Attacker()
        subject_id, borrower = running.person({**GOOD, SHARE: figure})
        assert attacker.ask(lender, subject_id, borrower, FIRST)
        assert not attacker.ask(lender, subject_id, borrower, SECOND)
        told.add(refusal(attacker.refused[0][1]))
    assert len(told) == 1
    ((_, reason, message, step),) = told
    assert (reason, step) == ("TOO_NARROW", None)
    assert not any(letter.isdigit() for letter in message)


def test_in_a_batch_it_is_the_same_and_the_log_tells_no_more(running, lender):
    asks = []
    for figure in FIGURES:
        subject_id, borrower = running.person({**GOOD, SHARE: figure})
        for policy in (FIRST, SECOND):
            subject = lender.subject(subject_id)
            request = lender.request(subject, policy_id=policy.id)
            consent = borrower.consent(borrower.check(request), language="zh")
            asks.append(Ask(subject_id, policy.id, consent, "", ""))
    results = list(lender.ask_many(asks))
    refused = [refusal(item) for item in results if isinstance(item, CredproofError)]
    assert len(refused) == len(FIGURES)
    assert len(set(refused)) == 1
    found = logged(running, len(asks))
    assert len(found) == len(FIGURES)
    assert {tuple(sorted(fields)) for fields in found} == {TOLD}
    assert {(fields["reason"], fields["policy"]["id"]) for fields in found} == {
        ("TOO_NARROW", SECOND.id)
    }


def logged(running, count: int) -> list[dict]:
    """What the newest entries say of refusals."""
    with running.world.auditor() as auditor:
        size = auditor.checkpoint().tree_size
        lines = [json.loads(line) for line in auditor.lines(size - count, size)]
    return [line["fields"] for line in lines if line["kind"] == "answer.refused"]
