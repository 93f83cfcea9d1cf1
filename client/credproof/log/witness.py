"""What a witness is asked, and what it decides (C2SP tlog-witness, `add-checkpoint`).

The decision is pure: whoever serves it keeps `Seen`, and must have kept the new one before the
cosignature leaves, in one step with the comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import Conflict, Malformed, Refused, VerificationFailed
from credproof.base.limits import TREE_PROOF_HASHES_MAX, WITNESS_BODY_BYTES_MAX, at_most
from credproof.log.checkpoint import Checkpoint, origin_of, parse_checkpoint
from credproof.log.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from credproof.log.note import VerifierKey, verify_note

SIZE_TYPE: Final = "text/x.tlog.size"
_OLD: Final = re.compile(r"old (0|[1-9][0-9]{0,18})\Z")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign: a checkpoint, and the proof that it continues the one of `old_size`."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def to_bytes(self) -> bytes:
        """The request's body."""
        hashes = "".join(f"{b64(item)}\n" for item in self.proof)
        return f"old {self.old_size}\n{hashes}\n".encode() + self.note


def parse_add_checkpoint(body: bytes) -> AddCheckpoint:
    """A request, taken apart strictly; nothing is verified.

    Raises:
        Malformed: `BAD_WITNESS_REQUEST`, or as `parse_b64`.
        LimitExceeded: too long, or too many hashes.
    """
    at_most(len(body), WITNESS_BODY_BYTES_MAX, "witness request")
    head, blank, note = body.partition(b"\n\n")
    old, *hashes = head.decode("ascii", "replace").split("\n")
    found = _OLD.match(old)
    if found is None or not blank:
        raise Malformed("BAD_WITNESS_REQUEST", "request does not begin with the old size")
    at_most(len(hashes), TREE_PROOF_HASHES_MAX, "tree proof")
    proof = tuple(parse_b64(line, size=HASH_BYTES) for line in hashes)
    return AddCheckpoint(int(found[1]), proof, note)


@dataclass(frozen=True, slots=True)
class Seen:
    """The largest tree of a log that a witness cosigned."""

    tree_size: int = 0
    root_hash: bytes = EMPTY_ROOT


def judge(
    request: AddCheckpoint, logs: Mapping[str, Sequence[VerifierKey]], seen: Mapping[str, Seen]
) -> Checkpoint:
    """The checkpoint that may be cosigned. `logs` are keys by origin, `seen` what was, by origin.

    Raises:
        Refused: `UNKNOWN_LOG` (404).
        Malformed: the checkpoint does not parse; `BAD_WITNESS_REQUEST` when the old size is the
            larger one (400).
        VerificationFailed: `NO_KNOWN_SIGNATURE`, `BAD_SIGNATURE` (403); `BAD_CONSISTENCY_PROOF`
            (422).
        Conflict: `OTHER_SIZE` when the old size is not that of what was seen (409).
    """
    origin = origin_of(request.note)
    if origin not in logs:
        raise Refused("UNKNOWN_LOG", "the witness does not know this log")
    new = parse_checkpoint(verify_note(request.note, logs[origin]).text, extended=True)
    if request.old_size > new.tree_size:
        raise Malformed("BAD_WITNESS_REQUEST", "the old size is the larger one")
    before = seen.get(origin, Seen())
    if request.old_size != before.tree_size:
        raise Conflict("OTHER_SIZE", "another size of this log was seen last")
    sizes = before.tree_size, before.root_hash, new.tree_size, new.root_hash
    verify_consistency(*sizes, request.proof)
    if new.tree_size == 0 and new.root_hash != EMPTY_ROOT:
        raise VerificationFailed("BAD_CONSISTENCY_PROOF", "an empty tree has one root only")
    return new


STATUS: Final = {
    "UNKNOWN_LOG": 404,
    "NO_KNOWN_SIGNATURE": 403,
    "BAD_SIGNATURE": 403,
    "OTHER_SIZE": 409,
    "BAD_CONSISTENCY_PROOF": 422,
}
"""The status that HTTP answers by reason; 400 for any other."""
