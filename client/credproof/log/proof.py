"""Inclusion proofs in one text file (C2SP tlog-proof, `.tlog-proof`).

c2sp.org/tlog-proof@v1
index <decimal>
<base64 hash>            leaf sibling first, one per line
<empty line>
<checkpoint, verbatim>
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import Malformed
from credproof.base.limits import NOTE_BYTES_MAX, TREE_PROOF_HASHES_MAX, at_most
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.merkle import HASH_BYTES, leaf_hash, verify_inclusion
from credproof.log.note import VerifierKey

_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,19})\Z")
_INDEX_END = 2**64


@dataclass(frozen=True, slots=True)
class TlogProof:
    """An inclusion proof with its checkpoint. `extra` is carried along, but proves nothing."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None


def format_proof(proof: TlogProof) -> bytes:
    """The content of a `.tlog-proof` file."""
    extra = [] if proof.extra is None else [f"extra {b64(proof.extra)}"]
    lines = [_HEADER, *extra, f"index {proof.index}", *map(b64, proof.hashes), ""]
    return "\n".join(lines).encode("ascii") + b"\n" + proof.checkpoint


def parse_proof(data: bytes) -> TlogProof:
    """A proof, taken apart strictly; nothing in it is verified.

    Raises:
        Malformed: `BAD_PROOF`, or as `parse_b64`.
        LimitExceeded: too large, or too many hashes.
    """
    at_most(len(data), 2 * NOTE_BYTES_MAX, "tlog-proof")
    head, blank, checkpoint = data.partition(b"\n\n")
    if not blank or not checkpoint or not head.isascii() or b"\r" in head:
        raise Malformed("BAD_PROOF", "tlog-proof lacks its checkpoint")
    lines = head.decode("ascii").split("\n")
    if lines.pop(0) != _HEADER:
        raise Malformed("BAD_PROOF", "not a tlog-proof of version 1")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = parse_b64(lines.pop(0).removeprefix("extra "))
    found = _INDEX.match(lines.pop(0)) if lines else None
    if found is None or int(found[1]) >= _INDEX_END:
        raise Malformed("BAD_PROOF", "tlog-proof lacks a canonical index")
    at_most(len(lines), TREE_PROOF_HASHES_MAX, "tlog-proof")
    hashes = tuple(parse_b64(line, size=HASH_BYTES) for line in lines)
    return TlogProof(int(found[1]), hashes, checkpoint, extra)


def verify_proof(
    entry: bytes, data: bytes, origin: str, keys: Sequence[VerifierKey]
) -> VerifiedCheckpoint:
    """Accept that the log `origin` holds `entry`; gives the checkpoint that says so.

    Raises:
        Malformed: as `parse_proof`.
        VerificationFailed: as `verify_checkpoint` and `verify_inclusion`.
    """
    proof = parse_proof(data)
    checkpoint = verify_checkpoint(proof.checkpoint, origin, keys)
    verify_inclusion(
        leaf_hash(entry), proof.index, checkpoint.tree_size, proof.hashes, checkpoint.root_hash
    )
    return checkpoint
