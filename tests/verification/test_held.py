"""A borrower verifies what a service holds: what an operator cannot hide, and cannot slip in."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.verification.answer import TokenEvidence
from credproof.verification.filing import Change
from credproof.verification.held import ShownHeld, verify_held

from tests.world import FAIR, GOOD, IDENTITY, NOW, REVOLVING, World, seed_of, signer_of


@pytest.fixture
def world() -> World:
    return World()


def shown(world: World, *held, schema=REVOLVING, **settings) -> ShownHeld:
    """What an honest service shows of these."""
    evidence = world.evidence(schema, **settings)
    places = [TokenEvidence(h.token, (), world.log.logged(h.log_index)) for h in held]
    root = world.log.logged(evidence.root.log_index)
    return ShownHeld(replace(evidence, root=root), tuple(places), world.log.checkpoint())


def verified(world: World, *pages: ShownHeld, schema=REVOLVING):
    return verify_held(pages, schema, world.trust(), sub=world.sub, now=NOW)


def refused(world: World, *pages: ShownHeld | str) -> None:
    """That these pages are refused; the last one is the reason."""
    *found, reason = pages
    with pytest.raises(CredproofError) as caught:
        verified(world, *found)
    assert caught.value.reason == reason


def second(world: World):
    told = {"issuer": "other-bank", "account": "account-2", "jti": seed_of("second", 16)}
    return world.hold(world.statement(FAIR, **told), signer=signer_of("other-bank"))


def test_a_borrower_sees_by_whom_and_of_when_each_attestation_is(world):
    held = [world.hold(world.statement(GOOD)), second(world)]

    found = verified(world, shown(world, *held))

    assert [item.provider for item in found.attestations] == ["bank", "other-bank"]
    assert [item.as_of for item in found.attestations] == [h.statement.as_of for h in held]
    assert found.others == 0


def test_what_is_not_shown_is_counted(world):
    held = world.hold(world.statement(GOOD))
    second(world)

    found = verified(world, shown(world, held))

    assert (len(found.attestations), found.others) == (1, 1)


def test_that_there_is_nothing_is_proved(world):
    world.hold(world.statement(GOOD))
    found = verified(world, shown(world, schema=IDENTITY), schema=IDENTITY)
    assert (found.attestations, found.others) == ((), 0)


def test_an_attestation_cannot_be_kept_from_the_borrower(world):
    held, hidden = world.hold(world.statement(GOOD)), second(world)
    honest = shown(world, held)
    (lookup,) = honest.directory.lookups
    fewer = tuple(member for member in lookup.members if member != hidden.token_id)
    lookups = (replace(lookup, members=fewer),)
    bent = replace(honest, directory=replace(honest.directory, lookups=lookups))
    refused(world, bent, "OTHER_MEMBERS")


def test_a_superseded_attestation_is_not_shown_as_current(world):
    held = world.hold(world.statement(GOOD))
    world.file(Change(0, world.place(held.statement), bytes(16), None, held.token_id))
    refused(world, shown(world, held), "NOT_CURRENT")


def test_an_attestation_about_somebody_else_is_refused(world):
    held = world.hold(world.statement(GOOD, sub=bytes(32)))
    refused(world, shown(world, held), "OTHER_SUBJECT")


def test_an_attestation_that_was_filed_somewhere_else_is_refused(world):
    world.place = lambda made: bytes(32)
    refused(world, shown(world, world.hold(world.statement(GOOD))), "OTHER_INDEX")


def test_an_attestation_that_no_provider_signed_is_refused(world):
    held = world.hold(world.statement(GOOD), signer=signer_of("operator"))
    refused(world, shown(world, held), "UNKNOWN_KEY")


def test_an_attestation_that_another_entry_logs_is_refused(world):
    held, other = world.hold(world.statement(GOOD)), second(world)
    refused(world, shown(world, replace(held, log_index=other.log_index)), "OTHER_ENTRY")


def test_an_attestation_is_not_counted_twice(world):
    held = world.hold(world.statement(GOOD))
    refused(world, shown(world, held, held), "SURPLUS")


def test_the_lookup_of_another_schema_is_refused(world):
    refused(world, shown(world, schema=IDENTITY), "OTHER_LOOKUPS")


def test_an_old_root_is_refused(world):
    held, oldest = world.hold(world.statement(GOOD)), NOW - DIRECTORY_AGE_MAX_S - CLOCK_SKEW_S
    assert verified(world, shown(world, held, time=oldest))
    refused(world, shown(world, held, time=oldest - 1), "STALE_ROOT")


# -- more than one page


def test_pages_under_different_roots_make_one_whole(world):
    held = [world.hold(world.statement(GOOD)), second(world)]
    found = verified(world, *(shown(world, item) for item in held))
    assert [item.provider for item in found.attestations] == ["bank", "other-bank"]
    assert found.others == 0


def test_nothing_is_shown_on_two_pages(world):
    """It would stand for one that is kept back."""
    first, other = world.hold(world.statement(GOOD)), second(world)
    refused(world, shown(world, first), shown(world, first), "SURPLUS")
    refused(world, shown(world, other), shown(world, first), "SURPLUS")


def test_pages_of_different_sets_make_no_whole(world):
    """What one page has is not held against what another one counts."""
    first = world.hold(world.statement(GOOD))
    before = shown(world, first)
    refused(world, before, shown(world, second(world)), "OTHER_MEMBERS")
