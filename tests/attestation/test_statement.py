"""The attestation: constant shape, everything recomputable, nothing guessable."""

from __future__ import annotations

import json

import pytest
from credproof import standard
from credproof.attestation.ladder import Condition
from credproof.attestation.sdjwt import digest_of
from credproof.attestation.statement import HIDDEN, Opening, issue
from credproof.attestation.token import parse_token
from credproof.base.errors import CredproofError, Malformed, VerificationFailed

from tests.attestation.samples import NOTHING, SIGNER, VALUES, statement

SEED = bytes(range(32))


def opened(values=None, seed: bytes = SEED, **changes) -> Opening:
    return Opening(statement(values, **changes), seed)


def shape(value):
    """The members and lengths of a JSON value, without its content."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return (type(value).__name__, len(value) if isinstance(value, str) else None)


def test_a_token_with_all_values_and_one_with_none_have_the_same_shape():
    full, empty = opened().payload(), opened(NOTHING, basis=None).payload()

    assert len(full) == len(empty)
    assert shape(json.loads(full)) == shape(json.loads(empty))
    assert full != empty


def test_every_value_fact_and_chain_member_opens_a_signed_digest():
    opening = opened()
    signed = json.loads(opening.payload())["_sd"]
    names = [*VALUES, *opening.statement.facts(), *HIDDEN]

    assert sorted(signed) == sorted(digest_of(opening.disclose(name).text) for name in names)


def test_nothing_can_be_disclosed_or_proved_about_an_unknown_value():
    opening = opened(NOTHING)
    for name in ("credit_limit", "in_good_standing"):
        with pytest.raises(VerificationFailed):
            opening.disclose(name)
    for claim, ladder in opening.statement.schema.ladders.items():
        for threshold in ladder.thresholds:
            for direction in ("at_least", "below"):
                with pytest.raises(VerificationFailed):
                    opening.prove(Condition(claim, direction, threshold))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": bytes(32)},
        {"jti": bytes(16)},
        {"issuer": "bank-b"},
        {"account": "card-2"},
        {"seq": 2},
        {"values": {**VALUES, "credit_limit": 5_000_001}},
    ],
)
def test_another_secret_name_or_value_makes_another_token(change):
    assert opened().payload() != opened(**change).payload()


def test_no_digest_and_no_anchor_is_used_twice():
    payload = json.loads(opened(NOTHING).payload())
    anchors = [anchor for pair in payload["ladders"].values() for anchor in pair.values()]
    commitments = [*payload["_sd"], *anchors]
    assert len(commitments) == len(set(commitments))


def test_two_seeds_share_no_commitment():
    one, two = (json.loads(opened(seed=seed).payload()) for seed in (SEED, bytes(32)))
    assert not set(one["_sd"]) & set(two["_sd"])


def test_the_fact_is_what_its_conditions_say():
    assert opened().disclose("in_good_standing").value is True
    late = {**VALUES, "overdue_cycles": 1, "days_past_due": 9}
    assert opened(late).disclose("in_good_standing").value is False


def test_a_token_comes_back_as_it_was_signed():
    opening = opened()
    token = parse_token(issue(opening, SIGNER))
    made = opening.statement

    token.verify_schema(made.schema)
    found = (token.issuer, token.sub, token.as_of, token.currency, token.issued_at)
    assert (made.issuer, made.sub, made.as_of, made.currency, made.issued_at) == found


def test_a_token_of_another_schema_is_refused():
    token = parse_token(issue(opened(), SIGNER))
    with pytest.raises(VerificationFailed) as caught:
        token.verify_schema(standard.schemas()["key-binding/1"])
    assert caught.value.reason == "WRONG_SCHEMA"


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["_sd"].reverse(),
        lambda p: p["_sd"].append(p["_sd"][0]),
        lambda p: p.update(sums={"used_amount": "x"}),
        lambda p: p.update(_sd_alg="sha-512"),
        lambda p: p.update(currency="twd"),
        lambda p: p.update(currency=1),
        lambda p: p.pop("currency"),
        lambda p: p.update(jti="AAAA"),
        lambda p: p.update(more=1),
        lambda p: p.pop("sub"),
        lambda p: p.update(as_of="2026-02-30"),
        lambda p: p["ladders"]["credit_limit"].pop("below"),
        lambda p: p["ladders"]["credit_limit"].update(above="A" * 43),
        lambda p: p.update(iat="now"),
    ],
)
def test_a_token_outside_the_profile_is_refused(change):
    from credproof.base import jws

    payload = json.loads(opened().payload())
    change(payload)
    with pytest.raises(Malformed):
        parse_token(jws.sign(SIGNER, jws.ATTESTATION, payload))


@pytest.mark.parametrize(
    "change", [lambda p: p["_sd"].pop(), lambda p: p["ladders"].pop("credit_limit")]
)
def test_a_token_that_lacks_a_digest_or_an_anchor_is_refused(change):
    from credproof.base import jws

    payload = json.loads(opened().payload())
    change(payload)
    token = parse_token(jws.sign(SIGNER, jws.ATTESTATION, payload))
    with pytest.raises(CredproofError) as caught:
        token.verify_schema(statement().schema)
    assert caught.value.reason == "WRONG_SHAPE"
