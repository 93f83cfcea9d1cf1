"""RFC 9497: its vectors, another implementation, and every way to cheat."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from credproof.base import oprf
from credproof.base.errors import CredproofError, LimitExceeded, Malformed, VerificationFailed
from credproof.base.group import (
    ORDER,
    add,
    hash_to_group,
    multiply,
    parse_element,
    parse_scalar,
    scalar_from,
)
from hypothesis import given
from hypothesis import strategies as st
from voprf import ristretto

VECTORS = Path(__file__).parent.parent / "vectors" / "rfc9497-voprf.json"
SUITES = {suite["mode"]: suite for suite in json.loads(VECTORS.read_text())}
SECRET = scalar_from(hashlib.sha512(b"secret").digest())
PUBLIC = oprf.public_key(SECRET)
NONCE = hashlib.sha512(b"nonce").digest()


def parts(text: str) -> list[bytes]:
    return [bytes.fromhex(part) for part in text.split(",")]


def blinded(count: int = 3) -> list[bytes]:
    scalars = [scalar_from(hashlib.sha512(bytes([i])).digest()) for i in range(count)]
    return [oprf.blind(b"input %d" % i, scalar) for i, scalar in enumerate(scalars)]


@pytest.mark.parametrize("mode", [0, 1])
def test_the_vectors_of_the_rfc_are_reproduced(mode):
    suite = SUITES[mode]
    secret = bytes.fromhex(suite["skSm"])
    for vector in suite["vectors"]:
        inputs, scalars = parts(vector["Input"]), parts(vector["Blind"])
        elements = [oprf.blind(x, r, mode=mode) for x, r in zip(inputs, scalars, strict=True)]
        assert parts(vector["BlindedElement"]) == elements
        evaluated = oprf.evaluate(secret, elements)
        assert parts(vector["EvaluationElement"]) == list(evaluated)
        triples = zip(inputs, scalars, evaluated, strict=True)
        assert parts(vector["Output"]) == [oprf.finalize(*triple) for triple in triples]


def test_the_proofs_of_the_rfc_are_reproduced_and_verify():
    suite = SUITES[1]
    secret, public = bytes.fromhex(suite["skSm"]), bytes.fromhex(suite["pkSm"])
    assert public == oprf.public_key(secret)
    for vector in suite["vectors"]:
        elements = parts(vector["BlindedElement"])
        nonce = bytes.fromhex(vector["Proof"]["r"])
        evaluated, proof = oprf.evaluate_with(secret, elements, nonce)
        assert vector["Proof"]["proof"] == proof.hex()
        oprf.verify_evaluation(public, elements, evaluated, proof)


@pytest.mark.parametrize("data", [b"x", b"input", bytes(200)])
def test_another_implementations_client_accepts_our_evaluation(data):
    client, element = ristretto.Client.blind(data)
    (evaluated,), proof = oprf.evaluate_verifiable(SECRET, [element.serialize()], NONCE)
    output = ristretto.VerifiableOutput.deserialize(proof + evaluated)

    (ours,) = oprf.evaluate(SECRET, [oprf.blind(data, SECRET)])
    found = client.finalize(output, ristretto.PublicKey.deserialize(PUBLIC))
    assert oprf.finalize(data, SECRET, ours) == found


def test_our_client_accepts_another_implementations_evaluation():
    server = ristretto.Evaluator(hashlib.sha256(b"seed").digest())
    element = oprf.blind(b"input", SECRET)
    output = server.evaluate(ristretto.BlindedInput.deserialize(element)).serialize()
    proof, evaluated = output[:64], output[64:]

    oprf.verify_evaluation(server.public_key.serialize(), [element], [evaluated], proof)
    expected = server.evaluate_known_input(b"input")
    assert expected == oprf.finalize(b"input", SECRET, evaluated)


@given(st.binary(max_size=60), st.binary(min_size=64, max_size=64))
def test_blinding_does_not_change_the_output(data, entropy):
    scalar = scalar_from(entropy) if int.from_bytes(entropy, "little") % ORDER else SECRET
    (evaluated,) = oprf.evaluate(SECRET, [oprf.blind(data, scalar)])
    one = oprf.finalize(data, scalar, evaluated)
    again = oprf.blind(data, SECRET)
    assert one == oprf.finalize(data, SECRET, oprf.evaluate(SECRET, [again])[0])


def test_two_custodians_make_the_key_of_their_sum():
    other = scalar_from(hashlib.sha512(b"other").digest())
    total = (int.from_bytes(SECRET, "little") + int.from_bytes(other, "little")) % ORDER
    (element,) = blinded(1)
    shares = [oprf.evaluate(key, [element])[0] for key in (SECRET, other)]
    whole = oprf.evaluate(total.to_bytes(32, "little"), [element])[0]
    assert whole == oprf.combine(shares)


# -- cheating


def refused(elements, evaluated, proof, public=PUBLIC) -> None:
    with pytest.raises(VerificationFailed) as caught:
        oprf.verify_evaluation(public, elements, evaluated, proof)
    assert caught.value.reason == "BAD_DLEQ_PROOF"


def test_an_evaluation_under_another_key_is_refused():
    elements = blinded()
    other = scalar_from(hashlib.sha512(b"other").digest())
    evaluated, proof = oprf.evaluate_verifiable(other, elements, NONCE)
    refused(elements, evaluated, proof)
    refused(elements, oprf.evaluate(SECRET, elements), proof)


def test_swapped_elements_of_a_batch_are_refused():
    elements = blinded()
    (a, b, c), proof = oprf.evaluate_verifiable(SECRET, elements, NONCE)
    refused(elements, (b, a, c), proof)
    refused(elements, (a, b), proof)


def test_one_element_tagged_with_another_key_within_a_batch_is_refused():
    """A service that wants to recognise one caller later."""
    elements = blinded()
    (a, b, c), proof = oprf.evaluate_verifiable(SECRET, elements, NONCE)
    refused(elements, (a, add(b, b), c), proof)


@pytest.mark.parametrize("at", [0, 31, 32, 63])
def test_a_flipped_proof_is_refused(at):
    elements = blinded()
    evaluated, proof = oprf.evaluate_verifiable(SECRET, elements, NONCE)
    flipped = bytearray(proof)
    flipped[at] ^= 1
    refused(elements, evaluated, bytes(flipped))
    refused(elements, evaluated, proof[:-1])
    refused(elements, evaluated, bytes(64))
    refused(elements, evaluated, proof[:32] + ORDER.to_bytes(32, "little"))


BAD_ELEMENTS = [
    bytes(32),
    b"\x01" + bytes(31),
    b"\xff" * 32,
    b"\xed" + b"\xff" * 30 + b"\x7f",
    bytes(31),
    bytes(33),
]


@pytest.mark.parametrize("element", BAD_ELEMENTS)
def test_what_is_no_element_is_refused(element):
    with pytest.raises(Malformed):
        parse_element(element)
    with pytest.raises(Malformed):
        oprf.evaluate(SECRET, [element])


@pytest.mark.parametrize(
    "scalar", [bytes(32), ORDER.to_bytes(32, "little"), b"\xff" * 32, bytes(31), b"\x01"]
)
def test_what_is_no_scalar_is_refused(scalar):
    with pytest.raises(Malformed):
        parse_scalar(scalar)
    with pytest.raises(Malformed):
        oprf.blind(b"x", scalar)


def test_an_empty_and_an_oversized_batch_are_refused():
    with pytest.raises(Malformed):
        oprf.evaluate(SECRET, [])
    with pytest.raises(LimitExceeded):
        oprf.evaluate(SECRET, blinded(1) * 129)


def test_different_tags_hash_to_different_elements():
    one, two = hash_to_group(b"x", b"tag one"), hash_to_group(b"x", b"tag two")
    assert one != two
    assert multiply(SECRET, one) != multiply(SECRET, two)
    with pytest.raises(CredproofError):
        scalar_from(bytes(64))
