"""Requests that are not what they say: another lender's, with another notice, for elsewhere."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, Refused
from credproof.verification.checked import CheckedRequest
from credproof.verification.consent import parse_request

from tests.rpc.conftest import LENDER

POLICY = "revolving-standing"
NOTICES = {"en": b64url(bytes(32)), "zh": b64url(bytes(32))}


@pytest.fixture
def asked(running, lender):
    """A borrower, and an honest request to it."""
    subject_id, borrower = running.person()
    return borrower, lender.request(lender.subject(subject_id), policy_id=POLICY)


def bent(running, request: str, **changes) -> str:
    """A request with members of it, or of its terms, changed; signed by the lender's own key."""
    claims = dict(parse_request(request).jws.claims)
    terms = {name: changes.pop(name) for name in list(changes) if name in claims["terms"]}
    claims |= {"terms": claims["terms"] | terms, **changes}
    return jws.sign(running.home(LENDER).signer, jws.REQUEST, claims)


def refusal(borrower, request: str) -> str:
    with pytest.raises(CredproofError) as caught:
        borrower.check(request)
    return caught.value.reason


def test_a_lender_in_the_name_of_another_is_not_shown(running, asked):
    borrower, request = asked
    assert refusal(borrower, bent(running, request, aud="nobody-here")) == "UNKNOWN_PARTICIPANT"
    thief = jws.sign(borrower._signer, jws.REQUEST, parse_request(request).jws.claims)
    assert refusal(borrower, thief) == "BAD_SIGNATURE"


def test_a_notice_that_says_less_than_the_terms_is_not_shown(running, asked):
    borrower, request = asked
    assert refusal(borrower, bent(running, request, notices=NOTICES)) == "OTHER_NOTICE"


def test_terms_that_the_notice_does_not_tell_are_not_shown(running, asked):
    """The notice is of a consent for one answer, the terms are for many."""
    borrower, request = asked
    assert refusal(borrower, bent(running, request, mode="continuing")) == "OTHER_NOTICE"


def test_the_request_of_another_borrower_is_not_shown(running, lender, asked):
    _, request = asked
    _, other = running.person()
    assert refusal(other, request) == "OTHER_SUBJECT"


def test_a_request_of_another_deployment_is_not_shown(running, asked):
    borrower, request = asked
    assert refusal(borrower, bent(running, request, via="other.example")) == "WRONG_SERVICE"


def test_a_person_is_not_sent_elsewhere_than_one_sees(running, asked):
    borrower, request = asked
    astray = bent(running, request, return_to="https://shop.example@evil.example/")
    assert refusal(borrower, astray) == "BAD_URL"


def test_a_tool_that_does_not_look_is_stopped_by_the_service(running, lender, asked):
    """It signs a notice that these terms do not come to."""
    borrower, request = asked
    parsed = parse_request(request)
    longer = replace(parsed, terms=replace(parsed.terms, mode="continuing"))
    checked = CheckedRequest(replace(longer, notices=parsed.notices), lender.trust)
    claims = {
        "jti": b64url(os.urandom(16)),
        "nbf": parsed.issued_at,
        "notice": {"digest": b64url(parsed.notices["zh"]), "language": "zh"},
        "request": b64url(parsed.jws.id),
        "terms": checked.request.terms.to_json(),
    }
    with pytest.raises(Refused) as caught:
        borrower.grant(jws.sign(borrower._signer, jws.CONSENT, claims, carry_key=True))
    assert caught.value.reason == "NOT_PERMITTED"
