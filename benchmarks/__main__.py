"""`make bench`: what the work costs, as ratios to the primitives it cannot do without.

`docs/BENCHMARKS.md` says what each row means and how it is measured. A whole run is written to
`benchmarks/latest.json`; a part of one is only printed.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shlex
import signal
import sys
import time
from pathlib import Path

from credproof.cli.output import progress_bar

from benchmarks import profiling, report
from benchmarks.bench import Bench, Sizes
from benchmarks.measure import Result, Row, measure
from benchmarks.rows import chosen

LATEST = Path(__file__).with_name("latest.json")
REPEAT = 7


def main() -> int:
    """Measure or profile; 2 when no row has such a name."""
    options = _options()
    rows = chosen(options.row)
    if not rows:
        print(f"no row's name holds {options.row!r}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # children end by the same way out
    if options.profile:
        for row in rows:
            _profile(row)
    else:
        _run(rows, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--repeat", type=int, default=REPEAT, help="repetitions per row")
    parser.add_argument("--row", help="only rows whose name holds this text")
    parser.add_argument("--profile", action="store_true", help="where the subjects' CPU time goes")
    parser.add_argument("--output", type=Path, help="write the result there too, part or whole")
    return parser.parse_args()


def _run(rows: list[Row], options: argparse.Namespace) -> None:
    started, clock, load = dt.datetime.now(dt.UTC), time.monotonic(), os.getloadavg()
    others = report.Others()
    results = _measure(rows, options.repeat)
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    seconds = time.monotonic() - clock
    run = report.Run(command, started, seconds, load, os.getloadavg(), others.share())
    print(report.table(results))
    print(f"\n{seconds:.0f} s; load {load[0]:.1f} before; others used {run.others:.0%} of the CPUs")
    targets = [LATEST] if options.row is None else []
    for path in [*targets, *([options.output] if options.output else [])]:
        text = json.dumps(report.as_json(results, run), ensure_ascii=False, indent=2)
        path.write_text(text + "\n", "utf-8")


def _measure(rows: list[Row], repeat: int) -> list[Result]:
    results = []
    with Bench(Sizes()) as bench, progress_bar("measuring", len(rows)) as advance:
        for row in rows:
            results.append(measure(row, bench, repeat))
            advance(1)
    return results


def _profile(row: Row) -> None:
    """The subject once, under a profiler, in this process and in the service if it has one."""
    with Bench(Sizes(), profile=True) as bench:
        pair = row.make(bench)
        pair.subject()  # warm
        stats = profiling.profile(pair.subject)
        print(f"== {row.name}: this process\n{profiling.table(stats)}")
        if left := bench.end_profiled():
            print(f"== {row.name}: the service\n{profiling.table(profiling.read(left))}")


if __name__ == "__main__":
    sys.exit(main())
