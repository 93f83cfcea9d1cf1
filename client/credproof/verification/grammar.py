"""The grammar of policies: closed, so that what can be asked can be proved.

A policy is a YAML document. Format: `docs/PROTOCOL.md`, "Policy".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import Schema, parse_condition, parse_titles
from credproof.base.encoding import canonical_json
from credproof.base.errors import Malformed
from credproof.base.limits import (
    OFFER_MONTHS_MAX,
    POLICY_QUESTIONS_MAX,
    POLICY_TIERS_MAX,
    at_most,
)
from credproof.base.members import Members
from credproof.base.yaml import parse_document
from credproof.verification.assurance import ASSURANCE
from credproof.verification.meter import broken
from credproof.verification.policy import (
    PURPOSES,
    REPAYMENTS,
    ROUTES,
    TELLINGS,
    Assurance,
    Cap,
    Narrowest,
    Policy,
    Question,
    Telling,
    Tier,
)

_ID = re.compile(r"[a-z][a-z0-9-]{2,62}\Z")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,30}\Z")
_CURRENCY = re.compile(r"[A-Z]{3}\Z")
_DAYS = re.compile(r"([1-9][0-9]{0,3})d\Z")
_CAP = re.compile(r"([1-9][0-9]{0,5}) per (consent|day|month)\Z")

ASSURED_MAX: Final = 8
"""Channels or providers that one question may ask for."""


def parse_policy(data: bytes, schemas: Mapping[str, Schema]) -> Policy:
    """The policy in a YAML document or in canonical JSON, over `schemas` by id (`name/version`).

    Raises:
        Malformed: `BAD_POLICY`, `UNKNOWN_SCHEMA`, `UNPROVABLE`, `PROTECTED_FIELD`, `NOT_ON_LADDER`,
            `NO_LADDER`, `BELOW_NARROWEST`, `BAD_MEMBER`, or as `parse_document`.
        LimitExceeded: too many questions, tiers or months.
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
        completeness=_parse_shown(top, "completeness"),
        witness=_parse_shown(top, "witness"),
        route=_one_of(ROUTES, top.optional("route", str) or "any"),  # type: ignore[arg-type]
        questions=questions,
        tiers=tuple(_parse_tier(Members(tier, "tier"), questions) for tier in tiers),
        telling=_parse_otherwise(Members(top.take("otherwise", dict), "otherwise")),
        narrowest=_parse_narrowest(top, schemas),
        document=canonical_json(value),
    )
    top.finish()
    _check_whole(policy)
    return policy


def _parse_question(name: str, members: Members, schemas: Mapping[str, Schema]) -> Question:
    assured = members.optional("assured", str)
    schema = schemas.get(assured or members.take("schema", str))
    if schema is None:
        raise Malformed("UNKNOWN_SCHEMA", f"question {name} asks about an unknown schema")
    if assured is not None:
        assurance = _parse_assurance(name, members, schema)
        return Question(name, schema, None, None, None, "any", assurance)
    over = _one_of(("each", "any"), members.optional("over", str) or "each")
    fact, currency = members.optional("fact", str), members.optional("currency", str)
    if fact is not None:
        members.finish()
        _check_fact(name, fact, schema)
        if currency is not None:
            raise Malformed("BAD_POLICY", f"question {name}: a fact has no currency")
        return Question(name, schema, fact, None, None, over)  # type: ignore[arg-type]
    condition = parse_condition(members, schema.claims)
    _check_claim(name, condition, currency, schema)
    return Question(name, schema, None, condition, currency, over)  # type: ignore[arg-type]


def _parse_assurance(name: str, members: Members, schema: Schema) -> Assurance:
    if schema.name != ASSURANCE:
        raise Malformed("UNPROVABLE", f"question {name}: no identity check is of this schema")
    level = Members({"claim": "level", "at_least": members.take("level", int)}, members.what)
    assurance = Assurance(
        level=parse_condition(level, schema.claims),
        channels=members.take("channels", int),
        providers=members.take("providers", int),
        days=int(_matched(_DAYS, members.take("within", str))[1]),
    )
    members.finish()
    if not all(0 < n <= ASSURED_MAX for n in (assurance.channels, assurance.providers)):
        raise Malformed("BAD_POLICY", f"question {name} asks for 1 to {ASSURED_MAX} of each")
    return assurance


