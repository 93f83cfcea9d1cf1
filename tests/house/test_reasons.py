"""Every stable reason is named by a test, and every limit by product code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from credproof.base import errors, limits

ROOT = Path(__file__).parent.parent.parent
GENERATED = ROOT / "client" / "credproof" / "v1"
LIMITS_FILE = ROOT / "client" / "credproof" / "base" / "limits.py"

REASON_AT = {
    **{name: 0 for name in vars(errors) if name[0].isupper()},
    "LogFault": 0,
    "NotFiled": 1,
    "NotShown": 0,
    "RejectedRow": 1,
}
"""Who takes a reason, and as which of its arguments."""
REASON = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*")

UNTESTED: dict[str, str] = {}
"""Reasons that no test names, each with why none can."""


def product() -> list[Path]:
    paths = [*(ROOT / "client").rglob("*.py"), *(ROOT / "server").rglob("*.py")]
    return [path for path in paths if GENERATED not in path.parents]


def files_of_tests() -> list[Path]:
    return [path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)]


def texts(nodes: Iterable[ast.AST | None]) -> set[str]:
    """The constants among these nodes that are spelled like a reason."""
    found = {node.value for node in nodes if isinstance(node, ast.Constant)}
    return {text for text in found if isinstance(text, str) and REASON.fullmatch(text)}


def given(tree: ast.AST) -> Iterator[ast.expr]:
    """What is given as the reason, wherever a reason is taken."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if len(node.args) > REASON_AT.get(name, len(node.args)):
                yield node.args[REASON_AT[name]]


def raised(source: str) -> set[str]:
    """The reasons of a file: spelled in the call, or as the keys of a table of checks."""
    tree = ast.parse(source)
    found = texts(given(tree))
    for function in ast.walk(tree):
        named = isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if named and any(isinstance(reason, ast.Name) for reason in given(function)):
            tables = [node for node in ast.walk(function) if isinstance(node, ast.Dict)]
            found |= texts(key for table in tables for key in table.keys)
    return found


def named(source: str) -> set[str]:
    """What a test file names in quotation marks; a comment does not count."""
    return texts(ast.walk(ast.parse(source)))


def every(sources: list[Path], of) -> set[str]:
    return set().union(*(of(path.read_text("utf-8")) for path in sources))


def used(source: str) -> set[str]:
    """The names that a file reads."""
    nodes = list(ast.walk(ast.parse(source)))
    found = {node.id for node in nodes if isinstance(node, ast.Name)}
    return found | {node.attr for node in nodes if isinstance(node, ast.Attribute)}


def test_every_reason_that_can_be_raised_is_named_by_a_test():
    found = every(product(), raised)
    assert len(found) > 150
    assert found - every(files_of_tests(), named) == set(UNTESTED)


def test_every_limit_is_used_by_product_code():
    names = {name for name in vars(limits) if name.isupper()}
    assert len(names) > 30
    elsewhere = [path for path in product() if path != LIMITS_FILE]
    assert names - every(elsewhere, used) == set()


def test_every_way_of_spelling_a_reason_is_seen():
    assert raised('raise Malformed("MADE_UP", "text")') == {"MADE_UP"}
    assert raised('raise errors.Conflict("MADE_UP", "text", step=3)') == {"MADE_UP"}
    assert raised('row = RejectedRow(3, "MADE_UP", "text")') == {"MADE_UP"}
    table = 'def f(a):\n    checks = {"MADE_UP": a}\n    for reason in checks:\n'
    assert raised(table + '        raise Refused(reason, "text")') == {"MADE_UP"}
    assert raised('def f(a):\n    return {"NO_REASON": a}') == set()


def test_a_comment_is_no_test():
    assert named('# "MADE_UP"\nreason = "OTHER"') == {"OTHER"}


def test_a_limit_is_not_used_by_being_imported():
    assert used("from credproof.base.limits import MADE_UP_MAX") == set()
