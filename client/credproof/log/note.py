"""Signed notes (C2SP signed-note v1.0.0) with Ed25519 keys, algorithm byte 0x01."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX, at_most
from credproof.log.vkey import format_vkey, key_id, parse_vkey, require_name

ED25519 = 0x01
PREFIX = "\N{EM DASH} "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
"""Control characters other than the newline."""
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A named Ed25519 key; its text form is the C2SP vkey `name+hash+key`."""

    name: str
    public: PublicKey

    @property
    def key_id(self) -> bytes:
        """As `vkey.key_id`."""
        return key_id(self.name, self._key)

    def __str__(self) -> str:
        return format_vkey(self.name, self._key)

    @property
    def _key(self) -> bytes:
        return bytes([ED25519]) + self.public.data

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        """The key of a vkey text.

        Raises:
            Malformed: `BAD_VKEY`.
        """
        name, key = parse_vkey(text)
        if key[0] != ED25519 or len(key) != 1 + _KEY_BYTES:
            raise Malformed("BAD_VKEY", "vkey is not of a log: Ed25519 (1)")
        return cls(name, PublicKey("EdDSA", key[1:]))


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """A named signer of notes."""

    name: str
    signer: Signer

    @property
    def verifier_key(self) -> VerifierKey:
        return VerifierKey(self.name, self.signer.public)


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: the signer's name, its 4-byte key id, the signature."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note; `text` ends in a newline. Nothing is verified."""

    text: str
    signatures: tuple[NoteSignature, ...]


def sign_note(text: str, signers: Sequence[NoteSigner]) -> bytes:
    """A note over `text`, which must end in a newline, signed by each signer.

    Raises:
        Malformed: `BAD_NOTE`.
    """
    _require_text(text)
    lines = [_signature_line(text, signer) for signer in signers]
    return f"{text}\n{''.join(lines)}".encode()


def _signature_line(text: str, signer: NoteSigner) -> str:
    require_name(signer.name)
    signature = signer.verifier_key.key_id + signer.signer.sign(text.encode())
    return f"{PREFIX}{signer.name} {b64(signature)}\n"


def parse_note(data: bytes) -> Note:
    """A note, taken apart strictly.

    Raises:
        Malformed: `BAD_NOTE`.
        LimitExceeded: too large, or too many signatures.
    """
    at_most(len(data), NOTE_BYTES_MAX, "note")
    try:
        whole = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed("BAD_NOTE", "note is not UTF-8") from error
    body, blank, tail = whole.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise Malformed("BAD_NOTE", "note lacks its signatures")
    text = body + "\n"
    _require_text(text)
    lines = tail[:-1].split("\n")
    at_most(len(lines), NOTE_SIGNATURES_MAX, "signatures of a note")
    return Note(text, tuple(_parse_signature(line) for line in lines))


def _parse_signature(line: str) -> NoteSignature:
    if not line.startswith(PREFIX):
        raise Malformed("BAD_NOTE", "signature line is spelled wrongly")
    name, space, text = line.removeprefix(PREFIX).partition(" ")
    data = parse_b64(text)
    if not space or len(data) < 5:
        raise Malformed("BAD_NOTE", "signature line is too short")
    require_name(name)
    return NoteSignature(name, data[:4], data[4:])


def verify_note(data: bytes, keys: Sequence[VerifierKey]) -> Note:
    """A note that at least one of `keys` signed. Signatures of unknown keys are ignored.

    Raises:
        Malformed: as `parse_note`.
        VerificationFailed: `BAD_SIGNATURE` when a known key's signature fails,
            `NO_KNOWN_SIGNATURE` when no known key signed.
    """
    note = parse_note(data)
    known = {(key.name, key.key_id): key for key in keys}
    seen: set[tuple[str, bytes]] = set()
    for line in note.signatures:
        identity = (line.name, line.key_id)
        if identity not in known:
            continue
        if identity in seen:
            raise Malformed("BAD_NOTE", "a key signed the note twice")
        known[identity].public.verify(note.text.encode(), line.signature)
        seen.add(identity)
    if not seen:
        raise VerificationFailed("NO_KNOWN_SIGNATURE", "no known key signed the note")
    return note


def _require_text(text: str) -> None:
    if not text.endswith("\n") or _CONTROL.search(text):
        raise Malformed("BAD_NOTE", "note text has a control character or no final newline")
