"""The meter: how exactly answers can make a claim known, whatever they are.

An answer depends on a figure only by the sides of the asked rungs on which it lies. So whoever has
answers under some policies knows of a claim at most its **cell**: the part of its range between
asked rungs that the figure lies in. A schema may say that one claim is never above another; then
a bound of the one may be a bound of the other, and its rungs count for both. Lenders who put
together what they know have the cells of all their policies.

A **band** is the part between two neighbouring rungs of a ladder: no question cuts finer.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import NUMBER_TYPES, Claim, Schema
from credproof.verification.policy import Narrowest, Policy, Question

Named: TypeAlias = tuple[str, str]
"""A schema's id and a claim of it."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Whole numbers from `low` up to, but without, `end`."""

    low: int
    end: int

    def implies(self, condition: Condition) -> bool:
        """Whether the condition holds of every number in it."""
        if condition.direction == "at_least":
            return self.low >= condition.threshold
        return self.end <= condition.threshold


@dataclass(frozen=True)
class Cells:
    """The cells of a claim: one begins at the nearest of `lows`, and ends at the nearest of `ends`.

    `edges` are the claim's minimum, its rungs, and what lies above its maximum; all rise.
    """

    edges: tuple[int, ...]
    lows: tuple[int, ...]
    ends: tuple[int, ...]

    def cell(self, value: int) -> Interval:
        """The cell that a value of the claim lies in."""
        low = self.lows[bisect_right(self.lows, value) - 1]
        return Interval(low, self.ends[bisect_right(self.ends, value)])

    def bands(self, part: Interval) -> int:
        """How many whole bands lie in a part of the range."""
        first, last = bisect_left(self.edges, part.low), bisect_right(self.edges, part.end) - 1
        return max(0, last - first)

    @cached_property
    def all(self) -> tuple[Interval, ...]:
        """Every cell that a value may lie in."""
        starts = sorted({*self.lows, *self.ends[:-1]})
        return tuple(dict.fromkeys(self.cell(start) for start in starts))

    @property
    def narrowest(self) -> int:
        """The bands of the cell that has the fewest."""
        return min(self.bands(cell) for cell in self.all)


def meter(policies: Iterable[Policy]) -> Mapping[Named, Cells]:
    """The cells of every claim of which answers under these policies can tell anything."""
    found: dict[Named, Cells] = {}
    for name, (schema, cuts) in sorted(_asked(policies).items()):
        uncut = _cells(schema, {})
        cells = _cells(schema, cuts).items()
        found |= {(name, claim): item for claim, item in cells if item != uncut[claim]}
    return found


def broken(policies: Sequence[Policy]) -> tuple[Narrowest, ...]:
    """What policies promise not to tell more exactly, and together could."""
    promised = [item for policy in policies for item in policy.narrowest]
    if not promised:
        return ()
    names = {item.schema.id for item in promised}
    asked = {name: found for name, found in _asked(policies).items() if name in names}
    cells = {name: _cells(schema, cuts) for name, (schema, cuts) in asked.items()}
    return tuple(
        item
        for item in promised
        if item.schema.id in cells and cells[item.schema.id][item.claim].narrowest < item.bands
    )


def conditions(question: Question) -> tuple[Condition, ...]:
    """What a question compares: a fact is all of its conditions, an assurance its level."""
    level = question.assurance.level if question.assurance else None
    condition = question.condition or level
    if condition is not None:
        return (condition,)
    return question.schema.facts[question.fact or ""].when


def bounds(schema: Schema) -> dict[str, Interval]:
    """What is known of the claims that are numbers before any answer."""
    numbers = (claim for claim in schema.claims.values() if claim.type in NUMBER_TYPES)
    return {claim.name: Interval(claim.minimum, claim.maximum + 1) for claim in numbers}


def related(schema: Schema) -> list[tuple[str, str]]:
    """The pairs of numbers of which the first is never above the second."""
    numbers = bounds(schema)
    return [(low, high) for low, high in schema.not_above if {low, high} <= numbers.keys()]


def edges(claim: Claim) -> tuple[int, ...]:
    """Where the bands of a claim begin, and what lies above its maximum."""
    rungs = claim.ladder.thresholds if claim.ladder else ()
    return (claim.minimum, *rungs, claim.maximum + 1)


def _asked(policies: Iterable[Policy]) -> dict[str, tuple[Schema, dict[str, set[int]]]]:
    """The rungs of each claim that are asked, by the ids of the schemas."""
    asked: dict[str, tuple[Schema, dict[str, set[int]]]] = {}
    for policy in policies:
        for question in policy.questions.values():
            _, cuts = asked.setdefault(question.schema.id, (question.schema, {}))
            for condition in conditions(question):
                cuts.setdefault(condition.claim, set()).add(condition.threshold)
    return asked


def _cells(schema: Schema, cuts: Mapping[str, set[int]]) -> dict[str, Cells]:
    """The cells of every claim that is a number, each cut where it is asked.

    Where a lower one of two related claims begins, the higher may be known to begin, and it may
    be known to end where the higher one ends.
    """
    ranges = bounds(schema)
    lows = {name: {part.low} | cuts.get(name, set()) for name, part in ranges.items()}
    ends = {name: {part.end} | cuts.get(name, set()) for name, part in ranges.items()}
    pairs = related(schema)
    for _ in pairs:  # so often that the longest row of related claims is gone through
        for low, high in pairs:
            lows[high] |= lows[low]
            ends[low] |= ends[high]
    return {
        name: Cells(
            edges(schema.claims[name]),
            tuple(sorted(cut for cut in lows[name] if part.low <= cut < part.end)),
            tuple(sorted(cut for cut in ends[name] if part.low < cut <= part.end)),
        )
        for name, part in ranges.items()
    }
