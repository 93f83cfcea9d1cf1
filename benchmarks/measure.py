"""How a row is measured: subject and floor in turn, several times over; medians and spread.

Subjects and floors give microseconds per item (or megabytes). Because both are taken in turn,
a machine that is slow or busy for a while slows both, and the ratio stays.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.bench import Bench

Sample = Callable[[], float]


class Skipped(Exception):
    """A row cannot be measured here; the message says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What is measured and what it is compared with; `also` gives further figures at the end."""

    subject: Sample
    floor: Sample
    also: Callable[[], Mapping[str, float]] = dict


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    `target` is the largest ratio aimed at, `limit` the largest value; both from the design.
    """

    name: str
    unit: str
    floor: str
    make: Callable[[Bench], Pair]
    target: float | None = None
    limit: float | None = None
    repeat: int | None = None


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle and both ends of some samples."""

    median: float
    min: float
    max: float


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a row: figures, or the reason why there are none."""

    row: Row
    value: Spread | None = None
    floor: Spread | None = None
    ratio: Spread | None = None
    repetitions: int = 0
    also: Mapping[str, float] | None = None
    skipped: str | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None when there is none, or nothing was measured."""
        if self.ratio is None or self.value is None:
            return None
        if self.row.target is not None:
            return self.ratio.median <= self.row.target
        return None if self.row.limit is None else self.value.median <= self.row.limit


def measure(row: Row, bench: Bench, repeat: int) -> Result:
    """Measure one row; where it is repeated, one round before the first is thrown away."""
    try:
        pair = row.make(bench)
    except Skipped as reason:
        return Result(row, skipped=str(reason))
    count = min(row.repeat or repeat, repeat) if repeat == 1 else row.repeat or repeat
    if count > 1:
        pair.subject(), pair.floor()
    samples = [(pair.subject(), pair.floor()) for _ in range(count)]
    return Result(
        row,
        value=_spread([subject for subject, _ in samples]),
        floor=_spread([floor for _, floor in samples]),
        ratio=_spread([subject / floor for subject, floor in samples]),
        repetitions=count,
        also=pair.also(),
    )


def _spread(samples: list[float]) -> Spread:
    return Spread(statistics.median(samples), min(samples), max(samples))


def cpu_us(work: Callable[[], object], *, items: int = 1, times: int = 1) -> float:
    """CPU microseconds of this thread per item, for `work` done so many times."""
    started = time.thread_time()
    for _ in range(times):
        work()
    return (time.thread_time() - started) / (items * times) * 1e6
