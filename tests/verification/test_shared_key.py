"""Check 7 and the trust bundle when custodians hold shares of the OPRF key."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.attestation.oprf_key import OprfKey
from credproof.base.errors import CredproofError
from credproof.verification.trust import require_successor
from credproof.wire import answer as answer_wire

from tests.world import NOW, World


@pytest.fixture
def world():
    return World("notary")


def refused(act, reason: str) -> CredproofError:
    with pytest.raises(CredproofError) as caught:
        act()
    assert caught.value.reason == reason
    return caught.value


def test_7_an_answer_verifies_years_later_from_its_file_with_every_share(world):
    kept = answer_wire.parse(answer_wire.to_bytes(world.finish(world.case())))
    assert len(kept.kept.transcript.parts) == 2
    later = NOW + 5 * 365 * 86_400
    assert world.verify(kept, mode="as-of-answer", now=later).outcome.tier == "A"


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("member", ["evaluated_element", "proof"])
def test_7_an_altered_part_of_either_holder_is_refused(world, place, member):
    _, other = world.identify("ref:another")
    case, parts = world.case(), list(world.transcript.parts)
    parts[place] = replace(parts[place], **{member: getattr(other.parts[place], member)})
    transcript = replace(world.transcript, parts=tuple(parts))
    case.kept = replace(case.kept, transcript=transcript)
    error = refused(lambda: world.verify(world.finish(case)), "BAD_DLEQ_PROOF")
    assert error.step == 7
    assert ("the service", "custodian notary")[place] in error.message


@pytest.mark.parametrize("bend", [lambda p: p[::-1], lambda p: p[:1], lambda p: p[1:]])
def test_7_swapped_or_missing_parts_are_refused(world, bend):
    case = world.case()
    transcript = replace(world.transcript, parts=bend(world.transcript.parts))
    case.kept = replace(case.kept, transcript=transcript)
    assert refused(lambda: world.verify(world.finish(case)), "BAD_DLEQ_PROOF").step == 7


def test_7_what_the_service_alone_evaluated_is_no_pseudonym_of_the_shared_key(world):
    alone = World()
    case = world.case()
    case.kept = replace(case.kept, transcript=alone.transcript)
    assert refused(lambda: world.verify(world.finish(case)), "UNKNOWN_KEY").step == 7


# -- the bundle


def test_a_share_of_somebody_who_is_no_custodian_is_refused(world):
    operators = tuple(p for p in world.bundle().participants if p.role != "custodian")
    refused(lambda: world.trust(participants=operators), "BAD_TRUST")
    lender = tuple(
        replace(p, role="lender") if p.id == "notary" else p for p in world.bundle().participants
    )
    refused(lambda: world.trust(participants=lender), "BAD_TRUST")


def test_a_bundle_with_an_unsound_key_is_refused_also_when_a_newer_one_is_sound(world):
    service, notary = world.oprf_key.shares
    twice = OprfKey((service, replace(notary, public=service.public)))
    refused(lambda: world.trust(oprf_keys=(twice, world.oprf_key)), "BAD_TRUST")


def test_one_key_is_not_named_twice(world):
    refused(lambda: world.trust(oprf_keys=(world.oprf_key, world.oprf_key)), "BAD_TRUST")


def test_a_bundle_that_goes_on_without_a_custodian_is_no_successor(world):
    alone = OprfKey(world.oprf_key.shares[:1])
    shared = world.trust()
    without = world.trust(oprf_keys=(world.oprf_key, alone))
    refused(lambda: require_successor(without, shared), "CUSTODIAN_LEFT_OUT")
    require_successor(shared, without)
    require_successor(shared, shared)
