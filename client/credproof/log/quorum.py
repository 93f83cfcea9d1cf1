"""Which logs and witnesses count, and how many must have cosigned (C2SP tlog-policy).

log <vkey> [<url>]
witness <name> <vkey> [<url>]
group <name> all|any|<k> <name>...
quorum <name>|none
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.base.errors import Malformed
from credproof.base.limits import QUORUM_FILE_BYTES_MAX, QUORUM_RECORDS_MAX, at_most
from credproof.log.cosignature import CosignerKey
from credproof.log.note import VerifierKey

NONE: Final = "none"
_BAD_OCTET: Final = re.compile(rb"[^\t\n\x20-\x7e\x80-\xff]")
_COUNT: Final = re.compile(r"[1-9][0-9]{0,3}\Z")


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness by its name in the file, its key, and its submission prefix, if it is told."""

    name: str
    key: CosignerKey
    url: str


@dataclass(frozen=True, slots=True)
class Group:
    """Cosigned when at least `threshold` of its members are: witnesses or groups, by name."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quorum:
    """A parsed policy file. `needed` is the name of a witness or group; None needs nobody."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, Witness]
    groups: Mapping[str, Group]
    needed: str | None

    @property
    def keys(self) -> tuple[CosignerKey, ...]:
        """The keys of all witnesses."""
        return tuple(witness.key for witness in self.witnesses.values())

    def is_reached(self, cosigners: Collection[CosignerKey]) -> bool:
        """Whether these keys together are what the file asks for."""
        return self.needed is None or self._has(self.needed, cosigners)

    def _has(self, name: str, cosigners: Collection[CosignerKey]) -> bool:
        if name in self.witnesses:
            return self.witnesses[name].key in cosigners
        group = self.groups[name]
        return sum(self._has(member, cosigners) for member in group.members) >= group.threshold


NOBODY: Final = Quorum((), {}, {}, None)
"""The quorum of a log without witnesses."""


def parse_quorum(data: bytes) -> Quorum:
    """The quorum in a policy file.

    Raises:
        Malformed: `BAD_QUORUM`, or as the vkeys; the message names the line.
        LimitExceeded: a file too large, or with too many records.
    """
    at_most(len(data), QUORUM_FILE_BYTES_MAX, "quorum file")
    if _BAD_OCTET.search(data):
        raise Malformed("BAD_QUORUM", "quorum file holds a control character")
    lines = data.decode("utf-8", "surrogateescape").split("\n")
    reader = _Reader()
    for number, line in enumerate(lines, 1):
        words = re.split("[ \t]+", line.strip(" \t"))
        if words[0] and not words[0].startswith("#"):
            try:
                reader.read(words)
            except Malformed as error:
                raise Malformed(error.reason, f"line {number}: {error.message}") from error
    return reader.finish()


class _Reader:
    """What the lines so far said."""

    def __init__(self) -> None:
        self._logs: list[VerifierKey] = []
        self._witnesses: dict[str, Witness] = {}
        self._groups: dict[str, Group] = {}
        self._members: set[str] = set()
        self._needed: list[str] = []

    def read(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey] | ["log", vkey, _]:
                self._log(VerifierKey.parse(vkey))
            case ["witness", name, vkey]:
                self._witness(Witness(name, CosignerKey.parse(vkey), ""))
            case ["witness", name, vkey, url]:
                self._witness(Witness(name, CosignerKey.parse(vkey), url))
            case ["group", name, count, first, *others]:
                self._group(name, count, (first, *others))
            case ["quorum", name]:
                self._quorum(name)
            case _:
                raise Malformed("BAD_QUORUM", "not a log, witness, group or quorum")

    def finish(self) -> Quorum:
        if not self._needed:
            raise Malformed("BAD_QUORUM", "quorum file has no quorum line")
        name = self._needed[0]
        needed = None if name == NONE else name
        return Quorum(tuple(self._logs), self._witnesses, self._groups, needed)

    def _log(self, key: VerifierKey) -> None:
        if key.public in {known.public for known in self._logs}:
            raise Malformed("BAD_QUORUM", "a log is named twice")
        self._logs.append(key)
        at_most(len(self._logs), QUORUM_RECORDS_MAX, "logs of a quorum file")

    def _witness(self, witness: Witness) -> None:
        self._define(witness.name)
        if witness.key.data in {known.key.data for known in self._witnesses.values()}:
            raise Malformed("BAD_QUORUM", "two witnesses have one key")
        self._witnesses[witness.name] = witness

    def _group(self, name: str, count: str, members: tuple[str, ...]) -> None:
        self._define(name)
        for member in members:
            self._require_known(member)
            if member in self._members:
                raise Malformed("BAD_QUORUM", "a name is a member twice")
            self._members.add(member)
        self._groups[name] = Group(_threshold(count, len(members)), members)

    def _quorum(self, name: str) -> None:
        if self._needed:
            raise Malformed("BAD_QUORUM", "quorum is said twice")
        if name != NONE:
            self._require_known(name)
        self._needed.append(name)

    def _define(self, name: str) -> None:
        if name == NONE or name in self._witnesses or name in self._groups:
            raise Malformed("BAD_QUORUM", "a name is taken already")
        at_most(len(self._witnesses) + len(self._groups) + 1, QUORUM_RECORDS_MAX, "names")

    def _require_known(self, name: str) -> None:
        if name not in self._witnesses and name not in self._groups:
            raise Malformed("BAD_QUORUM", "a name is used before it is defined")


def _threshold(count: str, members: int) -> int:
    if count in ("all", "any"):
        return members if count == "all" else 1
    if not _COUNT.match(count) or int(count) > members:
        raise Malformed("BAD_QUORUM", "a group needs all, any, or from 1 to all of its members")
    return int(count)
