"""Judging again, out of the auditor's own lines, before anybody is named for a broken rule.

What the rules remember is in the same file as the lines, and no signature covers it: damage there
would accuse whoever is honest, with files, or excuse whoever is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.own import require_own_state
from credproof.base.errors import DataLoss
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.log.entry import parse_entry
from credproof.log.stamped import AHEAD, BACKDATED
from credproof.verification.log_rules import TIME_IN_FUTURE, Finding, LogRules

_NOT_BY_LINES: Final = (TIME_IN_FUTURE, BACKDATED, AHEAD)
"""What a clock or a timestamp says of an entry."""
_ALWAYS: Final = 2**62
"""A time at which nothing is in the future any more, in whole seconds."""


def require_judged(index: Index, history: History) -> None:
    """What was found between entries is what the lines make, which are those that were verified.

    Raises:
        DataLoss: `INDEX_DAMAGED`; `REGISTRY_NOT_KEPT`, by which it cannot be said.
    """
    require_own_state(index, index.state)
    kept = {_name(found) for found in index.findings() if found.rule not in _NOT_BY_LINES}
    if kept != {_name(found) for found in _judged(index, history)}:
        message = f"{index.path.name} names other broken rules than its own lines break"
        raise DataLoss("INDEX_DAMAGED", message)


def _name(found: Finding) -> tuple[str, int]:
    return found.rule, found.log_index


def _judged(index: Index, history: History) -> Iterator[Finding]:
    with TemporaryDirectory() as folder, Index(Path(folder) / index.path.name) as memory:
        rules, lines = LogRules(memory, history.logged), index.lines()
        while page := [parse_entry(line) for line in islice(lines, ENTRIES_PAGE_MAX)]:
            yield from rules.feed_page(page, _ALWAYS)
