"""What changed in the registry, as the verified log names each version and the home keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.searching import Query, search
from credproof.home import Home
from credproof.log.entry import parse_entry
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.registry_diff import Changed, registry_changes


@dataclass(frozen=True, slots=True)
class Version:
    """A version of the registry: its entry, and what it changes. Times are whole seconds."""

    version: int
    log_index: int
    time: int
    expires_at: int
    changes: Sequence[Changed]


def registry(home: Home, index: Index) -> Iterator[Version]:
    """Every version that the verified log put in force, in its order; needs no service.

    Raises:
        DataLoss: `REGISTRY_NOT_KEPT`.
    """
    history, before = History(home.folder, home.roots), None
    for found in search(index, Query(kind=ENTRY_CHANGED)):
        entry = parse_entry(found.line)
        trust = history.logged(entry)
        number, until = trust.bundle.version, trust.bundle.expires_at
        yield Version(number, entry.seq, entry.time, until, registry_changes(before, trust))
        before = trust
