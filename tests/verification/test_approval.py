"""Approvals: no policy is in force that two operators have not signed, for exactly its dates."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof import standard
from credproof.base import jws
from credproof.base.errors import Conflict, CredproofError
from credproof.verification.approval import parse_approval, sign_approval
from credproof.verification.bundle import PolicyPin
from credproof.verification.participant import NEVER
from credproof.verification.proposal import Proposal, parse_proposal

from tests.world import DOMAIN, NOW, OPERATORS, POLICY, World, signer_of

WORLD = World()
PIN = WORLD.pin(POLICY)


def refused(reason: str, **changes) -> None:
    with pytest.raises(CredproofError) as caught:
        WORLD.trust(**changes)
    assert caught.value.reason == reason


def approved(*names: str, pin: PolicyPin = PIN, **changes) -> PolicyPin:
    """The pin with approvals by these, signed with their own keys."""
    bare, settings = replace(pin, approvals=()), {"domain": DOMAIN, "now": NOW - 1000, **changes}
    signed = [sign_approval(signer_of(name), bare, operator=name, **settings) for name in names]
    return replace(pin, approvals=tuple(signed))


def test_a_policy_that_two_operators_approve_is_in_force():
    trust = WORLD.trust(policies=(approved(*OPERATORS),))
    assert trust.policy_in_force(POLICY.ref, NOW) == POLICY


@pytest.mark.parametrize(
    ("pin", "reason"),
    [
        (approved(), "NOT_APPROVED"),
        (approved("operator-1"), "NOT_APPROVED"),
        (approved("operator-1", "operator-1"), "NOT_APPROVED"),
        (approved("operator-1", "lend"), "NOT_AN_OPERATOR"),
        (approved("operator-1", "stranger"), "NOT_AN_OPERATOR"),
        (approved(*OPERATORS, domain="other.example"), "WRONG_SERVICE"),
        (replace(PIN, valid_until=NEVER - 1), "OTHER_APPROVAL"),
        (replace(PIN, valid_from=1), "OTHER_APPROVAL"),
        (approved(*OPERATORS, *OPERATORS, *OPERATORS, *OPERATORS, "lend"), "LIMIT_EXCEEDED"),
        (replace(PIN, approvals=("no token", "at all")), "NOT_A_JWS"),
    ],
)
def test_anything_less_spoils_the_whole_bundle(pin, reason):
    refused(reason, policies=(pin,))


def test_an_approval_of_another_version_does_not_serve_this_one():
    other = WORLD.add_policy(POLICY.id, version=2)
    WORLD.policies.remove(other)
    refused("OTHER_APPROVAL", policies=(replace(PIN, approvals=WORLD.pin(other).approvals),))


def test_an_approval_signed_by_another_key_is_refused():
    bare = replace(PIN, approvals=())
    forged = sign_approval(
        signer_of("thief"), bare, operator="operator-2", domain=DOMAIN, now=NOW - 1000
    )
    refused("UNKNOWN_KEY", policies=(replace(PIN, approvals=(PIN.approvals[0], forged)),))


def test_an_altered_approval_is_refused():
    first, second = PIN.approvals
    altered = first.rpartition(".")[0] + "." + second.rpartition(".")[2]
    refused("BAD_SIGNATURE", policies=(replace(PIN, approvals=(altered, second)),))


def test_an_approval_before_its_key_was_valid_is_refused():
    refused("KEY_NOT_VALID", policies=(approved(*OPERATORS, now=-1),))


def test_one_key_under_two_names_is_one_operator():
    double = WORLD.participant("operator-3", "operator", signer_of("operator-1"))
    bare = replace(PIN, approvals=())
    again = sign_approval(
        signer_of("operator-1"), bare, operator="operator-3", domain=DOMAIN, now=NOW - 1000
    )
    pin = replace(PIN, approvals=(PIN.approvals[0], again))
    refused("BAD_TRUST", policies=(pin,), participants=(double,))


def test_a_suspended_operator_approves_nothing_any_more():
    gone = WORLD.participant(
        "operator-3", "operator", signer_of("operator-3"), status="suspended", since=NOW - 2000
    )
    pin = approved("operator-1", "operator-3")
    refused("NOT_AN_OPERATOR", policies=(pin,), participants=(gone,))
    kept = replace(gone, since=NOW - 500)
    assert WORLD.trust(policies=(pin,), participants=(kept,)).policies


def test_an_approval_with_a_member_too_many_is_refused():
    claims = dict(parse_approval(PIN.approvals[0]).jws.claims) | {"why": "because"}
    token = jws.sign(signer_of("operator-1"), jws.APPROVAL, claims)
    refused("BAD_MEMBER", policies=(replace(PIN, approvals=(token, PIN.approvals[1])),))


# -- the file between two operators ---------------------------------------------


def test_a_proposal_comes_back_as_it_was_written():
    proposal = Proposal(POLICY, PIN)
    assert proposal == parse_proposal(proposal.to_bytes(), standard.schemas())


def test_an_operator_approves_once():
    with pytest.raises(Conflict) as caught:
        Proposal(POLICY, PIN).signed(
            signer_of("operator-1"), operator="operator-1", domain=DOMAIN, now=NOW
        )
    assert caught.value.reason == "ALREADY_APPROVED"


# -- history --------------------------------------------------------------------


def test_an_older_version_comes_back_by_being_published_again():
    world = World()
    second = world.add_policy(POLICY.id, version=2)
    begun = (world.pin(POLICY), world.pin(second, NOW - 500))
    assert second == world.trust(policies=begun).newest_policy(POLICY.id, NOW)
    back = (*begun, world.pin(POLICY, NOW - 200))
    assert world.trust(policies=back).newest_policy(POLICY.id, NOW) == POLICY


def test_an_answer_under_a_version_that_has_ended_verifies_as_of_its_time():
    world = World()
    bundle = world.finish(world.case())
    second = world.add_policy(POLICY.id, version=2)
    pins = (world.pin(POLICY, 0, NOW + 100), world.pin(second, NOW + 50))
    trust = world.trust(policies=pins)
    later = NOW + 10_000
    assert second == trust.newest_policy(POLICY.id, later)
    with pytest.raises(CredproofError) as caught:
        trust.policy_in_force(POLICY.ref, later)
    assert caught.value.reason == "POLICY_NOT_IN_FORCE"
    verified = world.verify(bundle, trust=trust, now=later, mode="as-of-answer")
    assert verified.policy == POLICY


def test_a_version_that_came_back_keeps_what_it_answered_before():
    world = World()
    bundle = world.finish(world.case())
    pins = (world.pin(POLICY, 0, NOW + 100), world.pin(POLICY, NOW + 5000))
    later = NOW + 10_000
    trust = world.trust(policies=pins)
    assert world.verify(bundle, trust=trust, now=later, mode="as-of-answer").policy == POLICY
    assert trust.policy_in_force(POLICY.ref, later) == POLICY
    with pytest.raises(CredproofError):
        trust.policy_in_force(POLICY.ref, NOW + 3000)
