"""Check 9: what an operator cannot leave out of an answer, and what it cannot show as current."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.encoding import date_of
from credproof.base.errors import CredproofError
from credproof.base.group import scalar_from
from credproof.base.limits import DIRECTORY_AGE_MAX_S
from credproof.log.directory import LookupProof
from credproof.log.entry import parse_entry
from credproof.verification.answer import Logged
from credproof.verification.completeness import Completeness
from credproof.verification.filing import Change, index_of, prove_element
from credproof.verification.proving import Holding

from tests.world import FAIR, GOOD, IDENTITY, NOW, REVOLVING, World, seed_of, signer_of


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, bundle, reason: str) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle)
    assert (caught.value.step, caught.value.reason) == (9, reason)


def second(world: World, **changes: object) -> Holding:
    """An attestation of another account, by another provider unless told otherwise."""
    told = {"issuer": "other-bank", "account": "account-2", "jti": seed_of("second", 16), **changes}
    return world.hold(world.statement(FAIR, **told), signer=signer_of("other-bank"))


def bent(world: World, **changes: object):
    """An honest answer whose directory evidence was bent before it was signed."""
    case = world.case()
    case.directory = replace(case.directory, **changes)
    return world.finish(case)


def with_lookup(world: World, **changes: object):
    case = world.case()
    (lookup,) = case.directory.lookups
    case.directory = replace(case.directory, lookups=(replace(lookup, **changes),))
    return world.finish(case)


def test_an_answer_on_all_there_is_is_complete(world):
    held = [world.hold(world.statement(GOOD)), second(world)]

    verified = world.verify(world.finish(world.case(holdings=held)))

    assert Completeness("complete", 2, 2) == verified.completeness


def test_an_attestation_that_was_left_out_is_told(world):
    second(world)

    verified = world.verify(world.finish(world.case()))

    assert Completeness("partial", 1, 2) == verified.completeness


def test_an_attestation_that_was_left_out_is_refused_where_all_are_required(world):
    strict = world.add_policy("complete", completeness="required")
    held = [world.hold(world.statement(GOOD)), second(world)]
    assert world.verify(world.finish(world.case(policy=strict, holdings=held)))

    refused(world, world.finish(world.case(policy=strict, holdings=held[:1])), "NOT_COMPLETE")


def test_a_set_that_hides_a_member_does_not_make_the_root(world):
    hidden = second(world)
    case = world.case()
    (lookup,) = case.directory.lookups
    fewer = tuple(member for member in lookup.members if member != hidden.token_id)
    case.directory = replace(case.directory, lookups=(replace(lookup, members=fewer),))

    refused(world, world.finish(case), "OTHER_MEMBERS")


def test_a_set_has_one_spelling(world):
    second(world)
    case = world.case()
    (lookup,) = case.directory.lookups
    for members in (lookup.members[::-1], (*lookup.members, lookup.members[-1]), ()):
        changed = replace(case.directory, lookups=(replace(lookup, members=members),))
        case.directory = changed
        refused(world, world.finish(case), "OTHER_MEMBERS")


def test_another_salt_is_refused(world):
    refused(world, with_lookup(world, salt=b"\1" * 16), "OTHER_MEMBERS")


def test_a_superseded_attestation_is_not_shown_as_current(world):
    held = world.hold(world.statement(GOOD))
    second(world)
    world.file(Change(0, world.place(held.statement), bytes(16), None, held.token_id))

    refused(world, world.finish(world.case(holdings=[held])), "NOT_CURRENT")


def test_a_borrower_without_attestations_has_none_to_show(world):
    held = world.hold(world.statement(GOOD))
    world.file(Change(0, world.place(held.statement), bytes(16), None, held.token_id))

    refused(world, world.finish(world.case(holdings=[held])), "NOT_CURRENT")


def test_an_attestation_filed_under_another_borrower_is_not_shown_as_this_ones(world):
    honest = world.place
    world.place = lambda made: bytes(32) if made.schema.name != "key-binding" else honest(made)
    held = world.hold(world.statement(GOOD))
    world.place = honest

    refused(world, world.finish(world.case(holdings=[held])), "OTHER_INDEX")


def test_a_borrower_has_one_place_and_no_second_one(world):
    other = scalar_from(seed_of("second directory key", 64))
    output = prove_element(other, world.sub, bytes(63) + b"\1")

    refused(world, bent(world, output=output), "BAD_DLEQ_PROOF")


def test_the_place_of_somebody_else_is_refused(world):
    output = prove_element(world.directory_secret, bytes(32), seed_of("vrf", 64))

    refused(world, bent(world, output=output), "BAD_DLEQ_PROOF")


def test_a_lookup_that_does_not_reach_the_root_is_refused(world):
    refused(world, with_lookup(world, proof=LookupProof(None, ())), "BAD_LOOKUP_PROOF")


def test_a_root_that_does_not_cover_what_is_shown_is_refused(world):
    held = world.hold(world.statement(GOOD))
    case = world.case(holdings=[held])
    case.directory = world.evidence(covered=held.log_index)

    refused(world, world.finish(case), "NOT_COVERED")


def test_a_stale_root_is_refused(world):
    case = world.case()
    case.directory = world.evidence(time=NOW - DIRECTORY_AGE_MAX_S)
    assert world.verify(world.finish(case))

    case = world.case()
    case.directory = world.evidence(time=NOW - DIRECTORY_AGE_MAX_S - 1)
    refused(world, world.finish(case), "STALE_ROOT")


def test_a_root_that_is_another_entry_is_refused(world):
    case = world.case()
    case.directory = replace(case.directory, root=world.log.logged(0))
    refused(world, world.finish(case), "BAD_MEMBER")

    case = world.case()
    index = world.log.append("directory.root", "lend", bytes(32), fields={"covered": 1})
    case.directory = replace(case.directory, root=world.log.logged(index))
    refused(world, world.finish(case), "OTHER_ENTRY")


def test_a_root_that_was_logged_after_the_answer_is_refused(world):
    case, log, append = world.case(), world.log, world.log.append
    index = len(log.lines) + 1
    entry = replace(parse_entry(case.directory.root.line), seq=index)
    case.directory = replace(case.directory, root=Logged(entry.to_line(), index, ()))

    def then_the_root(*args, **settings):
        answered = append(*args, **settings)
        log.add(entry.to_line())
        return answered

    log.append = then_the_root
    refused(world, world.finish(case), "OTHER_ENTRY")


def test_an_answer_without_lookups_is_refused(world):
    case = world.case()
    case.directory = None
    refused(world, world.finish(case), "NO_LOOKUP")


def test_lookups_are_those_of_the_schemas_used(world):
    refused(world, bent(world, lookups=()), "OTHER_LOOKUPS")
    refused(world, bent(world, lookups=(world.lookup(IDENTITY),)), "OTHER_LOOKUPS")
    both = tuple(sorted((world.lookup(), world.lookup(IDENTITY)), key=lambda item: item.schema))
    refused(world, bent(world, lookups=both), "OTHER_LOOKUPS")


def test_where_nothing_is_proved_nothing_is_looked_up(world):
    case = world.case({**GOOD, "overdue_cycles": None})
    assert case.directory is None
    assert world.verify(world.finish(case)).completeness.state == "not shown"

    case.directory = world.evidence()
    refused(world, world.finish(case), "OTHER_LOOKUPS")


def absent(world: World, **members: object):
    """An honest answer about a borrower of whom nothing is attested but the key."""
    strict = world.add_policy("strict", completeness="required", **members)
    world.binding()
    return world.case(policy=strict, holdings=[])


def branched_off(world: World, depth: int) -> None:
    """File two others that part from the borrower's place after `depth` bits, and stay together."""
    place = int.from_bytes(index_of(world.element(), REVOLVING.digest), "big")
    for last in (0, 1):
        index = (place ^ 1 << 255 - depth ^ last).to_bytes(32, "big")
        world.file(Change(0, index, bytes(16), seed_of(f"other {last}"), None))


