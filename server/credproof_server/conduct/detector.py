"""Finding misuse in what was counted: values in, a finding or None out; no clock, no database.

What a lender is throttled for follows from its own questions and what it was told in reply, and
from nothing else: so the moment of a throttle tells it nothing that it did not know.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from credproof.attestation.ladder import Condition
from credproof.base.limits import ANOMALY_EVIDENCE_MAX
from credproof.verification.policy import Policy, Question

from credproof_server.conduct.rules import Rule

BEFORE_CONSENT: Final = "NOT_PERMITTED"
REFUSED_CONSENTS: Final = frozenset(
    {BEFORE_CONSENT, "CONSENT_USED_UP", "CONSENT_REVOKED", "CONSENT_EXPIRED"}
)
"""What is told of a consent that permits nothing any more, or never did."""
EXCUSED: Final = frozenset({"CONSENT_PAUSED", "TOO_MANY_ATTESTATIONS"})
"""What is told when a provider or the borrower did something: no lender can foresee or cause it.
That a consent is revoked is told for good; that it expired or is used up, its lender knows."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that was broken: what was counted, and log indexes that show it."""

    rule: Rule
    counts: Mapping[str, int]
    evidence: tuple[int, ...]

    @classmethod
    def of(cls, rule: Rule, evidence: Sequence[int], **counts: int) -> Finding:
        """A finding with the newest of the evidence."""
        return cls(rule, counts, tuple(sorted(set(evidence))[-ANOMALY_EVIDENCE_MAX:]))


@dataclass(slots=True)
class Tally:
    """How many questions a lender put, and how many were answered.

    `excused` more were refused for no conduct of the lender: they are in no share.
    """

    questions: int = 0
    answered: int = 0
    excused: int = 0

    def is_below(self, percent: int) -> bool:
        """Whether a smaller share than this was answered."""
        return 100 * self.answered < percent * self.questions


@dataclass(frozen=True, slots=True)
class Refusal:
    """A refused question of a lender, by the log index of the refusal; `time` in seconds."""

    log_index: int
    time: int
    sub: bytes
    consent_id: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Asked:
    """An answer about one borrower: who asked, under which policy."""

    log_index: int
    lender: str
    policy_digest: bytes


# -- one lender -------------------------------------------------------------------


def find_enumeration(rule: Rule, refusals: Sequence[Refusal], tally: Tally) -> Finding | None:
    """Refused before consent about many different pseudonyms."""
    tried = {item.sub: item.log_index for item in refusals if item.reason == BEFORE_CONSENT}
    if len(tried) < rule["pseudonyms"] or not tally.is_below(rule["answered_percent"]):
        return None
    counts = {"questions": tally.questions, "answered": tally.answered}
    return Finding.of(rule, list(tried.values()), pseudonyms=len(tried), **counts)


def find_reuse(rule: Rule, refusals: Sequence[Refusal], tally: Tally) -> Finding | None:
    """Asked again about a borrower under a consent that was refused for this borrower before."""
    seen: set[tuple[bytes, bytes]] = set()
    again: list[int] = []
    for item in refusals:
        if item.reason in REFUSED_CONSENTS:
            pair = (item.sub, item.consent_id)
            if pair in seen:
                again.append(item.log_index)
            seen.add(pair)
    if len(again) < rule["repeats"] or not tally.is_below(rule["answered_percent"]):
        return None
    counts = {"questions": tally.questions, "answered": tally.answered}
    return Finding.of(rule, again, repeats=len(again), consents=len(seen), **counts)


def is_burst(rule: Rule, lender: str, minute: Tally) -> bool:
    """More questions in a minute than was agreed with the lender, or many and few answered."""
    own = rule.own.get(lender)
    if own is not None and minute.questions + minute.excused > own:
        return True
    many = minute.questions >= rule["questions"]
    return many and minute.is_below(rule["answered_percent"])


def is_idle(rule: Rule, evaluated: int, today: Tally) -> bool:
    """Many pseudonyms evaluated on a day, and few answers."""
    few = 100 * today.answered < rule["answered_percent"] * evaluated
    return evaluated >= rule["evaluated"] and few


# -- about one borrower -----------------------------------------------------------


def find_bisection(
    rule: Rule, asked: Sequence[Asked], policies: Mapping[bytes, Policy]
) -> Finding | None:
    """Answers that narrow one claim, each with a rung that none before had.

    `asked` is about one borrower, in the order of the log.
    """
    for steps in _steps(asked, policies).values():
        halvings = _halvings([probe for probe, _, _ in steps], steps[0][1])
        if len(steps) >= rule["steps"] or halvings >= rule["halvings"]:
            evidence = [item.log_index for _, _, item in steps]
            lenders = len({item.lender for _, _, item in steps})
            return Finding.of(rule, evidence, steps=len(steps), halvings=halvings, lenders=lenders)
    return None


def find_many(rule: Rule, asked: Sequence[Asked]) -> Finding | None:
    """Many lenders were answered about one borrower."""
    newest = {item.lender: item.log_index for item in asked}
    if len(newest) < rule["lenders"]:
        return None
    return Finding.of(rule, list(newest.values()), lenders=len(newest), answers=len(asked))


_Claim = tuple[bytes, str]
_Step = tuple[int, int, Asked]
"""The first new rung, by its place on the ladder from 1; how many rungs that has; the answer."""


def _steps(
    asked: Sequence[Asked], policies: Mapping[bytes, Policy]
) -> Mapping[_Claim, list[_Step]]:
    """The answers that brought a new rung, for each claim."""
    seen: dict[_Claim, set[int]] = {}
    steps: dict[_Claim, list[_Step]] = {}
    for item in asked:
        policy = policies.get(item.policy_digest)
        for claim, (places, size) in _rungs(policy).items() if policy else ():
            fresh = places - seen.setdefault(claim, set())
            if fresh:
                steps.setdefault(claim, []).append((min(fresh), size, item))
            seen[claim] |= places
    return steps


def _rungs(policy: Policy) -> Mapping[_Claim, tuple[set[int], int]]:
    """The rungs that a policy asks for, by claim, and how many there are."""
    found: dict[_Claim, tuple[set[int], int]] = {}
    for question in policy.questions.values():
        for condition in _conditions(question):
            ladder = question.schema.claims[condition.claim].ladder
            assert ladder is not None, "the grammar takes conditions on ladders only"
            claim = (question.schema.digest, condition.claim)
            places, _ = found.setdefault(claim, (set(), len(ladder.thresholds)))
            places.add(ladder.thresholds.index(condition.threshold) + 1)
    return found


def _conditions(question: Question) -> Iterator[Condition]:
    if question.fact is not None:
        yield from question.schema.facts[question.fact].when
    elif question.condition is not None:
        yield question.condition


def _halvings(probes: Sequence[int], size: int) -> int:
    """How many probes in a row, from the first on, left at most two thirds of the cells.

    A ladder of `size` rungs has size + 1 cells. Which side of a probe was left is seen by where
    the next one falls: the figures are not needed, and not known here.
    """
    low, high, count = 0, size + 1, 0
    for place, probe in enumerate(probes):
        larger = max(probe - low, high - probe)
        if not low < probe < high or 3 * larger > 2 * (high - low):
            break
        count += 1
        following = probes[place + 1] if place + 1 < len(probes) else probe
        low, high = (low, probe) if following < probe else (probe, high)
    return count
