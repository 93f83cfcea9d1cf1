"""Running `credproof` as its user does: arguments in, output and exit code out."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from credproof.cli.app import main

_PLAIN = {"NO_COLOR": "1", "COLUMNS": "100"}


def run(*arguments: str | Path, code: int = 0, home: Path | None = None, given: str = "") -> str:
    """Run `credproof` in this process, which spares a second; gives its stdout.

    `given` is its standard input. Of a run that fails the errors come after the output.
    """
    out, err = run_both(*arguments, code=code, home=home, given=given)
    return out + (err if code else "")


def run_both(
    *arguments: str | Path, code: int = 0, home: Path | None = None, given: str = ""
) -> tuple[str, str]:
    """As `run`; gives stdout and stderr."""
    with _as_process(["credproof", *map(str, arguments)], _environment(home), given) as streams:
        ended = _code()
    out, err = (stream.buffer.getvalue().decode() for stream in streams)
    assert code == ended, (out, err)
    return out, err


def run_apart(*arguments: str | Path, code: int = 0, home: Path | None = None) -> str:
    """As `run`, in a process of its own: for commands that start processes themselves."""
    command = [sys.executable, "-m", "credproof.cli.app", *map(str, arguments)]
    env = {**os.environ, **_environment(home)}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert code == done.returncode, (done.stdout, done.stderr)
    assert "Traceback" not in done.stderr
    return done.stdout + (done.stderr if code else "")


def _environment(home: Path | None) -> dict[str, str]:
    return {**_PLAIN, "CREDPROOF_HOME": str(home)} if home else _PLAIN


def _code() -> int:
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    raise AssertionError("a command ends with an exit code")


@contextmanager
def _as_process(
    argv: list[str], env: dict[str, str], given: str
) -> Iterator[tuple[io.TextIOWrapper, io.TextIOWrapper]]:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in "12")
    stdin = io.TextIOWrapper(io.BytesIO(given.encode()), encoding="utf-8")
    streams = mock.patch.multiple(sys, argv=argv, stdin=stdin, stdout=out, stderr=err)
    with mock.patch.dict(os.environ, env), streams:
        yield out, err
