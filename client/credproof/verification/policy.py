"""Policies: the questions that may be asked, and the tiers that their answers grant.

A policy is a YAML document, pinned by the digest of its canonical JSON. Its grammar is
closed, so that what can be asked can be proved: `docs/PROTOCOL.md`, "Policy".
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import Schema, parse_condition, parse_titles
from credproof.attestation.statement import Statement
from credproof.base.encoding import Json, b64url, canonical_json, date_of, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.limits import POLICY_QUESTIONS_MAX, POLICY_TIERS_MAX, at_most
from credproof.base.members import Members
from credproof.base.yaml import parse_document

PURPOSES = ("ORIGINATION", "REVIEW", "COLLECTION", "SERVICING")
REPAYMENTS = ("equal_instalments", "equal_principal", "interest_first", "bullet")

ROUTES = ("any", "licensed-bureau")
"""By whom a policy may be answered."""

Verdict = Literal["YES", "NO", "UNKNOWN"]
OutcomeKind = Literal["TIER", "REFER", "INCOMPLETE"]
Reason = Literal["ABSENT", "STALE", "NO_VALUE", "OTHER_CURRENCY", "FEW_SOURCES", "NOT_COMPLETE"]
REASONS = ("ABSENT", "STALE", "NO_VALUE", "OTHER_CURRENCY", "FEW_SOURCES", "NOT_COMPLETE")
"""Why a question is UNKNOWN."""

_ID = re.compile(r"[a-z][a-z0-9-]{2,62}\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}\Z")
_DAYS = re.compile(r"([1-9][0-9]{0,3})d\Z")
_CAP = re.compile(r"([1-9][0-9]{0,5}) per (consent|day|month)\Z")


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy as consents and answers name it: id, version and digest."""

    id: str
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Question:
    """One question: a fact, or a condition on a claim, over each or any current attestation."""

    name: str
    schema: Schema
    fact: str | None
    condition: Condition | None
    currency: str | None
    over: Literal["each", "any"]


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier, the questions that must all be YES, and what the lender offers for it."""

    name: str
    when: tuple[str, ...]
    offer: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Cap:
    """At most `count` answers per consent, calendar day or calendar month."""

    count: int
    per: Literal["consent", "day", "month"]


@dataclass(frozen=True)
class Policy:
    """A parsed policy; `document` is its canonical JSON."""

    id: str
    version: int
    title: Mapping[str, str]
    purpose: str
    lenders: tuple[str, ...]
    fresh_days: int
    sources_min: int
    cap: Cap
    completeness: Literal["reported", "required"]
    route: Literal["any", "licensed-bureau"]
    questions: Mapping[str, Question]
    tiers: tuple[Tier, ...]
    document: bytes

    @cached_property
    def ref(self) -> PolicyRef:
        """What pins the policy."""
        return PolicyRef(self.id, self.version, tagged_hash("policy", self.document))

    def tier(self, name: str) -> Tier | None:
        """The tier of this name."""
        return next((tier for tier in self.tiers if tier.name == name), None)

    def allows(self, lender: str) -> bool:
        """Whether this lender may use the policy."""
        return "any" in self.lenders or lender in self.lenders

    def oldest(self, time: int) -> dt.date:
        """The earliest `as_of` that is fresh at `time` (whole seconds)."""
        return date_of(time) - dt.timedelta(days=self.fresh_days)


# -- evaluation ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """TIER with its name, REFER, or INCOMPLETE with the reasons that stand in the way."""

    kind: OutcomeKind
    tier: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The verdict of every question of a policy, and the outcome."""

    verdicts: Mapping[str, Verdict]
    outcome: Outcome


