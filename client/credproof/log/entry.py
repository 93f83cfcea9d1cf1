"""Log entries: lines of canonical JSON, each naming the hash of the line before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import b64url, canonical_json, parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import ENTRY_BYTES_MAX, at_most
from credproof.base.members import Members

GENESIS_PREV = bytes(32)
"""`prev` of the first entry."""
SALT_BYTES = 16

_KIND = re.compile(r"[a-z]+(\.[a-z-]+)+\Z")
_ACTOR = re.compile(r"[a-z0-9-]{3,40}\Z")


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry. `time` is in whole seconds and never goes back; `object` is a digest (32 bytes).

    `salt` has 16 bytes, `prev` 32; `fields` holds what belongs to the entry's kind.
    """

    seq: int
    time: int
    kind: str
    actor: str
    object: bytes
    salt: bytes
    fields: Mapping[str, Any]
    prev: bytes

    def to_line(self) -> bytes:
        """The line that is hashed and stored, without a newline.

        Raises:
            LimitExceeded: longer than `ENTRY_BYTES_MAX`.
        """
        line = canonical_json(
            {
                "actor": self.actor,
                "fields": self.fields,
                "kind": self.kind,
                "object": b64url(self.object),
                "prev": b64url(self.prev),
                "salt": b64url(self.salt),
                "seq": self.seq,
                "time": self.time,
            }
        )
        at_most(len(line), ENTRY_BYTES_MAX, "log entry")
        return line


def entry_hash(line: bytes) -> bytes:
    """SHA-256 of a line: the `prev` of the next entry."""
    return hashlib.sha256(line).digest()


def parse_entry(line: bytes) -> Entry:
    """An entry, taken apart strictly.

    Raises:
        Malformed: `BAD_ENTRY`, `BAD_MEMBER`, or as `parse_json`.
    """
    at_most(len(line), ENTRY_BYTES_MAX, "log entry")
    members = Members(parse_json(line), "log entry")
    entry = Entry(
        seq=members.take("seq", int),
        time=members.take("time", int),
        kind=members.take("kind", str),
        actor=members.take("actor", str),
        object=members.bytes("object", 32),
        salt=members.bytes("salt", SALT_BYTES),
        fields=members.take("fields", dict),
        prev=members.bytes("prev", 32),
    )
    members.finish()
    if not _KIND.match(entry.kind) or not _ACTOR.match(entry.actor):
        raise Malformed("BAD_ENTRY", "log entry has a bad kind or actor")
    if entry.seq < 0 or entry.time < 0:
        raise Malformed("BAD_ENTRY", "log entry has a negative seq or time")
    return entry


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where a chain stands: how many entries, the hash of the last line, its time."""

    size: int = 0
    last_hash: bytes = GENESIS_PREV
    last_time: int = 0

    def verify_next(self, line: bytes) -> tuple[ChainPosition, Entry]:
        """Accept `line` as the next entry; gives the position after it.

        Raises:
            Malformed: as `parse_entry`.
            VerificationFailed: `SEQ_GAP`, `CHAIN_BROKEN`, `TIME_WENT_BACK`.
        """
        entry = parse_entry(line)
        if entry.seq != self.size:
            raise VerificationFailed("SEQ_GAP", f"entry {self.size} is missing or out of place")
        if entry.prev != self.last_hash:
            raise VerificationFailed(
                "CHAIN_BROKEN", f"entry {self.size} does not follow the one before"
            )
        if entry.time < self.last_time:
            raise VerificationFailed(
                "TIME_WENT_BACK", f"entry {self.size} is older than the one before"
            )
        return ChainPosition(self.size + 1, entry_hash(line), entry.time), entry
