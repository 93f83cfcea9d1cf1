"""A verifiable random function: what a secret makes of an input, with a proof that it does.

The output is secret · HashToGroup(input), shown by a DLEQ proof (RFC 9497 section 2.2) against
the public key: one input has one output, and whoever lacks the secret cannot tell it from random.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from credproof.base.group import hash_to_group, multiply
from credproof.base.oprf import evaluate_verifiable, verify_evaluation

_TAG: Final = b"credproof/v1/vrf"


@dataclass(frozen=True, slots=True)
class Output:
    """What the function gives, an element (32 bytes), and the proof of it (64 bytes)."""

    element: bytes
    proof: bytes


def evaluate(secret: bytes, data: bytes) -> bytes:
    """The element that `data` has under a secret, without a proof; 32 bytes."""
    return multiply(secret, hash_to_group(data, _TAG))


def prove(secret: bytes, data: bytes, entropy: bytes) -> Output:
    """The element with its proof; `entropy` is 64 fresh random bytes.

    Raises:
        Malformed: `BAD_SCALAR`.
    """
    (element,), proof = evaluate_verifiable(secret, [hash_to_group(data, _TAG)], entropy)
    return Output(element, proof)


def verify(public: bytes, data: bytes, output: Output) -> None:
    """Accept that the secret of `public` gives this element for `data`.

    Raises:
        Malformed: `BAD_ELEMENT`.
        VerificationFailed: `BAD_DLEQ_PROOF`.
    """
    blinded = [hash_to_group(data, _TAG)]
    verify_evaluation(public, blinded, [output.element], output.proof)