def _check_fact(name: str, fact: str, schema: Schema) -> None:
    if fact not in schema.facts:
        raise Malformed("UNPROVABLE", f"question {name} asks for an unknown fact")
    for condition in schema.facts[fact].when:
        _check_unprotected(name, condition, schema)


def _check_claim(name: str, condition: Condition, currency: str | None, schema: Schema) -> None:
    claim = schema.claims[condition.claim]
    if claim.disclosure == "none":
        raise Malformed("UNPROVABLE", f"question {name} asks for what may not be shown")
    _check_unprotected(name, condition, schema)
    if (claim.type == "money") != (currency is not None):
        raise Malformed("BAD_POLICY", f"question {name}: money, and only money, has a currency")


def _check_unprotected(name: str, condition: Condition, schema: Schema) -> None:
    if schema.claims[condition.claim].is_protected:
        message = f"question {name} asks for what no decision about credit may rest on"
        raise Malformed("PROTECTED_FIELD", message)


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
    at_most(len(months), OFFER_MONTHS_MAX, "months of an offer")
    if (limit is None) != (currency is None) or (limit or 0) < 0:
        raise Malformed("BAD_POLICY", "an offered limit needs its currency")
    if currency is not None and not _CURRENCY.match(currency):
        raise Malformed("BAD_POLICY", "the currency of an offer is no ISO 4217 code")
    if not all(type(month) is int and month > 0 for month in months):
        raise Malformed("BAD_POLICY", "offered months are whole numbers above 0")
    if not all(item in REPAYMENTS for item in repayment) or len(set(repayment)) < len(repayment):
        raise Malformed("BAD_POLICY", "an unknown way of repayment is offered, or one twice")


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


def _parse_shown(top: Members, name: str) -> Literal["reported", "required"]:
    """What a result must show, or else only says that it does not."""
    value = top.optional(name, str) or "reported"
    return _one_of(("reported", "required"), value)  # type: ignore[return-value]


def _parse_otherwise(members: Members) -> Telling:
    _one_of(("REFER",), members.take("outcome", str))
    telling = _one_of(TELLINGS, members.take("reasons", str))
    members.finish()
    return telling  # type: ignore[return-value]


def _parse_narrowest(top: Members, schemas: Mapping[str, Schema]) -> tuple[Narrowest, ...]:
    value = top.optional("narrowest", dict)
    if value is None:
        return ()
    found: list[Narrowest] = []
    for schema_id in sorted(value):
        schema, claims = schemas.get(schema_id), Members(value, "narrowest").take(schema_id, dict)
        if schema is None:
            raise Malformed("UNKNOWN_SCHEMA", "narrowest names an unknown schema")
        found += [_parse_bands(schema, claim, claims[claim]) for claim in sorted(claims)]
    if not found:
        raise Malformed("BAD_POLICY", "narrowest names no claim: leave it out")
    return tuple(found)


def _parse_bands(schema: Schema, claim: str, bands: object) -> Narrowest:
    ladder = schema.ladders.get(claim)
    if ladder is None:
        raise Malformed("NO_LADDER", f"narrowest names {claim}, which has no ladder")
    if type(bands) is not int or not 1 <= bands <= len(ladder.thresholds) + 1:
        raise Malformed("BAD_POLICY", f"narrowest of {claim}: one band up to all of its ladder")
    return Narrowest(schema, claim, bands)


def _check_whole(policy: Policy) -> None:
    at_most(len(policy.questions), POLICY_QUESTIONS_MAX, "questions of a policy")
    at_most(len(policy.tiers), POLICY_TIERS_MAX, "tiers of a policy")
    names = [tier.name for tier in policy.tiers]
    asked = {name for tier in policy.tiers for name in tier.when}
    if policy.version < 1 or not policy.lenders or not names or len(set(names)) != len(names):
        raise Malformed("BAD_POLICY", "policy lacks a version, a lender or a tier of its own name")
    if asked != set(policy.questions):
        raise Malformed("BAD_POLICY", "a question is asked by no tier")
    for item in broken([policy]):
        message = f"its own questions cut {item.claim} below its narrowest of {item.bands} bands"
        raise Malformed("BELOW_NARROWEST", message)


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
