"""Answering a policy: the verdict of each question, and the outcome that follows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from credproof.attestation.statement import Statement
from credproof.verification.assurance import is_assured, is_fresh
from credproof.verification.policy import Outcome, Policy, Question, Reason, Verdict


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The verdict of every question of a policy, and the outcome.

    `failing` is the question that REFER tells, where the policy says so. `absent` are digests of
    schemas that INCOMPLETE shows the absence of, where the policy requires completeness.
    """

    verdicts: Mapping[str, Verdict]
    outcome: Outcome
    failing: str | None = None
    absent: frozenset[bytes] = frozenset()


def evaluate(
    policy: Policy,
    statements: Sequence[Statement],
    *,
    now: int,
    incomplete: Collection[bytes] = (),
) -> Evaluation:
    """Answer a policy over all current attestations of one borrower.

    `incomplete` are digests of schemas of which there are others that may not be looked at.

    The outcome is the best tier all of whose questions are YES; REFER when every tier has a
    NO; INCOMPLETE when only an UNKNOWN stands in the way: never a decline.
    """
    found = {
        name: _over_all(policy, question, statements, now, incomplete)
        for name, question in policy.questions.items()
    }
    verdicts = {name: verdict for name, (verdict, _) in found.items()}
    for tier in policy.tiers:
        if all(verdicts[name] == "YES" for name in tier.when):
            return Evaluation(verdicts, Outcome("TIER", tier.name))
    open_tiers = [t for t in policy.tiers if all(verdicts[name] != "NO" for name in t.when)]
    if not open_tiers:
        return Evaluation(verdicts, Outcome("REFER"), _failing(policy, verdicts))
    why = {n: found[n][1] for tier in open_tiers for n in tier.when if verdicts[n] == "UNKNOWN"}
    outcome = Outcome("INCOMPLETE", reasons=tuple(sorted(filter(None, set(why.values())))))
    return Evaluation(verdicts, outcome, absent=_absent(policy, why))


def _absent(policy: Policy, why: Mapping[str, Reason | None]) -> frozenset[bytes]:
    """Elsewhere a proof would tell whether others may not be looked at: by its being there."""
    if policy.completeness != "required":
        return frozenset()
    return frozenset(policy.questions[n].schema.digest for n in why if why[n] == "ABSENT")


def _failing(policy: Policy, verdicts: Mapping[str, Verdict]) -> str | None:
    """The first NO of the last tier, the easiest: what would have to change for any tier."""
    if policy.telling == "silent":
        return None
    return next(name for name in policy.tiers[-1].when if verdicts[name] == "NO")


def _over_all(
    policy: Policy,
    question: Question,
    statements: Sequence[Statement],
    now: int,
    incomplete: Collection[bytes],
) -> tuple[Verdict, Reason | None]:
    asked = [s for s in statements if s.schema.digest == question.schema.digest]
    if policy.completeness == "required" and question.schema.digest in incomplete:
        return "UNKNOWN", "NOT_COMPLETE"
    if not asked:
        return "UNKNOWN", "ABSENT"
    if len({statement.issuer for statement in asked}) < policy.sources_min:
        return "UNKNOWN", "FEW_SOURCES"
    if question.assurance is not None:
        assured = is_assured(policy, question.assurance, asked, now)
        return ("YES", None) if assured else ("UNKNOWN", "NOT_ASSURED")
    found = [judge(policy, question, statement, now) for statement in asked]
    decisive: Verdict = "NO" if question.over == "each" else "YES"
    for wanted in (decisive, "UNKNOWN"):
        for item in found:
            if item[0] == wanted:
                return item
    return ("YES", None) if question.over == "each" else ("NO", None)


def judge(
    policy: Policy, question: Question, statement: Statement, now: int
) -> tuple[Verdict, Reason | None]:
    """The verdict of a fact or condition on one current attestation; UNKNOWN has its reason."""
    if not is_fresh(policy, statement, now):
        return "UNKNOWN", "STALE"
    if question.currency not in (None, statement.currency):
        return "UNKNOWN", "OTHER_CURRENCY"
    if question.condition is not None:
        holds = question.condition.evaluate(statement.values[question.condition.claim])
    else:
        holds = statement.facts()[question.fact or ""]
    if holds is None:
        return "UNKNOWN", "NO_VALUE"
    return ("YES" if holds else "NO"), None
