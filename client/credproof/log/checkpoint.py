"""Checkpoints (C2SP tlog-checkpoint v1.0.0): a signed note of origin, tree size and root."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import Malformed, VerificationFailed
from credproof.log.note import NoteSigner, VerifierKey, sign_note, verify_note

_SIZE = re.compile(r"(0|[1-9][0-9]{0,18})\Z")
_SIZE_END = 2**63
"""Other verifiers keep the size in a signed 64-bit integer."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Origin, size and root (32 bytes) of a tree."""

    origin: str
    tree_size: int
    root_hash: bytes

    def to_text(self) -> str:
        """The note's text: three lines."""
        return f"{self.origin}\n{self.tree_size}\n{b64(self.root_hash)}\n"


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that a known log key signed. Only `verify_checkpoint` builds it."""

    origin: str
    tree_size: int
    root_hash: bytes
    note: bytes


def parse_checkpoint(text: str, *, extended: bool = False) -> Checkpoint:
    """The checkpoint in a note's text.

    Extension lines are refused, for our log has none; in another log's they are passed over, when
    `extended` says so.

    Raises:
        Malformed: `BAD_CHECKPOINT`, or as `parse_b64`.
    """
    lines = text.split("\n")
    too_long = len(lines) > 4 and not (extended and all(lines[:-1]))
    if len(lines) < 4 or too_long or lines[-1] or not lines[0] or not _SIZE.match(lines[1]):
        raise Malformed("BAD_CHECKPOINT", "a checkpoint is an origin, a size and a root")
    if int(lines[1]) >= _SIZE_END:
        raise Malformed("BAD_CHECKPOINT", "a checkpoint's size is below 2**63")
    return Checkpoint(lines[0], int(lines[1]), parse_b64(lines[2], size=32))


def sign_checkpoint(checkpoint: Checkpoint, signers: Sequence[NoteSigner]) -> bytes:
    """The signed note of a checkpoint. Ed25519 makes it the same bytes every time.

    Raises:
        Malformed: as `parse_checkpoint`; what would not parse is never signed.
    """
    text = checkpoint.to_text()
    parse_checkpoint(text)
    return sign_note(text, signers)


def origin_of(note: bytes) -> str:
    """The origin that a note names; nothing is verified."""
    return note.partition(b"\n")[0].decode("utf-8", "replace")


def verify_checkpoint(note: bytes, origin: str, keys: Sequence[VerifierKey]) -> VerifiedCheckpoint:
    """The checkpoint of the log `origin`, signed by one of its keys.

    Raises:
        Malformed: as the parsers.
        VerificationFailed: `OTHER_LOG`, `BAD_SIGNATURE`, `NO_KNOWN_SIGNATURE`.
    """
    checkpoint = parse_checkpoint(verify_note(note, keys).text)
    if checkpoint.origin != origin:
        raise VerificationFailed("OTHER_LOG", "checkpoint is of another log")
    return VerifiedCheckpoint(origin, checkpoint.tree_size, checkpoint.root_hash, note)