def evaluate(policy: Policy, statements: Sequence[Statement], *, now: int) -> Evaluation:
    """Answer a policy over all current attestations of one borrower.

    The outcome is the best tier all of whose questions are YES; REFER when every tier has a
    NO; INCOMPLETE when only an UNKNOWN stands in the way: never a decline.
    """
    found = {
        name: _over_all(policy, question, statements, now)
        for name, question in policy.questions.items()
    }
    verdicts = {name: verdict for name, (verdict, _) in found.items()}
    for tier in policy.tiers:
        if all(verdicts[name] == "YES" for name in tier.when):
            return Evaluation(verdicts, Outcome("TIER", tier.name))
    open_tiers = [t for t in policy.tiers if all(verdicts[name] != "NO" for name in t.when)]
    reasons = {found[n][1] for tier in open_tiers for n in tier.when if verdicts[n] == "UNKNOWN"}
    if not open_tiers:
        return Evaluation(verdicts, Outcome("REFER"))
    return Evaluation(verdicts, Outcome("INCOMPLETE", reasons=tuple(sorted(filter(None, reasons)))))


def _over_all(
    policy: Policy, question: Question, statements: Sequence[Statement], now: int
) -> tuple[Verdict, Reason | None]:
    asked = [s for s in statements if s.schema.digest == question.schema.digest]
    if not asked:
        return "UNKNOWN", "ABSENT"
    if policy.completeness == "required":
        return "UNKNOWN", "NOT_COMPLETE"
    if len({statement.issuer for statement in asked}) < policy.sources_min:
        return "UNKNOWN", "FEW_SOURCES"
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
    """The verdict of one question on one current attestation; with UNKNOWN comes its reason."""
    if statement.as_of < policy.oldest(now) or statement.expires_at < now:
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


# -- parsing ------------------------------------------------------------------


def parse_policy(data: bytes, schemas: Mapping[str, Schema]) -> Policy:
    """The policy in a YAML document or in canonical JSON, over `schemas` by id (`name/version`).

    Raises:
        Malformed: `BAD_POLICY`, `UNKNOWN_SCHEMA`, `UNPROVABLE`, `NOT_ON_LADDER`, `NO_LADDER`,
            `BAD_MEMBER`, or as `parse_document`.
        LimitExceeded: too many questions or tiers.
    """
    value = parse_document(data)
    top = Members(value, "policy")
    questions = {
        _matching(_NAME, name): _parse_question(name, Members(item, f"question {name}"), schemas)
        for name, item in top.take("questions", dict).items()
    }
    tiers = top.take("tiers", list)
    policy = Policy(
        id=_matching(_ID, top.take("policy", str)),
        version=top.take("version", int),
        title=parse_titles(top.take("title", dict)),
        purpose=_one_of(PURPOSES, top.take("purpose", str)),
        lenders=top.strings("lenders"),
        fresh_days=int(_matched(_DAYS, top.take("fresh", str))[1]),
        sources_min=_parse_sources(Members(top.take("sources", dict), "sources")),
        cap=_parse_caps(Members(top.take("caps", dict), "caps")),
        completeness=_parse_completeness(top),
        route=_one_of(ROUTES, top.optional("route", str) or "any"),  # type: ignore[arg-type]
        questions=questions,
        tiers=tuple(_parse_tier(Members(tier, "tier"), questions) for tier in tiers),
        document=canonical_json(value),
    )
    _parse_otherwise(Members(top.take("otherwise", dict), "otherwise"))
    top.finish()
    _check_whole(policy)
    return policy


def _parse_question(name: str, members: Members, schemas: Mapping[str, Schema]) -> Question:
    schema = schemas.get(members.take("schema", str))
    if schema is None:
        raise Malformed("UNKNOWN_SCHEMA", f"question {name} asks about an unknown schema")
    over = _one_of(("each", "any"), members.optional("over", str) or "each")
    fact, currency = members.optional("fact", str), members.optional("currency", str)
    if fact is not None:
        members.finish()
        if fact not in schema.facts or currency is not None:
            raise Malformed("UNPROVABLE", f"question {name} asks for an unknown fact")
        return Question(name, schema, fact, None, None, over)  # type: ignore[arg-type]
    condition = parse_condition(members, schema.claims)
    claim = schema.claims[condition.claim]
    if claim.disclosure == "none":
        raise Malformed("UNPROVABLE", f"question {name} asks for what may not be shown")
    if (claim.type == "money") != (currency is not None):
        raise Malformed("BAD_POLICY", f"question {name}: money, and only money, has a currency")
    return Question(name, schema, None, condition, currency, over)  # type: ignore[arg-type]


