"""Verifying many kept answers, on several processors at once."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import typer

from credproof.base.errors import CredproofError, Malformed
from credproof.cli.output import err, out
from credproof.home import Home
from credproof.lender import OfflineVerifier, batches
from credproof.verification.report import report
from credproof.verification.verify import CHECKS

FILES_PER_JOB: Final = 32
"""Fewer files than that are not worth a process of their own."""
WINDOW: Final = 2048
"""So many files are handed to the processes at a time."""

_verifier: OfflineVerifier | None = None
"""One per process: trust is verified once, not for every file."""


def answer_files(paths: Sequence[Path]) -> list[Path]:
    """The files among `paths`, and those of the directories among them, by name.

    Raises:
        typer.BadParameter: there is no such file, or a directory holds no answer.
    """
    return [file for path in paths for file in _files(path)]


def verify_files(files: Sequence[Path], home: Home, *, jobs: int | None, as_json: bool) -> bool:
    """Verify every file in at most `jobs` processes, print what was found; whether all are valid.

    Raises:
        CredproofError: at check 0, when what the home trusts does not verify.
    """
    _start(home)
    counts: Counter[str] = Counter()
    in_part = 0
    for file, result in zip(files, _results(files, home, jobs or os.cpu_count() or 1), strict=True):
        outcome = result.get("outcome", {})
        counts[f"tier {outcome['tier']}" if outcome.get("tier") else outcome.get("kind", "")] += 1
        in_part += result.get("completeness", {}).get("state") == "partial"
        if as_json:
            sys.stdout.write(json.dumps({"file": str(file), **result}, ensure_ascii=False) + "\n")
        elif not result["valid"]:
            _print_failure(file, result)
    failed = counts.pop("", 0)
    if not as_json:
        _print_summary(counts, in_part, failed)
    return failed == 0


def failure(error: CredproofError) -> dict[str, Any]:
    """A failed verification as `credproof lender verify --json` prints it."""
    return {
        "valid": False,
        "step": error.step,
        "check": None if error.step is None else CHECKS[error.step],
        "reason": error.reason,
        "message": error.message,
    }


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        if not path.exists():
            raise typer.BadParameter(f"cannot read {path}: there is no such file")
        return [path]
    found = sorted(path.glob("*.answer"))
    if not found:
        raise typer.BadParameter(f"no answer (*.answer) in {path}")
    return found


def _results(files: Sequence[Path], home: Home, jobs: int) -> Iterator[dict[str, Any]]:
    """What was found of each file, in order."""
    jobs = min(jobs, 1 + len(files) // FILES_PER_JOB)
    if jobs == 1:
        yield from map(_verify, files)
        return
    # Forked, since no thread runs here that a fork would break, and what is imported stays so.
    context = get_context("fork")
    with ProcessPoolExecutor(jobs, context, initializer=_start, initargs=(home,)) as pool:
        for window in batches(files, WINDOW):
            yield from pool.map(_verify, window, chunksize=16)


def _start(home: Home) -> None:
    global _verifier  # noqa: PLW0603 - a worker process has nothing else to keep it in
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the run
    _verifier = OfflineVerifier(home)


def _verify(file: Path) -> dict[str, Any]:
    assert _verifier is not None, "_start comes first"
    try:
        return report(_verifier.verify(file.read_bytes()))
    except OSError:
        return failure(Malformed("CANNOT_READ", "the file cannot be read"))
    except CredproofError as error:
        return failure(error)


def _print_failure(file: Path, result: dict[str, Any]) -> None:
    where = "" if result["step"] is None else f" at check {result['step']}"
    err.print(f"{file}: error{where}: {result['message']} ({result['reason']})", markup=False)


def _print_summary(counts: Counter[str], in_part: int, failed: int) -> None:
    out.print(f"verified    {counts.total():>8}")
    for name, count in sorted(counts.items()):
        out.print(f"  {name:<10}{count:>8}")
    out.print(f"in part     {in_part:>8}")
    out.print(f"failed      {failed:>8}")
