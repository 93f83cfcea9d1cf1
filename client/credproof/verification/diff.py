"""What changes from one version of a policy to another, in words for operators."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from credproof.verification.explain import question_text
from credproof.verification.policy import Policy, Question, Tier
from credproof.verification.text import Text


def policy_diff(old: Policy, new: Policy, text: Text) -> list[str]:
    """One line per change; none when both ask, grant and allow the same."""
    return [*_terms(old, new), *_questions(old, new, text), *_tiers(old, new)]


def _terms(old: Policy, new: Policy) -> Iterator[str]:
    pairs = {
        "id": (old.id, new.id),
        "title": (_pairs(old.title.items()), _pairs(new.title.items())),
        "purpose": (old.purpose, new.purpose),
        "lenders": (", ".join(old.lenders), ", ".join(new.lenders)),
        "fresh": (f"{old.fresh_days} days", f"{new.fresh_days} days"),
        "sources": (old.sources_min, new.sources_min),
        "answers": (f"{old.cap.count} per {old.cap.per}", f"{new.cap.count} per {new.cap.per}"),
        "completeness": (old.completeness, new.completeness),
        "witness": (old.witness, new.witness),
        "route": (old.route, new.route),
        "REFER tells": (old.telling, new.telling),
        "narrowest": (_narrowest(old), _narrowest(new)),
    }
    return (f"{name}: {was} -> {is_}" for name, (was, is_) in pairs.items() if was != is_)


def _narrowest(policy: Policy) -> str:
    promised = (f"{i.schema.id} {i.claim} {i.bands} bands" for i in policy.narrowest)
    return ", ".join(promised) or "nothing"


def _questions(old: Policy, new: Policy, text: Text) -> Iterator[str]:
    for name, question in old.questions.items():
        if name not in new.questions:
            yield f"question {name} removed: {question_text(question, text)}"
        elif question != new.questions[name]:
            yield _changed(question, new.questions[name], text)
    for name, question in new.questions.items():
        if name not in old.questions:
            yield f"question {name} added: {question_text(question, text)}"


def _changed(old: Question, new: Question, text: Text) -> str:
    was, is_ = question_text(old, text), question_text(new, text)
    if old.condition and new.condition and _kind(old) == _kind(new):
        moved = f"{old.condition.threshold} -> {new.condition.threshold}"
        return f"question {old.name}: threshold moved {moved}: {is_}"
    schemas = f" ({old.schema.id} -> {new.schema.id})" if old.schema.id != new.schema.id else ""
    return f"question {old.name} changed{schemas}: {was} -> {is_}"


def _kind(question: Question) -> tuple[object, ...]:
    """All of a condition's question but its threshold."""
    condition = question.condition
    asked = (condition.claim, condition.direction) if condition else ()
    return (question.schema.digest, asked, question.currency, question.over)


def _tiers(old: Policy, new: Policy) -> Iterator[str]:
    for tier in old.tiers:
        other = new.tier(tier.name)
        if other is None:
            yield f"tier {tier.name} removed"
        else:
            yield from _tier(tier, other)
    yield from (
        f"tier {tier.name} added: {', '.join(tier.when)}; offer {_offer(tier)}"
        for tier in new.tiers
        if old.tier(tier.name) is None
    )
    kept = [tier.name for tier in old.tiers if new.tier(tier.name)]
    order = [tier.name for tier in new.tiers if old.tier(tier.name)]
    if kept != order:
        yield f"order of tiers: {', '.join(kept)} -> {', '.join(order)}"


def _tier(old: Tier, new: Tier) -> Iterator[str]:
    if old.when != new.when:
        yield f"tier {old.name} needs: {', '.join(old.when)} -> {', '.join(new.when)}"
    if old.offer != new.offer:
        yield f"tier {old.name} offers: {_offer(old)} -> {_offer(new)}"


def _offer(tier: Tier) -> str:
    return _pairs(tier.offer.items()) or "nothing"


def _pairs(items: Iterable[tuple[str, object]]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(items))
