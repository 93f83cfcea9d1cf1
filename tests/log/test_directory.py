"""The directory: one value per index, and proofs of what an index has, or that it has none."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from itertools import pairwise

import pytest
from credproof.base.errors import CredproofError, LimitExceeded
from credproof.log.directory import (
    ABSENT,
    Leaf,
    LookupProof,
    Top,
    bounds,
    prove,
    subtree,
    value_of,
    verify_lookup,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = 301


def digest(*parts: object) -> bytes:
    return hashlib.sha256(repr(parts).encode()).digest()


LEAVES = [Leaf(digest("index", i), digest("value", i)) for i in range(SIZES)]
STRANGERS = [digest("stranger", i) for i in range(6)]
INDEXES = st.binary(min_size=32, max_size=32)


def naive_root(leaves: list[Leaf], depth: int = 0) -> bytes:
    """The definition, word for word: a leaf alone is itself, no leaf is zeros."""
    if not leaves:
        return ABSENT
    if len(leaves) == 1:
        return hashlib.sha256(b"\x02" + leaves[0].index + leaves[0].value).digest()
    sides: tuple[list[Leaf], list[Leaf]] = ([], [])
    for leaf in leaves:
        sides[int.from_bytes(leaf.index, "big") >> 255 - depth & 1].append(leaf)
    left, right = (naive_root(side, depth + 1) for side in sides)
    return hashlib.sha256(b"\x03" + left + right).digest()


@pytest.mark.parametrize("size", range(SIZES))
def test_the_directory_of_every_size_has_the_root_of_the_definition_and_proves_all(size):
    leaves = sorted(LEAVES[:size])
    root = subtree(leaves).hash
    assert root == naive_root(leaves)
    for leaf in leaves[:: max(1, size // 8)]:
        assert verify_lookup(leaf.index, prove(leaves, leaf.index), root) == leaf.value
    for index in STRANGERS:
        assert verify_lookup(index, prove(leaves, index), root) is None


@pytest.mark.parametrize("bits", [1, 4, 8])
def test_kept_in_buckets_it_is_the_same_directory(bits):
    """Whatever the order in which leaves come and change."""
    top, known = Top(bits), {}
    for start in range(0, SIZES, 43):
        changed = LEAVES[start : start + 43] + [
            replace(leaf, value=digest("newer", leaf.index)) for leaf in LEAVES[: start // 2 : 5]
        ]
        known |= {leaf.index: leaf for leaf in changed}
        leaves = sorted(known.values())
        buckets = {top.bucket(leaf.index) for leaf in changed}
        top.update({b: subtree(in_bucket(top, leaves, b), bits) for b in buckets})
        assert top.root == naive_root(leaves)
        for index in [leaf.index for leaf in leaves[::7]] + STRANGERS:
            proof = looked_up(top, leaves, index)
            assert proof == prove(leaves, index)
            found = known.get(index)
            assert verify_lookup(index, proof, top.root) == (found.value if found else None)


def in_bucket(top: Top, leaves: list[Leaf], bucket: int) -> list[Leaf]:
    return [leaf for leaf in leaves if top.bucket(leaf.index) == bucket]


def looked_up(top: Top, leaves: list[Leaf], index: bytes) -> LookupProof:
    """As a keeper of buckets does it: the top's path, then what lies below its end."""
    path = top.path(index)
    first, last = bounds(index, len(path))
    below = prove([leaf for leaf in leaves if first <= leaf.index <= last], index, len(path))
    return replace(below, siblings=path + below.siblings)


def test_a_leaf_that_is_taken_out_leaves_no_trace():
    top = Top(4)
    for leaves in (LEAVES[:9], LEAVES[:3], LEAVES[:1], []):
        kept = sorted(leaves)
        top.update({b: subtree(in_bucket(top, kept, b), 4) for b in range(16)})
        assert top.root == naive_root(kept)


def test_indexes_that_differ_in_their_last_bit_alone_have_both_their_places():
    near = digest("near")
    twin = near[:-1] + bytes([near[-1] ^ 1])
    leaves = sorted([Leaf(near, digest(1)), Leaf(twin, digest(2))])
    root = subtree(leaves).hash
    assert len(prove(leaves, near).siblings) == 256
    assert verify_lookup(near, prove(leaves, near), root) == digest(1)
    assert verify_lookup(twin, prove(leaves, twin), root) == digest(2)


