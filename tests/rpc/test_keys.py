"""A phone is lost, and a new one takes its place: over the network, with two providers."""

from __future__ import annotations

import os

import pytest
from credproof import borrower as borrowers
from credproof.base.errors import Conflict, Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.verification.consent import verify_consent

from tests.rpc.conftest import PROVIDER

POLICY = "revolving-standing"


def ask(lender, subject_id: str, consent: str):
    return lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)


def paused(lender, subject_id: str, consent: str) -> None:
    with pytest.raises(Refused) as caught:
        ask(lender, subject_id, consent)
    assert caught.value.reason == "CONSENT_PAUSED"


def test_a_lost_phone_ends_at_once_and_the_new_one_takes_the_consent_over(running, lender):
    subject_id, consent, _ = running.consented(lender)
    lost = verify_consent(consent).keys[0].kid
    key = Ed25519Signer(os.urandom(32))
    proof = borrowers.prove_possession(key, provider=PROVIDER)
    with running.world.provider() as provider:
        provider.freeze(lost)
        paused(lender, subject_id, consent)
        for _ in range(2):  # as after a crash
            bound = provider.replace_key(subject_id, proof, lost=lost)
    new = Borrower(key, make_pass(running.home(PROVIDER), bound.sub))
    whole = new.cosign(consent)

    assert new.cosign(whole) == whole
    assert ask(lender, subject_id, whole).verified.outcome.tier == "A"
    new.revoke(whole)
    with pytest.raises(Refused) as caught:
        ask(lender, subject_id, whole)
    assert caught.value.reason == "CONSENT_REVOKED"


def test_only_a_key_that_one_has_bound_can_be_reported_lost(running):
    with running.world.provider() as provider, pytest.raises(Conflict) as caught:
        provider.freeze("00" * 16)
    assert caught.value.reason == "NO_SUCH_BINDING"
