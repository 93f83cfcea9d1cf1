"""`make bench`: what the work costs, as ratios to the primitives it cannot do without.

Each row times its subject and its floor in turn, several times over, and shows the median
ratio with its spread, so that a slow or busy machine slows both.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import rows


@dataclass(frozen=True, slots=True)
class Row:
    """A subject and its floor, in seconds per item; `target` is the ratio aimed at."""

    name: str
    floor_name: str
    subject: Callable[[], float]
    floor: Callable[[], float]
    target: float | None


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=7, help="repetitions per row")
    parser.add_argument("--row", help="only rows whose name holds this text")
    options = parser.parse_args()
    print(f"{'row':<34} {'per item':>10} {'ratio':>7} {'min':>6} {'max':>6} {'target':>7}  floor")
    for row in _rows():
        if not options.row or options.row in row.name:
            _measure(row, options.repeat)
    print(f"\n{os.cpu_count()} CPUs, {options.repeat} repetitions, median; CPU time of one thread.")


def _measure(row: Row, repeat: int) -> None:
    pairs = [(row.subject(), row.floor()) for _ in range(repeat)]
    ratios = sorted(subject / floor for subject, floor in pairs)
    spent = statistics.median(subject for subject, _ in pairs) * 1e6
    target = "" if row.target is None else f"{row.target:.1f}"
    print(
        f"{row.name:<34} {spent:>8.0f}us {statistics.median(ratios):>7.2f} "
        f"{ratios[0]:>6.2f} {ratios[-1]:>6.2f} {target:>7}  {row.floor_name}"
    )


def _rows() -> list[Row]:
    bench = rows.Bench()
    timed = bench.timed
    return [
        Row(
            "accept: checks 1-6, per item of 64",
            "Ed25519 verify, HPKE open / 64, hashes and HMACs counted",
            timed(bench.accept, 64),
            timed(bench.accept_floor, 64),
            1.6,
        ),
        Row(
            "verify an answer offline",
            "Ed25519 verify x 4",
            timed(bench.verify_answer, 1, 20),
            timed(bench.verify_floor, 1, 20),
            None,
        ),
        Row(
            "inclusion proof at 10^5, warm",
            "one node hash",
            timed(bench.inclusion, 1, 200),
            timed(bench.node_hash, 1, 20_000),
            35.0,
        ),
        Row(
            "audit: chain and tree, per entry",
            "leaf hash + node hash",
            timed(bench.audit, bench.entries),
            timed(bench.audit_floor, bench.entries),
            2.0,
        ),
    ]


if __name__ == "__main__":
    started = time.monotonic()
    main()
    print(f"took {time.monotonic() - started:.0f} s")
