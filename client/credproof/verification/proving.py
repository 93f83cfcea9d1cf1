"""Proving: from opened attestations to the evidence for an outcome, and nothing more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from credproof.attestation.statement import Opening, Statement
from credproof.base.errors import VerificationFailed
from credproof.verification import assurance
from credproof.verification.answer import Proof, QuestionResult
from credproof.verification.evaluation import Evaluation, judge
from credproof.verification.policy import Assurance, Policy, Question, Tier, Verdict


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


Evidence: TypeAlias = tuple[tuple[Proved, ...], tuple[QuestionResult, ...]]


def prove(
    policy: Policy, evaluation: Evaluation, holdings: Sequence[Holding], *, now: int
) -> Evidence:
    """What an answer shows: the proofs of its tier, or of what REFER tells, or nothing."""
    tier = policy.tier(evaluation.outcome.tier or "")
    if tier is not None:
        return prove_tier(policy, tier, holdings, now=now)
    if evaluation.failing is not None:
        return prove_failing(policy, evaluation.failing, holdings, now=now)
    return (), ()


def prove_tier(policy: Policy, tier: Tier, holdings: Sequence[Holding], *, now: int) -> Evidence:
    """The proofs of a tier whose questions are all YES.

    `each` is proved on every holding of its schema, `any` on the first that gives a proof, an
    assurance on as few as suffice. Holdings that prove nothing are left out. They keep the
    order given.

    Raises:
        VerificationFailed: `NOT_PROVABLE`.
    """
    return _prove_all(policy, tier.when, "YES", holdings, now)


def prove_failing(policy: Policy, name: str, holdings: Sequence[Holding], *, now: int) -> Evidence:
    """The proof that one question is NO: on the first holding that fails `each`, on all of `any`.

    Raises:
        VerificationFailed: `NOT_PROVABLE`.
    """
    return _prove_all(policy, (name,), "NO", holdings, now)


def _prove_all(
    policy: Policy, names: Sequence[str], verdict: Verdict, holdings: Sequence[Holding], now: int
) -> Evidence:
    proofs: dict[bytes, list[Proof]] = {}
    results = []
    for name in names:
        question = policy.questions[name]
        used = _used(policy, question, verdict, holdings, now)
        for holding in used:
            data = _prove(question, verdict, holding.opening)
            proofs.setdefault(holding.token_id, []).append(Proof(name, data))
        oldest = min(holding.statement.as_of for holding in used)
        results.append(QuestionResult(name, oldest.isoformat(), verdict))
    evidence = tuple(
        Proved(holding, tuple(proofs[holding.token_id]))
        for holding in holdings
        if holding.token_id in proofs
    )
    return evidence, tuple(results)


def _used(
    policy: Policy, question: Question, verdict: Verdict, holdings: Sequence[Holding], now: int
) -> list[Holding]:
    asked = [h for h in holdings if h.statement.schema.digest == question.schema.digest]
    if question.assurance is not None:
        return _assuring(policy, question.assurance, asked, now)
    found = [h for h in asked if judge(policy, question, h.statement, now)[0] == verdict]
    if not found or (question.needs_all(verdict) and len(found) < len(asked)):
        raise VerificationFailed("NOT_PROVABLE", "the attestations do not prove this")
    return asked if question.needs_all(verdict) else found[:1]


def _assuring(
    policy: Policy, wanted: Assurance, asked: Sequence[Holding], now: int
) -> list[Holding]:
    """As few of the holdings as suffice."""
    found = {h.token_id: assurance.check_of(policy, wanted, h.statement, now) for h in asked}
    checks = {token_id: check for token_id, check in found.items() if check is not None}
    if not assurance.suffices(policy, wanted, list(checks.values())):
        raise VerificationFailed("NOT_PROVABLE", "the identity checks do not suffice")
    kept = assurance.fewest(policy, wanted, checks)
    return [holding for holding in asked if holding.token_id in kept]


def _prove(question: Question, verdict: Verdict, opening: Opening) -> bytes:
    if question.assurance is not None:
        return assurance.prove(question.assurance, opening)
    if question.condition is not None:
        holds = verdict == "YES"
        return opening.prove(question.condition if holds else question.condition.opposite)
    disclosure = opening.disclose(question.fact or "")
    if disclosure.value is not (verdict == "YES"):
        raise VerificationFailed("NOT_PROVABLE", "the attested fact is another")
    return disclosure.text.encode("ascii")
