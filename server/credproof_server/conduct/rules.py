"""The rules of misuse: one versioned document, taken apart strictly.

Format: `docs/PROTOCOL.md`, "Rules of misuse". What ships is `data/misuse.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from credproof.base.encoding import canonical_json, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.limits import OBSERVATIONS_MAX, RULE_SPAN_MAX_S
from credproof.base.members import Members
from credproof.base.yaml import parse_document
from credproof.verification.participant import is_participant_id

DAY_S: Final = 86_400
MINUTE_S: Final = 60
_NAME = re.compile(r"[a-z][a-z0-9-]{2,62}\Z")


class Shape(NamedTuple):
    """What a rule has: its thresholds, whether it is about one lender, who may then be throttled,
    and its window where that is fixed, in seconds."""

    thresholds: tuple[str, ...]
    throttles: bool
    window_s: int | None = None


SHAPES: Final[Mapping[str, Shape]] = {
    "bisection": Shape(("steps", "halvings"), True),
    "joint-bisection": Shape(("steps", "halvings"), False),
    "enumeration": Shape(("pseudonyms", "answered_percent"), True),
    "idle-evaluations": Shape(("evaluated", "answered_percent"), True, DAY_S),
    "burst": Shape(("questions", "answered_percent"), True, MINUTE_S),
    "consent-reuse": Shape(("repeats", "answered_percent"), True),
    "many-lenders": Shape(("lenders",), False),
    "churn": Shape(("attestations",), False),
}
"""Every rule that there can be."""

OF_REFUSALS: Final = ("enumeration", "consent-reuse")
"""The rules that look at each refused question."""


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in force. `window_s` and `throttle_s` are in seconds; a throttle of 0 only tells.

    `own` holds lenders to a number of their own.
    """

    name: str
    window_s: int
    thresholds: Mapping[str, int]
    throttle_s: int = 0
    evaluations: bool = False
    own: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, threshold: str) -> int:
        return self.thresholds[threshold]


@dataclass(frozen=True, slots=True)
class Rules:
    """A document of rules. `digest` (32 bytes) and `version` pin it in what is raised under it."""

    name: str
    version: int
    look_every_s: int
    rules: Mapping[str, Rule]
    document: bytes

    @property
    def digest(self) -> bytes:
        """H("misuse", canonical JSON of the document)."""
        return tagged_hash("misuse", self.document)

    @property
    def longest_window_s(self) -> int:
        """How far back any rule looks, in seconds."""
        return max((rule.window_s for rule in self.rules.values()), default=0)

    @property
    def refusals_window_s(self) -> int:
        """How far back refused questions are looked at one by one, in seconds."""
        found = (self.rules[name].window_s for name in OF_REFUSALS if name in self.rules)
        return max(found, default=0)

    def get(self, name: str) -> Rule | None:
        """The rule of this name, where it is in force."""
        return self.rules.get(name)


def parse_rules(data: bytes) -> Rules:
    """The rules in a YAML document or in canonical JSON.

    Raises:
        Malformed: `BAD_RULES`, `BAD_MEMBER`, or as `parse_document`.
        LimitExceeded: the document is too large.
    """
    value = parse_document(data)
    top = Members(value, "rules")
    name, version = top.take("misuse", str), top.take("version", int)
    look_every_s = _within(top.take("look_every", int), RULE_SPAN_MAX_S, "look_every")
    found = {
        rule: _parse_rule(rule, shape, Members(item, rule))
        for rule, shape in SHAPES.items()
        if (item := top.optional(rule, dict)) is not None
    }
    top.finish()
    if not _NAME.match(name) or version < 1:
        raise Malformed("BAD_RULES", "the rules lack a name, or a version from 1")
    return Rules(name, version, look_every_s, found, canonical_json(value))


def _parse_rule(name: str, shape: Shape, members: Members) -> Rule:
    window_s = _within(members.take("window", int), RULE_SPAN_MAX_S, f"{name}: window")
    if shape.window_s not in (None, window_s):
        raise Malformed("BAD_RULES", f"{name}: the window is {shape.window_s} seconds, no other")
    thresholds = {key: _threshold(name, key, members) for key in shape.thresholds}
    throttle_s, evaluations = 0, False
    if shape.throttles:
        throttle_s = members.take("throttle", int)
        evaluations = members.take("evaluations", bool)
        if throttle_s != 0:
            _within(throttle_s, RULE_SPAN_MAX_S, f"{name}: throttle")
    own = _parse_own(members.optional("own", dict) or {}) if name == "burst" else {}
    members.finish()
    return Rule(name, window_s, thresholds, throttle_s, evaluations, own)


def _threshold(name: str, key: str, members: Members) -> int:
    most = 100 if key == "answered_percent" else None
    if key in ("pseudonyms", "repeats"):
        most = OBSERVATIONS_MAX  # no more are kept
    return _within(members.take(key, int), most, f"{name}: {key}")


def _parse_own(value: Mapping[str, Any]) -> Mapping[str, int]:
    for lender, count in value.items():
        if not is_participant_id(lender) or type(count) is not int or count < 1:
            raise Malformed("BAD_RULES", "burst: own names lenders, each with a number from 1")
    return dict(value)


def _within(value: int, most: int | None, what: str) -> int:
    if value < 1 or (most is not None and value > most):
        bounds = "from 1" if most is None else f"from 1 to {most}"
        raise Malformed("BAD_RULES", f"{what} is a whole number {bounds}")
    return value
