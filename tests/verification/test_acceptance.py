"""Acceptance of binders: only the provider itself says whose key bindings count for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey
from credproof.verification.acceptance import parse_acceptance, sign_acceptance
from credproof.verification.answer import BindingEvidence
from credproof.verification.participant import (
    FormerAcceptance,
    parse_participant,
    participant_json,
)

from tests.world import DOMAIN, NOW, World, signer_of

TELCO = signer_of("telco")


def accepted(world: World, **changes: object) -> str:
    settings = {"provider": "bank", "domain": DOMAIN, "binders": ["telco"], "now": NOW, **changes}
    return sign_acceptance(settings.pop("signer", world.bank), **settings)


def trust_with(world: World, text: str, **bank: object):
    participants = (
        world.participant("bank", "provider", world.bank, acceptance=text, **bank),
        world.participant("telco", "provider", TELCO),
        world.lender(),
    )
    return world.trust(participants=participants, issued_at=NOW + 20)


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


# -- what was in force once ---------------------------------------------------


def answered_by(world: World, binder: str):
    """An answer about the bank's figures, under a key that another provider bound."""
    case, binding = world.case(), world.binding(issuer=binder)
    disclosure, place = binding.opening.disclose("jwk").text, world.log.logged(binding.log_index)
    case.bindings = [BindingEvidence(binding.token, disclosure, place)]
    return world.finish(case)


def taken_back(world: World, *, since: int = NOW - 1000, until: int = NOW, **changes: object):
    """The registry after the bank took back that it accepts the telco."""
    told = {"now": NOW - 1000, **changes}
    former = FormerAcceptance(accepted(world, **told), since, until)
    return trust_with(world, "", former_acceptances=(former,))


def test_an_answer_outlives_the_acceptance_that_it_rests_on():
    world = World()
    bundle = answered_by(world, "telco")
    world.verify(bundle, trust=trust_with(world, accepted(world, now=NOW - 1000)))
    world.verify(bundle, trust=taken_back(world), mode="as-of-answer")


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"until": NOW - 120}, True),
        ({"until": NOW - 121}, False),
        ({"since": NOW + 120, "until": NOW + 120}, True),
        ({"since": NOW + 121, "until": NOW + 121}, False),
        ({"now": NOW + 121, "until": NOW + 121}, False),
        ({"binders": []}, False),
    ],
)
def test_an_acceptance_counts_from_when_to_when_it_was_in_force(changes, counts):
    world = World()
    trust = taken_back(world, **changes)
    assert ("telco" in trust.binders("bank", at=NOW)) is counts
    assert trust.binders("bank") == {"bank"}, "nothing new rests on it"


def test_an_answer_from_before_an_acceptance_does_not_rest_on_it():
    world = World()
    trust = trust_with(world, accepted(world, now=NOW + 121))
    with pytest.raises(CredproofError) as caught:
        world.verify(answered_by(world, "telco"), trust=trust)
    assert caught.value.reason == "NOT_BOUND"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signer": TELCO}, "UNKNOWN_KEY"),
        ({"provider": "telco"}, "WRONG_ISSUER"),
        ({"binders": ["nobody"]}, "BAD_TRUST"),
        ({"since": NOW + 1}, "BAD_TRUST"),
        ({"since": -1}, "BAD_TRUST"),
        ({"until": NOW + 1000}, "BAD_TRUST"),
    ],
)
def test_a_former_acceptance_is_the_providers_own_word_and_has_ended(change, reason):
    with pytest.raises(CredproofError) as caught:
        taken_back(World(), **change)
    assert caught.value.reason == reason


def test_former_acceptances_follow_one_another():
    world = World()
    text = accepted(world, now=NOW - 1000)
    one, two = (FormerAcceptance(text, NOW - age, NOW - age + 5) for age in (900, 800))
    assert trust_with(world, "", former_acceptances=(one, two)).binders("bank", at=NOW - 800)
    for wrong in ((two, one), (one, replace(one, valid_from=one.valid_until - 1))):
        with pytest.raises(CredproofError) as caught:
            trust_with(world, "", former_acceptances=wrong)
        assert caught.value.reason == "BAD_TRUST"


def test_a_bundle_of_before_has_no_former_acceptances():
    world = World()
    said = participant_json(world.participant("bank", "provider", world.bank))
    del said["former_acceptances"]
    assert parse_participant(said).former_acceptances == ()
