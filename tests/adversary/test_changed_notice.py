"""The borrower was shown another text than what the consent comes to."""

from __future__ import annotations

import secrets
import time

import pytest
from credproof.base.errors import Refused
from credproof.verification.consent import JTI_BYTES, Notice, sign_consent
from credproof.verification.notice import notice_digest

from tests.rpc.test_standing import ask

POLICY = "revolving-standing"
TEXTS = {
    "one letter less": lambda checked: checked.notice("zh")[:-1],
    "another end of line": lambda checked: checked.notice("zh").replace("\n", "\r\n"),
    "the text in English": lambda checked: checked.notice("en"),
    "nothing": lambda checked: "",
}


def consent_to(borrower, checked, digest: bytes) -> str:
    return sign_consent(
        borrower._signer,
        checked.request,
        jti=secrets.token_bytes(JTI_BYTES),
        now=int(time.time()),
        notice=Notice(digest, "zh"),
    )


@pytest.fixture(scope="module")
def asked(running):
    """A borrower, and a lender's request that the borrower's tool has checked."""
    with running.world.lender() as lender:
        subject_id, borrower = running.person()
        subject = lender.subject(subject_id)
        checked = borrower.check(lender.request(subject, policy_id=POLICY))
        longer = borrower.check(lender.request(subject, policy_id=POLICY, days=60))
        yield subject_id, borrower, checked, longer


def not_taken(borrower, consent: str) -> None:
    with pytest.raises(Refused) as caught:
        borrower.grant(consent)
    assert caught.value.reason == "NOT_PERMITTED"


@pytest.mark.parametrize("shown", TEXTS)
def test_a_consent_under_another_text_is_not_taken(asked, shown):
    _, borrower, checked, _ = asked
    digest = notice_digest(TEXTS[shown](checked))
    not_taken(borrower, consent_to(borrower, checked, digest))


def test_a_consent_under_the_text_of_another_request_is_not_taken(asked):
    """Shown were 30 days, signed were 60."""
    _, borrower, checked, longer = asked
    digest = notice_digest(checked.notice("zh"))
    not_taken(borrower, consent_to(borrower, longer, digest))


def test_under_what_was_shown_it_is_taken(asked, lender):
    subject_id, borrower, checked, _ = asked
    consent = consent_to(borrower, checked, notice_digest(checked.notice("zh")))
    borrower.grant(consent)
    assert ask(lender, subject_id, consent).verified.outcome.tier == "A"
