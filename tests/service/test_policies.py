"""Putting policies in force: what is added, what may end, and that the past stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import Conflict
from credproof.base.limits import PROPOSAL_AGE_MAX_S
from credproof.verification.bundle import PolicyPin
from credproof.verification.participant import NEVER
from credproof_server import policies
from credproof_server.policies import with_pin

from tests.proposing import proposed, variant
from tests.world import NOW, POLICY

PIN = PolicyPin(POLICY.ref, NOW - 1000, NEVER)


def refused(reason: str, *pins: PolicyPin, new: PolicyPin) -> None:
    with pytest.raises(Conflict) as caught:
        with_pin(pins, new, NOW)
    assert caught.value.reason == reason


def test_a_policy_is_added_behind_what_was_there():
    later = replace(PIN, valid_from=NOW)
    assert with_pin((PIN,), later, NOW) == (PIN, later)


def test_the_end_of_what_runs_can_be_moved():
    ending = replace(PIN, valid_until=NOW + 5)
    assert with_pin((PIN,), ending, NOW) == (ending,)


@pytest.mark.parametrize(
    ("reason", "old", "new"),
    [
        ("NO_CHANGE", PIN, PIN),
        ("VERSION_TAKEN", PIN, replace(PIN, ref=replace(PIN.ref, digest=bytes(32)))),
        ("BACKDATED", PIN, replace(PIN, valid_until=NOW - 1)),
        ("BACKDATED", PIN, replace(PIN, valid_from=NOW - PROPOSAL_AGE_MAX_S - 1)),
        ("POLICY_ENDED", replace(PIN, valid_until=NOW - 1), PIN),
    ],
)
def test_the_past_cannot_be_changed(reason, old, new):
    refused(reason, old, new=new)


def test_what_is_published_is_in_force_and_the_old_one_still_listed(deployment):
    second = variant(POLICY.id, version=2)
    before = policies.pins(deployment.service)
    done = policies.publish(deployment.service, proposed(deployment.service, second).to_bytes())
    assert policies.pins(deployment.service) == (*before, done.pin)
    with deployment.directory.locked():
        core = deployment.directory.open_core()
        assert core.trust.newest_policy(POLICY.id, core.clock()) == second
        core.close()
