"""What a restore reached: how far the log goes, and how far it was signed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from credproof.log.checkpoint import VerifiedCheckpoint

from credproof_server.directory import ServiceDirectory


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore reached: the log's size, and the size that was signed before.

    `aside` is where the high-water mark is now, if a disproof took its place.
    """

    tree_size: int
    signed_size: int
    aside: Path | None = None

    @property
    def missing(self) -> int:
        """How many signed entries are still not there."""
        return max(0, self.signed_size - self.tree_size)


def state(directory: ServiceDirectory) -> Restored:
    """Where the stored log ends, and where it was signed."""
    return Restored(directory.log_head()[0], newest_signed(directory).tree_size)


def newest_signed(directory: ServiceDirectory) -> VerifiedCheckpoint:
    """The newest checkpoint that was signed."""
    newest = directory.signed()
    assert newest is not None, "a restore requires it"
    return newest
