"""Assurance of identity: independent channels and providers, proved without a superfluous check."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof import standard
from credproof.base.encoding import canonical_json, date_of, frame, parse_b64url, parse_frame
from credproof.base.errors import CredproofError, Malformed
from credproof.verification import assurance
from credproof.verification.answer import TokenEvidence
from credproof.verification.assurance import Check
from credproof.verification.evaluation import evaluate
from credproof.verification.grammar import parse_policy
from credproof.verification.policy import Outcome
from credproof.verification.proving import prove_tier
from hypothesis import given
from hypothesis import strategies as st

from tests.world import GOOD, IDENTITY, NOW, World, complete, signer_of

ASSURED = next(policy for policy in standard.policies() if policy.id == "assured-standing")
WANTED = ASSURED.questions["identity"].assurance
CHECKED = {
    "method": "ID_CHIP",
    "channel": "APP",
    "result": "MATCHED",
    "level": 2,
    "performed_on": date_of(NOW - 5 * 86_400).isoformat(),
}


@pytest.fixture
def world() -> World:
    made = World()
    made.policies.append(ASSURED)
    return made


def check(world: World, number: int = 0, *, issuer: str = "bank", **values: object):
    """An identity check as a provider attested it."""
    statement = world.statement(
        complete(IDENTITY, CHECKED | values),
        schema=IDENTITY,
        issuer=issuer,
        jti=bytes(14) + bytes([7, number]),
        account=f"check-{number}",
    )
    return world.hold(statement, signer=world.bank if issuer == "bank" else signer_of(issuer))


def holdings(world: World, *checks):
    return [world.hold(world.statement(GOOD)), *checks]


def two(world: World):
    return (check(world, 1), check(world, 2, issuer="other-bank", channel="BRANCH"))


def outcome(world: World, *checks) -> Outcome:
    found = [holding.statement for holding in holdings(world, *checks)]
    return evaluate(ASSURED, found, now=NOW).outcome


def refused(world: World, case, *, step: int, reason: str) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(world.finish(case))
    assert (caught.value.step, caught.value.reason) == (step, reason)


def test_two_channels_and_two_providers_are_assured_and_verify(world):
    case = world.case(policy=ASSURED, holdings=holdings(world, *two(world)))
    verified = world.verify(world.finish(case))
    assert verified.outcome == Outcome("TIER", "A")
    assert [source.provider for source in verified.sources] == ["bank", "other-bank"]


def test_only_channel_result_and_day_are_disclosed(world):
    case = world.case(policy=ASSURED, holdings=holdings(world, *two(world)))
    evidence = [item for item in case.tokens if item.proofs[0].question == "identity"]
    for item in evidence:
        _, *shown = parse_frame(item.proofs[0].data)
        names = [json.loads(parse_b64url(text.decode("ascii")))[1] for text in shown]
        assert names == ["channel", "result", "performed_on"]


def test_checks_that_are_not_needed_are_not_shown(world):
    more = (*two(world), check(world, 3, channel="VIDEO"), check(world, 4, channel="POST"))
    case = world.case(policy=ASSURED, holdings=holdings(world, *more))
    assert len(case.tokens) == 3
    assert world.verify(world.finish(case)).outcome.kind == "TIER"


@pytest.mark.parametrize(
    ("issuer", "values"),
    [
        ("bank", {"channel": "BRANCH"}),
        ("other-bank", {"channel": "APP"}),
        ("other-bank", {"channel": "BRANCH", "level": 1}),
        ("other-bank", {"channel": "BRANCH", "result": "NOT_MATCHED"}),
        ("other-bank", {"channel": "BRANCH", "level": None}),
        ("other-bank", {"channel": None}),
        ("other-bank", {"channel": "BRANCH", "performed_on": None}),
        ("other-bank", {"channel": "BRANCH", "performed_on": "2000-01-01"}),
        ("other-bank", {"channel": "BRANCH", "performed_on": "2100-01-01"}),
    ],
)
def test_a_second_check_that_does_not_count_leaves_it_incomplete_never_a_no(world, issuer, values):
    second = check(world, 2, issuer=issuer, **values)
    assert outcome(world, check(world, 1), second) == Outcome(
        "INCOMPLETE", reasons=("NOT_ASSURED",)
    )


def test_nobody_checked_is_absent(world):
    assert outcome(world) == Outcome("INCOMPLETE", reasons=("ABSENT",))


def test_what_does_not_suffice_cannot_be_proved(world):
    with pytest.raises(CredproofError) as caught:
        prove_tier(ASSURED, ASSURED.tier("A"), holdings(world, check(world, 1)), now=NOW)
    assert caught.value.reason == "NOT_PROVABLE"


# -- an operator who bends it -----------------------------------------------------


def bent(world: World, second):
    """An honest case whose second check is exchanged for another one."""
    case = world.case(policy=ASSURED, holdings=holdings(world, *two(world)))
    data = assurance.prove(WANTED, second.opening)
    proof = replace(case.tokens[-1].proofs[0], data=data)
    logged = world.log.logged(second.log_index)
    case.tokens[-1] = TokenEvidence(second.token, (proof,), logged)
    return case


def test_5_the_same_channel_twice_is_refused(world):
    second = check(world, 9, issuer="other-bank", channel="APP")
    refused(world, bent(world, second), step=5, reason="NOT_ASSURED")


def test_5_a_check_that_did_not_match_is_refused(world):
    second = check(world, 9, issuer="other-bank", channel="BRANCH", result="UNDECIDED")
    refused(world, bent(world, second), step=5, reason="NOT_MATCHED")


def test_5_an_old_check_is_refused(world):
    old = check(world, 9, issuer="other-bank", channel="BRANCH", performed_on="2000-01-01")
    refused(world, bent(world, old), step=5, reason="STALE")


def test_5_a_check_that_nothing_needs_is_refused(world):
    case = world.case(policy=ASSURED, holdings=holdings(world, *two(world)))
    third = check(world, 9, channel="VIDEO")
    proof = replace(case.tokens[-1].proofs[0], data=assurance.prove(WANTED, third.opening))
    logged = world.log.logged(third.log_index)
    case.tokens.append(TokenEvidence(third.token, (proof,), logged))
    refused(world, case, step=5, reason="SURPLUS")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda parts: parts[:3], "BAD_FRAME"),
        (lambda parts: [*parts, b""], "BAD_FRAME"),
        (lambda parts: [parts[0], parts[2], parts[1], parts[3]], "BAD_DISCLOSURE"),
        (lambda parts: [bytes(32), *parts[1:]], "BAD_LADDER_PROOF"),
        (lambda parts: [parts[0], b"\xff", *parts[2:]], "BAD_DISCLOSURE"),
    ],
)
def test_5_a_proof_of_another_shape_is_refused(world, change, reason):
    case = world.case(policy=ASSURED, holdings=holdings(world, *two(world)))
    last = case.tokens[-1]
    data = frame(change(parse_frame(last.proofs[0].data)))
    case.tokens[-1] = replace(last, proofs=(replace(last.proofs[0], data=data),))
    refused(world, case, step=5, reason=reason)


# -- the fewest -------------------------------------------------------------------

CHECKS = st.lists(
    st.builds(Check, st.sampled_from(["a", "b", "c"]), st.sampled_from(["X", "Y", "Z"])),
    max_size=9,
)


@given(CHECKS, st.integers(1, 3), st.integers(1, 3))
def test_the_fewest_suffice_and_none_of_them_can_go(checks, channels, providers):
    wanted = replace(WANTED, channels=channels, providers=providers)
    named = dict(enumerate(checks))
    kept = assurance.fewest(ASSURED, wanted, named)
    enough = assurance.suffices(ASSURED, wanted, checks)
    assert assurance.suffices(ASSURED, wanted, [named[name] for name in kept]) == enough
    for name in kept if enough else ():
        rest = [named[other] for other in kept if other != name]
        assert not assurance.suffices(ASSURED, wanted, rest)


# -- grammar ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"assured": "consumer-revolving/1"}, "UNPROVABLE"),
        ({"assured": "identity-assurance/9"}, "UNKNOWN_SCHEMA"),
        ({"level": 4}, "NOT_ON_LADDER"),
        ({"channels": 0}, "BAD_POLICY"),
        ({"providers": 9}, "BAD_POLICY"),
        ({"within": "soon"}, "BAD_POLICY"),
        ({"over": "each"}, "BAD_MEMBER"),
        ({"level": "2"}, "BAD_MEMBER"),
    ],
)
def test_a_question_for_assurance_outside_the_grammar_is_refused(change, reason):
    document = json.loads(ASSURED.document)
    document["questions"]["identity"] |= change
    with pytest.raises(Malformed) as caught:
        parse_policy(canonical_json(document), standard.schemas())
    assert caught.value.reason == reason


def test_the_schema_holds_no_raw_data():
    assert set(IDENTITY.claims) == {"method", "channel", "result", "level", "performed_on"}
    assert {claim.type for claim in IDENTITY.claims.values()} == {"enum", "count", "date"}
