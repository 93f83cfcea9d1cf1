"""Schemas: what can be attested, and what can be asked about it.

A schema is a YAML document, pinned by the digest of its canonical JSON. Its grammar is
closed: `docs/PROTOCOL.md`, "Schema".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

from credproof.attestation.ladder import Condition, Direction, Ladder
from credproof.attestation.pseudonym import ID_SCHEMES
from credproof.base.encoding import canonical_json, parse_b64url, parse_date, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.keys import parse_jwk
from credproof.base.limits import (
    CHAIN_STEPS_MAX,
    INTEGER_MAX,
    LADDER_RUNGS_MAX,
    SCHEMA_CLAIMS_MAX,
    SCHEMA_FACTS_MAX,
    TEXT_CHARS_MAX,
    at_most,
)
from credproof.base.members import Members
from credproof.base.yaml import parse_document

Value: TypeAlias = None | bool | int | str | Mapping[str, str]
"""The value of a claim; None is unknown."""

NUMBER_TYPES = ("money", "count", "days", "basis-points")
TYPES = (*NUMBER_TYPES, "date", "enum", "bool", "text", "digest", "key")
DISCLOSURES = ("none", "predicate", "value")
DATA_CLASSES = ("C1", "C2")
"""Data classes of JR/T 0171-2020; C3 (credentials, biometrics) is never collected."""
FORBIDDEN_WORDS = frozenset(
    {"religion", "belief", "gene", "genetic", "dna", "fingerprint", "iris", "face", "voiceprint"}
    | {"biometric", "blood", "illness", "disease", "medical", "health", "password", "otp", "pin"}
    | {"sex", "gender", "ethnicity"}
)
"""What the law forbids to collect (Regulation on Credit Reporting, article 14) or we never ask."""

PROTECTED_WORDS = frozenset(
    {"age", "birth", "marital", "married", "pregnant", "children", "race", "nationality", "origin"}
    | {"native", "caste", "disability", "disabled", "party", "union", "welfare", "orientation"}
)
"""What no decision about credit may rest on, after ECOA (15 U.S.C. 1691) and PIPL articles 24, 28.

