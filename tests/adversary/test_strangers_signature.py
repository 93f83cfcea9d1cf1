"""Somebody holds the text of a consent, and a key that nobody has bound for its borrower."""

from __future__ import annotations

import os

import pytest
from credproof.base.errors import Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.verification.consent import verify_consent

from tests.rpc.conftest import PROVIDER
from tests.rpc.test_standing import ask


def not_permitted(work) -> None:
    with pytest.raises(Refused) as caught:
        work()
    assert caught.value.reason == "NOT_PERMITTED"


def test_neither_a_fresh_key_nor_another_borrowers_signs_or_revokes(running, lender):
    subject_id, consent, _ = running.consented(lender)
    _, other = running.person()  # bound, but for itself
    sub = verify_consent(consent).terms.sub
    fresh = Borrower(Ed25519Signer(os.urandom(32)), make_pass(running.home(PROVIDER), sub))
    for stranger in (fresh, other):
        not_permitted(lambda stranger=stranger: stranger.cosign(consent))
        not_permitted(lambda stranger=stranger: stranger.revoke(consent))
    assert ask(lender, subject_id, consent).verified.outcome.tier == "A"
    fresh.close()
