"""RFC 9162 trees: all sizes to 300, every proof to 64, every way to bend one, every bit to 40."""

from __future__ import annotations

import pymerkle
import pytest
from credproof.base.errors import CredproofError, Malformed
from credproof.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    node_hash,
    verify_consistency,
    verify_inclusion,
)
from hypothesis import given, settings
from hypothesis import strategies as st

SIZES = 65
LEAVES = [leaf_hash(bytes([i])) for i in range(SIZES)]
TREE = Tree()
TREE.extend(LEAVES)
MANY = [leaf_hash(i.to_bytes(4, "big")) for i in range(20_000)]
LONG = Tree()
LONG.extend(MANY)


def naive_root(leaves: list[bytes]) -> bytes:
    """The definition of RFC 9162 section 2.1.1, word for word."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return node_hash(naive_root(leaves[:k]), naive_root(leaves[k:]))


def test_every_root_is_that_of_the_definition():
    assert [naive_root(LEAVES[:n]) for n in range(SIZES)] == [TREE.root(n) for n in range(SIZES)]


def test_a_tree_of_every_size_has_the_root_of_the_definition_and_proves_its_leaves():
    for size in range(SIZES, 301):
        root = LONG.root(size)
        assert root == naive_root(MANY[:size])
        for index in {0, size // 3, size // 2, size - 1}:
            before, proof = LONG.root(index), LONG.consistency_proof(index, size)
            verify_inclusion(MANY[index], index, size, LONG.inclusion_proof(index, size), root)
            verify_consistency(index, before, size, root, proof)


def flips(data: bytes):
    """The data with each single bit of it flipped."""
    for bit in range(8 * len(data)):
        yield bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(data))


def flipped(proof: tuple[bytes, ...]):
    for place, item in enumerate(proof):
        for changed in flips(item):
            yield (*proof[:place], changed, *proof[place + 1 :])


def accepts(verify, *arguments) -> bool:
    try:
        verify(*arguments)
    except CredproofError:
        return False
    return True


@pytest.mark.parametrize("size", range(2, 41))
def test_no_bit_of_a_proof_can_be_flipped(size):
    """Of each size another place and another smaller tree."""
    root, index = TREE.root(size), size * 7 % size if size % 2 else size * 5 // 7
    for proof in flipped(TREE.inclusion_proof(index, size)):
        assert not accepts(verify_inclusion, LEAVES[index], index, size, proof, root)
    old = max(1, size * 3 // 5)
    for proof in flipped(TREE.consistency_proof(old, size)):
        assert not accepts(verify_consistency, old, TREE.root(old), size, root, proof)


@settings(max_examples=60)
@given(st.data())
def test_any_larger_tree_proves_what_it_holds_and_nothing_bent(data):
    size = data.draw(st.integers(301, len(MANY)))
    index, bit = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, 255))
    root, before = LONG.root(size), LONG.root(index)
    for verify, proof in (
        ((verify_inclusion, MANY[index], index, size), LONG.inclusion_proof(index, size)),
        ((verify_consistency, index, before, size, root), LONG.consistency_proof(index, size)),
    ):
        check, *told = verify
        last = (root,) if check is verify_inclusion else ()
        assert accepts(check, *told, proof, *last)
        for place, item in enumerate(proof):
            changed = bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(item))
            bad = (*proof[:place], changed, *proof[place + 1 :])
            assert not accepts(check, *told, bad, *last)


def test_another_implementation_finds_the_same_root():
    other = pymerkle.InmemoryTree(algorithm="sha256")
    for i in range(SIZES):
        other.append_entry(bytes([i]))
        assert other.get_root() == TREE.root(i + 1)


def test_the_proofs_of_seven_leaves_are_those_of_the_rfc():
    a, b, c, d, e, f, g = LEAVES[:7]
    h, i, j = node_hash(a, b), node_hash(c, d), node_hash(e, f)
    k = node_hash(h, i)
    last = node_hash(j, g)

    assert (b, i, last) == TREE.inclusion_proof(0, 7)
    assert (c, h, last) == TREE.inclusion_proof(3, 7)
    assert (f, g, k) == TREE.inclusion_proof(4, 7)
    assert (j, k) == TREE.inclusion_proof(6, 7)
    assert (c, d, h, last) == TREE.consistency_proof(3, 7)
    assert (last,) == TREE.consistency_proof(4, 7)
    assert (j, g, k) == TREE.consistency_proof(6, 7)


def test_every_inclusion_proof_verifies_and_for_no_other_place():
    for size in range(1, SIZES):
        root = TREE.root(size)
        for index in range(size):
            proof = TREE.inclusion_proof(index, size)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            for other in {(index + 1) % size, (index * 7 + 3) % size} - {index}:
                with pytest.raises(CredproofError):
                    verify_inclusion(LEAVES[index], other, size, proof, root)


def test_peaks_alone_prove_each_past_that_whole_peaks_make():
    """An auditor whose own lines are gone still has these."""
    for size in range(1, SIZES):
        frontier = Frontier(size, TREE.frontier(size))
        for end in range(size + 1):
            past, proof = frontier.past(end)
            assert past.root() == TREE.root(past.size)
            assert proof == TREE.consistency_proof(past.size, size)
            left = size - past.size
            assert past.size <= end
            assert not left or end < past.size + (1 << left.bit_length() - 1), "the largest"
        assert frontier.past(size)[0].peaks == frontier.peaks


def test_every_consistency_proof_verifies_and_for_no_other_root():
    for new in range(SIZES):
        for old in range(new + 1):
            proof = TREE.consistency_proof(old, new)
            verify_consistency(old, TREE.root(old), new, TREE.root(new), proof)
            if 0 < old < new:
                for wrong in (bytes(32), TREE.root(new)):
                    with pytest.raises(CredproofError):
                        verify_consistency(old, wrong, new, TREE.root(new), proof)


def bent(proof: tuple[bytes, ...]):
    """The proof truncated, extended, reordered, and with each hash changed by one bit."""
    yield proof[:-1]
    yield (*proof, bytes(32))
    yield (*proof, proof[-1])
    if len(proof) > 1:
        yield proof[::-1]
    for i, item in enumerate(proof):
        yield (*proof[:i], bytes([item[0] ^ 1]) + item[1:], *proof[i + 1 :])
        yield (*proof[:i], item[:-1], *proof[i + 1 :])


@pytest.mark.parametrize("size", [2, 3, 7, 8, 33, 64])
def test_a_bent_inclusion_proof_is_refused(size):
    for index in range(size):
        for proof in bent(TREE.inclusion_proof(index, size)):
            with pytest.raises(CredproofError):
                verify_inclusion(LEAVES[index], index, size, proof, TREE.root(size))


@pytest.mark.parametrize(("old", "new"), [(1, 2), (3, 7), (4, 7), (6, 7), (8, 64), (33, 64)])
def test_a_bent_consistency_proof_is_refused(old, new):
    for proof in bent(TREE.consistency_proof(old, new)):
        with pytest.raises(CredproofError):
            verify_consistency(old, TREE.root(old), new, TREE.root(new), proof)


def test_a_newer_tree_is_not_smaller():
    with pytest.raises(CredproofError) as caught:
        verify_consistency(7, TREE.root(7), 3, TREE.root(3), ())
    assert caught.value.reason == "BAD_CONSISTENCY_PROOF"


def test_a_leaf_is_not_a_node():
    """Without domain separation two leaves could pass for an inner node."""
    assert node_hash(LEAVES[0], LEAVES[1]) != leaf_hash(LEAVES[0] + LEAVES[1])


def test_a_tree_cut_back_goes_on_as_if_nothing_had_been_added():
    tree = Tree()
    tree.extend(LEAVES[:40])
    tree.truncate(13)
    tree.extend(LEAVES[13:50])
    assert TREE.root(50) == tree.root()
    assert TREE.inclusion_proof(3, 50) == tree.inclusion_proof(3, 50)


@given(st.lists(st.integers(1, 9), max_size=12))
def test_leaves_added_in_any_groups_make_the_same_tree(groups):
    tree, frontier = Tree(), Frontier()
    for count in groups:
        fresh = LEAVES[: min(count, SIZES)]
        tree.extend(fresh)
        for leaf in fresh:
            frontier.append(leaf)
    assert tree.root() == frontier.root()
    assert tree.frontier() == frontier.peaks
    resumed = Frontier(tree.size, tree.frontier())
    assert resumed.root() == tree.root()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: TREE.root(SIZES + 1),
        lambda: TREE.inclusion_proof(5, 5),
        lambda: TREE.inclusion_proof(-1, 5),
        lambda: TREE.inclusion_proof(0, SIZES + 1),
        lambda: TREE.consistency_proof(6, 5),
        lambda: Frontier(3, (bytes(32),)),
    ],
)
def test_what_is_not_in_the_tree_has_no_proof(ask):
    with pytest.raises(Malformed):
        ask()


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_hash_of_another_length_is_refused(size):
    wrong, tree = bytes(size), Tree()
    for use in (
        lambda: tree.extend([LEAVES[0], wrong]),
        lambda: Frontier().append(wrong),
        lambda: verify_inclusion(wrong, 0, 1, (), wrong),
        lambda: verify_consistency(1, wrong, 1, wrong, ()),
    ):
        with pytest.raises(Malformed):
            use()
    assert tree.size == 0


def test_a_tree_is_not_cut_back_to_a_size_it_never_had():
    tree = Tree()
    tree.extend(LEAVES[:5])
    for size in (-1, 6):
        with pytest.raises(Malformed):
            tree.truncate(size)
    assert tree.root() == TREE.root(5)
