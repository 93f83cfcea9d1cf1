"""Where CPU time goes, by function: in this process, or in every thread of a child."""

from __future__ import annotations

import cProfile
import io
import pstats
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

TOP = 25


def profile(work: Callable[[], object]) -> pstats.Stats:
    """What `work` spends in this thread."""
    profiler = _new()
    profiler.runcall(work)
    return pstats.Stats(profiler)


@contextmanager
def profiled(output: Path) -> Iterator[None]:
    """Profile this thread and all that start inside; written to `output` at the end.

    SIGUSR1 forgets what was seen so far, so that preparations do not count.
    """
    profilers = [_new()]

    def begin(_frame: object, _event: str, _argument: object) -> None:
        profilers.append(_new())
        profilers[-1].enable()  # takes the place of this very function in its thread

    def forget(_number: int, _frame: object) -> None:
        for profiler in profilers:
            profiler.clear()

    signal.signal(signal.SIGUSR1, forget)
    threading.setprofile(begin)
    profilers[0].enable()
    try:
        yield
    finally:
        profilers[0].disable()
        threading.setprofile(None)
        _merged(profilers).dump_stats(output)


def read(path: Path) -> pstats.Stats:
    """What a profiled child left."""
    return pstats.Stats(str(path))


def table(stats: pstats.Stats) -> str:
    """The functions that cost most: by themselves, then with all that they call."""
    stats.stream = text = io.StringIO()
    for order in ("tottime", "cumulative"):
        stats.sort_stats(order).print_stats(TOP)
    return text.getvalue()


def _new() -> cProfile.Profile:
    # A thread's own CPU time: waiting, and what other threads do, costs nothing here.
    return cProfile.Profile(time.thread_time)


def _merged(profilers: list[cProfile.Profile]) -> pstats.Stats:
    merged = pstats.Stats()
    for profiler in profilers:
        if profiler.getstats():
            merged.add(pstats.Stats(profiler))
    return merged
