"""`credproof lender known`: what a directory of kept answers comes to."""

from __future__ import annotations

import json

import pytest
from credproof import standard
from credproof.verification.explain import value_text

from tests.adversary.guessing import SHARE, Attacker, asking, publish_all, share
from tests.cli.command import run
from tests.rpc.conftest import LENDER
from tests.world import GOOD

POLICIES = [
    share("known-below", 7000),
    asking("known-above", {"q": {"claim": SHARE, "at_least": 4000}}),
    share("known-why", 5000, otherwise={"outcome": "REFER", "reasons": "first_failing"}),
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
    assert f"{SHARE}: at least 40 %, below 70 %: 3 of 14 bands left, never fewer than 3" in first
    assert f"{SHARE}: below 70 %: 7 of 14 bands left, never fewer than 7" in second


def test_what_failed_is_of_the_one_account_when_another_answer_shows_all_of_them(running, tmp_path):
    """REFER with its reason proves it on one account; a tier shows that there is no other."""
    subject_id, borrower = running.person({**GOOD, SHARE: 5500})
    attacker = Attacker()
    with running.world.lender() as lender:
        for policy in POLICIES[1:]:
            assert attacker.ask(lender, subject_id, borrower, policy)
    for number, (_, answer) in enumerate(attacker.answered):
        (tmp_path / f"{number}.answer").write_bytes(answer.to_bytes())
    home = running.world.home(LENDER)
    told = run("lender", "known", tmp_path / "1.answer", home=home)
    assert f"{SHARE}: anything (on one account at least 50 %): 14 of 14 bands left" in told
    told = run("lender", "known", tmp_path, home=home)
    assert f"{SHARE}: at least 50 %: 9 of 14 bands left, never fewer than 1" in told


@pytest.mark.parametrize(
    ("value", "kind", "currency", "said"),
    [
        (5_000_000, "money", "TWD", "50,000.00 TWD"),
        (5_000_000, "money", None, "5000000 minor units"),
        (3050, "basis-points", None, "30.50 %"),
        (3, "count", None, "3"),
    ],
)
def test_values_are_told_with_their_unit(value, kind, currency, said):
    assert value_text(value, kind, currency, standard.text("en")) == said


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
    assert "bent.answer: signature does not verify (BAD_SIGNATURE)" in told
