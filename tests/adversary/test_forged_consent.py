"""A lender makes a consent itself, or makes more of one than the borrower agreed to."""

from __future__ import annotations

import secrets
import time
from dataclasses import replace

import pytest
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import CredproofError, Refused
from credproof.borrower import Borrower, CheckedRequest, make_pass
from credproof.verification.consent import (
    Notice,
    parse_request,
    sign_consent,
    sign_request,
    verify_consent,
)
from credproof.verification.notice import notice_digest, notice_digests, notice_text, text_in

from tests.adversary.forge import claims_of, reheaded
from tests.rpc.conftest import LENDER, PROVIDER
from tests.rpc.registry import add_policy
from tests.rpc.test_standing import ask

POLICY = "revolving-standing"


def minted(running, lender, subject, signer, **changes) -> str:
    """A consent by this key, under the very notice that its terms come to."""
    request = parse_request(lender.request(subject, policy_id=POLICY))
    terms = replace(request.terms, **changes)
    now = int(time.time())
    times = {"issued_at": now, "open_until": now + 3600}
    key = running.home(LENDER).signer
    said = {"jti": secrets.token_bytes(16), "notices": notice_digests(lender.trust, terms)}
    asked = parse_request(sign_request(key, terms, **said, **times))
    shown = notice_text(lender.trust, terms, text_in(lender.trust, "zh"))
    notice = Notice(notice_digest(shown), "zh")
    return sign_consent(signer, asked, jti=secrets.token_bytes(16), now=now, notice=notice)


def not_taken(running, signer, sub: bytes, consent: str) -> None:
    with pytest.raises(Refused) as caught:
        Borrower(signer, make_pass(running.home(PROVIDER), sub)).grant(consent)
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_lender_cannot_sign_for_the_borrower(running, lender):
    """Its own key is registered, and bound to nobody."""
    subject_id, _ = running.person()
    subject, key = lender.subject(subject_id), running.home(LENDER).signer
    consent = minted(running, lender, subject, key)
    not_taken(running, key, subject.sub, consent)
    with pytest.raises(Refused) as caught:
        ask(lender, subject_id, consent)
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_lender_cannot_sign_for_one_borrower_with_the_key_of_another(running, lender):
    (victim, _), (_, accomplice) = running.person(), running.person()
    subject = lender.subject(victim)
    consent = minted(running, lender, subject, accomplice._signer)
    not_taken(running, accomplice._signer, subject.sub, consent)


@pytest.mark.parametrize("change", [{"exp": 1}, {"mode": "continuing"}, {"aud": "south-lender"}])
def test_a_signed_consent_cannot_be_widened(running, lender, change):
    """Longer, more often, for another lender: each breaks the signature over the terms."""
    _, consent, borrower = running.consented(lender)
    claims = claims_of(consent)
    terms = {**claims["terms"], **change}
    terms["exp"] = claims["terms"]["exp"] + change.get("exp", 0)
    header, _, signature = consent.split(".")
    payload = b64url(canonical_json({**claims, "terms": terms}))
    with pytest.raises(CredproofError) as caught:
        borrower.grant(f"{header}.{payload}.{signature}")
    assert caught.value.reason == "BAD_SIGNATURE"


def test_a_consent_is_to_policies_of_its_one_purpose(running):
    subject_id, borrower = running.person()
    other = add_policy(running, "collecting-standing", purpose="COLLECTION")
    with running.world.lender() as lender:
        subject = lender.subject(subject_id)
        ref = lender.trust.newest_policy(POLICY, int(time.time())).ref
        for change in ({"policies": (ref, other.ref)}, {"purpose": "COLLECTION"}):
            consent = minted(running, lender, subject, borrower._signer, **change)
            not_taken(running, borrower._signer, subject.sub, consent)


@pytest.mark.parametrize("aud", ["any", PROVIDER, "no-lender"])
def test_a_consent_is_for_one_lender(running, lender, aud):
    """Such terms come to no notice at all: the consent is under that of honest ones."""
    subject_id, borrower = running.person()
    request = parse_request(lender.request(lender.subject(subject_id), policy_id=POLICY))
    shown = notice_digest(CheckedRequest(request, lender.trust).notice("zh"))
    forged = replace(request, terms=replace(request.terms, aud=aud))
    settings = {"jti": secrets.token_bytes(16), "now": int(time.time())}
    consent = sign_consent(borrower._signer, forged, notice=Notice(shown, "zh"), **settings)
    not_taken(running, borrower._signer, request.terms.sub, consent)


def test_a_request_that_another_key_signed_is_not_shown_to_the_borrower(running, lender):
    subject_id, borrower = running.person()
    request = lender.request(lender.subject(subject_id), policy_id=POLICY)
    forged = reheaded(request, borrower._signer, kid=borrower._signer.public.kid)
    with pytest.raises(CredproofError) as caught:
        borrower.check(forged)
    assert caught.value.reason == "BAD_SIGNATURE"
    assert verify_consent(borrower.consent(borrower.check(request), language="zh"))
