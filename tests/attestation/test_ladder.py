"""A ladder proves exactly what the value allows, and nothing moves to another place."""

from __future__ import annotations

import dataclasses
import secrets
from itertools import pairwise

import pytest
from credproof.attestation.ladder import DIRECTIONS, Chain, Condition, Direction, Ladder
from credproof.base.errors import Malformed, VerificationFailed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.attestation import samples

LADDER = Ladder((10, 20, 50, 100))
JTI = b"\x07" * 16
SECRET = b"\x09" * 32
PROBES = sorted({t + d for t in LADDER.thresholds for d in (-1, 0, 1)} | {-(10**9), 0, 10**9})


def chain(
    direction: Direction,
    *,
    issuer: str = "bank-a",
    jti: bytes = JTI,
    claim: str = "amount",
    ladder: Ladder = LADDER,
) -> Chain:
    return Chain.of(issuer, jti, claim, direction, ladder)


def anchor_of(direction: Direction, value: int | None, ladder: Ladder = LADDER) -> bytes:
    return chain(direction, ladder=ladder).walk(SECRET, ladder.start(direction, value))


def proof_of(direction: Direction, threshold: int, value: int | None) -> bytes:
    start, position = LADDER.start(direction, value), LADDER.position(direction, threshold)
    return chain(direction).prove(SECRET, start, position)


def holds(direction: Direction, threshold: int, value: int) -> bool:
    return value >= threshold if direction == "at_least" else value < threshold


@pytest.mark.parametrize("value", PROBES)
@pytest.mark.parametrize("threshold", LADDER.thresholds)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_provable_exactly_when_it_holds(direction: Direction, threshold: int, value: int) -> None:
    if not holds(direction, threshold, value):
        with pytest.raises(VerificationFailed) as caught:
            proof_of(direction, threshold, value)
        assert caught.value.reason == "NOT_PROVABLE"
        return
    proof = proof_of(direction, threshold, value)
    position = LADDER.position(direction, threshold)
    assert len(proof) == 32
    chain(direction).verify(proof, position, anchor_of(direction, value))


@pytest.mark.parametrize("threshold", LADDER.thresholds)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_an_unknown_value_proves_nothing(direction: Direction, threshold: int) -> None:
    with pytest.raises(VerificationFailed) as caught:
        proof_of(direction, threshold, None)
    assert caught.value.reason == "NOT_PROVABLE"


def test_a_ladder_of_one_rung_splits_values_in_two() -> None:
    one = Ladder((1,))
    assert [one.start("at_least", v) for v in (0, 1)] == [1, 2]
    assert [one.start("below", v) for v in (0, 1)] == [2, 1]
    assert one.position("at_least", 1) == one.position("below", 1) == 2


def test_every_value_between_two_rungs_has_the_same_anchors() -> None:
    for low, high in pairwise(LADDER.thresholds):
        for direction in DIRECTIONS:
            assert anchor_of(direction, low) == anchor_of(direction, high - 1)


def test_positions_are_never_the_anchors_own() -> None:
    last = len(LADDER.thresholds) + 1
    for direction in DIRECTIONS:
        found = {LADDER.position(direction, threshold) for threshold in LADDER.thresholds}
        assert found == set(range(2, last + 1))


@pytest.mark.parametrize("threshold", [9, 11, 0, -10, 101])
def test_a_threshold_off_the_ladder_has_no_position(threshold: int) -> None:
    for direction in DIRECTIONS:
        with pytest.raises(Malformed) as caught:
            LADDER.position(direction, threshold)
        assert caught.value.reason == "NOT_ON_LADDER"


OTHER_CHAINS = {
    "another direction": chain("below"),
    "another claim": chain("at_least", claim="amoun"),
    "another token": chain("at_least", jti=b"\x08" * 16),
    "another issuer": chain("at_least", issuer="bank-b"),
    "another ladder of the same length": chain("at_least", ladder=Ladder((10, 20, 50, 101))),
    "a ladder with one rung more": chain("at_least", ladder=Ladder((10, 20, 50, 100, 200))),
    "claim and issuer shifted against each other": chain(
        "at_least", issuer="bank-aa", claim="mount"
    ),
}


@pytest.mark.parametrize("name", OTHER_CHAINS)
def test_a_proof_of_another_chain_is_refused(name: str) -> None:
    other = OTHER_CHAINS[name]
    foreign = other.prove(SECRET, 5, 3)
    other.verify(foreign, 3, other.walk(SECRET, 5))
    for anchor in (anchor_of("at_least", 100), other.walk(SECRET, 5)):
        with pytest.raises(VerificationFailed) as caught:
            chain("at_least").verify(foreign, 3, anchor)
        assert caught.value.reason == "BAD_LADDER_PROOF"


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_walk_of_another_length_is_refused(direction: Direction) -> None:
    value = 1000 if direction == "at_least" else 0
    anchor = anchor_of(direction, value)
    position = LADDER.position(direction, 50)
    proof = proof_of(direction, 50, value)
    for wrong in range(8):
        if wrong == position:
            chain(direction).verify(proof, wrong, anchor)
            continue
        with pytest.raises(VerificationFailed) as caught:
            chain(direction).verify(proof, wrong, anchor)
        assert caught.value.reason == "BAD_LADDER_PROOF"


