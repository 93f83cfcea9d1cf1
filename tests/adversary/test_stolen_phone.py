"""A thief has the phone with a borrower's key, and the borrower has reported it lost."""

from __future__ import annotations

import os

import pytest
from credproof import borrower as borrowers
from credproof.base.errors import Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.verification.consent import verify_consent

from tests.rpc.conftest import PROVIDER
from tests.rpc.test_standing import ask

POLICY = "revolving-standing"


@pytest.fixture(scope="module")
def stolen(running):
    """The borrower's id, a consent by the lost and the new key, the thief, the borrower anew."""
    with running.world.lender() as lender:
        subject_id, consent, thief = running.consented(lender)
    with running.world.provider() as provider:
        lost = verify_consent(consent).keys[0].kid
        provider.freeze(lost)
        key = Ed25519Signer(os.urandom(32))
        proof = borrowers.prove_possession(key, provider=PROVIDER)
        bound = provider.replace_key(subject_id, proof, lost=lost)
    owner = Borrower(key, make_pass(running.home(PROVIDER), bound.sub))
    return subject_id, owner.cosign(consent), thief, owner


def not_permitted(work) -> None:
    with pytest.raises(Refused) as caught:
        work()
    assert caught.value.reason == "NOT_PERMITTED"


def test_the_thief_gives_no_new_consent(lender, stolen):
    subject_id, _, thief, _ = stolen
    request = thief.check(lender.request(lender.subject(subject_id), policy_id=POLICY))
    not_permitted(lambda: thief.consent(request, language="zh"))


def test_the_thief_neither_pauses_nor_resumes_what_it_signed_before(lender, stolen):
    subject_id, consent, thief, owner = stolen
    not_permitted(lambda: thief.pause(consent))
    owner.pause(consent)
    not_permitted(lambda: thief.resume(consent))
    with pytest.raises(Refused) as caught:
        ask(lender, subject_id, consent)
    assert caught.value.reason == "CONSENT_PAUSED"
    owner.resume(consent)
    assert ask(lender, subject_id, consent).verified.outcome.tier == "A"
