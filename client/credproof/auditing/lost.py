"""What this home verified of entries that were lost under a new origin, and still has."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from credproof.auditing.index import Index
from credproof.base.errors import Malformed
from credproof.log.continued import ENTRY_CONTINUED, Continued, ends, parse_continued

_NAME: Final = re.compile(r"lost-([0-9]{1,19})\.db\Z")


@dataclass(frozen=True, slots=True)
class Lost:
    """A file of the home with the first `size` entries of an old origin, as they were verified.

    `end` is where the log says that this origin ends in it, None where it does not say that.
    """

    file: str
    size: int
    end: Continued | None

    @property
    def says(self) -> str:
        """Which entries these are, for people."""
        if self.end is None:
            return f"entries under an older origin, which you had verified: {self.file} has them"
        which = f"entries {self.end.kept} to {self.size - 1} of {self.end.origin}"
        return f"{which}, which you had verified: {self.file} has them"


def continued(index: Index) -> Sequence[Continued]:
    """Where the verified log goes on under a new origin, in its order.

    Raises:
        DataLoss: `INDEX_DAMAGED`.
    """
    try:
        return ends(map(parse_continued, index.lines_of([ENTRY_CONTINUED])))
    except Malformed as error:
        raise index.damaged() from error  # what was verified can be read


def lost_entries(home: Path, index: Index) -> Sequence[Lost]:
    """The files of a home that have lost entries, by their sizes.

    Raises:
        DataLoss: `INDEX_DAMAGED`.
    """
    named = ((_NAME.match(path.name), path.name) for path in home.glob("lost-*.db"))
    sizes = sorted((int(match[1]), name) for match, name in named if match)
    found = continued(index)
    return [Lost(name, size, _end(found, size)) for size, name in sizes]


def _end(found: Sequence[Continued], size: int) -> Continued | None:
    """The last origin that had so many entries and kept fewer."""
    fitting = [end for end in found if end.kept < size <= end.tree_size]
    return fitting[-1] if fitting else None
