"""Acceptance of binders: only the provider itself says whose key bindings count for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey
from credproof.verification.acceptance import parse_acceptance, sign_acceptance

from tests.world import DOMAIN, NOW, World, signer_of

TELCO = signer_of("telco")


def accepted(world: World, **changes: object) -> str:
    settings = {"provider": "bank", "domain": DOMAIN, "binders": ["telco"], "now": NOW, **changes}
    return sign_acceptance(settings.pop("signer", world.bank), **settings)


def trust_with(world: World, text: str, **bank: object):
    participants = (
        world.participant("bank", "provider", world.bank, acceptance=text, **bank),
        world.participant("telco", "provider", TELCO),
        world.participant("lend", "lender", world.lend),
    )
    return world.trust(participants=participants)


def test_an_accepted_binder_counts_for_that_provider_only():
    world = World()
    trust = trust_with(world, accepted(world))

    assert trust.binders("bank") == {"bank", "telco"}
    assert trust.binders("telco") == {"telco"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"signer": TELCO}, "UNKNOWN_KEY"),
        ({"provider": "telco"}, "WRONG_ISSUER"),
        ({"domain": "elsewhere.example"}, "WRONG_SERVICE"),
        ({"binders": ["nobody"]}, "BAD_TRUST"),
        ({"binders": ["telco", "telco"]}, "BAD_ACCEPTANCE"),
        ({"binders": ["No"]}, "BAD_ACCEPTANCE"),
        ({"binders": [f"binder-{i}" for i in range(33)]}, "LIMIT_EXCEEDED"),
    ],
)
def test_an_acceptance_that_is_not_the_providers_own_word_spoils_the_bundle(changes, reason):
    world = World()
    with pytest.raises(CredproofError) as caught:
        trust_with(world, accepted(world, **changes))
    assert caught.value.reason == reason


def test_an_acceptance_signed_before_its_key_was_valid_is_refused():
    world = World()
    late = (DatedKey(world.bank.public, NOW + 1, NOW + 2),)
    with pytest.raises(CredproofError) as caught:
        trust_with(world, accepted(world), keys=late)
    assert caught.value.reason == "KEY_NOT_VALID"


def test_an_altered_acceptance_is_refused():
    world = World()
    head, _, signature = accepted(world).split(".")
    body = accepted(world, binders=[]).split(".")[1]
    with pytest.raises(CredproofError) as caught:
        trust_with(world, f"{head}.{body}.{signature}")
    assert caught.value.reason == "BAD_SIGNATURE"


def test_a_lender_accepts_no_binders():
    world = World()
    lender = replace(
        world.participant("lend", "lender", world.lend),
        acceptance=accepted(world, provider="lend", signer=world.lend, binders=[]),
    )
    with pytest.raises(CredproofError) as caught:
        world.trust(participants=(lender,))
    assert caught.value.reason == "WRONG_ISSUER"


def test_an_acceptance_comes_back_as_it_was_signed():
    found = parse_acceptance(accepted(World()))
    assert (found.provider, found.binders, found.issued_at) == ("bank", ("telco",), NOW)
    assert found.jws.header["typ"] == jws.ACCEPTANCE
