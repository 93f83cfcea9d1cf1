"""The entry by which a log goes on under a new origin, after entries of it were lost for good.

It stands where the surviving entries end, and names the last checkpoint of the old origin: what
was lost is thereby said in the log itself. Where the beginning of an origin was lost too, there is
one for each origin that ended since, directly after one another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from credproof.base.encoding import b64url
from credproof.base.members import Members
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import parse_entry

ENTRY_CONTINUED: Final = "log.continued"


@dataclass(frozen=True, slots=True)
class Continued:
    """A new origin begins after `kept` entries; the old one had been signed up to `tree_size`.

    `log_index` is where the entry stands that says so. `checkpoint` is SHA-256 of the old origin's
    last signed note, `root_hash` its root.
    """

    log_index: int
    origin: str
    tree_size: int
    root_hash: bytes
    checkpoint: bytes
    kept: int

    @property
    def says(self) -> str:
        """Which entries were lost, for people."""
        if self.tree_size <= self.kept:
            return f"{self.origin}: no entry of it was lost"
        last = self.tree_size - 1
        return f"{self.origin}: entries {self.kept} to {last} of it were lost"


def continued_fields(old: VerifiedCheckpoint) -> tuple[bytes, dict[str, object]]:
    """Object and fields of the entry that continues the log of `old`."""
    fields: dict[str, object] = {
        "origin": old.origin,
        "root": b64url(old.root_hash),
        "tree_size": old.tree_size,
    }
    return hashlib.sha256(old.note).digest(), fields


def parse_continued(line: bytes) -> Continued:
    """What an entry of this kind says.

    Raises:
        Malformed: `BAD_MEMBER`, or as `parse_entry`.
    """
    entry = parse_entry(line)
    members = Members(entry.fields, ENTRY_CONTINUED)
    found = Continued(
        log_index=entry.seq,
        origin=members.take("origin", str),
        tree_size=members.take("tree_size", int),
        root_hash=members.bytes("root", 32),
        checkpoint=entry.object,
        kept=entry.seq,
    )
    members.finish()
    return found


def ends(found: Iterable[Continued]) -> Sequence[Continued]:
    """Such entries in the order of their log: of those in a row, all end where the first stands."""
    told: list[Continued] = []
    for item in found:
        follows = bool(told) and told[-1].log_index + 1 == item.log_index
        told.append(replace(item, kept=told[-1].kept) if follows else item)
    return told