@pytest.mark.parametrize("size", range(1, 41))
def test_no_bit_of_a_proof_can_be_flipped(size):
    leaves = sorted(LEAVES[:size])
    root = subtree(leaves).hash
    index = leaves[size // 2].index if size % 2 else STRANGERS[size % len(STRANGERS)]
    assert [bent for bent in flipped(prove(leaves, index)) if accepts(index, bent, root)] == []


def accepts(index: bytes, proof: LookupProof, root: bytes) -> bool:
    try:
        verify_lookup(index, proof, root)
    except CredproofError:
        return False
    return True


def flipped(proof: LookupProof):
    """The proof with each single bit of it flipped."""
    for place in range(len(proof.siblings)):
        for changed in flips(proof.siblings[place]):
            siblings = (*proof.siblings[:place], changed, *proof.siblings[place + 1 :])
            yield replace(proof, siblings=siblings)
    if proof.leaf is not None:
        for changed in flips(proof.leaf.index):
            yield replace(proof, leaf=replace(proof.leaf, index=changed))
        for changed in flips(proof.leaf.value):
            yield replace(proof, leaf=replace(proof.leaf, value=changed))


def flips(data: bytes):
    for bit in range(8 * len(data)):
        yield bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(data))


def refused(index: bytes, proof: LookupProof, root: bytes) -> None:
    with pytest.raises(CredproofError) as error:
        verify_lookup(index, proof, root)
    assert error.value.reason == "BAD_LOOKUP_PROOF"


def test_a_proof_of_one_index_does_not_do_for_another():
    leaves = sorted(LEAVES[:64])
    root = subtree(leaves).hash
    for leaf, other in pairwise(leaves):
        refused(other.index, prove(leaves, leaf.index), root)


def test_what_is_there_cannot_be_shown_as_absent():
    leaves = sorted(LEAVES[:64])
    root = subtree(leaves).hash
    for leaf in leaves:
        honest = prove(leaves, leaf.index)
        for proof in (
            replace(honest, leaf=None),
            LookupProof(None, honest.siblings[:-1]),
            prove([item for item in leaves if item != leaf], leaf.index),
        ):
            refused(leaf.index, proof, root)


def test_a_proof_that_is_cut_or_longer_is_refused():
    leaves = sorted(LEAVES[:64])
    root, index = subtree(leaves).hash, leaves[5].index
    honest = prove(leaves, index)
    refused(index, replace(honest, siblings=honest.siblings[:-1]), root)
    refused(index, replace(honest, siblings=honest.siblings[1:]), root)
    refused(index, replace(honest, siblings=(*honest.siblings, ABSENT)), root)
    refused(index, replace(honest, siblings=(ABSENT, *honest.siblings)), root)
    refused(index, replace(honest, siblings=(*honest.siblings[:-1], bytes(31))), root)
    with pytest.raises(LimitExceeded):
        verify_lookup(index, replace(honest, siblings=(ABSENT,) * 257), root)


def test_in_an_empty_directory_everything_is_absent():
    assert verify_lookup(STRANGERS[0], LookupProof(None, ()), ABSENT) is None
    assert Top(4).root == ABSENT
    refused(STRANGERS[0], LookupProof(LEAVES[0], ()), ABSENT)


@settings(max_examples=60)
@given(st.dictionaries(INDEXES, INDEXES, max_size=40), INDEXES)
def test_any_directory_shows_exactly_what_it_holds(known, stranger):
    leaves = sorted(Leaf(*item) for item in known.items())
    root = subtree(leaves).hash
    for index in [*known, stranger]:
        assert verify_lookup(index, prove(leaves, index), root) == known.get(index)


MANY = LEAVES + [Leaf(digest("index", i), digest("value", i)) for i in range(SIZES, 3000)]


@settings(max_examples=15)
@given(st.integers(SIZES, len(MANY)), st.integers(0, 2**16), st.integers(0, 255))
def test_any_larger_directory_shows_exactly_what_it_holds_and_nothing_bent(size, choice, bit):
    leaves = sorted(MANY[:size])
    root, leaf = subtree(leaves).hash, leaves[choice % size]
    for index, value in ((leaf.index, leaf.value), (digest("stranger", choice), None)):
        proof = prove(leaves, index)
        assert verify_lookup(index, proof, root) == value
        for place, item in enumerate(proof.siblings):
            changed = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(item))
            siblings = (*proof.siblings[:place], changed, *proof.siblings[place + 1 :])
            assert not accepts(index, replace(proof, siblings=siblings), root)


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=6), st.binary(max_size=16))
def test_a_value_is_of_a_set_and_its_salt(members, salt):
    assert value_of(salt, members) == value_of(salt, reversed(members))
    assert value_of(salt, members) != value_of(salt + b"\0", members)
    assert value_of(salt, members) != value_of(salt, [*members, bytes(32)])
