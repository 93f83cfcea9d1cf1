"""A provider binds a key of its own to somebody else's customer, and consents with it."""

from __future__ import annotations

import os

import pytest
from credproof.base.errors import Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.verification.answer import parse_answer

from tests.adversary.stage import POLICY, PROVIDER, Stage
from tests.world import KEY_BINDING, complete

BINDER = "other-bank"


@pytest.fixture(scope="module")
def eve(stage: Stage) -> Borrower:
    """A key of the binder, bound by it to ann; her figures are another provider's."""
    key = Ed25519Signer(os.urandom(32))
    values = complete(KEY_BINDING, {"jwk": key.public.jwk(), "method": "SOFTWARE"})
    about = {"schema": KEY_BINDING, "values": values, "currency": None}
    package = stage.package(signer=stage.home(BINDER).signer, issuer=BINDER, **about)
    assert stage.submit_item(package, who=BINDER).log_index
    found = make_pass(stage.home(PROVIDER), stage.subjects["ann"].sub)
    return Borrower(key, found, stage.channel("borrowers"))


def test_its_consent_opens_none_of_the_other_providers_attestations(stage: Stage, eve):
    with stage.world.lender() as lender:
        subject = stage.subjects["ann"]
        request = lender.request(subject, policy_id=POLICY)
        consent = eve.consent(eve.check(request), language="zh")
        kept = lender.ask(subject, policy_id=POLICY, consent=consent)
    told = parse_answer(kept.bundle.answer)[1].outcome
    assert (told.kind, told.reasons, kept.bundle.tokens) == ("INCOMPLETE", ("ABSENT",), ())


def test_its_key_sees_none_of_the_other_providers_attestations(stage: Stage, eve):
    """It sees its own binding, and how many others there are."""
    seen = {held.schema.name: held for held in eve.self_check()}
    figures = seen["consumer-revolving"]
    assert figures.attestations == ()
    assert figures.others >= 1, "those that others attest are counted, not shown"
    providers = {item.provider for held in seen.values() for item in held.attestations}
    assert providers == {BINDER}


@pytest.mark.parametrize("call", ["revoke", "pause", "resume"])
def test_its_key_ends_and_pauses_no_consent_of_the_borrower(stage: Stage, eve, call):
    with pytest.raises(Refused) as caught:
        getattr(eve, call)(stage.consents["ann"])
    assert caught.value.reason == "NOT_PERMITTED"


def test_its_key_adds_nothing_to_a_consent_of_the_borrower(stage: Stage, eve):
    """It may sign, since it is bound: the consent still opens what its own borrower's key opens."""
    with stage.world.lender() as lender:
        consent = stage.consent(lender, "ann")
        whole = eve.cosign(consent)
        kept = lender.ask(stage.subjects["ann"], policy_id=POLICY, consent=whole)
    assert kept.verified.outcome.tier == "A"
