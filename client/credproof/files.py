"""Files that only their owner reads, written whole and on disk before it goes on."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, data: bytes) -> None:
    """Create a file that only its owner can read; refuses to overwrite; on disk on return."""
    _write(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), data)


def replace_file(path: Path, data: bytes) -> None:
    """Write a private file so that it is either the old or the new one, never half."""
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    write_private(fresh, data)
    fresh.replace(path)


def append_private(path: Path, line: bytes) -> None:
    """Add a line to a file that only its owner can read; on disk on return."""
    _write(os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), line)


def _write(descriptor: int, data: bytes) -> None:
    """Write at the descriptor's place, its end with O_APPEND; close it."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
