"""Log entries: lines of canonical JSON, each naming the hash of the line before."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from credproof.base.encoding import b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import ENTRY_BYTES_MAX, INTEGER_MAX, at_most
from credproof.base.members import Members

GENESIS_PREV = bytes(32)
"""`prev` of the first entry."""
SALT_BYTES = 16

_BYTES_32 = rb"([A-Za-z0-9_-]{42}[AEIMQUYcgkosw048])"
_BYTES_16 = rb"([A-Za-z0-9_-]{21}[AQgw])"
_INTEGER = rb"(0|[1-9][0-9]{0,15})"
_LINE = re.compile(
    rb'\{"actor":"([a-z0-9-]{3,40})","fields":(\{.*\}),"kind":"([a-z]+(?:\.[a-z-]+)+)",'
    rb'"object":"' + _BYTES_32 + rb'","prev":"' + _BYTES_32 + rb'","salt":"' + _BYTES_16 + rb'",'
    rb'"seq":' + _INTEGER + rb',"time":' + _INTEGER + rb"\}",
    re.DOTALL,
)
"""An entry's line; base64url without slack bits. What `fields` holds must parse by itself."""


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
        LimitExceeded: longer than `ENTRY_BYTES_MAX`.
    """
    actor, fields, kind, digest, prev, salt, seq, time = _members(line)
    return Entry(
        seq=_count(seq),
        time=_count(time),
        kind=kind.decode("ascii"),
        actor=actor.decode("ascii"),
        object=parse_b64url(digest.decode("ascii"), size=32),
        salt=parse_b64url(salt.decode("ascii"), size=SALT_BYTES),
        fields=_fields(fields),
        prev=parse_b64url(prev.decode("ascii"), size=32),
    )


@dataclass(frozen=True, slots=True)
class ChainPosition:
    """Where a chain stands: how many entries, the hash of the last line, its time."""

    size: int = 0
    last_hash: bytes = GENESIS_PREV
    last_time: int = 0

    def verify_next(self, line: bytes) -> tuple[ChainPosition, str]:
        """Accept `line` as the next entry; gives the position after it, and the entry's kind.

        As strict as `parse_entry`, but builds no entry: an audit reads millions.

        Raises:
            Malformed, LimitExceeded: as `parse_entry`.
            VerificationFailed: `SEQ_GAP`, `CHAIN_BROKEN`, `TIME_WENT_BACK`.
        """
        _actor, fields, kind, _digest, prev, _salt, seq, spelled_time = _members(line)
        time = _count(spelled_time)
        _fields(fields)
        if _count(seq) != self.size:
            raise VerificationFailed("SEQ_GAP", f"entry {self.size} is missing or out of place")
        if prev != b64url(self.last_hash).encode("ascii"):
            raise VerificationFailed(
                "CHAIN_BROKEN", f"entry {self.size} does not follow the one before"
            )
        if time < self.last_time:
            raise VerificationFailed(
                "TIME_WENT_BACK", f"entry {self.size} is older than the one before"
            )
        return ChainPosition(self.size + 1, entry_hash(line), time), kind.decode("ascii")

    def verify_page(self, lines: Sequence[bytes]) -> tuple[ChainPosition, Counter[str]] | None:
        """As `verify_next` for one line after another, but each step for the whole page.

        Gives the position after the last and how many there are of each kind; None when a line is
        not accepted. `verify_next` says which, and why.
        """
        found = [_LINE.fullmatch(line) for line in lines]
        members = [match.groups() for match in found if match is not None]
        if not 0 < len(members) == len(lines) or max(map(len, lines)) > ENTRY_BYTES_MAX:
            return None
        _, fields, kinds, _, prevs, _, seqs, spelled_times = zip(*members, strict=True)
        hashes = [self.last_hash, *map(entry_hash, lines)]
        times = [self.last_time, *map(int, spelled_times)]
        end = self.size + len(lines)
        if (
            list(prevs) != [b64url(digest).encode("ascii") for digest in hashes[:-1]]
            or list(seqs) != [b"%d" % seq for seq in range(self.size, end)]
            or times != sorted(times)
            or max(end - 1, times[-1]) > INTEGER_MAX
            or not _all_parse(fields)
        ):
            return None
        counted = {kind.decode("ascii"): count for kind, count in Counter(kinds).items()}
        return ChainPosition(end, hashes[-1], times[-1]), Counter(counted)


def _members(line: bytes) -> tuple[bytes, ...]:
    """The members of an entry as they are spelled, in the order of the line.

    An entry has one spelling, so the line is matched as a whole; only `fields` is JSON of
    any shape. That is far cheaper than parsing the line and spelling it again.
    """
    at_most(len(line), ENTRY_BYTES_MAX, "log entry")
    found = _LINE.fullmatch(line)
    if found is None:
        _refuse(line)
    return found.groups()


def _count(spelled: bytes) -> int:
    value = int(spelled)
    if value > INTEGER_MAX:
        raise Malformed("BAD_ENTRY", "log entry has a seq or time of 2**53 or more")
    return value


def _fields(spelled: bytes) -> dict[str, Any]:
    if spelled == b"{}":
        return {}
    fields = parse_json(spelled)
    assert isinstance(fields, dict), "the pattern asks for braces"
    return fields


def _all_parse(fields: Iterable[bytes]) -> bool:
    try:
        for spelled in set(fields):
            _fields(spelled)
    except Malformed:
        return False
    return True


def _refuse(line: bytes) -> NoReturn:
    """Say what is wrong with a line that is not spelled as an entry is."""
    members = Members(parse_json(line), "log entry")
    for name in ("seq", "time"):
        members.take(name, int)
    for name in ("kind", "actor"):
        members.take(name, str)
    members.bytes("object", 32)
    members.bytes("salt", SALT_BYTES)
    members.take("fields", dict)
    members.bytes("prev", 32)
    members.finish()
    raise Malformed("BAD_ENTRY", "log entry has a bad kind or actor, or a negative seq or time")
