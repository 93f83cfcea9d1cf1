"""Entries that are in the log, under a verified checkpoint."""

from __future__ import annotations

from credproof.base.errors import VerificationFailed
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import Entry, parse_entry
from credproof.log.merkle import leaf_hash, verify_inclusion
from credproof.verification.answer import Logged


def included(logged: Logged, checkpoint: VerifiedCheckpoint) -> Entry:
    """The entry at its place in the log.

    Raises:
        Malformed: as `parse_entry`.
        VerificationFailed: `BAD_INCLUSION_PROOF`, `OTHER_ENTRY`.
    """
    verify_inclusion(
        leaf_hash(logged.line),
        logged.log_index,
        checkpoint.tree_size,
        logged.hashes,
        checkpoint.root_hash,
    )
    entry = parse_entry(logged.line)
    if entry.seq != logged.log_index:
        raise VerificationFailed("OTHER_ENTRY", "entry stands at another place than it says")
    return entry
