"""What was found: a table for people, JSON for whoever compares runs."""

from __future__ import annotations

import datetime as dt
import os
import platform
import sqlite3
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import Result, Spread

PACKAGES = (
    "credproof",
    "cryptography",
    "grpcio",
    "protobuf",
    "pynacl",
    "rbcl",
    "orjson",
    "SQLAlchemy",
    "anoncreds",
    "sd-jwt",
    "pymerkle",
)
_MARKS = {True: "met", False: "missed", None: ""}


@dataclass(frozen=True, slots=True)
class Run:
    """One run: how it was asked for, what it took, and what the machine did besides."""

    command: str
    started: dt.datetime
    seconds: float
    load_before: tuple[float, float, float]
    load_after: tuple[float, float, float]
    others: float


class Others:
    """How much of the processors everybody else used since this was made, as a share of 1."""

    def __init__(self) -> None:
        self._busy, self._all = _ticks()
        self._own = _own_ticks()

    def share(self) -> float:
        """Children count as ours once they have ended."""
        busy, total = _ticks()
        own = _own_ticks() - self._own
        return max(0.0, (busy - self._busy - own) / max(1, total - self._all))


def _ticks() -> tuple[int, int]:
    """Busy and all ticks of all processors so far: user, nice, system, idle, iowait, …"""
    figures = [int(x) for x in Path("/proc/stat").read_text("ascii").split("\n")[0].split()[1:9]]
    return sum(figures) - figures[3] - figures[4], sum(figures)


def _own_ticks() -> float:
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    return own * os.sysconf("SC_CLK_TCK")


def table(results: Sequence[Result]) -> str:
    """One line per row."""
    head = f"{'row':<36}{'value':>9} {'unit':<25}{'ratio':>8}{'min':>8}{'max':>8}{'target':>8}"
    lines = [f"{head}         floor"]
    return "\n".join([*lines, *(_line(result) for result in results)])


def _line(result: Result) -> str:
    row, value, ratio = result.row, result.value, result.ratio
    if value is None or ratio is None:
        return f"{row.name:<36}  skipped: {result.skipped}"
    figures = "".join(f"{_short(x):>8}" for x in (ratio.median, ratio.min, ratio.max))
    aim = row.target if row.target is not None else row.limit
    target = "" if aim is None else _short(aim)
    line = (
        f"{row.name:<36}{_short(value.median):>9} {row.unit:<25}{figures}"
        f"{target:>8} {_MARKS[result.met]:<7} {row.floor}"
    )
    also = ", ".join(f"{name} {_short(figure)}" for name, figure in (result.also or {}).items())
    return f"{line}\n{'':<36}  {also}" if also else line


def _short(figure: float) -> str:
    """Three digits that count."""
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}"


def as_json(results: Sequence[Result], run: Run) -> dict[str, Any]:
    """Everything that was found, and on what."""
    return {
        "format": 1,
        "date": run.started.isoformat(timespec="seconds"),
        "command": run.command,
        "seconds": round(run.seconds),
        "machine": machine() | _disturbance(run),
        "versions": versions(),
        "rows": [_row(result) for result in results],
    }


def _disturbance(run: Run) -> dict[str, Any]:
    return {
        "load_before": run.load_before,
        "load_after": run.load_after,
        "used_by_others": _rounded(run.others),
    }


def _row(result: Result) -> dict[str, Any]:
    row, floor = result.row, result.floor
    target = None
    if row.target is not None:
        target = {"ratio_at_most": row.target}
    elif row.limit is not None:
        target = {"value_at_most": row.limit}
    return {
        "name": row.name,
        "unit": row.unit,
        "value": _spread(result.value),
        "ratio": _spread(result.ratio),
        "target": target,
        "met": result.met,
        "floor": {"definition": row.floor, "value": None if floor is None else _spread(floor)},
        "repetitions": result.repetitions,
        "also": {name: _rounded(figure) for name, figure in (result.also or {}).items()},
        "skipped": result.skipped,
    }


def _spread(spread: Spread | None) -> Mapping[str, float] | None:
    if spread is None:
        return None
    return {name: _rounded(figure) for name, figure in asdict(spread).items()}


def _rounded(figure: float) -> float:
    return float(f"{figure:.4g}")


def machine() -> dict[str, Any]:
    """The machine, as far as it says so itself."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "memory_mb": memory // 10**6,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else "unknown"


def versions() -> dict[str, str]:
    """What was measured, and with what."""
    found = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    found["openssl of python"] = ssl.OPENSSL_VERSION
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
