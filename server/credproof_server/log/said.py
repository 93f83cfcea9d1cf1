"""What each witness said last, and how far it has cosigned: a file for the operator's eyes."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import Malformed
from credproof.base.members import Members
from credproof.files import replace_file


@dataclass(frozen=True, slots=True)
class Said:
    """What a witness said last, at a time in whole seconds; no reason means that it cosigned.

    `status` is that of HTTP, None where there was no answer. `tree_size` is the largest tree of
    ours that it is known to have cosigned, 0 before the first.
    """

    at: int
    status: int | None
    reason: str | None
    tree_size: int


class SaidFile:
    """What witnesses said, by their vkey; replaced whenever that changes."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Mapping[str, Said]:
        """What is there; nothing where no file is, or one that was altered: it decides nothing."""
        with suppress(FileNotFoundError, Malformed):
            found = parse_json(self._path.read_bytes())
            if isinstance(found, dict):
                return {vkey: _parse(item) for vkey, item in found.items()}
        return {}

    def write(self, said: Mapping[str, Said]) -> None:
        """Replace it.

        Raises:
            OSError: the disk is full, say.
        """
        found = {vkey: asdict(item) for vkey, item in said.items()}
        replace_file(self._path, canonical_json(found))


def _parse(value: object) -> Said:
    members = Members(value, "what a witness said")
    said = Said(
        at=members.take("at", int),
        status=members.nullable("status", int),
        reason=members.nullable("reason", str),
        tree_size=members.take("tree_size", int),
    )
    members.finish()
    return said
