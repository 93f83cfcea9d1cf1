"""`credproof lender known`: what a directory of kept answers comes to."""

from __future__ import annotations

import json

import pytest

from tests.adversary.guessing import SHARE, asking, publish_all, share
from tests.cli.test_commands import run
from tests.rpc.conftest import LENDER
from tests.world import GOOD

POLICIES = [
    share("known-below", 7000),
    asking("known-above", {"q": {"claim": SHARE, "at_least": 4000}}),
]


@pytest.fixture(scope="module")
def kept(running, tmp_path_factory):
    """Two answers about one borrower, whose share in use is 55 %; one about another."""
    folder = tmp_path_factory.mktemp("known")
    publish_all(running, POLICIES)
    people = [running.person({**GOOD, SHARE: 5500}), running.person()]
    with running.world.lender() as lender:
        for number, (person, policy) in enumerate(
            [(people[0], POLICIES[0]), (people[0], POLICIES[1]), (people[1], POLICIES[0])]
        ):
            subject = lender.subject(person[0])
            request = lender.request(subject, policy_id=policy.id)
            consent = person[1].consent(person[1].check(request), language="zh")
            answer = lender.ask(subject, policy_id=policy.id, consent=consent)
            (folder / f"{number}.answer").write_bytes(answer.to_bytes())
    return folder, people


def test_the_intervals_of_all_answers_are_told_for_each_borrower(running, kept):
    folder, people = kept
    told = run("lender", "known", folder, home=running.world.home(LENDER))
    first, second = told.split("Borrower:")[1:]
    assert people[0][0] in first
    row = " ".join(first.split())
    assert f"consumer-revolving/1 {SHARE} at least 4000, below 7000 3 of 14 3" in row
    assert f"{SHARE} below 7000 7 of 14 7" in " ".join(second.split())


def test_machines_get_the_same(running, kept):
    folder, people = kept
    told = run("lender", "known", folder, "--json", home=running.world.home(LENDER))
    (first, _) = json.loads(told)
    assert first["subject"] == people[0][0]
    (claim,) = first["claims"]
    assert claim["every"] == claim["some"] == {"at_least": 4000, "below": 7000}
    assert (claim["bands_left"], claim["bands"], claim["narrowest"]) == (3, 14, 3)


def test_an_answer_that_does_not_verify_implies_nothing(running, kept, tmp_path):
    folder, _ = kept
    data = bytearray((folder / "0.answer").read_bytes())
    data[data.index(b"eyJ") + 400] ^= 1
    (tmp_path / "bent.answer").write_bytes(data)
    told = run("lender", "known", tmp_path, home=running.world.home(LENDER), code=1)
    assert "bent.answer: error" in told