def test_a_proof_for_a_lower_rung_does_not_stand_for_a_higher_one() -> None:
    anchor = anchor_of("at_least", 20)
    lower = proof_of("at_least", 20, 20)
    with pytest.raises(VerificationFailed) as caught:
        chain("at_least").verify(lower, LADDER.position("at_least", 50), anchor)
    assert caught.value.reason == "BAD_LADDER_PROOF"


def test_the_anchor_and_random_bytes_prove_nothing() -> None:
    anchor = anchor_of("at_least", 1000)
    for proof in (anchor, bytes(32), secrets.token_bytes(32), b"", anchor + b"\0", anchor[:31]):
        with pytest.raises(VerificationFailed) as caught:
            chain("at_least").verify(proof, 2, anchor)
        assert caught.value.reason == "BAD_LADDER_PROOF"


def test_one_flipped_bit_of_a_proof_is_refused() -> None:
    anchor, proof = anchor_of("below", 0), proof_of("below", 10, 0)
    position = LADDER.position("below", 10)
    for bit in range(256):
        bad = (int.from_bytes(proof, "big") ^ 1 << bit).to_bytes(32, "big")
        with pytest.raises(VerificationFailed):
            chain("below").verify(bad, position, anchor)


LADDERS = st.lists(st.integers(-(2**53) + 2, 2**53 - 1), min_size=1, max_size=32, unique=True).map(
    lambda rungs: Ladder(tuple(sorted(rungs)))
)


@settings(max_examples=150, deadline=None)
@given(LADDERS, st.data())
def test_at_least_iff_reached_and_below_iff_not(ladder: Ladder, data: st.DataObject) -> None:
    near = st.sampled_from(ladder.thresholds).flatmap(lambda t: st.integers(t - 2, t + 2))
    value = data.draw(st.one_of(near, st.integers(-(2**53), 2**53)))
    for threshold in ladder.thresholds:
        for direction in DIRECTIONS:
            link = chain(direction, ladder=ladder)
            start = ladder.start(direction, value)
            position = ladder.position(direction, threshold)
            try:
                proof = link.prove(SECRET, start, position)
            except VerificationFailed:
                proved = False
            else:
                proved = True
                link.verify(proof, position, link.walk(SECRET, start))
            assert proved == holds(direction, threshold, value)
            assert proved == Condition("amount", direction, threshold).evaluate(value)


@pytest.mark.parametrize("value", [None, True, False, "5", 5.0])
def test_a_condition_on_what_is_not_an_integer_is_unknown(value: object) -> None:
    assert Condition("amount", "at_least", 1).evaluate(value) is None
    assert Condition("amount", "below", 1).evaluate(value) is None


def every_condition() -> list[Condition]:
    return [
        Condition(claim, direction, threshold)
        for claim, ladder in samples.REVOLVING.ladders.items()
        for threshold in ladder.thresholds
        for direction in DIRECTIONS
    ]


def test_a_token_accepts_every_true_condition_and_no_proof_of_another_token() -> None:
    opened, token = samples.opening(), samples.token()
    other = samples.opening(jti=b"\x0a" * 16)
    proved = 0
    for condition in every_condition():
        if not condition.evaluate(samples.VALUES[condition.claim]):
            with pytest.raises(VerificationFailed) as caught:
                opened.prove(condition)
            assert caught.value.reason == "NOT_PROVABLE"
            continue
        token.verify_condition(samples.REVOLVING, condition, opened.prove(condition))
        with pytest.raises(VerificationFailed) as caught:
            token.verify_condition(samples.REVOLVING, condition, other.prove(condition))
        assert caught.value.reason == "BAD_LADDER_PROOF"
        proved += 1
    assert proved == sum(len(ladder.thresholds) for ladder in samples.REVOLVING.ladders.values())


def test_two_claims_with_the_same_ladder_do_not_lend_each_other_proofs() -> None:
    opened, token = samples.opening(), samples.token()
    limit = Condition("credit_limit", "at_least", 1_000_000)
    used = dataclasses.replace(limit, claim="used_amount")
    assert samples.REVOLVING.ladders["credit_limit"] == samples.REVOLVING.ladders["used_amount"]
    with pytest.raises(VerificationFailed) as caught:
        token.verify_condition(samples.REVOLVING, used, opened.prove(limit))
    assert caught.value.reason == "BAD_LADDER_PROOF"
