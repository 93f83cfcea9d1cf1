"""What a policy reveals, in bits: per claim, per answer, and at most by any policy.

A threshold cuts a claim's range in two, so k different ones tell k + 1 parts apart: log2(k + 1)
bits. A ladder of N rungs never tells more than N + 1 parts apart, whoever asks how often. Upper
bounds for one borrower at one time, not what is learned on average.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import comb, log2

from credproof.attestation.schema import Schema
from credproof.verification.assurance import SHOWN
from credproof.verification.meter import conditions
from credproof.verification.policy import REASONS, Assurance, Policy, Question


@dataclass(frozen=True, slots=True)
class Revealed:
    """What a policy's questions reveal about one claim; `most` is what any policies could."""

    schema: str
    claim: str
    parts: int
    most: int

    @property
    def bits(self) -> float:
        return log2(self.parts)


@dataclass(frozen=True, slots=True)
class Lint:
    """What a policy reveals: bits per question, parts per claim, distinguishable answers."""

    questions: Mapping[str, float]
    claims: tuple[Revealed, ...]
    answers: int
    disclosed_bits: float

    @property
    def asked_bits(self) -> float:
        """What all questions together could reveal, were all their verdicts told."""
        return sum(item.bits for item in self.claims)

    @property
    def told_bits(self) -> float:
        """What one answer reveals at most, by its outcome and by what its proofs disclose."""
        return log2(self.answers) + self.disclosed_bits


def lint(policy: Policy) -> Lint:
    """What a parsed policy reveals. What cannot be proved or must not be asked does not parse."""
    questions = policy.questions.values()
    cuts: dict[tuple[str, str], set[int]] = {}
    shown: dict[tuple[str, str], Revealed] = {}
    for question in questions:
        for condition in conditions(question):
            cuts.setdefault((question.schema.id, condition.claim), set()).add(condition.threshold)
        if question.assurance is not None:
            for item in _shown(question.schema, question.assurance):
                shown[item.schema, item.claim] = item
    schemas = {question.schema.id: question.schema for question in questions}
    cut = [
        Revealed(name, claim, 1 + len(found), _most(schemas[name], claim))
        for (name, claim), found in cuts.items()
    ]
    return Lint(
        questions={question.name: _bits(question) for question in questions},
        claims=tuple(sorted((*cut, *shown.values()), key=lambda item: (item.schema, item.claim))),
        answers=_answers(policy),
        disclosed_bits=sum(item.bits for item in shown.values()),
    )


def _shown(schema: Schema, assurance: Assurance) -> list[Revealed]:
    """What the checks that are used disclose: channels and days; the result only that it matched.

    At most `channels` + `providers` checks are used, since none may be superfluous.
    """
    channel, _, day = SHOWN
    checks = assurance.channels + assurance.providers
    channels, days = len(schema.claims[channel].values), assurance.days + 1
    ways = sum(comb(channels, n) for n in range(1, min(channels, checks) + 1))
    return [
        Revealed(schema.id, channel, ways, 2**channels - 1),
        Revealed(schema.id, day, days**checks, days**checks),
    ]


def _bits(question: Question) -> float:
    """A verdict of YES or NO is one bit; what an assurance discloses comes on top."""
    if question.assurance is None:
        return 1.0
    return 1.0 + sum(item.bits for item in _shown(question.schema, question.assurance))


def _most(schema: Schema, claim: str) -> int:
    ladder = schema.ladders.get(claim)
    return 1 if ladder is None else 1 + len(ladder.thresholds)


def _answers(policy: Policy) -> int:
    """Outcomes that a lender can tell apart: tiers, REFER with what it tells, INCOMPLETE."""
    referred = 1 if policy.telling == "silent" else len(policy.tiers[-1].when)
    schemas = {question.schema.digest for question in policy.questions.values()}
    shown = (1 << len(schemas)) - 1 if policy.completeness == "required" else 1
    others = 1 << len(REASONS) - 1
    incomplete = others - 1 + others * shown  # without `ABSENT`, and with it: of which schemas
    return len(policy.tiers) + referred + incomplete
