"""Watching lenders: what they ask is counted in the commit that settles it, and misuse is raised.

Counting decides in the order of the log, so calls that race count like calls in a row, and the
items of a batch like single questions. All that counts is in the database: no restart forgets it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from credproof.base.errors import Refused
from credproof.base.limits import ANOMALY_EVIDENCE_MAX, OBSERVATIONS_MAX
from credproof.verification.policy import Policy
from credproof.verification.trust import Trust

from credproof_server.conduct import detector
from credproof_server.conduct.detector import Asked, Finding, Refusal, Tally
from credproof_server.conduct.rules import DAY_S, MINUTE_S, Rule, Rules
from credproof_server.log.state import Transaction
from credproof_server.service.raising import Borrower, Raised, throttled
from credproof_server.service.uses import Question
from credproof_server.storage import observations
from credproof_server.storage.vault import DataKey

_OF_REFUSALS: Final = {
    "enumeration": detector.find_enumeration,
    "consent-reuse": detector.find_reuse,
}
"""The rules that look at refused questions."""


class Watch:
    """Watches the questions of one commit, each after it was settled, in the order of the log."""

    def __init__(self, tx: Transaction, rules: Rules, questions: Sequence[Question]) -> None:
        lenders = {question.lender for question in questions}
        self._tx = tx
        self._rules = rules
        self._raised = Raised(tx, rules, lenders)
        self._tallies = Tallies(tx, lenders)
        self._excused = Excused(tx, questions, self._tallies.minute_start)
        self._refusals: dict[str, list[Refusal]] = {}
        self._fresh: list[dict[str, object]] = []
        self._settled: defaultdict[str, list[int]] = defaultdict(list)
        self._asked = self._load_asked({question.sub for question in questions}, lenders)

    def throttle(self, lender: str) -> Refused | None:
        """Why the lender's questions are refused now, whatever they are about."""
        return throttled() if self._raised.is_throttled(lender) else None

    def answered(self, question: Question, key: DataKey, log_index: int) -> None:
        """A question was answered by the entry at `log_index`; `key` is the borrower's."""
        self._count(question, log_index, answered=1)
        if not self._look_at_burst(question.lender):
            self._look_at_bisection(question, key, log_index)

    def refused(self, question: Question, reason: str, log_index: int) -> None:
        """A question was refused by the entry at `log_index`; by a throttle, it is nothing new."""
        if reason == "THROTTLED":
            return
        excused = reason in detector.EXCUSED and self._excused.add(question)
        self._count(question, log_index, questions=0 if excused else 1)
        self._keep(question, reason, log_index)
        if not self._look_at_burst(question.lender):
            self._look_at_refusals(question.lender)

    def flush(self) -> None:
        """Keep what was counted."""
        self._tallies.flush()
        connection, start = self._tx.connection, self._tallies.minute_start
        observations.add_refusals(connection, self._fresh)
        for lender in {str(row["lender"]) for row in self._fresh}:
            reasons = detector.REFUSED_CONSENTS
            observations.trim_refusals(connection, lender, reasons, OBSERVATIONS_MAX, start)

    def _count(
        self, question: Question, log_index: int, *, questions: int = 1, answered: int = 0
    ) -> None:
        self._tallies.count(question.lender, questions=questions, answered=answered)
        self._settled[question.lender].append(log_index)

    # -- refused questions

    def _look_at_refusals(self, lender: str) -> None:
        for name, find in _OF_REFUSALS.items():
            rule = self._rules.get(name)
            if rule is None or self._raised.is_quiet(rule, lender):
                continue
            share = self._tallies.lately(lender, rule.window_s)
            self._raise(lender, find(rule, self._lately(rule, lender), share))
            if self._raised.is_throttled(lender):
                return  # one is enough

    def _keep(self, question: Question, reason: str, log_index: int) -> None:
        time, told = self._tx.time, (question.sub, question.consent_id, reason)
        if reason in detector.REFUSED_CONSENTS:
            found = self._refusals_of(question.lender)
            found.append(Refusal(log_index, time, *told))
            del found[:-OBSERVATIONS_MAX]
        names = ("log_index", "lender", "time", "sub", "consent_id", "reason")
        values = (log_index, question.lender, time, *told)
        self._fresh.append(dict(zip(names, values, strict=True)))

    def _refusals_of(self, lender: str) -> list[Refusal]:
        if lender not in self._refusals:
            since = self._tx.time - self._rules.refusals_window_s
            wanted = (lender, detector.REFUSED_CONSENTS, since, OBSERVATIONS_MAX)
            rows = observations.refusals_of(self._tx.connection, *wanted)
            self._refusals[lender] = [
                Refusal(r.log_index, r.time, r.sub, r.consent_id, r.reason) for r in rows
            ]
        return self._refusals[lender]

    def _lately(self, rule: Rule, lender: str) -> list[Refusal]:
        """What the rule looks at: in its window, and not counted when it was last raised."""
        since, after = self._tx.time - rule.window_s, self._raised.last_index(rule, lender)
        found = self._refusals_of(lender)
        return [item for item in found if item.time >= since and item.log_index > after]

    # -- all questions

    def _look_at_burst(self, lender: str) -> bool:
        """Whether a burst was raised just now."""
        rule, minute = self._rules.get("burst"), self._tallies.minute(lender)
        if rule is None:
            return False
        if lender in rule.own:
            minute.excused = self._excused.of(lender)
        if not detector.is_burst(rule, lender, minute):
            return False
        start = self._tallies.minute_start
        if self._raised.is_since(rule, lender, start) or self._raised.is_quiet(rule, lender):
            return False
        asked = minute.questions + minute.excused
        counts = {"questions": asked, "answered": minute.answered}
        self._raise(lender, Finding.of(rule, self._shown(lender, start), **counts))
        return True

    def _shown(self, lender: str, start: int) -> list[int]:
        """Log indexes of the lender's newest questions, those of this commit too."""
        connection, limit = self._tx.connection, ANOMALY_EVIDENCE_MAX
        return [*observations.latest_of(connection, lender, start, limit), *self._settled[lender]]

    # -- answers about one borrower

    def _load_asked(
        self, subs: set[bytes], lenders: set[str]
    ) -> defaultdict[tuple[str, bytes], list[Asked]]:
        """The first answers under each policy; for what was raised before, those after that."""
        found: defaultdict[tuple[str, bytes], list[Asked]] = defaultdict(list)
        rule = self._rules.get("bisection")
        if rule is None:
            return found
        for row in self._first_asked(rule, subs, lenders, -1):
            found[row.lender, row.sub].append(_asked(row))
        for lender, sub in found:
            after = self._raised.last_index(rule, lender, sub)
            if after >= 0:
                rows = self._first_asked(rule, {sub}, {lender}, after)
                found[lender, sub] = [_asked(row) for row in rows]
        return found

    def _first_asked(
        self, rule: Rule, subs: set[bytes], lenders: set[str], after: int
    ) -> Sequence[Any]:
        since = self._tx.time - rule.window_s
        return observations.first_asked(self._tx.connection, lenders, subs, since, after)

    def _look_at_bisection(self, question: Question, key: DataKey, log_index: int) -> None:
        lender, sub, digest = question.lender, question.sub, question.policy.digest
        rule, asked = self._rules.get("bisection"), self._asked[lender, sub]
        if rule is None or self._raised.is_quiet(rule, lender, sub):
            return
        if digest in (item.policy_digest for item in asked):
            return  # it brings no rung that was not asked for before
        asked.append(Asked(log_index, lender, digest))
        assert self._tx.trust is not None
        finding = detector.find_bisection(rule, asked, by_digest(self._tx.trust))
        if finding is not None:
            asked.clear()
            self._raise(lender, finding, Borrower(sub, key))

    def _raise(self, lender: str, finding: Finding | None, about: Borrower | None = None) -> None:
        if finding is not None:
            self._raised.add(finding, [lender], about)


