"""tlog-proof files: one spelling, and proofs that hold."""

from __future__ import annotations

import hashlib

import pytest
from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import CredproofError, Malformed
from credproof.log.proof import TlogProof, format_proof, parse_proof, verify_proof

from tests.log.test_checkpoint import ENTRIES, ORIGIN, SIGNER, VECTORS, tree

CHECKPOINT = (VECTORS / "checkpoint.15").read_bytes()
THREE = (
    "9xWrP6pdBx5uKsS7mU1b9zWUPcw3mdoNCF55gM+5M2o=",
    "T1X2GdkhUjV3iyufF9b0kVsWFxIU0VI4EpNml2Teci4=",
    "g0ZoeYWtIV8Q8i+4CmgqPnBvH2il107lyCgTQsyB7H4=",
    "5jLpqTgjsBDSEX6SgZiRnbTMdTuRd8bQ5tSsAOxe0Ks=",
)
"""The inclusion proof of "three" (index 2) in the vector log of size 15."""


def proof_of(index: int) -> bytes:
    return format_proof(TlogProof(index, tree(15).inclusion_proof(index, 15), CHECKPOINT))


def test_our_proof_is_the_one_that_other_verifiers_accepted():
    assert tuple(parse_b64(text) for text in THREE) == tree(15).inclusion_proof(2, 15)


@pytest.mark.parametrize("index", range(15))
def test_every_entry_of_the_vector_log_is_proved(index):
    entry = ENTRIES[index].encode()
    assert verify_proof(entry, proof_of(index), ORIGIN, [SIGNER.verifier_key]).tree_size == 15
    with pytest.raises(CredproofError):
        verify_proof(entry + b"x", proof_of(index), ORIGIN, [SIGNER.verifier_key])


def test_the_text_of_the_reference_implementation_is_ours():
    one, two = (b64(hashlib.sha256(name).digest()) for name in (b"hash1", b"hash2"))
    proof = TlogProof(5, (parse_b64(one), parse_b64(two)), b"test checkpoint\n")
    text = f"c2sp.org/tlog-proof@v1\nindex 5\n{one}\n{two}\n\ntest checkpoint\n"
    assert text.encode() == format_proof(proof)
    assert proof == parse_proof(text.encode())


def test_a_proof_without_hashes_and_one_with_extra_come_back():
    for proof in (TlogProof(0, (), b"checkpoint\n"), TlogProof(1, (bytes(32),), b"c\n", b"more")):
        assert proof == parse_proof(format_proof(proof))


@pytest.mark.parametrize(
    "text",
    [
        "c2sp.org/tlog-proof@v2\nindex 5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nextra !!\nindex 5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex -5\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex +1\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex  1\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 01\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 18446744073709551616\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\r\nindex 1\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n" + b64(bytes(64)) + "\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n" + b64(bytes(32))[:-2] + "B=\n\ncheckpoint\n",
        "c2sp.org/tlog-proof@v1\nindex 1\n",
        "",
    ],
)
def test_a_proof_outside_the_format_is_refused(text):
    with pytest.raises(Malformed):
        parse_proof(text.encode())
