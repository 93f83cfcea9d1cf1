"""Which keys have signed trust bundles, one after the other: each root of a chain says so.

Read from root metadata that was verified when it was written, by `credproof.updating` in a home
and by the service in its directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from credproof.base.encoding import parse_loose_json
from credproof.base.errors import DataLoss, Malformed
from credproof.base.keys import PublicKey

PATTERN: Final = "*.root.json"
"""How files of root metadata are called: `1.root.json` is the first of a chain."""
BUNDLE_KEYS: Final = "bundle_keys"
"""The member of root metadata that lists them, in hexadecimal digits."""
HISTORY: Final = "root_history"
"""Where python-tuf keeps every root of a chain."""


def state_folder(home: Path, pinned: PublicKey) -> Path:
    """Where a home keeps what it saw of the chain that a pinned key stands at the beginning of."""
    return home / "tuf" / pinned.kid


def roots_of(home: Path, pinned: PublicKey) -> tuple[PublicKey, ...]:
    """The pinned key, and those that the roots kept in a home have put in its place.

    Raises:
        DataLoss: `METADATA_DAMAGED`.
    """
    found = bundle_keys(state_folder(home, pinned) / HISTORY)
    return tuple(dict.fromkeys((pinned, *found)))


def chain(folder: Path) -> list[Path]:
    """The files of root metadata in a folder, oldest first."""
    found = [path for path in folder.glob(PATTERN) if version_of(path) > 0]
    return sorted(found, key=version_of)


def version_of(path: Path) -> int:
    """The version in the name of a metadata file; 0 when there is none."""
    number = path.name.partition(".")[0]
    return int(number) if number.isascii() and number.isdigit() else 0


def bundle_keys(folder: Path) -> tuple[PublicKey, ...]:
    """The keys that sign trust bundles, as the newest root in a folder says; empty without one.

    Oldest first: the last of them signs new ones.

    Raises:
        DataLoss: `METADATA_DAMAGED`.
    """
    for path in chain(folder)[-1:]:
        return _bundle_keys(path)
    return ()


def _bundle_keys(path: Path) -> tuple[PublicKey, ...]:
    try:
        read = parse_loose_json(path.read_bytes())
        keys = [bytes.fromhex(text) for text in read["signed"][BUNDLE_KEYS]]
    except (KeyError, TypeError, ValueError, Malformed) as error:
        raise damaged(path) from error
    if not keys or any(len(key) != 32 for key in keys):
        raise damaged(path)
    return tuple(PublicKey("EdDSA", key) for key in keys)


def damaged(path: Path) -> DataLoss:
    """A file that was verified when it was written is not what it was."""
    return DataLoss("METADATA_DAMAGED", f"{path} is damaged: it cannot be read as what it was")