def _asked(row: Any) -> Asked:
    return Asked(row.log_index, row.lender, row.policy_digest)


def by_digest(trust: Trust) -> Mapping[bytes, Policy]:
    """Every policy that ever was in force."""
    return {ref.digest: policy for ref, policy in trust.policies.items()}


class Excused:
    """The questions of this minute that were refused for no conduct of their lender, under each
    consent the first: whoever asks again and again within a minute is counted."""

    def __init__(self, tx: Transaction, questions: Sequence[Question], start: int) -> None:
        self._connection = tx.connection
        self._start = start
        self._asked = {question.consent_id for question in questions}
        self._known: dict[str, set[bytes]] = {}
        self._added: defaultdict[str, set[bytes]] = defaultdict(set)

    def add(self, question: Question) -> bool:
        """Whether it is one, being the first under its consent."""
        lender, consent_id = question.lender, question.consent_id
        if consent_id in self._known_of(lender) or consent_id in self._added[lender]:
            return False
        self._added[lender].add(consent_id)
        return True

    def of(self, lender: str) -> int:
        """How many there are."""
        wanted = (lender, detector.EXCUSED, self._start)
        return observations.count_consents(self._connection, *wanted) + len(self._added[lender])

    def _known_of(self, lender: str) -> set[bytes]:
        if lender not in self._known:
            wanted = (lender, detector.EXCUSED, self._start, self._asked)
            self._known[lender] = observations.refused_under(self._connection, *wanted)
        return self._known[lender]


