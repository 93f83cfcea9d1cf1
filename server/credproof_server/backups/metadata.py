"""Copies of the trust bundle's metadata: what clients have seen of it must not become less."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Final

from credproof.base.errors import DataLoss
from credproof.files import replace_file

from credproof_server.directory import METADATA

METADATA_FILES: Final = (f"{METADATA}/*.json", "keys/tuf-*.key")
"""Metadata of the trust bundle, and the service's own keys for it."""


def metadata_files(folder: Path) -> dict[str, bytes]:
    """Those of a service's directory, by their place in it; the keys are encrypted."""
    paths = [path for pattern in METADATA_FILES for path in sorted(folder.glob(pattern))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def add_metadata(folder: Path, files: Mapping[str, bytes]) -> None:
    """Add what is not there: metadata of a version never changes.

    Only the timestamp does. Without one the service signs it anew, and the snapshot, when it
    starts: else it would give clients less than they have seen.
    """
    places = {folder / _metadata_place(name): data for name, data in files.items()}
    for path, data in places.items():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            replace_file(path, data)
    (folder / METADATA / "timestamp.json").unlink(missing_ok=True)


def _metadata_place(name: str) -> PurePath:
    """Where a file of metadata belongs; an export can name any other place."""
    place = PurePath(name)
    if len(place.parts) != 2 or not any(place.match(pattern) for pattern in METADATA_FILES):
        raise DataLoss("EXPORT_DIFFERS", "the export holds files of something else")
    return place
