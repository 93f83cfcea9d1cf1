"""The house rules that no linter knows: lengths, machine paths, leftover words, a clean lock, and
that every threat names a test that exists."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
LOCK: Final = "requirements.lock"
THREATS: Final = "docs/THREATS.md"
PROMISES: Final = "| threat | attacker | defence | test |"
"""The header of a table whose every row promises a defence, and names what tries it."""
SOURCES: Final = ("client/", "server/", "tests/", "tools/", "benchmarks/")
GENERATED: Final = "client/credproof/v1/"
FILE_LINES_MAX: Final = 500
FUNCTION_LINES_MAX: Final = 70

# Written so that no pattern matches its own text.
MACHINE_PATH: Final = re.compile(r"(?<![\w.}>)])/(?:(?:wor[k]|roo[t]|hom[e])/|far[m]\b)")
LEFTOVER: Final = re.compile(r"\b(?:TOD[O]|FIXM[E]|XX[X]|HAC[K])\b")
ADDRESS: Final = re.compile(r"http|^\s*(?:-i\b|-f\b|--(?:extra-)?index-url|--find-links)")


def lengths(name: str, text: str) -> list[str]:
    """What is too long in a Python file."""
    found = []
    count = len(text.splitlines())
    if count > FILE_LINES_MAX:
        found.append(f"{name}: {count} lines, at most {FILE_LINES_MAX}")
    for node in ast.walk(ast.parse(text, name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES_MAX:
                where = f"{name}:{node.lineno}"
                found.append(f"{where}: {node.name} has {size} lines, at most {FUNCTION_LINES_MAX}")
    return found


def wording(name: str, text: str) -> list[str]:
    """Paths of a machine and words of unfinished work in a text."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if MACHINE_PATH.search(line):
            found.append(f"{name}:{number}: names a path of one machine")
        if word := LEFTOVER.search(line):
            found.append(f"{name}:{number}: {word[0]}")
    return found


def addresses(name: str, text: str) -> list[str]:
    """Lines of a lock file that say where packages come from."""
    lines = enumerate(text.splitlines(), 1)
    return [f"{name}:{number}: an address" for number, line in lines if ADDRESS.search(line)]


def promises(name: str, text: str) -> list[str]:
    """Rows of the table of threats whose tests are not there."""
    lines = text.splitlines()
    if PROMISES not in lines:
        return [f"{name}: no table begins with {PROMISES}"]
    found = []
    for number, line in enumerate(lines[lines.index(PROMISES) + 2 :], lines.index(PROMISES) + 3):
        if not line.startswith("|"):
            break
        found += [f"{name}:{number}: {wrong}" for wrong in _untested(line)]
    return found


def _untested(row: str) -> list[str]:
    """What is wrong with the tests that a row names in its last column."""
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    named = [part.strip().strip("`") for part in cells[-1].split(",")]
    if len(cells) != PROMISES.count("|") - 1 or not all(cells):
        return ["a row must have a threat, an attacker, a defence and a test"]
    return [f"{test} is no test that exists" for test in named if not _is_test(test)]


def _is_test(named: str) -> bool:
    """Whether `tests/…/test_x.py`, or `tests/…/test_x.py::test_y`, exists."""
    path, _, function = named.partition("::")
    file = ROOT / path
    if not re.fullmatch(r"tests/[\w/]+/test_\w+\.py", path) or not file.is_file():
        return False
    nodes = ast.walk(ast.parse(file.read_text("utf-8")))
    names = {n.name for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}
    tests = {name for name in names if name.startswith("test_")}
    return function in tests if "::" in named else bool(tests)


def problems(name: str, text: str) -> list[str]:
    """Everything wrong with one file."""
    found = wording(name, text)
    if name == LOCK:
        found += addresses(name, text)
    if name == THREATS:
        found += promises(name, text)
    if name.endswith(".py") and name.startswith(SOURCES) and not name.startswith(GENERATED):
        found += lengths(name, text)
    return found


def files() -> list[str]:
    """The files that are in the repository or would be added to it."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).is_file())


def main() -> int:
    """Print every problem; 1 when there is one."""
    found = []
    for name in files():
        try:
            text = (ROOT / name).read_text("utf-8")
        except UnicodeDecodeError:
            continue
        found += problems(name, text)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
