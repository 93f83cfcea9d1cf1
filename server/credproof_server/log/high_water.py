"""The high-water checkpoint: the newest one ever signed, kept outside the database.

A database restored from a backup is behind it. Signing on such a log would fork it, so the
sequencer compares before it signs anything.
"""

from __future__ import annotations

import os
from pathlib import Path

from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.note import VerifierKey


def damaged_mark(path: Path) -> DataLoss:
    message = f"{path.name} is not a checkpoint that this log signed"
    return DataLoss("HIGH_WATER_DAMAGED", message)


class HighWater:
    """One small file, replaced atomically; on disk when `write` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> bytes | None:
        """The signed note, or None on a new log."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def newest(self, key: VerifierKey) -> VerifiedCheckpoint | None:
        """The checkpoint, which the log's own key must have signed; None on a new log.

        Raises:
            DataLoss: `HIGH_WATER_DAMAGED`.
        """
        note = self.read()
        if note is None:
            return None
        try:
            return verify_checkpoint(note, key.name, [key])
        except (Malformed, VerificationFailed) as error:
            raise damaged_mark(self._path) from error

    def write(self, note: bytes) -> None:
        """Replace the note."""
        fresh = self._path.with_suffix(".new")
        descriptor = os.open(fresh, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "wb") as file:  # writes all or raises, on a full disk too
            file.write(note)
            file.flush()
            os.fsync(descriptor)
        fresh.replace(self._path)
        self._sync_folder()

    def forget(self) -> None:
        """Take the note away, if there is one."""
        self._path.unlink(missing_ok=True)
        self._sync_folder()

    def _sync_folder(self) -> None:
        descriptor = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
