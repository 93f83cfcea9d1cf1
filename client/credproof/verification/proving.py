"""Proving: from opened attestations to the evidence for a granted tier, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.attestation.statement import Opening, Statement
from credproof.base.errors import VerificationFailed
from credproof.verification.answer import Proof, QuestionResult
from credproof.verification.policy import Policy, Question, Tier, judge


@dataclass(frozen=True, slots=True)
class Holding:
    """One current attestation as the service holds it; `log_index` is its entry in the log."""

    token: str
    token_id: bytes
    log_index: int
    opening: Opening

    @property
    def statement(self) -> Statement:
        return self.opening.statement


@dataclass(frozen=True, slots=True)
class Proved:
    """A holding with the proofs it gives, in the order of the tier's questions."""

    holding: Holding
    proofs: tuple[Proof, ...]


def prove_tier(
    policy: Policy, tier: Tier, holdings: Sequence[Holding], *, now: int
) -> tuple[tuple[Proved, ...], tuple[QuestionResult, ...]]:
    """The proofs of a tier whose questions are all YES.

    `each` is proved on every holding of its schema, `any` on the first that gives a proof.
    Holdings that prove nothing are left out. They keep the order given.
    """
    proofs: dict[bytes, list[Proof]] = {}
    results = []
    for name in tier.when:
        question = policy.questions[name]
        used = _used(policy, question, holdings, now)
        proved = [(holding, _prove(question, holding.opening)) for holding in used]
        for holding, data in proved:
            proofs.setdefault(holding.token_id, []).append(Proof(name, data))
        oldest = min(holding.statement.as_of for holding in used)
        results.append(QuestionResult(name, oldest.isoformat()))
    evidence = tuple(
        Proved(holding, tuple(proofs[holding.token_id]))
        for holding in holdings
        if holding.token_id in proofs
    )
    return evidence, tuple(results)


def _used(
    policy: Policy, question: Question, holdings: Sequence[Holding], now: int
) -> list[Holding]:
    asked = [h for h in holdings if h.statement.schema.digest == question.schema.digest]
    yes = [h for h in asked if judge(policy, question, h.statement, now)[0] == "YES"]
    if not yes or (question.over == "each" and len(yes) < len(asked)):
        raise VerificationFailed("NOT_PROVABLE", "the attestations do not prove this tier")
    return asked if question.over == "each" else yes[:1]


def _prove(question: Question, opening: Opening) -> bytes:
    if question.condition is not None:
        return opening.prove(question.condition)
    disclosure = opening.disclose(question.fact or "")
    if disclosure.value is not True:
        raise VerificationFailed("NOT_PROVABLE", "the attested fact does not hold")
    return disclosure.text.encode("ascii")
