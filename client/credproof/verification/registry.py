"""The history of the registry: each version of the trust bundle, bound to its log entry.

Format: `docs/PROTOCOL.md`, "Log" and "Trust bundle".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.base.errors import VerificationFailed
from credproof.base.jws import TRUST, parse
from credproof.base.keys import DatedKey
from credproof.base.limits import TRUST_BYTES_MAX
from credproof.base.members import Members
from credproof.log.entry import Entry
from credproof.verification.trust import Roots, Trust, verify_trust

ENTRY_CHANGED: Final = "registry.changed"


@dataclass(frozen=True, slots=True)
class Change:
    """A version of the registry, and the entry that put it in force."""

    trust: Trust
    entry: Entry


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A key that the registry lists for a participant, since a version and its entry's time."""

    key: DatedKey
    version: int
    log_index: int
    time: int


def parse_changed(entry: Entry) -> int:
    """The version that an entry puts in force.

    Raises:
        Malformed: `BAD_MEMBER`.
    """
    members = Members(entry.fields, ENTRY_CHANGED)
    version = members.take("version", int)
    members.finish()
    return version


def verify_change(token: str, documents: Sequence[bytes], entry: Entry, *, root: Roots) -> Change:
    """The bundle that this very entry put in force, signed by `root`.

    Raises:
        Malformed, VerificationFailed: as `verify_trust`; `OTHER_TRUST` for another bundle.
    """
    trust = verify_trust(token, documents, root=root, at=0)
    logged = (entry.kind, entry.object, parse_changed(entry))
    named = parse(token, TRUST, limit=TRUST_BYTES_MAX).id
    if logged != (ENTRY_CHANGED, named, trust.bundle.version):
        raise VerificationFailed("OTHER_TRUST", "the log names another trust bundle than was given")
    return Change(trust, entry)


def keys_of(participant: str, history: Iterable[Change]) -> tuple[ListedKey, ...]:
    """Every key that a history ever listed for a participant, each where it came first."""
    found: dict[str, ListedKey] = {}
    for change in history:
        listed = change.trust.participants.get(participant)
        for key in listed.keys if listed else ():
            entry, version = change.entry, change.trust.bundle.version
            found.setdefault(key.public.kid, ListedKey(key, version, entry.seq, entry.time))
    return tuple(found.values())
