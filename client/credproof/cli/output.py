"""What all commands share: printing, errors, exit codes, common options."""

from __future__ import annotations

import json
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Unreachable,
    VerificationFailed,
)
from credproof.base.sqlite import is_damage
from credproof.cli.advice import next_step

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
"""Exit codes: done; a verification failed; wrong usage or refused; no answer."""
EXIT_CODES = (
    "Exit codes: 0 done; 1 something does not verify, is damaged or was not agreed to; 2 wrong"
    " usage, or refused; 3 no answer."
)
"""What the help of every command ends with."""

PROGRESS_LINE_S = 10
"""How often progress is told where no terminal shows a bar, in seconds."""

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="CREDPROOF_HOME",
        help="Your directory with keys and trust; `.` is the current directory.",
    ),
]
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help="Print JSON for machines, nothing else; an error is JSON too, on stderr."
    ),
]


def exit_code(error: CredproofError) -> int:
    """The exit code of an error."""
    if isinstance(error, Unreachable):
        return UNREACHABLE
    return FAILED if isinstance(error, VerificationFailed | DataLoss) else USAGE


def print_error(
    error: CredproofError,
    file: Path | None = None,
    *,
    advice: str | None = None,
    as_json: bool = False,
) -> None:
    """Print an error, of a file if given, in one line, and in a second one what to do about it.

    `advice` is what to do, where the reason alone does not tell it. As JSON it is one object in one
    line on stderr, where no result stands, with `reason`, `message` and `advice`.
    """
    advice = advice or next_step(error)
    if as_json:
        told = {"reason": error.reason, "message": error.message, "advice": advice}
        more = {"step": error.step, "file": None if file is None else str(file)}
        more = {name: value for name, value in more.items() if value is not None}
        sys.stderr.write(json.dumps(told | more, ensure_ascii=False) + "\n")
        return
    where = "" if error.step is None else f" at check {error.step}"
    where += "" if file is None else f" in {file}"
    err.print(f"error{where}: {error.message} ({error.reason})", markup=False)
    if advice:
        err.print(f"next:  {advice}", markup=False)


def require_other(target: Path, source: Path) -> None:
    """What is written must not take the place of what is read.

    Raises:
        Conflict: `SAME_FILE`.
    """
    if target.exists() and source.exists() and target.samefile(source):
        raise Conflict("SAME_FILE", "this would be written over what is read: name another file")


def system_error(error: OSError | sqlite3.Error) -> CredproofError:
    """What the operating system or SQLite refuses, and about which file, as an error to print."""
    if is_damage(error):
        message = "a database in your home is damaged: bring it back from a backup"
        return DataLoss("DATABASE_DAMAGED", message)
    message = f"{error}: check that the disk has room and that the files can be written"
    if isinstance(error, OSError) and error.filename is not None:
        message = f"{error.strerror}: {error.filename}: name another path, or make it usable"
    return Conflict("SYSTEM_ERROR", message)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def print_json_list(values: Iterable[Any]) -> None:
    """One JSON array on stdout, written value by value: there may be many."""
    before = "["
    for value in values:
        told = json.dumps(value, ensure_ascii=False, indent=2).replace("\n", "\n  ")
        sys.stdout.write(f"{before}\n  {told}")
        before = ","
    sys.stdout.write("[]\n" if before == "[" else "\n]\n")


def tell(told: Mapping[str, Any], *lines: str, as_json: bool) -> None:
    """What a command has done: one JSON object, or lines for people."""
    if as_json:
        print_json(told)
    for line in () if as_json else lines:
        out.print(line, markup=False)


def plain(text: object) -> str:
    """A text from elsewhere as it may be printed: nothing in it steers a terminal."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def read_file(path: Path) -> bytes:
    """The content of a file that the user named.

    Raises:
        typer.BadParameter: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"cannot read {path}: {error.strerror}") from error


def require_file(path: Path) -> None:
    """Refuse what is no file before any work is done.

    Raises:
        typer.BadParameter: there is no such file.
    """
    if not path.is_file():
        what = "it is a directory" if path.is_dir() else "there is no such file"
        raise typer.BadParameter(f"cannot read {path}: {what}")


def read_text(path: Path) -> str:
    """The text of a file that the user named, without surrounding white space."""
    try:
        return read_file(path).decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise typer.BadParameter(f"{path} is not text: give the file as it came") from error


def require_writable(path: Path) -> None:
    """Refuse a file that could not be written, before what cannot be repeated is done.

    Raises:
        typer.BadParameter: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        there = path.exists()
        with path.open("ab"):
            pass
        if not there:
            path.unlink()
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error.strerror}") from error


def write_file(path: Path, data: bytes) -> None:
    """Write a file that the user named.

    Raises:
        typer.BadParameter: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise typer.BadParameter(f"cannot write {path}: {error.strerror}") from error


@contextmanager
def progress_bar(
    title: str, total: int | None, *, hidden: bool = False
) -> Iterator[Callable[[int], None]]:
    """Progress on stderr; gives a function that takes how many more are done.

    A bar on a terminal; elsewhere a plain line every `PROGRESS_LINE_S`, and nothing before.
    """
    if hidden or not err.is_terminal:
        yield _nothing if hidden else _lines(title, total)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True) as shown:
        task = shown.add_task(title, total=total)
        yield lambda count: shown.advance(task, count)


def _nothing(_count: int) -> None:
    pass


def _lines(title: str, total: int | None) -> Callable[[int], None]:
    done, told = 0, time.monotonic()
    end = "so far" if total is None else f"of {total}"

    def advance(count: int) -> None:
        nonlocal done, told
        done += count
        if time.monotonic() - told >= PROGRESS_LINE_S:
            told = time.monotonic()
            err.print(f"{title}: {done} {end}", markup=False)

    return advance
