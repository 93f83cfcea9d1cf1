"""Compare the help texts in README.md and docs/ with the command line's own.

A line `<!-- help: credproof provider submit -->` stands before a fenced block that must hold
what `credproof provider submit --help` prints; `--write` puts it there.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
MARK: Final = re.compile(r"^<!-- help: credproof((?: [a-z-]+)*) -->$")
FENCE: Final = "```"
COLOURS: Final = ("FORCE_COLOR", "PY_COLORS", "GITHUB_ACTIONS", "CLICOLOR_FORCE")

Help = Callable[[str], str]


class Broken(Exception):
    """A mark that no fenced block follows."""


@cache
def help_of(command: str) -> str:
    """What `credproof COMMAND --help` prints."""
    environment = {name: value for name, value in os.environ.items() if name not in COLOURS}
    environment |= {"COLUMNS": "90", "NO_COLOR": "1", "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    program = Path(sys.executable).with_name("credproof")
    done = subprocess.run(
        [str(program), *command.split(), "--help"],
        env=environment,
        check=False,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Broken(f"credproof{command} --help failed: {done.stderr.strip()[-400:]}")
    return tidy(done.stdout)


def tidy(text: str) -> str:
    """The text without spaces at line ends and empty lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def rewritten(text: str, help_text: Help) -> tuple[str, list[str]]:
    """The text with every help block as it must be, and the commands whose block was not.

    Raises:
        Broken: no fenced block follows a mark, or the command has no help.
    """
    lines = text.splitlines()
    result: list[str] = []
    stale: list[str] = []
    position = 0
    while position < len(lines):
        line = lines[position]
        result.append(line)
        position += 1
        found = MARK.match(line)
        if found is None:
            continue
        end = _closing_fence(lines, position, line)
        wanted = help_text(found[1])
        if "\n".join(lines[position + 1 : end]) != wanted:
            stale.append(f"credproof{found[1]}")
        result += [lines[position], *wanted.split("\n"), FENCE]
        position = end + 1
    return "\n".join(result) + "\n", stale


def _closing_fence(lines: list[str], opening: int, mark: str) -> int:
    if opening >= len(lines) or not lines[opening].startswith(FENCE):
        raise Broken(f"{mark}: a fenced block must follow")
    for number in range(opening + 1, len(lines)):
        if lines[number] == FENCE:
            return number
    raise Broken(f"{mark}: the fenced block does not end")


def main() -> int:
    """Compare every help block, or write them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--write", action="store_true", help="rewrite blocks that differ")
    options = parser.parse_args()
    failed = False
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        name = path.relative_to(ROOT)
        try:
            text, stale = rewritten(path.read_text("utf-8"), help_of)
        except Broken as error:
            print(f"{name}: {error}")
            failed = True
            continue
        if stale and options.write:
            path.write_text(text, "utf-8")
        elif stale:
            print(f"{name}: other help than {', '.join(stale)}: run tools/readme_help.py --write")
            failed = True
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