class Tallies:
    """How many questions lenders put, by minute and day (UTC)."""

    def __init__(self, tx: Transaction, lenders: set[str]) -> None:
        self._connection = tx.connection
        self._time = tx.time
        self.minute_start = tx.time - tx.time % MINUTE_S
        self._minutes = observations.tallies_at(tx.connection, lenders, MINUTE_S, self.minute_start)
        self._days: dict[tuple[str, int], tuple[int, int]] = {}
        self._added: defaultdict[str, Tally] = defaultdict(Tally)

    def count(self, lender: str, *, questions: int, answered: int) -> None:
        """So many more questions."""
        added = self._added[lender]
        added.questions += questions
        added.answered += answered

    def minute(self, lender: str) -> Tally:
        """The questions of this minute."""
        return self._with(lender, self._minutes.get(lender, (0, 0)))

    def lately(self, lender: str, window_s: int) -> Tally:
        """The questions of every day that a window reaches into."""
        first = self._time - window_s
        start = first - first % DAY_S
        if (lender, start) not in self._days:
            found = observations.tally_since(self._connection, lender, DAY_S, start)
            self._days[lender, start] = found
        return self._with(lender, self._days[lender, start])

    def _with(self, lender: str, stored: tuple[int, int]) -> Tally:
        added = self._added[lender]
        return Tally(stored[0] + added.questions, stored[1] + added.answered)

    def flush(self) -> None:
        """Keep what was added."""
        today = self._time - self._time % DAY_S
        rows = [
            {"lender": who, "span": span, "start": start}
            | {"questions": tally.questions, "answered": tally.answered}
            for who, tally in self._added.items()
            for span, start in ((MINUTE_S, self.minute_start), (DAY_S, today))
            if tally.questions
        ]
        observations.add_activity(self._connection, rows)


def watch_evaluations(
    tx: Transaction, rules: Rules, raised: Raised, lender: str, evaluated: int
) -> None:
    """Raise when a lender evaluated many pseudonyms today, and few answers followed."""
    rule, today = rules.get("idle-evaluations"), tx.time - tx.time % DAY_S
    if rule is None or evaluated < rule["evaluated"] or raised.is_since(rule, lender, today):
        return
    tally = Tallies(tx, {lender}).lately(lender, tx.time - today)
    if detector.is_idle(rule, evaluated, tally):
        shown = observations.latest_of(tx.connection, lender, today, ANOMALY_EVIDENCE_MAX)
        counts = {"evaluated": evaluated, "questions": tally.questions, "answered": tally.answered}
        raised.add(Finding.of(rule, shown, **counts), [lender])
