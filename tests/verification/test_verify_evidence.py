"""Checks 4 to 9 of an answer: tokens, proofs, outcome, borrower, log, directory."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.attestation.ladder import Condition
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey
from credproof.log.entry import Entry, parse_entry
from credproof.log.merkle import leaf_hash
from credproof.verification.answer import Proof
from credproof.verification.participant import NEVER
from credproof.verification.policy import Outcome

from tests.world import (
    FAIR,
    GOOD,
    NOW,
    POLICY,
    POOR,
    REVOLVING,
    World,
    seed_of,
    signer_of,
)

OTHER_DIGEST = b64url(seed_of("other"))


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, bundle, *, step: int, reason: str, **how) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle, **how)
    assert (caught.value.step, caught.value.reason) == (step, reason)


# -- 4: tokens


def with_holding(world: World, holding, *, policy=POLICY):
    return world.finish(world.case(holdings=[holding], policy=policy))


def test_4_a_token_by_the_operators_own_key_is_refused(world):
    holding = world.hold(world.statement(), signer=signer_of("operator"))
    refused(world, with_holding(world, holding), step=4, reason="UNKNOWN_KEY")


def test_4_a_key_that_the_operator_adds_to_the_bundle_is_refused_by_the_pin(world):
    forger = signer_of("operator")
    keys = (DatedKey(world.bank.public, 0, NEVER), DatedKey(forger.public, 0, NEVER))
    bank = world.participant("bank", "provider", world.bank, keys=keys)
    lend = world.lender()
    bundle = with_holding(world, world.hold(world.statement(), signer=forger))
    trust = world.trust(participants=(bank, lend))

    refused(world, bundle, step=4, reason="NOT_THE_PINNED_KEY", trust=trust)


def test_4_a_token_signed_before_its_key_was_valid_is_refused(world):
    keys = (DatedKey(world.bank.public, NOW - 30, NEVER),)
    bank = world.participant("bank", "provider", world.bank, keys=keys)
    case = world.case()
    binding = world.statement(
        dict(world.binding().statement.values),
        schema=world.binding().statement.schema,
        issued_at=NOW - 20,
        jti=seed_of("late binding", 16),
    )
    held = world.hold(binding)
    case.bindings = [
        replace(
            case.bindings[0],
            token=held.token,
            disclosure=held.opening.disclose("jwk").text,
            logged=world.log.logged(held.log_index),
        )
    ]
    trust = world.trust(participants=(bank, world.lender()))
    refused(world, world.finish(case), step=4, reason="KEY_NOT_VALID", trust=trust)


def with_suspended_bank(world: World, since: int):
    bank = world.participant("bank", "provider", world.bank, status="suspended", since=since)
    return world.trust(participants=(bank, world.lender()))


def test_3_a_provider_that_was_suspended_by_then_binds_no_key(world):
    bundle, trust = world.finish(world.case()), with_suspended_bank(world, NOW)
    refused(world, bundle, step=3, reason="PROVIDER_SUSPENDED", trust=trust)


def test_an_answer_given_before_its_provider_was_suspended_still_verifies(world):
    bundle, trust = world.finish(world.case()), with_suspended_bank(world, NOW + 1)
    assert world.verify(bundle, trust=trust).outcome.tier == "A"


def test_4_a_token_of_a_schema_that_the_provider_may_not_attest_is_refused(world):
    binding_only = (world.binding().statement.schema.digest,)
    bank = world.participant("bank", "provider", world.bank, schemas=binding_only)
    bundle = world.finish(world.case())
    trust = world.trust(participants=(bank, world.lender()))
    refused(world, bundle, step=4, reason="SCHEMA_NOT_ALLOWED", trust=trust)


def test_4_another_borrowers_token_is_refused(world):
    other, _ = world.identify("ref:somebody-else")
    holding = world.hold(world.statement(sub=other))
    refused(world, with_holding(world, holding), step=4, reason="OTHER_SUBJECT")


def test_4_an_expired_token_is_refused(world):
    case = world.case()
    expired = world.hold(
        world.statement(issued_at=NOW - 90, expires_at=NOW - 1, jti=seed_of("expired", 16))
    )
    case.tokens = [replace(case.tokens[0], token=expired.token)]
    refused(world, world.finish(case), step=4, reason="TOKEN_NOT_VALID")


def test_4_a_stale_token_is_refused(world):
    old = world.hold(world.statement(as_of=POLICY.oldest(NOW - 86_400), jti=seed_of("old", 16)))
    case = world.case()
    case.tokens = [replace(case.tokens[0], token=old.token)]
    refused(world, world.finish(case), step=4, reason="STALE")


def test_4_a_token_twice_is_refused(world):
    case = world.case()
    case.tokens.append(case.tokens[0])
    refused(world, world.finish(case), step=4, reason="SURPLUS")


# -- 5: proofs


def with_proofs(world: World, change, values=GOOD):
    case = world.case(values)
    item = case.tokens[0]
    case.tokens = [replace(item, proofs=tuple(change(list(item.proofs))))]
    return world.finish(case)


def test_5_a_ladder_proof_with_one_bit_flipped_is_refused(world):
    def flip(proofs):
        room = proofs[2]
        return [
            *proofs[:2],
            Proof(room.question, bytes([room.data[0] ^ 1]) + room.data[1:]),
            *proofs[3:],
        ]

    refused(world, with_proofs(world, flip), step=5, reason="BAD_LADDER_PROOF")


@pytest.mark.parametrize("change", [lambda d: d[:-1], lambda d: d + b"\x00", lambda d: b""])
def test_5_a_ladder_proof_of_another_length_is_refused(world, change):
    def resize(proofs):
        return [*proofs[:2], Proof(proofs[2].question, change(proofs[2].data)), *proofs[3:]]

    refused(world, with_proofs(world, resize), step=5, reason="BAD_LADDER_PROOF")


def test_5_a_proof_of_a_weaker_threshold_does_not_prove_a_stronger_one(world):
    """The service knows that utilisation is below 100 %, and would like it to be below 80 %."""
    poor = {**GOOD, "utilisation_bp": 9000, "used_amount": 9_000_000}
    case = world.case()
    holding = world.hold(world.statement(poor, jti=seed_of("poor", 16)))
    weaker = holding.opening.prove(Condition("utilisation_bp", "below", 10_000))
    proofs = [
        Proof(p.question, weaker if p.question == "room" else _prove(holding, p.question))
        for p in case.tokens[0].proofs
    ]
    logged = world.log.logged(holding.log_index)
    item = replace(case.tokens[0], token=holding.token, proofs=tuple(proofs), logged=logged)
    case.tokens = [item]
    refused(world, world.finish(case), step=5, reason="BAD_LADDER_PROOF")


def _prove(holding, name: str) -> bytes:
    question = POLICY.questions[name]
    if question.fact:
        return holding.opening.disclose(question.fact).text.encode()
    return holding.opening.prove(question.condition)


def test_5_a_false_fact_does_not_prove_a_true_one(world):
    holding = world.hold(world.statement(POOR, jti=seed_of("poor", 16)))
    case = world.case()
    false = Proof("good", holding.opening.disclose("in_good_standing").text.encode())
    rest = [Proof(p.question, bytes(32)) for p in case.tokens[0].proofs if p.question != "good"]
    logged = world.log.logged(holding.log_index)
    case.tokens = [
        replace(case.tokens[0], token=holding.token, proofs=(false, *rest), logged=logged)
    ]
    refused(world, world.finish(case), step=5, reason="BAD_DISCLOSURE")


def test_5_a_disclosure_of_another_token_is_refused(world):
    other = world.hold(world.statement(jti=seed_of("other", 16)))

    def swap(proofs):
        foreign = other.opening.disclose("in_good_standing").text.encode()
        return [Proof("good", foreign), *proofs[1:]]

    refused(world, with_proofs(world, swap), step=5, reason="UNREFERENCED_DISCLOSURE")


def test_5_a_missing_proof_is_refused(world):
    refused(world, with_proofs(world, lambda p: p[:-1]), step=5, reason="MISSING_PROOF")


def test_5_a_proof_that_no_result_needs_is_refused(world):
    def more(proofs):
        return [*proofs, Proof("current", bytes(32))]

    refused(world, with_proofs(world, more), step=5, reason="SURPLUS")


def test_5_an_attestation_left_without_proof_under_each_is_refused(world):
    second = world.hold(world.statement(account="account-2", jti=seed_of("second", 16)))
    case = world.case()
    good = Proof("good", second.opening.disclose("in_good_standing").text.encode())
    logged = world.log.logged(second.log_index)
    case.tokens.append(replace(case.tokens[0], token=second.token, proofs=(good,), logged=logged))
    refused(world, world.finish(case), step=5, reason="MISSING_PROOF")


def test_5_results_that_do_not_follow_from_the_proofs_are_refused(world):
    case = world.case()
    newer = replace(case.answer.results[0], as_of="2026-12-24")
    case.answer = replace(case.answer, results=(newer, *case.answer.results[1:]))
    refused(world, world.finish(case), step=5, reason="OTHER_RESULTS")


# -- 6: outcome


def test_6_a_better_tier_than_was_proved_is_refused(world):
    case = world.case(FAIR)
    tier = POLICY.tier("A")
    case.answer = replace(case.answer, outcome=Outcome("TIER", "A"), offer=tier.offer)
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_6_a_better_offer_than_the_tiers_is_refused(world):
    case = world.case(FAIR)
    case.answer = replace(case.answer, offer=POLICY.tier("A").offer)
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_6_refer_with_proofs_is_refused(world):
    case = world.case()
    case.answer = replace(case.answer, outcome=Outcome("REFER"), offer={})
    refused(world, world.finish(case), step=6, reason="OTHER_OUTCOME")


def test_6_fewer_sources_than_the_policy_asks_for_are_refused(world):
    strict = world.add_policy("two-sources", sources={"min": 2})
    case = world.case()
    case.consent = world.consent()
    case.answer = replace(case.answer, policy=strict.ref)
    refused(world, world.finish(case), step=6, reason="FEW_SOURCES")


# -- 7: the borrower


def test_7_an_answer_about_another_borrower_is_refused(world):
    _, transcript = world.identify("ref:whom-i-asked-about")
    case = world.case()
    case.kept = replace(case.kept, transcript=transcript)
    refused(world, world.finish(case), step=7, reason="OTHER_SUBJECT")


def test_7_a_transcript_under_a_key_that_is_not_pinned_is_refused(world):
    case = world.case()
    case.kept = replace(case.kept, transcript=replace(case.kept.transcript, key_id="00" * 16))
    refused(world, world.finish(case), step=7, reason="UNKNOWN_KEY")


def test_7_a_transcript_with_a_false_evaluation_is_refused(world):
    _, other = world.identify("ref:another")
    transcript = replace(world.transcript, parts=other.parts)
    case = world.case()
    case.kept = replace(case.kept, transcript=transcript)
    refused(world, world.finish(case), step=7, reason="BAD_DLEQ_PROOF")


# -- 8: the log


def test_8_an_answer_that_is_not_in_the_log_is_refused(world):
    bundle = world.finish(world.case())
    unlogged = replace(bundle, logged=bundle.tokens[0].logged)
    refused(world, unlogged, step=8, reason="OTHER_ENTRY")


def test_8_a_checkpoint_of_another_log_is_refused(world):
    other = World()
    other.log.signer = replace(other.log.signer, name="elsewhere.example/log")
    bundle = world.finish(world.case())
    note = other.log.checkpoint()
    refused(world, replace(bundle, checkpoint=note), step=8, reason="NO_KNOWN_SIGNATURE")


def test_8_an_altered_entry_is_refused(world):
    bundle = world.finish(world.case())
    entry: Entry = parse_entry(bundle.tokens[0].logged.line)
    line = replace(entry, time=entry.time + 1).to_line()
    token = replace(bundle.tokens[0], logged=replace(bundle.tokens[0].logged, line=line))
    refused(world, replace(bundle, tokens=(token,)), step=8, reason="BAD_INCLUSION_PROOF")


def test_8_a_token_that_is_not_in_the_log_is_refused(world):
    bundle = world.finish(world.case())
    token = replace(bundle.tokens[0], logged=bundle.bindings[0].logged)
    refused(world, replace(bundle, tokens=(token,)), step=8, reason="OTHER_ENTRY")


def test_8_a_token_dated_back_to_when_its_stolen_key_was_valid_is_refused(world):
    """Its own dates prove nothing: what counts is when the log saw it."""
    keys = (DatedKey(world.bank.public, 0, NOW - 30),)
    bank = world.participant("bank", "provider", world.bank, keys=keys)
    trust = world.trust(participants=(bank, world.lender()))
    bundle = world.finish(world.case())
    refused(world, bundle, step=8, reason="KEY_NOT_VALID", trust=trust)


def test_8_a_token_logged_after_the_answer_is_refused(world):
    case = world.case()
    bundle = world.finish(case)
    token = parse_entry(bundle.tokens[0].logged.line)
    late = world.log.append(token.kind, token.actor, token.object)
    moved = replace(bundle.tokens[0], logged=world.log.logged(late))
    places = {
        "tokens": (moved,),
        "bindings": tuple(
            replace(b, logged=world.log.logged(b.logged.log_index)) for b in bundle.bindings
        ),
        "logged": world.log.logged(bundle.logged.log_index),
        "checkpoint": world.log.checkpoint(),
    }
    refused(world, replace(bundle, **places), step=8, reason="OTHER_ENTRY")


@pytest.mark.parametrize(
    "entry",
    [{"kind": "answer.refused"}, {"actor": "other-lender"}, {"time": NOW + 1000}],
)
def test_8_an_entry_that_says_something_else_is_refused(world, entry):
    case = world.case()
    case.entry = entry
    refused(world, world.finish(case), step=8, reason="OTHER_ENTRY")


@pytest.mark.parametrize("member", ["case", "consent", "outcome", "policy", "purpose", "staff"])
def test_8_an_entry_that_tells_the_auditor_something_else_of_the_answer_is_refused(world, member):
    other = {"outcome": "REFER", "purpose": "REVIEW"}
    case = world.case()
    fields = world.entry_fields(case.answer)
    policy = {**fields["policy"], "version": 9}
    value = {**other, "policy": policy}.get(member, OTHER_DIGEST)
    case.entry = {"fields": fields | {member: value}}
    refused(world, world.finish(case), step=8, reason="OTHER_ENTRY")


def test_8_an_entry_that_tells_the_auditor_nothing_of_the_answer_is_refused(world):
    case = world.case()
    case.entry = {"fields": {"note": "nothing"}}
    refused(world, world.finish(case), step=8, reason="BAD_MEMBER")


def test_8_a_truncated_inclusion_proof_is_refused(world):
    bundle = world.finish(world.case())
    logged = replace(bundle.logged, hashes=bundle.logged.hashes[:-1])
    refused(world, replace(bundle, logged=logged), step=8, reason="BAD_INCLUSION_PROOF")


def test_8_an_entry_at_another_index_than_it_says_is_refused(world):
    """A log that holds the same line twice, the second time out of its place."""
    bundle = world.finish(world.case())
    index = world.log.add(bundle.logged.line)
    assert leaf_hash(bundle.logged.line) == leaf_hash(world.log.lines[index])
    places = {
        "tokens": tuple(
            replace(t, logged=world.log.logged(t.logged.log_index)) for t in bundle.tokens
        ),
        "bindings": tuple(
            replace(b, logged=world.log.logged(b.logged.log_index)) for b in bundle.bindings
        ),
        "logged": world.log.logged(index),
        "checkpoint": world.log.checkpoint(),
    }
    refused(world, replace(bundle, **places), step=8, reason="OTHER_ENTRY")


def test_the_schema_of_the_samples_is_the_shipped_one():
    assert REVOLVING.id == "consumer-revolving/1"
