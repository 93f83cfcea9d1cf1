"""Checks 0 to 3 of an answer: trust, answer, policy, consent; and honest answers pass."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError
from credproof.verification.answer import BindingEvidence, Reference
from credproof.verification.bundle import RelyingParty
from credproof.verification.consent import verify_consent
from credproof.verification.policy import Outcome
from credproof.verification.trust import sign_trust, verify_trust
from credproof_server.demo.authenticator import SoftwareAuthenticator

from tests.world import (
    FAIR,
    GOOD,
    NOW,
    POLICY,
    POOR,
    World,
    seed_of,
    signer_of,
)


@pytest.fixture
def world() -> World:
    return World()


def refused(world: World, bundle, *, step: int, reason: str, **how) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle, **how)
    assert (caught.value.step, caught.value.reason) == (step, reason)


@pytest.mark.parametrize(
    ("values", "outcome"),
    [(GOOD, ("TIER", "A")), (FAIR, ("TIER", "B")), (POOR, ("REFER", None))],
)
def test_an_honest_answer_verifies(world, values, outcome):
    verified = world.verify(world.finish(world.case(values)))

    assert outcome == (verified.outcome.kind, verified.outcome.tier)
    assert [source.provider for source in verified.sources] == ["bank"]
    assert all(source.pinned for source in verified.sources)
    assert verified.completeness.state == ("complete" if verified.answer.results else "not shown")


def test_an_unknown_value_is_incomplete_and_never_a_decline(world):
    verified = world.verify(world.finish(world.case({**GOOD, "overdue_cycles": None})))

    assert Outcome("INCOMPLETE", None, ("NO_VALUE",)) == verified.outcome


def test_an_answer_verifies_years_later_as_of_its_time(world):
    bundle = world.finish(world.case())

    verified = world.verify(bundle, mode="as-of-answer", now=NOW + 5 * 365 * 86_400)

    assert verified.mode == "as-of-answer"


def test_a_provider_without_a_pin_is_reported_as_such(world):
    verified = world.verify(world.finish(world.case()), pins={})

    assert [source.pinned for source in verified.sources] == [False]


# -- 0: trust bundle


def test_0_a_bundle_of_another_root_is_refused(world):
    token = sign_trust(signer_of("thief"), world.bundle())
    with pytest.raises(CredproofError) as caught:
        verify_trust(token, world.documents(), root=world.root.public, at=NOW)
    assert caught.value.reason == "WRONG_ROOT"


def test_0_an_older_bundle_than_seen_before_is_refused(world):
    token = sign_trust(world.root, world.bundle(version=2))
    with pytest.raises(CredproofError) as caught:
        verify_trust(token, world.documents(), root=world.root.public, at=NOW, version_min=3)
    assert caught.value.reason == "TRUST_ROLLBACK"


def test_0_a_bundle_whose_pinned_document_is_missing_is_refused(world):
    token = sign_trust(world.root, world.bundle())
    with pytest.raises(CredproofError) as caught:
        verify_trust(token, world.documents()[1:], root=world.root.public, at=NOW)
    assert caught.value.reason == "MISSING_DOCUMENT"


def test_0_an_expired_bundle_is_refused(world):
    bundle = world.finish(world.case())
    trust = world.trust()

    refused(world, bundle, step=0, reason="TRUST_EXPIRED", trust=trust, now=NOW + 31 * 86_400)


# -- 1: the answer


def test_1_an_answer_by_another_key_is_refused(world):
    bundle = world.finish(world.case(), signer=signer_of("thief"))
    refused(world, bundle, step=1, reason="UNKNOWN_KEY")


def test_1_an_altered_answer_is_refused(world):
    bundle = world.finish(world.case(FAIR))
    other = world.finish(world.case(GOOD))
    head, _, signature = bundle.answer.split(".")
    mixed = f"{head}.{other.answer.split('.')[1]}.{signature}"
    refused(world, replace(bundle, answer=mixed), step=1, reason="BAD_SIGNATURE")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lender": "other-lender"}, "ANSWER_OTHER_LENDER"),
        ({"nonce": bytes(32)}, "ANSWER_OTHER_NONCE"),
        ({"request_id": bytes(16)}, "ANSWER_OTHER_REQUEST"),
        ({"case": bytes(32)}, "ANSWER_OTHER_CASE"),
        ({"staff": bytes(32)}, "ANSWER_OTHER_CASE"),
        ({"domain": "other.example"}, "ANSWER_OTHER_SERVICE"),
        ({"issued_at": NOW + 1000}, "ANSWER_FROM_THE_FUTURE"),
        ({"issued_at": NOW - 1000}, "ANSWER_TOO_OLD"),
    ],
)
def test_1_an_answer_to_another_question_is_refused(world, change, reason):
    case = world.case()
    case.answer = replace(case.answer, **change)
    refused(world, world.finish(case), step=1, reason=reason)


def test_1_evidence_of_another_answer_is_refused(world):
    case = world.case()
    case.evidence = bytes(32)
    case.evidence = seed_of("other evidence")
    refused(world, world.finish(case), step=1, reason="OTHER_EVIDENCE")


def test_1_a_case_reference_changed_afterwards_is_refused(world):
    bundle = world.finish(world.case())
    kept = replace(bundle.kept, case=Reference("another case", bundle.kept.case.salt))
    refused(world, replace(bundle, kept=kept), step=1, reason="ANSWER_OTHER_CASE")


def test_1_a_bundle_without_what_the_lender_kept_is_refused(world):
    bundle = replace(world.finish(world.case()), kept=None)
    refused(world, bundle, step=1, reason="NOT_KEPT")


# -- 2: the policy


def test_2_a_policy_that_is_not_pinned_is_refused(world):
    bundle = world.finish(world.case())
    refused(world, bundle, step=2, reason="UNKNOWN_POLICY", trust=world.trust(policies=()))


def test_2_a_policy_that_was_not_in_force_is_refused(world):
    pins = (world.pin(POLICY, NOW + 1000),)
    bundle = world.finish(world.case())
    refused(world, bundle, step=2, reason="POLICY_NOT_IN_FORCE", trust=world.trust(policies=pins))


def test_2_another_lenders_policy_is_refused(world):
    policy = world.add_policy("private-policy", lenders=["other-lender"])
    bundle = world.finish(world.case(policy=policy))
    refused(world, bundle, step=2, reason="POLICY_OTHER_LENDER")


# -- 3: consent


def with_consent(world: World, consent: str):
    case = world.case()
    case.consent = consent
    case.answer = replace(case.answer, consent=verify_consent(consent).id)
    return world.finish(case)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"sub": bytes(32)}, "CONSENT_OTHER_SUBJECT"),
        ({"aud": "other-lender"}, "CONSENT_OTHER_LENDER"),
        ({"via": "other.example"}, "CONSENT_OTHER_SERVICE"),
        ({"policies": (replace(POLICY.ref, digest=bytes(32)),)}, "CONSENT_OTHER_POLICY"),
        ({"policies": (replace(POLICY.ref, version=2),)}, "CONSENT_OTHER_POLICY"),
        ({"purpose": "COLLECTION"}, "CONSENT_OTHER_PURPOSE"),
        ({"expires_at": NOW - 1}, "CONSENT_EXPIRED"),
    ],
)
def test_3_a_consent_of_other_scope_is_refused(world, change, reason):
    bundle = with_consent(world, world.consent(world.terms(**change)))
    refused(world, bundle, step=3, reason=reason)


def test_3_a_consent_that_begins_later_is_refused(world):
    bundle = with_consent(world, world.consent(now=NOW + 500))
    refused(world, bundle, step=3, reason="CONSENT_NOT_YET")


def test_3_a_consent_by_a_key_that_no_provider_bound_is_refused(world):
    bundle = with_consent(world, world.consent(signer=signer_of("operator's own key")))
    refused(world, bundle, step=3, reason="NOT_BOUND")


def test_3_a_consent_other_than_the_answers_is_refused(world):
    case = world.case()
    case.answer = replace(case.answer, consent=bytes(32))
    refused(world, world.finish(case), step=3, reason="OTHER_CONSENT")


PAGE = RelyingParty("pages.example", ("https://pages.example",))


def under_passkey(world: World, *, at: int):
    """An answer under a consent that a passkey signed at time `at`."""
    phone = SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    case, binding = world.case(), world.binding(key=phone)
    case.consent = world.consent(signer=phone, now=at)
    case.answer = replace(case.answer, consent=verify_consent(case.consent, [PAGE]).id)
    disclosure, place = binding.opening.disclose("jwk").text, world.log.logged(binding.log_index)
    case.bindings = [BindingEvidence(binding.token, disclosure, place)]
    return world.finish(case)


def test_3_an_answer_outlives_the_page_where_its_consent_was_signed(world):
    bundle = under_passkey(world, at=NOW - 1000)
    moved = RelyingParty(PAGE.id, ("https://new.pages.example",), valid_from=NOW - 500)
    ended = replace(PAGE, valid_until=NOW - 500)
    for parties in [(ended, moved), (ended,)]:
        world.verify(bundle, trust=world.trust(relying_parties=parties))


def test_3_a_consent_signed_on_a_page_that_had_ended_is_refused(world):
    bundle = under_passkey(world, at=NOW - 300)
    trust = world.trust(relying_parties=(replace(PAGE, valid_until=NOW - 500),))
    refused(world, bundle, step=3, reason="UNKNOWN_RELYING_PARTY", trust=trust)


def test_3_an_answer_without_a_binding_is_refused(world):
    case = world.case()
    case.bindings = []
    refused(world, world.finish(case), step=3, reason="NOT_BOUND")


def test_3_a_binding_by_another_provider_does_not_open_the_banks_data(world):
    case = world.case()
    other = world.binding(issuer="other-bank")
    case.bindings = [
        replace(
            case.bindings[0],
            token=other.token,
            disclosure=other.opening.disclose("jwk").text,
            logged=world.log.logged(other.log_index),
        )
    ]
    refused(world, world.finish(case), step=3, reason="NOT_BOUND")


def test_3_a_binding_that_nothing_needs_is_refused(world):
    case = world.case()
    other = world.binding(issuer="other-bank")
    case.bindings.append(
        replace(
            case.bindings[0],
            token=other.token,
            disclosure=other.opening.disclose("jwk").text,
            logged=world.log.logged(other.log_index),
        )
    )
    refused(world, world.finish(case), step=3, reason="SURPLUS")
