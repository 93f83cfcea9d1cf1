"""A policy in plain words: what it proves, and what it does not touch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import Schema
from credproof.base.limits import METER_DAYS
from credproof.base.money import money_text
from credproof.verification.assurance import SHOWN
from credproof.verification.policy import (
    Assurance,
    Narrowest,
    Policy,
    Question,
    Tier,
    Verdict,
)
from credproof.verification.text import Text, fill


def policy_text(policy: Policy, text: Text) -> str:
    """A policy: its tiers, what each needs, how often, how fresh."""
    period = text.words[policy.cap.per]
    told = [] if policy.telling == "silent" else ["  " + text.say("told")]
    told += ["  " + _narrowest_text(item, text) for item in policy.narrowest]
    return fill(
        text.policy,
        title=policy.title[text.language],
        id=policy.id,
        version=policy.version,
        tiers="\n".join([*(_tier_text(policy, tier, text) for tier in policy.tiers), *told]),
        caps=text.say("caps", count=policy.cap.count, period=period),
        fresh=text.say("fresh", days=policy.fresh_days),
    ).rstrip()


_DEMANDS: Final[Mapping[str, Mapping[str, str]]] = {
    "completeness": {
        "en": "No tier unless the answer shows that no attestation of what is asked was left out.",
        "zh": "答复须证明没有遗漏所询问的任何数据，否则不授予任何等级。",
    },
    "witness": {
        "en": "An answer counts only once enough witnesses have cosigned the log it stands in.",
        "zh": "答复所在的日志须经足够多的见证方联署，答复方才有效。",
    },
}
"""What a policy may demand of an answer, beside what it asks about a person."""


def demands(policy: Policy) -> tuple[str, ...]:
    """The names of what a policy demands of an answer: `completeness`, `witness`."""
    return tuple(name for name in _DEMANDS if getattr(policy, name) == "required")


def demands_text(policy: Policy, language: str) -> str:
    """The same in words, a line each (`en` or `zh`).

    A notice does not have them: they protect lenders, and open nothing about a borrower.
    """
    return "\n".join(_DEMANDS[name][language] for name in demands(policy))


def _narrowest_text(item: Narrowest, text: Text) -> str:
    title = item.schema.claims[item.claim].title[text.language]
    return text.say("narrowest", claim=title, bands=item.bands, days=METER_DAYS)


def question_text(question: Question, text: Text) -> str:
    """What a question proves when its verdict is YES."""
    if question.assurance is not None:
        return _assurance_text(question.assurance, text)
    title = _title(question, text)
    if question.condition is None:
        said = text.say("fact", fact=title)
    else:
        threshold = _threshold(question, question.condition, text)
        said = text.say(question.condition.direction, claim=title, threshold=threshold)
    return _BESIDE[text.language].format(said, text.words[question.over])


_BESIDE: Final[Mapping[str, str]] = {"en": "{} ({})", "zh": "{}（{}）"}
"""Something, and in brackets what is said beside it."""


def result_text(question: Question, verdict: Verdict, text: Text) -> str:
    """What a result proves: the question, or that it does not hold."""
    said = question_text(question, text)
    return said if verdict == "YES" else text.say("failing", question=said)


def _assurance_text(assurance: Assurance, text: Text) -> str:
    return text.say(
        "assured",
        level=assurance.level.threshold,
        channels=assurance.channels,
        providers=assurance.providers,
        days=assurance.days,
    )


def untouched(policies: Sequence[Policy], language: str) -> tuple[str, ...]:
    """The titles of all claims, of the schemas that are asked about, that no question looks at."""
    questions = [question for policy in policies for question in policy.questions.values()]
    schemas = {question.schema.digest: question.schema for question in questions}
    asked = {pair for question in questions for pair in _claims(question)}
    return tuple(
        claim.title[language]
        for digest, schema in sorted(schemas.items(), key=lambda item: item[1].id)
        for claim in schema.claims.values()
        if (digest, claim.name) not in asked
    )


def _tier_text(policy: Policy, tier: Tier, text: Text) -> str:
    lines = [f"    - {question_text(policy.questions[name], text)}" for name in tier.when]
    return "\n".join(["  " + text.say("tier", tier=tier.name), *lines])


def _claims(question: Question) -> list[tuple[bytes, str]]:
    schema: Schema = question.schema
    if question.assurance is not None:
        return [(schema.digest, name) for name in (question.assurance.level.claim, *SHOWN)]
    if question.condition is not None:
        return [(schema.digest, question.condition.claim)]
    conditions = schema.facts[question.fact or ""].when
    return [(schema.digest, condition.claim) for condition in conditions]


def _title(question: Question, text: Text) -> str:
    if question.condition is None:
        return question.schema.facts[question.fact or ""].title[text.language]
    return question.schema.claims[question.condition.claim].title[text.language]


def _threshold(question: Question, condition: Condition, text: Text) -> str:
    kind = question.schema.claims[condition.claim].type
    return value_text(condition.threshold, kind, question.currency, text)


def value_text(value: int, kind: str, currency: str | None, text: Text) -> str:
    """A value of a claim of this type with its unit; money of no known currency in minor units."""
    match kind:
        case "money" if currency is not None:
            return money_text(value, currency)
        case "money":
            return f"{value} minor units"
        case "days":
            return text.say("days", count=value)
        case "basis-points":
            whole, rest = divmod(value, 100)
            return text.say("percent", count=f"{whole}.{rest:02d}" if rest else whole)
        case _:
            return str(value)
