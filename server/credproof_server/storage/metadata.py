"""TUF metadata in files, as TUF names them. But for `timestamp.json` none ever changes."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from credproof.files import replace_file
from credproof.roots import version_of

UNVERSIONED: Final = "timestamp"
"""The one role whose file has no version in its name."""


class MetadataFiles:
    """A folder of metadata; it may not be there yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, role: str, version: int) -> bytes:
        """The metadata of a role and version; empty when there is none."""
        path = self._path(role, version)
        return path.read_bytes() if path.is_file() else b""

    def write(self, role: str, version: int, data: bytes) -> None:
        """Keep metadata; on disk when this returns, whole or not at all."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        replace_file(self._path(role, version), data)

    def versions(self, role: str) -> list[int]:
        """The versions that are there, newest first."""
        if role == UNVERSIONED:
            return [0] if self._path(role, 0).is_file() else []
        found = {version_of(path) for path in self.folder.glob(f"*.{role}.json")}
        return sorted(found - {0}, reverse=True)

    def roles(self, prefix: str) -> list[str]:
        """The roles whose names begin so."""
        return sorted({path.name.split(".")[1] for path in self.folder.glob(f"*.{prefix}*.json")})

    def newest(self, role: str) -> bytes:
        """The metadata of the newest version; empty when there is none."""
        return next((self.read(role, version) for version in self.versions(role)), b"")

    def _path(self, role: str, version: int) -> Path:
        return self.folder / (f"{role}.json" if role == UNVERSIONED else f"{version}.{role}.json")
