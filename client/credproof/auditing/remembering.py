"""What the rules remember of a log, made anew out of its lines.

A bit of it that flipped would have the next entry break a rule that the log keeps.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

from credproof.auditing.history import History
from credproof.auditing.index import INDEX_NAME, Index
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.log.entry import Entry, parse_entry
from credproof.verification.log_rules import TIME_IN_FUTURE, Finding, LogRules
from credproof.verification.rule_state import LAST, Thing


def require_remembered(
    index: Index, history: History, page: Sequence[Entry], findings: Sequence[Finding], now: int
) -> None:
    """Accept that a page breaks these rules, and what they remember after it.

    Both are made anew out of the lines before the page, which must be what was verified.

    Raises:
        DataLoss: `INDEX_DAMAGED`; `REGISTRY_NOT_KEPT`.
    """
    with tempfile.TemporaryDirectory() as folder, Index(Path(folder) / INDEX_NAME) as made:
        rules = LogRules(made, history.logged)
        with made.transaction():
            for some in _pages(index, page[0].seq):
                rules.feed_page(some, now)
            found = rules.feed_page(page, now)
        pairs = zip_longest(_things(index), _things(made))
        is_same = all(kept == right for kept, right in pairs)
    if not is_same or _broken(found) != _broken(findings):
        raise index.damaged()


def _pages(index: Index, end: int) -> Iterator[Sequence[Entry]]:
    for start in range(0, end, ENTRIES_PAGE_MAX):
        lines = index.lines(start, min(start + ENTRIES_PAGE_MAX, end))
        yield [parse_entry(line) for line in lines]


def _things(index: Index) -> Iterator[tuple[str, Thing]]:
    """What is remembered, but for what the clock said when an entry was read."""
    for name, thing in index.things():
        yield name, {**thing, "ahead": 0} if name == LAST else thing


def _broken(findings: Sequence[Finding]) -> Sequence[Finding]:
    """Those that no clock brought."""
    return [finding for finding in findings if finding.rule != TIME_IN_FUTURE]
