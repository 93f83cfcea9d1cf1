"""Looking for what lenders do together, and forgetting what no rule looks at any more.

It is only told, never throttled, and not found in the commit of a question but at a time of its
own: a lender sees how the log grows, and must not see that its question was one of many.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.errors import DataLoss
from credproof.verification.policy import Policy
from sqlalchemy import Connection, Row

from credproof_server.conduct.detector import Asked, Finding, find_bisection, find_many
from credproof_server.conduct.rules import DAY_S, Rule, Rules
from credproof_server.log.state import Transaction
from credproof_server.service.core import Core
from credproof_server.service.monitoring import by_digest
from credproof_server.service.raising import Borrower, Raised
from credproof_server.storage import observations

TOGETHER: Final = ("joint-bisection", "many-lenders")
"""The rules about what several lenders do."""
PAGE: Final = 500
"""Borrowers who are looked up at once."""


class Looking:
    """Looks at the answers about each borrower about whom several lenders asked."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def look(self) -> int:
        """Raise what is found; gives how much was raised."""
        found = await self._core.in_thread(self._find)
        return (await self._core.commit(RaiseTogether(self._core.rules, found))).value

    def _find(self) -> list[Borrower]:
        """Those about whom a rule may be broken; the commit decides about these few."""
        core = self._core
        windows = [rule.window_s for rule in _together(core.rules)]
        if not windows:
            return []
        now = core.clock()
        with core.engine.connect() as connection:
            subs = observations.asked_by_several(connection, now - max(windows))
            rows = list(_rows(connection, subs, now - max(windows)))
        policies = by_digest(core.trust)
        broken = [sub for sub, asked in rows if any(_findings(core.rules, policies, asked, now))]
        return self._named(broken)

    def _named(self, subs: Sequence[bytes]) -> list[Borrower]:
        """These borrowers with their keys, but who was erased; a damaged key hides no other."""
        found = []
        for sub, wrapped in self._core.vault.wrapped(subs).items() if subs else ():
            with suppress(DataLoss):
                found.append(Borrower(sub, self._core.vault.unwrap(sub, wrapped)))
        return found


@dataclass(frozen=True, slots=True)
class RaiseTogether:
    """Raises what several lenders did about some borrowers, and forgets what is too old."""

    rules: Rules
    borrowers: Sequence[Borrower]

    def apply(self, tx: Transaction) -> int:
        """How much was raised."""
        oldest = tx.time - self.rules.longest_window_s
        refused = tx.time - self.rules.refusals_window_s
        observations.forget_refusals(tx.connection, refused - DAY_S)
        observations.forget_activity(tx.connection, oldest - DAY_S)
        about = {borrower.sub: borrower for borrower in self.borrowers}
        raised, count = Raised(tx, self.rules, None), 0
        assert tx.trust is not None
        policies = by_digest(tx.trust)
        for sub, asked in _rows(tx.connection, list(about), oldest):
            for finding, lenders in _findings(self.rules, policies, asked, tx.time, raised):
                raised.add(finding, lenders, about[sub])
                count += 1
        return count


def _together(rules: Rules) -> list[Rule]:
    return [rule for name in TOGETHER if (rule := rules.get(name)) is not None]


def _rows(
    connection: Connection, subs: Sequence[bytes], since: int
) -> Iterator[tuple[bytes, list[Row[Any]]]]:
    """The answers about each borrower since a time, in the order of the log."""
    for start in range(0, len(subs), PAGE):
        found: defaultdict[bytes, list[Row[Any]]] = defaultdict(list)
        for row in observations.asked_about(connection, subs[start : start + PAGE], since):
            found[row.sub].append(row)
        yield from found.items()


def _findings(
    rules: Rules,
    policies: Mapping[bytes, Policy],
    rows: Sequence[Row[Any]],
    now: int,
    raised: Raised | None = None,
) -> Iterator[tuple[Finding, list[str]]]:
    """The rules that are broken about one borrower, and the lenders who did it together.

    What `raised` says was told already is not told again.
    """
    for rule in _together(rules):
        if raised is not None and raised.is_quiet(rule, None, rows[0].sub):
            continue
        after = -1 if raised is None else raised.last_index(rule, None, rows[0].sub)
        lately = [r for r in rows if r.time >= now - rule.window_s and r.log_index > after]
        asked = [Asked(r.log_index, r.lender, r.policy_digest) for r in lately]
        narrows = rule.name == "joint-bisection"
        finding = find_bisection(rule, asked, policies) if narrows else find_many(rule, asked)
        if finding is not None:
            lenders = sorted({a.lender for a in asked if a.log_index in finding.evidence})
            if len(lenders) > 1:
                yield finding, lenders
