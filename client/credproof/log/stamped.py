"""What verified timestamps say about the times of a log's entries.

A service asks for a timestamp of its newest checkpoint. So what the checkpoint covers was logged
before the time of the timestamp, and what it does not cover was logged after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.base.limits import TIMESTAMP_GAP_S, TIMESTAMP_TOLERANCE_S

BACKDATED: Final = "ENTRY_BACKDATED"
AHEAD: Final = "ENTRY_AHEAD"
TimeOf = Callable[[int], int | None]
"""Gives the time of an entry by its index, in whole seconds; None where there is none."""


@dataclass(frozen=True, slots=True)
class Stamped:
    """A verified timestamp of the first `tree_size` entries; `time` in whole seconds."""

    tree_size: int
    time: int
    authority: str


@dataclass(frozen=True, slots=True)
class Contradiction:
    """An entry whose time cannot be true, if the timestamp is."""

    rule: str
    log_index: int
    message: str
    stamped: Stamped


@dataclass(frozen=True, slots=True)
class Gap:
    """Entries `first` to `last` had no timestamp from the time of the first of them on.

    `since` and `until` are in whole seconds; `until` is None when they still have none.
    """

    first: int
    last: int
    since: int
    until: int | None


def contradictions(stamps: Iterable[Stamped], time_of: TimeOf) -> Iterator[Contradiction]:
    """The entries on either side of each timestamp that contradict it beyond the tolerance."""
    for stamped in stamps:
        covered, after = time_of(stamped.tree_size - 1), time_of(stamped.tree_size)
        if covered is not None and covered > stamped.time + TIMESTAMP_TOLERANCE_S:
            message = "an entry bears a later time than the timestamp that covers it"
            yield Contradiction(AHEAD, stamped.tree_size - 1, message, stamped)
        if after is not None and after < stamped.time - TIMESTAMP_TOLERANCE_S:
            message = "an entry bears an earlier time than a timestamp that does not cover it"
            yield Contradiction(BACKDATED, stamped.tree_size, message, stamped)


def gaps(stamps: Sequence[Stamped], size: int, time_of: TimeOf, now: int) -> list[Gap]:
    """Where entries of a log of this size waited for a timestamp longer than they should.

    `stamps` are in the order of their sizes; the log's first entries count too.
    """
    found, begin = [], 0
    for stamped in stamps:
        since = time_of(begin) if begin < stamped.tree_size else None
        if since is not None and stamped.time - since > TIMESTAMP_GAP_S:
            found.append(Gap(begin, stamped.tree_size - 1, since, stamped.time))
        begin = max(begin, stamped.tree_size)
    since = time_of(begin) if begin < size else None
    if since is not None and now - since > TIMESTAMP_GAP_S:
        found.append(Gap(begin, size - 1, since, None))
    return found