def _parse_tier(members: Members, questions: Mapping[str, Question]) -> Tier:
    when = members.strings("when")
    if not when or len(set(when)) != len(when) or not set(when) <= set(questions):
        raise Malformed("BAD_POLICY", "a tier needs known questions, each once")
    name = _matching(_NAME, members.take("name", str))
    offer = members.optional("offer", dict) or {}
    members.finish()
    _check_offer(Members(offer, "offer"))
    return Tier(name, when, offer)


def _check_offer(offer: Members) -> None:
    limit, currency = offer.optional("limit_up_to", int), offer.optional("currency", str)
    months = offer.optional("months", list) or []
    repayment = offer.optional("repayment", list) or []
    offer.finish()
    if (limit is None) != (currency is None) or (limit or 0) < 0:
        raise Malformed("BAD_POLICY", "an offered limit needs its currency")
    if not all(type(month) is int and month > 0 for month in months):
        raise Malformed("BAD_POLICY", "offered months are whole numbers above 0")
    if not all(item in REPAYMENTS for item in repayment):
        raise Malformed("BAD_POLICY", "an unknown way of repayment is offered")


def _parse_sources(members: Members) -> int:
    minimum = members.take("min", int)
    members.finish()
    if minimum < 1:
        raise Malformed("BAD_POLICY", "at least one source is needed")
    return minimum


def _parse_caps(members: Members) -> Cap:
    found = _matched(_CAP, members.take("answers", str))
    members.finish()
    return Cap(int(found[1]), found[2])  # type: ignore[arg-type]


def _parse_completeness(top: Members) -> Literal["reported", "required"]:
    value = top.optional("completeness", str) or "reported"
    return _one_of(("reported", "required"), value)  # type: ignore[return-value]


def _parse_otherwise(members: Members) -> None:
    pair = (members.take("outcome", str), members.take("reasons", str))
    members.finish()
    if pair != ("REFER", "silent"):
        raise Malformed("BAD_POLICY", "otherwise must be REFER with silent reasons")


def _check_whole(policy: Policy) -> None:
    at_most(len(policy.questions), POLICY_QUESTIONS_MAX, "questions of a policy")
    at_most(len(policy.tiers), POLICY_TIERS_MAX, "tiers of a policy")
    names = [tier.name for tier in policy.tiers]
    asked = {name for tier in policy.tiers for name in tier.when}
    if policy.version < 1 or not policy.lenders or not names or len(set(names)) != len(names):
        raise Malformed("BAD_POLICY", "policy lacks a version, a lender or a tier of its own name")
    if asked != set(policy.questions):
        raise Malformed("BAD_POLICY", "a question is asked by no tier")


def ref_json(ref: PolicyRef) -> dict[str, Json]:
    """The JSON form of a policy reference."""
    return {"digest": b64url(ref.digest), "id": ref.id, "version": ref.version}


def parse_ref(value: Any) -> PolicyRef:
    """A policy reference from its JSON form.

    Raises:
        Malformed: `BAD_MEMBER`.
    """
    members = Members(value, "policy reference")
    ref = PolicyRef(
        members.take("id", str), members.take("version", int), members.bytes("digest", 32)
    )
    members.finish()
    return ref


def _matching(pattern: re.Pattern[str], value: str) -> str:
    return _matched(pattern, value)[0]


def _matched(pattern: re.Pattern[str], value: str) -> re.Match[str]:
    found = pattern.match(value)
    if found is None:
        raise Malformed("BAD_POLICY", "a name, duration or cap is spelled wrongly")
    return found


def _one_of(allowed: tuple[str, ...], value: str) -> str:
    if value not in allowed:
        raise Malformed("BAD_POLICY", f"expected one of {', '.join(allowed)}")
    return value
