"""Policies: the questions that may be asked, and the tiers that their answers grant.

A policy is pinned by the digest of its canonical JSON; `credproof.verification.grammar` parses
it, `credproof.verification.evaluation` answers it. Format: `docs/PROTOCOL.md`, "Policy".
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from credproof.attestation.ladder import Condition
from credproof.attestation.schema import Schema
from credproof.base.encoding import Json, b64url, date_of, tagged_hash
from credproof.base.members import Members

PURPOSES = ("ORIGINATION", "REVIEW", "COLLECTION", "SERVICING")
REPAYMENTS = ("equal_instalments", "equal_principal", "interest_first", "bullet")

ROUTES = ("any", "licensed-bureau")
"""By whom a policy may be answered."""

Verdict = Literal["YES", "NO", "UNKNOWN"]
OutcomeKind = Literal["TIER", "REFER", "INCOMPLETE"]
Reason = Literal[
    "ABSENT", "STALE", "NO_VALUE", "OTHER_CURRENCY", "FEW_SOURCES", "NOT_COMPLETE", "NOT_ASSURED"
]
REASONS = (
    "ABSENT",
    "STALE",
    "NO_VALUE",
    "OTHER_CURRENCY",
    "FEW_SOURCES",
    "NOT_COMPLETE",
    "NOT_ASSURED",
)
"""Why a question is UNKNOWN."""

Telling = Literal["silent", "first_failing"]
TELLINGS: tuple[Telling, ...] = ("silent", "first_failing")
"""What REFER tells: nothing, or the first question of the last tier that is NO, with its proof."""


@dataclass(frozen=True, slots=True)
class PolicyRef:
    """A policy as consents and answers name it: id, version and digest."""

    id: str
    version: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Assurance:
    """Identity checks that matched, at this level at least: over how many channels and providers.

    Each was performed at most `days` days ago. Channels are told apart by their name, providers
    by their id.
    """

    level: Condition
    channels: int
    providers: int
    days: int

    def oldest(self, time: int) -> dt.date:
        """The earliest day of a check that counts at `time` (whole seconds)."""
        return date_of(time) - dt.timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Question:
    """One question: a fact, a condition on a claim, or an assurance of identity.

    `over` says whether each or any current attestation must satisfy it; an assurance is over
    as many as it needs.
    """

    name: str
    schema: Schema
    fact: str | None
    condition: Condition | None
    currency: str | None
    over: Literal["each", "any"]
    assurance: Assurance | None = None

    def needs_all(self, verdict: Verdict) -> bool:
        """Whether a verdict is proved on every attestation of the schema, or on one only."""
        return (self.over == "each") == (verdict == "YES")


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


@dataclass(frozen=True, slots=True)
class Narrowest:
    """Whatever is answered, at least `bands` neighbouring bands of a claim's ladder stay open."""

    schema: Schema
    claim: str
    bands: int


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
    witness: Literal["reported", "required"]
    route: Literal["any", "licensed-bureau"]
    questions: Mapping[str, Question]
    tiers: tuple[Tier, ...]
    telling: Telling
    narrowest: tuple[Narrowest, ...]
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


@dataclass(frozen=True, slots=True)
class Outcome:
    """TIER with its name, REFER, or INCOMPLETE with the reasons that stand in the way."""

    kind: OutcomeKind
    tier: str | None = None
    reasons: tuple[str, ...] = ()


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