A schema may hold it, for what else the law asks of a provider, and may mark more by `protected`.
"""

RESERVED_NAMES = frozenset(
    {"iss", "iat", "exp", "nbf", "sub", "vct", "jti", "cnf", "status", "as_of", "currency"}
    | {"schema", "ladders", "sums", "account", "basis", "prev", "seq"}
)
"""Members of the token itself, or of SD-JWT VC: no claim or fact may be named like them."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}\Z")
_ID = re.compile(r"[a-z][a-z0-9-]{0,62}\Z")
_ENUM_VALUE = re.compile(r"[A-Z][A-Z0-9_]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class Claim:
    """One named value that a schema allows."""

    name: str
    type: str
    title: Mapping[str, str]
    data_class: str
    disclosure: Literal["none", "predicate", "value"]
    minimum: int
    maximum: int
    values: tuple[str, ...]
    ladder: Ladder | None
    is_marked: bool = False

    @property
    def is_protected(self) -> bool:
        """Whether no policy may ask for it: by its name, or because the schema says so."""
        return self.is_marked or not PROTECTED_WORDS.isdisjoint(self.name.split("_"))

    def verify_value(self, value: Value) -> None:
        """Accept a value of this claim's type and bounds, or None for unknown.

        Raises:
            Malformed: `BAD_VALUE`, naming the claim only.
        """
        if value is not None and not self._fits(value):
            raise Malformed("BAD_VALUE", f"value of {self.name} does not fit the schema")

    def _fits(self, value: Value) -> bool:
        if self.type in NUMBER_TYPES:
            return type(value) is int and self.minimum <= value <= self.maximum
        if self.type == "bool":
            return type(value) is bool
        if self.type == "key":
            return _parses(parse_jwk, value)
        if type(value) is not str:
            return False
        if self.type == "date":
            return _parses(parse_date, value)
        if self.type == "digest":
            return _parses(lambda text: parse_b64url(text, size=32), value)
        if self.type == "enum":
            return value in self.values
        return 0 < len(value) <= TEXT_CHARS_MAX and value.isprintable()


@dataclass(frozen=True, slots=True)
class Fact:
    """A named boolean that the provider attests: all its conditions hold."""

    name: str
    title: Mapping[str, str]
    when: tuple[Condition, ...]

    def evaluate(self, values: Mapping[str, Value]) -> bool | None:
        """False when one condition is false, else None when one is unknown, else True."""
        verdicts = [condition.evaluate(values.get(condition.claim)) for condition in self.when]
        if False in verdicts:
            return False
        return None if None in verdicts else True


@dataclass(frozen=True)
class Schema:
    """A parsed schema; `document` is its canonical JSON."""

    name: str
    version: int
    title: Mapping[str, str]
    id_schemes: tuple[str, ...]
    claims: Mapping[str, Claim]
    facts: Mapping[str, Fact]
    not_above: tuple[tuple[str, str], ...]
    document: bytes

    @property
    def id(self) -> str:
        """Name and version, as mapping and policy files write it: `consumer-revolving/1`."""
        return f"{self.name}/{self.version}"

    @property
    def vct(self) -> str:
        """The `vct` of tokens of this schema: an opaque name that is never fetched."""
        return f"urn:credproof:{self.name}:{self.version}"

    @cached_property
    def digest(self) -> bytes:
        """What pins the schema: 32 bytes."""
        return tagged_hash("schema", self.document)

    @cached_property
    def ladders(self) -> Mapping[str, Ladder]:
        """The ladders by claim."""
        return {name: claim.ladder for name, claim in self.claims.items() if claim.ladder}

    @cached_property
    def has_money(self) -> bool:
        return any(claim.type == "money" for claim in self.claims.values())

    def verify_values(self, values: Mapping[str, Value]) -> None:
        """Accept values that name every claim and fit the schema and each other.

        Raises:
            Malformed: `BAD_VALUE`, `INCONSISTENT_VALUES`.
        """
        if set(values) != set(self.claims):
            raise Malformed("BAD_VALUE", "values do not name exactly the claims of the schema")
        for name, claim in self.claims.items():
            claim.verify_value(values[name])
        for low, high in self.not_above:
            lower, upper = values[low], values[high]
            if isinstance(lower, int) and isinstance(upper, int) and lower > upper:
                raise Malformed("INCONSISTENT_VALUES", f"{low} is above {high}")


def _parses(parse: Any, value: Any) -> bool:
    try:
        parse(value)
    except Malformed:
        return False
    return True


def parse_schema(data: bytes) -> Schema:
    """The schema in a YAML document or in canonical JSON (which is YAML too).

    Raises:
        Malformed: `BAD_SCHEMA`, `BAD_MEMBER`, or as `parse_document`.
        LimitExceeded: more claims, facts, rungs or chain steps than allowed.
    """
    value = parse_document(data)
    top = Members(value, "schema")
    claims = {
        name: _parse_claim(name, Members(claim, f"claim {name}"))
        for name, claim in _limited(top.take("claims", dict), SCHEMA_CLAIMS_MAX, "claims")
    }
    facts = {
        name: _parse_fact(name, Members(fact, f"fact {name}"), claims)
        for name, fact in _limited(top.optional("facts", dict) or {}, SCHEMA_FACTS_MAX, "facts")
    }
    schema = Schema(
        name=_matching(_ID, top.take("schema", str)),
        version=top.take("version", int),
        title=parse_titles(top.take("title", dict)),
        id_schemes=top.strings("subjects"),
        claims=claims,
        facts=facts,
        not_above=_parse_not_above(top.optional("not_above", list) or [], claims),
        document=canonical_json(value),
    )
    top.finish()
    _check_whole(schema)
    return schema


def _parse_claim(name: str, members: Members) -> Claim:
    kind = _one_of(TYPES, members.take("type", str))
    claim = Claim(
        name=_matching(_NAME, name),
        type=kind,
        title=parse_titles(members.take("title", dict)),
        data_class=_one_of(DATA_CLASSES, members.take("class", str)),
        disclosure=_one_of(DISCLOSURES, members.take("disclosure", str)),  # type: ignore[arg-type]
        minimum=members.take("min", int) if kind in NUMBER_TYPES else 0,
        maximum=members.take("max", int) if kind in NUMBER_TYPES else 0,
        values=_parse_enum_values(members) if kind == "enum" else (),
        ladder=_parse_ladder(members) if kind in NUMBER_TYPES else None,
        is_marked=members.optional("protected", bool) or False,
    )
    members.finish()
    _check_claim(claim)
    return claim


def _parse_enum_values(members: Members) -> tuple[str, ...]:
    values = members.strings("values")
    for value in values:
        _matching(_ENUM_VALUE, value)
    return values


def _parse_ladder(members: Members) -> Ladder | None:
    thresholds = members.optional("ladder", list)
    if thresholds is None:
        return None
    if not thresholds or any(type(threshold) is not int for threshold in thresholds):
        raise Malformed("BAD_SCHEMA", "a ladder is a list of integers")
    return Ladder(tuple(thresholds))


def _check_claim(claim: Claim) -> None:
    if FORBIDDEN_WORDS & set(claim.name.split("_")):
        raise Malformed("FORBIDDEN_CLAIM", "schema names a claim that may not be collected")
    if not -INTEGER_MAX <= claim.minimum <= claim.maximum <= INTEGER_MAX:
        raise Malformed("BAD_SCHEMA", f"bounds of {claim.name} are out of order")
    rungs = claim.ladder.thresholds if claim.ladder else ()
    at_most(len(rungs), LADDER_RUNGS_MAX, f"rungs of {claim.name}")
    steps = (claim.minimum, *rungs)
    if any(low >= high for low, high in zip(steps, rungs, strict=False)):
        raise Malformed("BAD_SCHEMA", f"ladder of {claim.name} does not rise from its minimum")
    if rungs and rungs[-1] > claim.maximum:
        raise Malformed("BAD_SCHEMA", f"ladder of {claim.name} passes its maximum")


def _check_whole(schema: Schema) -> None:
    steps = sum(2 * (len(ladder.thresholds) + 1) for ladder in schema.ladders.values())
    at_most(steps, CHAIN_STEPS_MAX, "chain steps of a schema")
    if not schema.id_schemes or not set(schema.id_schemes) <= set(ID_SCHEMES):
        raise Malformed("BAD_SCHEMA", "schema names no id scheme, or an unknown one")
    if schema.version < 1 or set(schema.claims) & set(schema.facts):
        raise Malformed("BAD_SCHEMA", "version below 1, or a fact named as a claim")
    if RESERVED_NAMES & set(_names(schema)):
        raise Malformed("BAD_SCHEMA", "a claim or fact is named like a member of the token")
    if set(schema.claims) | set(schema.facts) != {_matching(_NAME, n) for n in _names(schema)}:
        raise Malformed("BAD_SCHEMA", "a name is spelled wrongly")


def _names(schema: Schema) -> tuple[str, ...]:
    return (*schema.claims, *schema.facts)


def _parse_fact(name: str, members: Members, claims: Mapping[str, Claim]) -> Fact:
    conditions = tuple(
        parse_condition(Members(item, f"fact {name}"), claims)
        for item in members.take("when", list)
    )
    title = parse_titles(members.take("title", dict))
    members.finish()
    if not conditions:
        raise Malformed("BAD_SCHEMA", f"fact {name} has no condition")
    return Fact(name, title, conditions)


def parse_condition(members: Members, claims: Mapping[str, Claim]) -> Condition:
    """A comparison `{claim, at_least | below}` whose threshold is a rung of the claim's ladder.

    Raises:
        Malformed: `NO_LADDER`, `NOT_ON_LADDER`, `BAD_MEMBER`.
    """
    name = members.take("claim", str)
    at_least, below = members.optional("at_least", int), members.optional("below", int)
    members.finish()
    claim = claims.get(name)
    if claim is None or claim.ladder is None:
        raise Malformed("NO_LADDER", f"{name} has no ladder to ask on")
    if (at_least is None) == (below is None):
        raise Malformed("BAD_MEMBER", f"{name} needs either at_least or below")
    direction: Direction = "below" if at_least is None else "at_least"
    threshold = below if at_least is None else at_least
    assert threshold is not None
    _require_rung(members.what, name, claim.ladder, threshold)
    return Condition(name, direction, threshold)


def _require_rung(what: str, claim: str, ladder: Ladder, threshold: int) -> None:
    if threshold in ladder.thresholds:
        return
    above = ladder.rung(threshold)
    nearest = " and ".join(map(str, ladder.thresholds[max(0, above - 1) : above + 1]))
    message = f"{what}: its threshold is not a rung of the ladder of {claim}: nearest are {nearest}"
    raise Malformed("NOT_ON_LADDER", message)


def _parse_not_above(pairs: list[Any], claims: Mapping[str, Claim]) -> tuple[tuple[str, str], ...]:
    for pair in pairs:
        match pair:
            case [str(low), str(high)] if low in claims and high in claims:
                pass
            case _:
                raise Malformed("BAD_SCHEMA", "not_above holds pairs of claims")
    return tuple((low, high) for low, high in pairs)


def parse_titles(value: dict[str, Any]) -> Mapping[str, str]:
    """Texts for people: exactly one in Chinese and one in English."""
    members = Members(value, "title")
    titles = {"en": members.take("en", str), "zh": members.take("zh", str)}
    members.finish()
    return titles


def _limited(value: dict[Any, Any], limit: int, what: str) -> list[tuple[str, Any]]:
    at_most(len(value), limit, f"{what} of a schema")
    return list(value.items())


def _one_of(allowed: tuple[str, ...], value: str) -> str:
    if value not in allowed:
        raise Malformed("BAD_SCHEMA", f"expected one of {', '.join(allowed)}")
    return value


def _matching(pattern: re.Pattern[str], value: str) -> str:
    if not pattern.match(value):
        raise Malformed("BAD_SCHEMA", "a name is spelled wrongly")
    return value
