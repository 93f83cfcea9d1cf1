"""What changed in the registry, as the verified log names each version and the home keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.searching import Query, search
from credproof.home import Home
from credproof.log.entry import Entry, parse_entry
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.registry_diff import Changed, registry_changes
from credproof.verification.trust import Trust


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
    before = None
    for entry, trust in put_in_force(History(home.folder, home.roots), index):
        number, until = trust.bundle.version, trust.bundle.expires_at
        yield Version(number, entry.seq, entry.time, until, registry_changes(before, trust))
        before = trust


def put_in_force(
    history: History, index: Index, among: range | None = None
) -> Iterator[tuple[Entry, Trust]]:
    """Each version that the verified log, or entries `among` it, put in force, as it is kept here.

    Raises:
        DataLoss: `REGISTRY_NOT_KEPT`: something else is kept in its place, or nothing.
    """
    query = Query(kind=ENTRY_CHANGED, after=among.start - 1 if among else -1)
    for found in search(index, query):
        if among is not None and found.log_index not in among:
            return
        entry = parse_entry(found.line)
        yield entry, history.logged(entry)
