"""Every bad input gets its own stable refusal over real gRPC, and leaves nothing behind."""

from __future__ import annotations

from collections import Counter

import pytest
from credproof.auditor import Auditor
from credproof.lender import OfflineVerifier

from tests.adversary.attack import Attack
from tests.adversary.attacks.questions import QUESTIONS
from tests.adversary.attacks.table import ATTACKS
from tests.adversary.attacks.withdrawals import BATCHES
from tests.adversary.stage import LENDER, POLICY, Stage

REFUSED = {"NOT_PERMITTED", "CONSENT_EXPIRED", "CONSENT_REVOKED", "CONSENT_USED_UP"}
REFUSALS = {"answer.refused", "attestation.conflict"}
"""All that a refused input may leave in the log."""


def row(attack: Attack):
    """A row that shows a fault of the service fails until the fault is mended, and says so."""
    marks = [pytest.mark.xfail(reason=attack.fault, strict=True)] if attack.fault else []
    return pytest.param(attack, id=attack.name.replace(" ", "-"), marks=marks)


@pytest.mark.parametrize("attack", [row(attack) for attack in ATTACKS])
def test_it_is_refused_with_its_reason(carried_out, attack):
    found = carried_out.outcomes[attack.name]
    assert (attack.code, attack.reason, attack.step) == (found.code, found.reason, found.step)
    assert attack.says in found.text


def test_no_two_attacks_have_one_name():
    assert len(ATTACKS) == len({attack.name for attack in ATTACKS})


def test_nothing_of_it_was_a_fault_of_the_service(stage: Stage, carried_out):
    codes = Counter(found.code for found in carried_out.outcomes.values())
    assert not codes.keys() & {"INTERNAL", "UNKNOWN", "DATA_LOSS", "DEADLINE_EXCEEDED"}
    assert "Traceback" not in stage.server_log()


def test_the_log_has_no_trace_of_acceptance(carried_out):
    assert {entry["kind"] for entry in carried_out.entries} <= REFUSALS


def test_every_question_that_was_refused_is_in_the_log(carried_out):
    asked = [carried_out.outcomes[attack.name] for attack in (*QUESTIONS, *BATCHES)]
    refused = [found for found in asked if found.reason in REFUSED]
    logged = Counter(entry["kind"] for entry in carried_out.entries)
    assert len(refused) == logged["answer.refused"]


def test_an_equivocation_is_in_the_log_once(carried_out):
    kinds = [entry["kind"] for entry in carried_out.entries]
    assert kinds.count("attestation.conflict") == 1


def test_the_service_still_serves_an_honest_journey(stage: Stage, carried_out):
    assert carried_out.outcomes
    with stage.world.lender() as lender:
        consent = stage.consent(lender, "ann")
        kept = lender.ask(stage.subjects["ann"], policy_id=POLICY, consent=consent)
    verified = OfflineVerifier(stage.home(LENDER)).verify(kept.to_bytes())
    assert verified.outcome.tier == "A"


def test_the_log_is_still_sound(stage: Stage, carried_out):
    assert carried_out.outcomes
    with Auditor.open(stage.world.home("audit-office")) as auditor:
        report = auditor.verify(whole=True)
    assert report.checkpoint.tree_size == report.entries_read
