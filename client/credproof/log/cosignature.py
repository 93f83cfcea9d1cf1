"""Cosignatures (C2SP tlog-cosignature): somebody saw this checkpoint continue all it saw before.

Two kinds: Ed25519 (signature type 0x04), which small verifiers share, and ML-DSA-44 (0x06, FIPS
204), which a quantum computer does not forge. Both carry the time at which they were made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from credproof.base.encoding import b64
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer, PublicKey
from credproof.log.checkpoint import parse_checkpoint
from credproof.log.note import PREFIX, parse_note
from credproof.log.vkey import format_vkey, key_id, parse_vkey

ED25519: Final = 0x04
ML_DSA_44: Final = 0x06
_KEY_BYTES: Final = {ED25519: 32, ML_DSA_44: 1312}
_SIGNATURE_BYTES: Final = {ED25519: 64, ML_DSA_44: 2420}
_TIME_BYTES: Final = 8
_TIME_END: Final = 2**63


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A cosigner's name and public key; its text form is the C2SP vkey `name+hash+key`."""

    name: str
    algorithm: int
    data: bytes

    @property
    def key_id(self) -> bytes:
        """As `vkey.key_id`."""
        return key_id(self.name, self._key)

    def __str__(self) -> str:
        return format_vkey(self.name, self._key)

    @property
    def _key(self) -> bytes:
        return bytes([self.algorithm]) + self.data

    @classmethod
    def parse(cls, text: str) -> CosignerKey:
        """The key of a vkey text.

        Raises:
            Malformed: `BAD_VKEY`.
        """
        name, key = parse_vkey(text)
        if len(key) - 1 != _KEY_BYTES.get(key[0]):
            raise Malformed("BAD_VKEY", "vkey is not of a cosigner: Ed25519 (4) or ML-DSA-44 (6)")
        return cls(name, key[0], key[1:])

    def verify(self, text: str, signature: bytes) -> int:
        """Accept a cosignature of the checkpoint in a note's text; gives its time in seconds.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`.
            Malformed: `BAD_CHECKPOINT` where ML-DSA-44 cannot sign what the text is.
        """
        time = int.from_bytes(signature[:_TIME_BYTES], "big")
        right_size = len(signature) == _TIME_BYTES + _SIGNATURE_BYTES[self.algorithm]
        if not right_size or not 0 < time < _TIME_END:
            raise VerificationFailed("BAD_SIGNATURE", "cosignature has a wrong length or no time")
        message = _message(self.name, self.algorithm, text, time)
        if self.algorithm == ED25519:
            PublicKey("EdDSA", self.data).verify(message, signature[_TIME_BYTES:])
        else:
            _verify_ml_dsa(self.data, message, signature[_TIME_BYTES:])
        return time


def _verify_ml_dsa(key: bytes, message: bytes, signature: bytes) -> None:
    try:
        MLDSA44PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise VerificationFailed("BAD_SIGNATURE", "signature does not verify") from error


def _message(name: str, algorithm: int, text: str, time: int) -> bytes:
    """What is signed. Ed25519 covers the whole text; ML-DSA-44 the cosigner's name and the tree."""
    if algorithm == ED25519:
        return f"cosignature/v1\ntime {time}\n{text}".encode()
    found = parse_checkpoint(text, extended=True)
    tree = bytes(8) + found.tree_size.to_bytes(8, "big") + found.root_hash
    return b"subtree/v1\n\0" + _short(name) + time.to_bytes(8, "big") + _short(found.origin) + tree


def _short(text: str) -> bytes:
    """opaque<1..2^8-1> of RFC 8446 section 3.4."""
    data = text.encode()
    if not 0 < len(data) < 256:
        raise Malformed("BAD_CHECKPOINT", "a cosigned name has 1 to 255 bytes")
    return bytes([len(data)]) + data


class Cosigner(Protocol):
    """Whoever cosigns checkpoints."""

    @property
    def key(self) -> CosignerKey: ...

    def cosign(self, text: str, time: int) -> str:
        """A signature line over the checkpoint in a note's text, with its newline."""


class Ed25519Cosigner:
    """Cosigns by an Ed25519 key of its own: the format does not bind the name to the key."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._signer = Ed25519Signer(seed)
        self.key = CosignerKey(name, ED25519, self._signer.public.data)

    def cosign(self, text: str, time: int) -> str:
        """The same line every time for the same text and time."""
        message = _message(self.key.name, ED25519, text, time)
        return _line(self.key, time, self._signer.sign(message))


class MlDsaCosigner:
    """Cosigns by an ML-DSA-44 key, made from a seed of 32 bytes."""

    def __init__(self, name: str, seed: bytes) -> None:
        self._key = MLDSA44PrivateKey.from_seed_bytes(seed)
        self.key = CosignerKey(name, ML_DSA_44, self._key.public_key().public_bytes_raw())

    def cosign(self, text: str, time: int) -> str:
        """Another line every time: the signature is randomised."""
        message = _message(self.key.name, ML_DSA_44, text, time)
        return _line(self.key, time, self._key.sign(message))


def _line(key: CosignerKey, time: int, signature: bytes) -> str:
    data = key.key_id + time.to_bytes(_TIME_BYTES, "big") + signature
    return f"{PREFIX}{key.name} {b64(data)}\n"


def cosigned(note: bytes, keys: Sequence[CosignerKey]) -> Mapping[CosignerKey, int]:
    """Which of `keys` cosigned a checkpoint, and when. The log's own signature is not looked at.

    Raises:
        Malformed: as `parse_note` and `parse_checkpoint`; `BAD_NOTE` for a key that signed twice.
        VerificationFailed: `BAD_SIGNATURE` when a known key's signature fails.
    """
    parsed = parse_note(note)
    parse_checkpoint(parsed.text, extended=True)
    known = {(key.name, key.key_id): key for key in keys}
    times: dict[CosignerKey, int] = {}
    for line in parsed.signatures:
        key = known.get((line.name, line.key_id))
        if key is not None:
            if key in times:
                raise Malformed("BAD_NOTE", "a key signed the note twice")
            times[key] = key.verify(parsed.text, line.signature)
    return times


def with_lines(note: bytes, lines: Sequence[str]) -> bytes:
    """A note with more signature lines, those that it does not have yet.

    Raises:
        Malformed, LimitExceeded: what comes out would not parse.
    """
    there = set(note.decode().rpartition("\n\n")[2].splitlines(keepends=True))
    longer = note + "".join(line for line in lines if line not in there).encode()
    parse_note(longer)
    return longer
