"""Oblivious pseudorandom functions of RFC 9497, suite ristretto255-SHA512.

Mode 0 (OPRF) and mode 1 (VOPRF, with a batched DLEQ proof). Randomness is passed in.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.group import (
    add,
    hash_to_group,
    hash_to_scalar,
    invert,
    multiply,
    multiply_base,
    parse_element,
    parse_scalar,
    scalar_from,
    subtract_product,
)
from credproof.base.limits import BATCH_ITEMS_MAX, at_most

Mode = Literal[0, 1]
OPRF: Final[Mode] = 0
VOPRF: Final[Mode] = 1
PROOF_BYTES = 64
OUTPUT_BYTES = 64
INPUT_BYTES_MAX = 65_535
BASE: Final = multiply_base((1).to_bytes(32, "little"))
"""The group's generator."""


def _context(mode: Mode) -> bytes:
    return b"OPRFV1-" + bytes([mode]) + b"-ristretto255-SHA512"


def public_key(secret: bytes) -> bytes:
    """secret · G, 32 bytes.

    Raises:
        Malformed: `BAD_SCALAR`.
    """
    return multiply_base(parse_scalar(secret))


def blind(data: bytes, scalar: bytes, *, mode: Mode = VOPRF) -> bytes:
    """The blinded element of an input (RFC 9497 section 3.3.1): scalar · H(data).

    Raises:
        Malformed: `BAD_SCALAR`.
        LimitExceeded: input longer than `INPUT_BYTES_MAX`.
    """
    at_most(len(data), INPUT_BYTES_MAX, "OPRF input")
    return multiply(parse_scalar(scalar), hash_to_group(data, b"HashToGroup-" + _context(mode)))


def evaluate(secret: bytes, blinded: Sequence[bytes]) -> tuple[bytes, ...]:
    """secret · B for each blinded element B; mode 0, without proof.

    Raises:
        Malformed: `BAD_ELEMENT`, `EMPTY_BATCH`.
        LimitExceeded: more than `BATCH_ITEMS_MAX` elements.
    """
    _check_batch(blinded)
    return tuple(multiply(secret, parse_element(element)) for element in blinded)


def evaluate_verifiable(
    secret: bytes, blinded: Sequence[bytes], entropy: bytes
) -> tuple[tuple[bytes, ...], bytes]:
    """Evaluated elements and one DLEQ proof for all; `entropy` is 64 fresh random bytes.

    Raises:
        Malformed, LimitExceeded: as `evaluate`.
    """
    return evaluate_with(secret, blinded, scalar_from(entropy))


def evaluate_with(
    secret: bytes, blinded: Sequence[bytes], nonce: bytes
) -> tuple[tuple[bytes, ...], bytes]:
    """As `evaluate_verifiable`, with the proof's nonce as a scalar that is never used twice."""
    evaluated = evaluate(secret, blinded)
    public = public_key(secret)
    m, _ = _composites(public, blinded, evaluated, secret=secret)
    z = multiply(secret, m)
    c = _challenge(public, m, z, multiply_base(nonce), multiply(nonce, m))
    return evaluated, c + subtract_product(nonce, c, secret)


def verify_evaluation(
    public: bytes, blinded: Sequence[bytes], evaluated: Sequence[bytes], proof: bytes
) -> None:
    """Accept that every element was evaluated under the secret of `public`.

    Raises:
        Malformed: `BAD_ELEMENT`, `EMPTY_BATCH`.
        VerificationFailed: `BAD_DLEQ_PROOF`.
    """
    _check_batch(blinded)
    if len(blinded) != len(evaluated) or len(proof) != PROOF_BYTES:
        raise VerificationFailed("BAD_DLEQ_PROOF", "evaluation has a wrong number of elements")
    for element in (public, *blinded, *evaluated):
        parse_element(element)
    c, s = proof[:32], proof[32:]
    try:
        parse_scalar(c), parse_scalar(s)
        m, z = _composites(public, blinded, evaluated)
        t2 = add(multiply_base(s), multiply(c, public))
        t3 = add(multiply(s, m), multiply(c, z))
    except (Malformed, RuntimeError) as error:
        raise VerificationFailed("BAD_DLEQ_PROOF", "proof is not a pair of scalars") from error
    if _challenge(public, m, z, t2, t3) != c:
        raise VerificationFailed("BAD_DLEQ_PROOF", "evaluation was made under another key")


def finalize(data: bytes, scalar: bytes, evaluated: bytes) -> bytes:
    """The output of the function, 64 bytes, from the evaluated element (section 3.3.1).

    Raises:
        Malformed: `BAD_SCALAR`, `BAD_ELEMENT`.
    """
    unblinded = multiply(invert(parse_scalar(scalar)), parse_element(evaluated))
    return hashlib.sha512(_sized(data) + _sized(unblinded) + b"Finalize").digest()


def combine(shares: Sequence[bytes]) -> bytes:
    """The evaluation under the sum of several custodians' keys, from each one's evaluation."""
    total = parse_element(shares[0])
    for share in shares[1:]:
        total = parse_element(add(total, parse_element(share)))
    return total


def _check_batch(elements: Sequence[bytes]) -> None:
    at_most(len(elements), BATCH_ITEMS_MAX, "batch")
    if not elements:
        raise Malformed("EMPTY_BATCH", "batch holds no element")


def _composites(
    public: bytes,
    blinded: Sequence[bytes],
    evaluated: Sequence[bytes],
    *,
    secret: bytes | None = None,
) -> tuple[bytes, bytes]:
    """M and Z of RFC 9497 section 2.2.1; whoever knows the secret computes Z from M."""
    context = _context(VOPRF)
    seed = hashlib.sha512(_sized(public) + _sized(b"Seed-" + context)).digest()
    m = z = b""
    for i, (left, right) in enumerate(zip(blinded, evaluated, strict=True)):
        transcript = _sized(seed) + i.to_bytes(2, "big") + _sized(left) + _sized(right)
        weight = hash_to_scalar(transcript + b"Composite", b"HashToScalar-" + context)
        m = _add_weighted(m, weight, left)
        if secret is None:
            z = _add_weighted(z, weight, right)
    return m, z


def _add_weighted(total: bytes, weight: bytes, element: bytes) -> bytes:
    term = multiply(weight, element)
    return add(total, term) if total else term


def _challenge(public: bytes, *elements: bytes) -> bytes:
    transcript = b"".join(_sized(element) for element in (public, *elements)) + b"Challenge"
    return hash_to_scalar(transcript, b"HashToScalar-" + _context(VOPRF))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