def test_that_there_is_no_attestation_of_a_schema_is_shown_by_anothers_leaf(world):
    case = absent(world)
    assert case.directory.lookups[0].proof.leaf is not None

    verified = world.verify(world.finish(case))

    assert verified.outcome.reasons == ("ABSENT",)
    assert Completeness("absent", absent=(REVOLVING.id,)) == verified.completeness


def test_that_there_is_no_attestation_of_a_schema_is_shown_by_an_empty_place(world):
    branched_off(world, 12)
    case = absent(world)
    assert case.directory.lookups[0].proof.leaf is None

    assert world.verify(world.finish(case)).completeness.absent == (REVOLVING.id,)


def test_an_absence_that_is_not_shown_is_refused_where_completeness_is_required(world):
    case = absent(world)
    case.directory = None
    refused(world, world.finish(case), "NO_LOOKUP")

    case.directory = replace(world.evidence(), lookups=())
    refused(world, world.finish(case), "OTHER_LOOKUPS")
    case.directory = world.evidence(IDENTITY)
    refused(world, world.finish(case), "OTHER_LOOKUPS")
    case.directory = replace(case.directory, lookups=(world.lookup(), world.lookup()))
    refused(world, world.finish(case), "OTHER_LOOKUPS")


def test_what_is_there_is_not_absent(world):
    case = absent(world)
    world.hold(world.statement(GOOD))
    case.directory = world.evidence()
    refused(world, world.finish(case), "NOT_ABSENT")

    (lookup,) = case.directory.lookups
    hidden = replace(lookup, members=(), salt=b"")
    case.directory = replace(case.directory, lookups=(hidden,))
    refused(world, world.finish(case), "OTHER_MEMBERS")


def test_an_absence_has_one_spelling(world):
    case = absent(world)
    (lookup,) = case.directory.lookups
    case.directory = replace(case.directory, lookups=(replace(lookup, salt=bytes(16)),))
    refused(world, world.finish(case), "OTHER_MEMBERS")


def test_an_absence_is_shown_by_a_root_that_is_new(world):
    case = absent(world)
    case.directory = world.evidence(time=NOW - DIRECTORY_AGE_MAX_S - 1)
    refused(world, world.finish(case), "STALE_ROOT")


def test_where_completeness_is_only_reported_no_absence_is_shown(world):
    """Else a missing proof would tell that there is something that the consent does not open."""
    world.binding()
    case = world.case(holdings=[])
    assert (case.answer.outcome.reasons, case.directory) == (("ABSENT",), None)
    assert world.verify(world.finish(case)).completeness.state == "not shown"

    case.directory = world.evidence()
    refused(world, world.finish(case), "OTHER_LOOKUPS")


def test_what_is_stale_is_not_absent_and_nothing_is_looked_up(world):
    strict = world.add_policy("strict", completeness="required")
    old = world.hold(world.statement(GOOD, as_of=date_of(NOW - 46 * 86_400)))
    case = world.case(policy=strict, holdings=[old])
    assert (case.answer.outcome.reasons, case.directory) == (("STALE",), None)
    assert world.verify(world.finish(case)).completeness.state == "not shown"

    case.directory = world.evidence()
    refused(world, world.finish(case), "OTHER_LOOKUPS")


def test_a_borrower_has_another_place_for_each_schema(world):
    places = {index_of(bytes(32), schema) for schema in (bytes(32), b"\1" * 32)}
    assert len(places) == 2
