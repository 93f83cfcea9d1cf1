"""Requests and consents: each signed by whom it must be, for exactly its terms."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.base.keys import P256Signer
from credproof.verification.checked import CheckedRequest, check_request
from credproof.verification.consent import (
    Notice,
    parse_request,
    sign_consent,
    sign_revocation,
    verify_consent,
    verify_revocation,
)
from credproof.verification.notice import notice_digests, notice_text, text_in
from credproof.verification.text import parse_text
from cryptography.hazmat.primitives.asymmetric import ec

from tests.world import DOMAIN, NOW, POLICY, World, signer_of

WORLD = World()
TRUST = WORLD.trust()
TEXT = text_in(TRUST, "en")


def refused(reason: str, work) -> None:
    with pytest.raises(CredproofError) as caught:
        work()
    assert reason == caught.value.reason


@pytest.mark.parametrize(
    "signer", [signer_of("borrower"), P256Signer(ec.generate_private_key(ec.SECP256R1()))]
)
def test_a_consent_verifies_under_the_key_it_carries(signer):
    consent = verify_consent(WORLD.consent(signer=signer))

    assert (signer.public,) == consent.keys
    assert WORLD.terms() == consent.terms
    consent.verify_scope(sub=WORLD.sub, lender="lend", via=DOMAIN, policy=POLICY, at=NOW)


def test_a_consent_repeats_the_terms_of_the_request_and_names_it():
    request = parse_request(WORLD.request())
    consent = verify_consent(WORLD.consent())
    assert (request.terms, request.jws.id) == (consent.terms, consent.request)


def test_altered_terms_are_refused():
    one, two = WORLD.consent(), WORLD.consent(WORLD.terms(mode="continuing"))
    head, _, signature = one.split(".")
    mixed = f"{head}.{two.split('.')[1]}.{signature}"
    refused("BAD_SIGNATURE", lambda: verify_consent(mixed))


def test_a_request_is_not_a_consent_and_the_other_way_round():
    refused("WRONG_TYPE", lambda: verify_consent(WORLD.request()))
    refused("WRONG_TYPE", lambda: parse_request(WORLD.consent()))


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "CURIOSITY"},
        {"mode": "always"},
        {"aud": "No Such Id"},
        {"policies": ()},
        {"policies": (POLICY.ref, POLICY.ref)},
        {"data_life_days": 0},
        {"data_life_days": 100_000},
    ],
)
def test_terms_outside_the_grammar_are_refused(change):
    refused("BAD_CONSENT", lambda: parse_request(WORLD.request(WORLD.terms(**change))))


@pytest.mark.parametrize("expires_at", [NOW - 100, NOW + 6 * 366 * 86_400])
def test_a_consent_for_no_time_or_too_long_is_refused(expires_at):
    refused(
        "BAD_CONSENT", lambda: verify_consent(WORLD.consent(WORLD.terms(expires_at=expires_at)))
    )


def test_a_request_must_be_the_lenders_own():
    request = parse_request(WORLD.request())
    thief = signer_of("thief").public
    refused("BAD_SIGNATURE", lambda: request.verify(thief, via=DOMAIN, now=NOW))


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ({"via": "other.example", "now": NOW}, "WRONG_SERVICE"),
        ({"via": DOMAIN, "now": NOW + 7200}, "EXPIRED"),
        ({"via": DOMAIN, "now": NOW - 1000}, "FROM_THE_FUTURE"),
    ],
)
def test_a_request_for_elsewhere_or_another_time_is_refused(how, reason):
    request = parse_request(WORLD.request())
    refused(reason, lambda: request.verify(WORLD.lend.public, **how))


def test_a_request_that_stays_open_for_too_long_is_refused():
    token = WORLD.request(open_until=NOW + 90 * 86_400)
    refused("BAD_CONSENT", lambda: parse_request(token))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"notices": {}}, "BAD_CONSENT"),
        ({"notices": {"de": bytes(32)}}, "BAD_MEMBER"),
        ({"notices": {"en": bytes(31)}}, "WRONG_LENGTH"),
        ({"return_to": "http://shop.example"}, "BAD_URL"),
        ({"return_to": ""}, "BAD_URL"),
    ],
)
def test_a_request_says_what_must_be_shown_and_sends_nobody_astray(said, reason):
    refused(reason, lambda: parse_request(WORLD.request(**said)))


def test_a_request_may_say_where_the_person_goes_afterwards():
    url = "https://shop.example/loan?case=7"
    assert parse_request(WORLD.request(return_to=url)).return_to == url
    assert parse_request(WORLD.request()).return_to is None


def checked(trust=TRUST, **said: object) -> CheckedRequest:
    said = {"notices": notice_digests(TRUST, WORLD.terms()), **said}
    return check_request(WORLD.request(**said), trust, sub=WORLD.sub, via=DOMAIN, now=NOW)


def test_the_borrower_is_shown_what_the_lender_has_signed():
    for language in ("en", "zh"):
        text = text_in(TRUST, language)
        assert checked().notice(language) == notice_text(TRUST, WORLD.terms(), text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_request_with_another_notice_is_refused_whichever_language_is_shown(language):
    notices = {**notice_digests(TRUST, WORLD.terms()), language: bytes(32)}
    refused("OTHER_NOTICE", lambda: checked(notices=notices))


def test_a_request_of_before_the_lender_was_renamed_blames_the_registry_not_the_lender():
    lender = WORLD.terms().aud
    participants = [
        replace(p, title="Another title") if p.id == lender else p
        for p in TRUST.bundle.participants
    ]
    later = replace(TRUST, bundle=replace(TRUST.bundle, participants=tuple(participants)))
    with pytest.raises(CredproofError) as caught:
        checked(later)
    assert caught.value.reason == "OTHER_NOTICE"
    for said in ("registry may have changed", "make the request anew"):
        assert said in str(caught.value)


def test_a_notice_of_other_terms_is_refused():
    longer = WORLD.terms(data_life_days=31)
    refused("OTHER_NOTICE", lambda: checked(notices=notice_digests(TRUST, longer)))


def test_a_language_that_the_lender_has_not_signed_is_not_shown():
    notices = notice_digests(TRUST, WORLD.terms())
    only = checked(notices={"zh": notices["zh"]})
    assert only.notice("zh")
    refused("BAD_LANGUAGE", lambda: only.notice("en"))


def test_a_notice_in_an_older_text_is_still_shown_as_it_was_signed():
    """The operator publishes new texts while a request is on its way."""
    newer = parse_text(canonical_json(parse_json(TEXT.document) | {"version": TEXT.version + 1}))
    documents = [*TRUST.documents, newer.document]
    bundle = replace(TRUST.bundle, texts=(*TRUST.bundle.texts, newer.digest))
    later = replace(TRUST, bundle=bundle, documents=tuple(documents))
    assert checked(later).notice("en") == checked().notice("en")


def test_a_consent_without_its_key_is_refused():
    claims = jws.parse(WORLD.consent(), jws.CONSENT).claims
    token = jws.sign(WORLD.borrower, jws.CONSENT, claims)
    refused("NO_KEY", lambda: verify_consent(token))


def test_a_notice_in_an_unknown_language_is_refused():
    request = parse_request(WORLD.request())
    notice = Notice(bytes(32), "de")
    token = sign_consent(WORLD.borrower, request, jti=bytes(16), now=NOW, notice=notice)
    refused("BAD_CONSENT", lambda: verify_consent(token))


def test_a_revocation_names_its_consent_and_key():
    token = sign_revocation(WORLD.borrower, bytes(32), now=NOW)
    revocation = verify_revocation(token)
    assert ((WORLD.borrower.public,), bytes(32)) == (revocation.keys, revocation.consent)
