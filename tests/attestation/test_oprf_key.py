"""An OPRF key in shares: together they evaluate, each proves its own part, none is left out."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from credproof.attestation.oprf_key import (
    Evaluation,
    OprfKey,
    Share,
    is_address,
    parse_oprf_key,
    prove_share,
    verify_share,
)
from credproof.attestation.pseudonym import begin, parse_subject_id, verify_transcript
from credproof.base import oprf
from credproof.base.errors import CredproofError, VerificationFailed
from credproof.base.group import ORDER, multiply_base, scalar_from
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import World, seed_of

THREE = World("notary", "chamber")
SUBJECTS = [parse_subject_id(f"ref:{name}") for name in "abc"]


def secret_of(name: str) -> bytes:
    return scalar_from(seed_of(name, 64))


def key_of(*secrets: bytes) -> OprfKey:
    first, *others = (oprf.public_key(secret) for secret in secrets)
    held = enumerate(others)
    return OprfKey(
        (Share(first), *(Share(public, f"notary-{i}", "notary.example:1") for i, public in held))
    )


def answers(secrets, elements) -> list[Evaluation]:
    return [Evaluation(*oprf.evaluate_verifiable(s, elements, os.urandom(64))) for s in secrets]


scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "little"))


@settings(max_examples=20, deadline=None)
@given(st.lists(scalars, min_size=1, max_size=4, unique=True))
def test_the_shares_together_evaluate_under_their_sum(secrets):
    total = sum(int.from_bytes(secret, "little") for secret in secrets) % ORDER
    if total == 0:
        return
    elements = begin(SUBJECTS, [secret_of("r")] * 3).elements
    whole = oprf.evaluate(total.to_bytes(32, "little"), elements)
    assert whole == key_of(*secrets).combine(elements, answers(secrets, elements))


def test_every_share_changes_the_pseudonym():
    subs = {World(*names).identify("ref:a")[0] for names in ((), ("notary",), ("chamber",))}
    assert len(subs) == 3


def test_a_key_of_one_share_has_the_fingerprint_of_that_share():
    public = oprf.public_key(secret_of("oprf"))
    assert key_of(secret_of("oprf")).id == World().oprf_key.id
    assert World().oprf_key.shares == (Share(public),)


def test_the_order_of_the_shares_counts():
    one, two = secret_of("one"), secret_of("two")
    assert key_of(one, two).id != key_of(two, one).id


# -- lies: each is found in the share that told it


def told_by(holder: str, evaluate) -> None:
    with pytest.raises(VerificationFailed) as caught:
        evaluate()
    assert caught.value.reason == "BAD_DLEQ_PROOF"
    assert caught.value.message.startswith(f"{holder}: ")


HOLDERS = ("the service", "custodian notary", "custodian chamber")


@pytest.mark.parametrize("liar", range(3))
def test_an_evaluation_under_another_key_names_its_holder(liar):
    elements = begin(SUBJECTS, [secret_of("r")] * 3).elements
    secrets = list(THREE.oprf_secrets)
    secrets[liar] = secret_of("another")
    given_ = answers(secrets, elements)
    told_by(HOLDERS[liar], lambda: THREE.oprf_key.combine(elements, given_))


@pytest.mark.parametrize("liar", range(3))
@pytest.mark.parametrize("member", ["evaluated_element", "proof"])
def test_a_transcript_with_one_false_part_names_its_holder(liar, member):
    _, transcript = THREE.identify("ref:a")
    _, other = THREE.identify("ref:b")
    parts = list(transcript.parts)
    parts[liar] = replace(parts[liar], **{member: getattr(other.parts[liar], member)})
    bent = replace(transcript, parts=tuple(parts))
    told_by(HOLDERS[liar], lambda: verify_transcript(bent, THREE.oprf_key))


def test_parts_that_changed_places_are_refused():
    _, transcript = THREE.identify("ref:a")
    first, second, third = transcript.parts
    bent = replace(transcript, parts=(first, third, second))
    told_by("custodian notary", lambda: verify_transcript(bent, THREE.oprf_key))


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_a_transcript_of_fewer_or_more_parts_than_shares_is_refused(count):
    _, transcript = THREE.identify("ref:a")
    parts = (transcript.parts * 2)[:count]
    with pytest.raises(VerificationFailed) as caught:
        verify_transcript(replace(transcript, parts=parts), THREE.oprf_key)
    assert caught.value.reason == "BAD_DLEQ_PROOF"


def test_holders_who_cancel_each_other_out_are_noticed():
    """Nobody gets a pseudonym that does not depend on the id."""
    (element,) = begin(SUBJECTS[:1], [secret_of("r")]).elements
    secret = secret_of("one")
    negative = (ORDER - int.from_bytes(secret, "little")).to_bytes(32, "little")
    with pytest.raises(CredproofError) as caught:
        oprf.combine([oprf.evaluate(s, [element])[0] for s in (secret, negative)])
    assert caught.value.reason == "BAD_ELEMENT"


# -- keys that no bundle may name

GOOD = key_of(secret_of("one"), secret_of("two")).shares


def opposite(share: Share) -> bytes:
    number = ORDER - int.from_bytes(secret_of("one"), "little")
    assert share.public == multiply_base(secret_of("one"))
    return multiply_base(number.to_bytes(32, "little"))


UNSOUND: dict[str, tuple[str, tuple[Share, ...]]] = {
    "no share": ("BAD_TRUST", ()),
    "no share of the service": ("BAD_TRUST", GOOD[1:]),
    "the service's share last": ("BAD_TRUST", GOOD[::-1]),
    "a service with an address": ("BAD_TRUST", (replace(GOOD[0], address="a:1"), GOOD[1])),
    "one share twice": ("BAD_TRUST", (GOOD[0], replace(GOOD[1], public=GOOD[0].public))),
    "two shares of one custodian": (
        "BAD_TRUST",
        (*GOOD, replace(GOOD[1], public=oprf.public_key(secret_of("three")))),
    ),
    "two shares of the service": (
        "BAD_TRUST",
        (GOOD[0], replace(GOOD[1], custodian="", address="")),
    ),
    "a custodian without an address": ("BAD_TRUST", (GOOD[0], replace(GOOD[1], address=""))),
    "the identity": ("BAD_ELEMENT", (GOOD[0], replace(GOOD[1], public=bytes(32)))),
    "no element": ("BAD_ELEMENT", (GOOD[0], replace(GOOD[1], public=b"\xff" * 32))),
    "shares whose sum is the identity": (
        "BAD_ELEMENT",
        (GOOD[0], replace(GOOD[1], public=opposite(GOOD[0]))),
    ),
}


@pytest.mark.parametrize("what", UNSOUND)
def test_an_unsound_key_is_refused(what):
    reason, shares = UNSOUND[what]
    with pytest.raises(CredproofError) as caught:
        OprfKey(shares).require_sound()
    assert caught.value.reason == reason


def test_a_key_comes_back_from_its_json():
    assert parse_oprf_key(THREE.oprf_key.to_json()) == THREE.oprf_key


@pytest.mark.parametrize("text", ["", "host", "host:0", "host:65536", "a b:1", "http://h:1", ":1"])
def test_what_is_no_address_is_seen(text):
    assert not is_address(text)


# -- possession of a share


def test_only_the_holder_of_a_share_can_enrol_it():
    secret = secret_of("one")
    proof = prove_share(secret, b"enrolment", os.urandom(64))
    verify_share(oprf.public_key(secret), b"enrolment", proof)
    for public, bound_to in (
        (oprf.public_key(secret_of("two")), b"enrolment"),
        (oprf.public_key(secret), b"another enrolment"),
    ):
        with pytest.raises(VerificationFailed) as caught:
            verify_share(public, bound_to, proof)
        assert caught.value.reason == "BAD_DLEQ_PROOF"


# -- the example of docs/PROTOCOL.md, section 3


@pytest.mark.parametrize(
    ("secrets", "key_id", "sub"),
    [
        (
            (3,),
            "d66d24b3847c897959c80f1b617aef2f",
            "c33fd0485f240f57c18388e64719b86f03c0e4002b20729963e751f4b8929c0d",
        ),
        (
            (3, 5),
            "2e78490a50cca243cb3607d202b412ed",
            "5998e3f08de4903a670fc75e8d48d50072efa6f41eceb13de3dc949014145f57",
        ),
    ],
)
def test_the_documented_example_holds(secrets, key_id, sub):
    scalars_ = [number.to_bytes(32, "little") for number in secrets]
    key = key_of(*scalars_)
    assert key.id == key_id
    blinded = begin([parse_subject_id("ref:example")], [secret_of("r")])
    (found,) = blinded.finish(answers(scalars_, blinded.elements), key)
    assert found.hex() == sub
