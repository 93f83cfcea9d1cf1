"""An operator that leaves something out of the directory: who notices, the lender or the auditor.

It holds all keys of the service, and logs and signs what it likes.
"""

from __future__ import annotations

import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.filing import Change
from credproof.verification.replay import Replay

from tests.world import FAIR, GOOD, NOW, World, seed_of, signer_of


@pytest.fixture
def world() -> World:
    return World()


def lender_finds(world: World, bundle) -> str:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle)
    assert caught.value.step == 9
    return caught.value.reason


def auditor_finds(world: World) -> str | None:
    replay = Replay()
    try:
        for line in world.log.lines:
            replay.feed_line(line)
    except CredproofError as error:
        return error.reason
    return None


def bad_account(world: World):
    """An account in arrears at another bank."""
    told = {"issuer": "other-bank", "account": "account-2", "jti": seed_of("bad", 16)}
    return world.hold(world.statement(FAIR, **told), signer=signer_of("other-bank"))


def taken_out(world: World, held) -> None:
    """The operator takes a member out of the tree, and logs nothing of it."""
    place = world.place(held.statement)
    world.file(Change(0, place, world.filed[place].salt, None, held.token_id))


def test_nobody_finds_anything_where_nothing_is_left_out(world):
    held = [world.hold(world.statement(GOOD)), bad_account(world)]
    assert world.verify(world.finish(world.case(holdings=held))).completeness.state == "complete"
    assert auditor_finds(world) is None


def test_an_attestation_left_out_of_the_answer_alone_is_told_to_the_lender(world):
    held = world.hold(world.statement(GOOD))
    bad_account(world)
    verified = world.verify(world.finish(world.case(holdings=[held])))
    assert (verified.completeness.shown, verified.completeness.of) == (1, 2)


def test_an_attestation_left_out_of_the_directory_too_is_found_by_the_auditor(world):
    held = world.hold(world.statement(GOOD))
    taken_out(world, bad_account(world))

    assert world.verify(world.finish(world.case(holdings=[held]))).completeness.state == "complete"
    assert auditor_finds(world) == "ROOT_DIFFERS"


def test_a_root_that_skips_an_entry_is_found_by_the_auditor(world):
    held = world.hold(world.statement(GOOD))
    world.close_epoch()
    skipped = bad_account(world)
    place = world.place(skipped.statement)
    before = world.filed[place]
    taken_out(world, skipped)
    world.filed[place] = type(before)(bytes(16), (held.token_id,))
    world.close_epoch()

    assert auditor_finds(world) == "ROOT_DIFFERS"


def test_an_old_root_that_does_not_know_the_newest_yet_is_found_by_the_lender(world):
    held = world.hold(world.statement(GOOD))
    case = world.case(holdings=[held])
    case.directory = world.evidence(time=NOW - 61)

    assert lender_finds(world, world.finish(case)) == "STALE_ROOT"


def test_a_superseded_attestation_shown_as_current_is_found_by_the_lender(world):
    held = world.hold(world.statement(GOOD))
    newer = bad_account(world)
    taken_out(world, held)
    assert newer.token_id in world.lookup().members

    assert lender_finds(world, world.finish(world.case(holdings=[held]))) == "NOT_CURRENT"


def test_a_superseded_attestation_that_the_directory_keeps_is_found_by_the_auditor(world):
    """The log says that the second replaces the first; the tree holds the first alone."""
    held = world.hold(world.statement(GOOD))
    place = world.place(held.statement)
    told = {"index": b64url(place), "replaces": b64url(held.token_id)}
    world.log.append(ENTRY_ATTESTATION, "bank", seed_of("newer"), fields=told)
    world.close_epoch()

    assert auditor_finds(world) == "ROOT_DIFFERS"


def test_an_attestation_filed_under_somebody_else_is_found_by_the_lender_of_either(world):
    honest = world.place
    world.place = lambda made: bytes(32) if made.schema.name != "key-binding" else honest(made)
    held = world.hold(world.statement(GOOD))
    world.place = honest

    assert lender_finds(world, world.finish(world.case(holdings=[held]))) == "OTHER_INDEX"
    assert held.token_id not in world.lookup().members
