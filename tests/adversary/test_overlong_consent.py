"""A lender wants a consent, or the right to keep answers, for longer than its purpose allows."""

from __future__ import annotations

import secrets
from dataclasses import replace

import pytest
from credproof.base.errors import Refused, VerificationFailed
from credproof.lender import Lender
from credproof.verification.checked import CheckedRequest
from credproof.verification.consent import parse_request, sign_request
from credproof.verification.notice import notice_digests
from credproof_server.directory import now

from tests.rpc.conftest import LENDER

TOO_MUCH = {
    "consent_days": ({"days": 93}, "PURPOSE_CONSENT_DAYS"),
    "data_life_days": ({"data_life_days": 367}, "PURPOSE_DATA_LIFE_DAYS"),
}


@pytest.mark.parametrize("attribute", TOO_MUCH)
def test_an_honest_tool_does_not_sign_such_a_request_and_names_what_is_too_much(lender, attribute):
    terms, reason = TOO_MUCH[attribute]
    subject = lender.subject("ref:anybody")
    with pytest.raises(VerificationFailed) as caught:
        lender.request(subject, policy_id="revolving-standing", **terms)
    assert caught.value.reason == reason
    assert caught.value.message.startswith(attribute)


def test_what_is_not_said_is_what_the_purpose_allows(lender):
    token = lender.request(lender.subject("ref:anybody"), policy_id="revolving-standing")
    terms = parse_request(token).terms
    assert (terms.data_life_days, round((terms.expires_at - now()) / 86_400)) == (365, 30)


@pytest.mark.parametrize("attribute", TOO_MUCH)
def test_a_borrowers_tool_does_not_show_one_that_was_signed_nevertheless(
    running, lender, attribute
):
    borrower, request = forged(running, lender, attribute)
    with pytest.raises(VerificationFailed) as caught:
        borrower.check(request)
    assert caught.value.reason == TOO_MUCH[attribute][1]


@pytest.mark.parametrize("attribute", TOO_MUCH)
def test_the_service_does_not_take_a_consent_to_one_and_says_nothing_more(
    running, lender, attribute
):
    borrower, request = forged(running, lender, attribute)
    checked = CheckedRequest(parse_request(request), lender.trust)
    with pytest.raises(Refused) as caught:
        borrower.consent(checked, language="en")
    assert caught.value.reason == "NOT_PERMITTED"


def forged(running, lender: Lender, attribute: str):
    """A borrower, and a request of the lender that its own tool would not have signed."""
    subject_id, borrower = running.person()
    honest = parse_request(
        lender.request(lender.subject(subject_id), policy_id="revolving-standing")
    )
    longer = {"data_life_days": 367, "consent_days": now() + 93 * 86_400}
    member = {"consent_days": "expires_at"}.get(attribute, attribute)
    terms = replace(honest.terms, **{member: longer[attribute]})
    times = {"issued_at": now(), "open_until": now() + 3600}
    notices = notice_digests(lender.trust, terms)
    signer = running.home(LENDER).signer
    return borrower, sign_request(
        signer, terms, jti=secrets.token_bytes(16), notices=notices, **times
    )
