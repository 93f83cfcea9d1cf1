"""Computing the directory anew from the log, to compare each logged root with it.

It holds every index with its members in memory: some hundred bytes for each.
"""

from __future__ import annotations

from collections import defaultdict, deque
from typing import Final

from credproof.base.errors import VerificationFailed
from credproof.log.directory import TOP_BITS, Leaf, Top, subtree
from credproof.log.entry import Entry, parse_entry
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.filing import (
    ENTRY_ROOT,
    ENTRY_WITHDRAWN,
    NOTHING,
    Change,
    Filed,
    LoggedRoot,
    change_of,
    parse_root,
)

KINDS: Final = frozenset({ENTRY_ATTESTATION, ENTRY_WITHDRAWN, ENTRY_ROOT})
"""The kinds of entries that a replay must be fed; all others change nothing."""

_SPELLED: Final = tuple(b'"kind":"%s"' % kind.encode() for kind in sorted(KINDS))


class Replay:
    """The directory that a log makes: `feed` its entries in order."""

    def __init__(self, bits: int = TOP_BITS) -> None:
        self.filed: dict[bytes, Filed] = {}
        self.roots = 0
        """How many logged roots were found right."""
        self._newest: LoggedRoot | None = None
        self._owners: dict[bytes, str] = {}
        self._pending: deque[Change] = deque()
        self._top = Top(bits)
        self._buckets: defaultdict[int, dict[bytes, Leaf]] = defaultdict(dict)

    @property
    def root(self) -> bytes:
        """The newest root, 32 bytes."""
        return self._top.root

    @property
    def uncovered(self) -> int:
        """How many changes the newest root does not cover."""
        return len(self._pending)

    def feed_line(self, line: bytes) -> None:
        """As `feed`, for a line of the log; one that changes nothing is not taken apart.

        Raises:
            Malformed, VerificationFailed: as `feed` and `parse_entry`.
        """
        if any(kind in line for kind in _SPELLED):
            self.feed(parse_entry(line))

    def feed(self, entry: Entry) -> None:
        """Follow an entry; a root that it logs must be the one that the entries before make.

        Raises:
            Malformed: `BAD_MEMBER`.
            VerificationFailed: `ROOT_DIFFERS`, `NOT_A_MEMBER`, `OTHER_ENTRY`; the message names
                the entry.
        """
        change = change_of(entry)
        if change is not None:
            self._own(change, entry.actor)
            self._pending.append(change)
        elif entry.kind == ENTRY_ROOT:
            self._compare(parse_root(entry))

    def _own(self, change: Change, actor: str) -> None:
        """A provider takes out what is its own, and nothing else."""
        if change.leaves is not None and self._owners.pop(change.leaves, None) != actor:
            raise VerificationFailed(
                "NOT_A_MEMBER", f"entry {change.log_index} takes out what its actor never put in"
            )
        if change.joins is not None:
            self._owners[change.joins] = actor

    def _compare(self, logged: LoggedRoot) -> None:
        before = self._newest.covered if self._newest else 0
        touched = set()
        while self._pending and self._pending[0].log_index < logged.covered:
            change = self._pending.popleft()
            self.filed[change.index] = change.apply(self.filed.get(change.index, NOTHING))
            touched.add(change.index)
        self._update(touched)
        if logged.covered < before or logged.root != self._top.root:
            raise VerificationFailed(
                "ROOT_DIFFERS",
                f"entry {logged.log_index}: the directory's root is not what the log makes of it",
            )
        self._newest, self.roots = logged, self.roots + 1

    def _update(self, touched: set[bytes]) -> None:
        numbers = set()
        for index in touched:
            number = self._top.bucket(index)
            numbers.add(number)
            if self.filed[index].members:
                self._buckets[number][index] = self.filed[index].leaf(index)
            else:
                del self.filed[index]
                self._buckets[number].pop(index, None)
        leaves = {number: sorted(self._buckets[number].values()) for number in numbers}
        self._top.update({n: subtree(found, self._top.bits) for n, found in leaves.items()})
