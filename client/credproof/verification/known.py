"""What kept answers imply about a borrower: an interval for each claim.

From what is proved, and from why no better tier was granted. Read as a lender would who takes every
figure that was asked about to be known, recent and in the currency asked for, and all accounts to
be as they were since the first answer. Where answers contradict one another something did change:
then only those from there on count.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from credproof.attestation.schema import Schema
from credproof.verification.answer import Answer, AnswerBundle
from credproof.verification.meter import (
    Cells,
    Interval,
    Named,
    bounds,
    conditions,
    meter,
    related,
)
from credproof.verification.policy import Policy, Question, Verdict


@dataclass(frozen=True, slots=True)
class Told:
    """A verified answer with its policy; `accounts` are how many there are, by schema id, where
    the answer shows proofs on all of them."""

    policy: Policy
    answer: Answer
    accounts: Mapping[str, int]


def told(policy: Policy, answer: Answer, bundle: AnswerBundle) -> Told:
    """What a verified bundle tells."""
    accounts: dict[str, int] = {}
    for result in answer.results:
        question = policy.questions[result.question]
        if question.needs_all(result.verdict):
            used = [t for t in bundle.tokens if any(p.question == question.name for p in t.proofs)]
            accounts[question.schema.id] = len(used)
    return Told(policy, answer, accounts)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a claim: it lies in `every` on all accounts of the borrower.

    On one account it is at least `some.low`, and on one, maybe another, below `some.end`.
    `cells` is the meter of the policies that were answered.
    """

    schema: Schema
    claim: str
    every: Interval
    some: Interval
    cells: Cells


def known(answers: Iterable[Told]) -> list[Known]:
    """What answers about one borrower imply, for each claim that they can tell of."""
    ordered = sorted(answers, key=lambda item: item.answer.issued_at)
    found = _Knowledge(ordered[:1])
    for item in ordered[1:]:
        together = _Knowledge([*found.answers, item])
        found = _Knowledge([item]) if together.is_contradictory else together
    return [
        Known(found.schemas[name[0]], name[1], *found.of(name), cells)
        for name, cells in meter(item.policy for item in ordered).items()
        if name[0] in found.schemas
    ]


@dataclass
class _Knowledge:
    """All that follows from some answers; each step of it is a bound of a claim."""

    answers: Sequence[Told]
    schemas: dict[str, Schema] = field(init=False)
    every: dict[Named, Interval] = field(init=False)
    some: dict[Named, Interval] = field(init=False)
    is_torn: bool = False

    def __post_init__(self) -> None:
        asked = [q for item in self.answers for q in item.policy.questions.values()]
        self.schemas = {question.schema.id: question.schema for question in asked}
        self.every = {
            (name, claim): interval
            for name, schema in self.schemas.items()
            for claim, interval in bounds(schema).items()
        }
        self.some = dict(self.every)
        for item in self.answers:
            for name, verdict in _verdicts(item):
                self._learn(item.policy.questions[name], verdict)
        self._conclude([clause for item in self.answers for clause in _failed(item)])

    def of(self, name: Named) -> tuple[Interval, Interval]:
        """What is known of a claim on every account, and on one account at least."""
        every, some = self.every[name], self.some[name]
        return every, Interval(max(every.low, some.low), min(every.end, some.end))

    @property
    def is_contradictory(self) -> bool:
        """Whether no figures at all fit: they have changed between the answers."""
        pairs = [(self.every[name], self.some[name]) for name in self.every]
        return self.is_torn or any(
            max(every.low, some.low) >= every.end or every.low >= min(every.end, some.end)
            for every, some in pairs
        )

    def _conclude(self, clauses: list[list[Question]]) -> None:
        """Of questions one of which is NO, all others being YES, the last one is NO."""
        before = None
        while before != (self.every, self.some):
            before = dict(self.every), dict(self.some)
            self._relate()
            for clause in clauses:
                left = [question for question in clause if not self._holds(question)]
                self.is_torn |= not left
                if len(left) == 1:
                    self._learn(left[0], "NO")

    def _learn(self, question: Question, verdict: Verdict) -> None:
        found = conditions(question)
        if verdict == "NO":  # one of several conditions fails: that bounds none of them
            found = (found[0].opposite,) if len(found) == 1 else ()
        is_every = question.needs_all(verdict) or self._has_one_account(question)
        scope = self.every if is_every else self.some
        for condition in found:
            name = (question.schema.id, condition.claim)
            low, end = scope[name].low, scope[name].end
            if condition.direction == "at_least":
                scope[name] = Interval(max(low, condition.threshold), end)
            else:
                scope[name] = Interval(low, min(end, condition.threshold))

    def _has_one_account(self, question: Question) -> bool:
        return any(item.accounts.get(question.schema.id) == 1 for item in self.answers)

    def _holds(self, question: Question) -> bool:
        """Whether its verdict is known to be YES."""
        scope = [self.every]
        if question.over == "any" and len(conditions(question)) == 1:
            scope.append(self.some)  # of several conditions each may hold on another account
        return any(
            all(part[question.schema.id, c.claim].implies(c) for c in conditions(question))
            for part in scope
        )

    def _relate(self) -> None:
        """What is never above another claim ends where that ends, and that begins where it does."""
        for name, schema in self.schemas.items():
            for _ in bounds(schema):
                for low, high in related(schema):
                    for scope in (self.every, self.some):
                        under, over = scope[name, low], scope[name, high]
                        scope[name, low] = Interval(under.low, min(under.end, over.end))
                        scope[name, high] = Interval(max(over.low, under.low), over.end)


def _verdicts(item: Told) -> list[tuple[str, Verdict]]:
    """The verdicts that an answer shows, or says to have come before what it shows."""
    found: list[tuple[str, Verdict]] = [(r.question, r.verdict) for r in item.answer.results]
    for result in item.answer.results:
        if result.verdict == "NO":
            when = item.policy.tiers[-1].when
            found += [(name, "YES") for name in when[: when.index(result.question)]]
    return found


def _failed(item: Told) -> list[list[Question]]:
    """The questions of each tier that was not granted although it is better: one is NO."""
    policy, outcome = item.policy, item.answer.outcome
    names = [tier.name for tier in policy.tiers]
    if outcome.kind == "INCOMPLETE":
        return []
    granted = names.index(outcome.tier) if outcome.tier else len(names)
    return [[policy.questions[name] for name in tier.when] for tier in policy.tiers[:granted]]
