"""The group ristretto255 (RFC 9496) and hashing to it (RFC 9380), over libsodium.

Elements and scalars are 32 bytes in their one canonical form. The identity and the scalar
zero are refused wherever they come in: they carry no secret.
"""

from __future__ import annotations

import hashlib

import rbcl

from credproof.base.errors import Malformed

ELEMENT_BYTES = 32
SCALAR_BYTES = 32
ORDER = 2**252 + 27742317777372353535851937790883648493
_IDENTITY = bytes(32)
_BLOCK_BYTES = 128
_HASH_BYTES = 64


def parse_element(data: bytes) -> bytes:
    """A canonical element that is not the identity.

    Raises:
        Malformed: `BAD_ELEMENT`.
    """
    if len(data) != ELEMENT_BYTES or data == _IDENTITY:
        raise Malformed("BAD_ELEMENT", "not a group element, or the identity")
    if not rbcl.crypto_core_ristretto255_is_valid_point(data):
        raise Malformed("BAD_ELEMENT", "not the canonical form of a group element")
    return data


def parse_scalar(data: bytes) -> bytes:
    """A scalar below the group order that is not zero.

    Raises:
        Malformed: `BAD_SCALAR`.
    """
    if len(data) != SCALAR_BYTES or not 0 < int.from_bytes(data, "little") < ORDER:
        raise Malformed("BAD_SCALAR", "not a scalar between zero and the group order")
    return data


def scalar_from(entropy: bytes) -> bytes:
    """A uniform scalar from 64 random bytes.

    Raises:
        Malformed: `BAD_SCALAR` for another length, or for zero.
    """
    if len(entropy) != 64:
        raise Malformed("BAD_SCALAR", "a scalar is made from 64 random bytes")
    return parse_scalar(rbcl.crypto_core_ristretto255_scalar_reduce(entropy))


def multiply(scalar: bytes, element: bytes) -> bytes:
    """scalar · element, for a canonical scalar and element that are neither zero nor identity."""
    return bytes(rbcl.crypto_scalarmult_ristretto255(scalar, element))


def multiply_base(scalar: bytes) -> bytes:
    """scalar · G."""
    return bytes(rbcl.crypto_scalarmult_ristretto255_base(scalar))


def add(left: bytes, right: bytes) -> bytes:
    """The sum of two elements."""
    return bytes(rbcl.crypto_core_ristretto255_add(left, right))


def invert(scalar: bytes) -> bytes:
    """1 / scalar."""
    return bytes(rbcl.crypto_core_ristretto255_scalar_invert(scalar))


def subtract_product(minuend: bytes, left: bytes, right: bytes) -> bytes:
    """minuend - left · right, on scalars."""
    product = rbcl.crypto_core_ristretto255_scalar_mul(left, right)
    return bytes(rbcl.crypto_core_ristretto255_scalar_sub(minuend, product))


def expand_message(message: bytes, tag: bytes, size: int) -> bytes:
    """expand_message_xmd with SHA-512 (RFC 9380 section 5.3.1); `tag` has at most 255 bytes."""
    tag_prime = tag + bytes([len(tag)])
    head = bytes(_BLOCK_BYTES) + message + size.to_bytes(2, "big") + b"\x00" + tag_prime
    first = hashlib.sha512(head).digest()
    block, output, count = bytes(_HASH_BYTES), b"", 0
    while len(output) < size:
        count += 1
        block = hashlib.sha512(_xor(first, block) + bytes([count]) + tag_prime).digest()
        output += block
    return output[:size]


def _xor(left: bytes, right: bytes) -> bytes:
    mixed = int.from_bytes(left, "big") ^ int.from_bytes(right, "big")
    return mixed.to_bytes(len(left), "big")


def hash_to_group(message: bytes, tag: bytes) -> bytes:
    """The element that `message` hashes to under a domain tag (RFC 9497 section 4.1)."""
    uniform = expand_message(message, tag, 64)
    return parse_element(bytes(rbcl.crypto_core_ristretto255_from_hash(uniform)))


def hash_to_scalar(message: bytes, tag: bytes) -> bytes:
    """The scalar that `message` hashes to under a domain tag; it may be zero."""
    uniform = expand_message(message, tag, 64)
    return bytes(rbcl.crypto_core_ristretto255_scalar_reduce(uniform))
