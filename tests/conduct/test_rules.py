"""The rules of misuse: what ships parses, and nothing that means something else does."""

from __future__ import annotations

import pytest
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.base.limits import OBSERVATIONS_MAX, RULE_SPAN_MAX_S
from credproof_server.conduct.rules import SHAPES, parse_rules
from credproof_server.directory import shipped_rules

SHIPPED = parse_json(shipped_rules().document)


def changed(rule: str | None = None, **members: object) -> bytes:
    """The shipped document with members of it, or of one of its rules, changed; None drops one."""
    document = {k: dict(v) if isinstance(v, dict) else v for k, v in SHIPPED.items()}
    target = document if rule is None else document[rule]
    for name, value in members.items():
        target.pop(name, None) if value is None else target.update({name: value})
    return canonical_json(document)


def reason(data: bytes) -> str:
    with pytest.raises(CredproofError) as caught:
        parse_rules(data)
    return caught.value.reason


def test_what_ships_has_every_rule_and_throttles_nobody_for_what_others_do():
    rules = shipped_rules()
    assert set(rules.rules) == set(SHAPES)
    for name in ("joint-bisection", "many-lenders", "churn"):
        assert rules.rules[name].throttle_s == 0


def test_the_digest_is_that_of_the_document_however_it_is_spelled():
    assert parse_rules(changed()).digest == shipped_rules().digest
    assert parse_rules(changed(version=2)).digest != shipped_rules().digest


def test_a_rule_that_is_left_out_is_not_in_force():
    rules = parse_rules(changed(burst=None))
    assert (rules.get("burst"), rules.get("churn") is not None) == (None, True)


@pytest.mark.parametrize("rule", ["joint-bisection", "many-lenders", "churn"])
def test_nobody_can_be_throttled_for_what_lenders_do_together(rule):
    assert reason(changed(rule, throttle=60)) == "BAD_MEMBER"


@pytest.mark.parametrize(
    ("rule", "members"),
    [
        (None, {"misuse": "A Name"}),
        (None, {"version": 0}),
        (None, {"look_every": 0}),
        ("bisection", {"window": 0}),
        ("bisection", {"window": RULE_SPAN_MAX_S + 1}),
        ("bisection", {"throttle": -1}),
        ("bisection", {"throttle": RULE_SPAN_MAX_S + 1}),
        ("bisection", {"steps": 0}),
        ("burst", {"window": 61}),
        ("burst", {"answered_percent": 101}),
        ("burst", {"own": {"lend": 0}}),
        ("burst", {"own": {"LEND": 5}}),
        ("burst", {"own": {"lend": True}}),
        ("idle-evaluations", {"window": 3600}),
        ("enumeration", {"pseudonyms": OBSERVATIONS_MAX + 1}),
        ("consent-reuse", {"repeats": OBSERVATIONS_MAX + 1}),
    ],
)
def test_a_number_that_means_nothing_is_refused(rule, members):
    assert reason(changed(rule, **members)) == "BAD_RULES"


@pytest.mark.parametrize(
    ("rule", "members"),
    [
        (None, {"bursts": {}}),
        (None, {"version": "1"}),
        ("bisection", {"threshold": 3}),
        ("bisection", {"steps": None}),
        ("bisection", {"evaluations": 1}),
        ("bisection", {"own": {"lend": 5}}),
    ],
)
def test_a_member_too_many_too_few_or_of_another_type_is_refused(rule, members):
    assert reason(changed(rule, **members)) == "BAD_MEMBER"


def test_the_longest_window_and_throttle_are_taken():
    rules = parse_rules(changed("bisection", window=RULE_SPAN_MAX_S, throttle=RULE_SPAN_MAX_S))
    assert rules.longest_window_s == rules.rules["bisection"].throttle_s == RULE_SPAN_MAX_S
    most = parse_rules(changed("enumeration", pseudonyms=OBSERVATIONS_MAX))
    assert most.rules["enumeration"]["pseudonyms"] == OBSERVATIONS_MAX


def test_what_is_no_strict_yaml_is_refused():
    assert reason(b"misuse: &a x\nversion: 1\n") == "NOT_YAML"
