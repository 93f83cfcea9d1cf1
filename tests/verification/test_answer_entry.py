"""What the log says of questions: enough for an auditor, nothing that names a borrower."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import Malformed
from credproof.log.entry import Entry, parse_entry
from credproof.verification.answer_entry import (
    AFTER_CONSENT,
    Asked,
    GivenEntry,
    RefusedEntry,
    parse_given,
    parse_refused,
)

from tests.world import POLICY, seed_of

ASKED = Asked(POLICY.ref, POLICY.purpose, seed_of("case"), seed_of("staff"))
GIVEN = GivenEntry(ASKED, seed_of("consent"), "REFER", seed_of("tag"), seed_of("verdicts"))
REFUSED = RefusedEntry(ASKED, None, "NOT_PERMITTED")


def entry(kind: str, fields) -> Entry:
    made = Entry(0, 0, kind, "lend", bytes(32), bytes(16), fields, bytes(32))
    return parse_entry(made.to_line())


def given(**changes: object) -> Entry:
    return entry("answer.given", GIVEN.fields() | changes)


def refused(**changes: object) -> Entry:
    return entry("answer.refused", REFUSED.fields() | changes)


def test_what_is_written_is_read():
    assert parse_given(given()) == GIVEN
    assert parse_refused(refused()) == REFUSED
    for reason in AFTER_CONSENT:
        told = replace(REFUSED, reason=reason, consent=seed_of("consent"))
        assert parse_refused(entry("answer.refused", told.fields())) == told


def test_the_outcome_stands_there_without_its_tier_and_figures():
    assert set(given().fields) == {
        *("case", "consent", "outcome", "policy", "purpose", "staff", "tag", "verdicts")
    }


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (given(outcome="A"), "BAD_ANSWER_ENTRY"),
        (given(policy=None, purpose=None), "BAD_ANSWER_ENTRY"),
        (given(purpose=None), "BAD_ANSWER_ENTRY"),
        (given(purpose="FUN"), "BAD_ANSWER_ENTRY"),
        (given(tier="A"), "BAD_MEMBER"),
        (given(case=b64url(bytes(31))), "WRONG_LENGTH"),
        (replace(given(), kind="answer.other"), "BAD_ANSWER_ENTRY"),
    ],
)
def test_an_answer_that_is_logged_in_another_form_is_refused(changed, reason):
    with pytest.raises(Malformed) as caught:
        parse_given(changed)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (refused(consent=b64url(bytes(32))), "BAD_ANSWER_ENTRY"),
        (refused(reason="CONSENT_REVOKED"), "BAD_ANSWER_ENTRY"),
        (refused(policy=None), "BAD_ANSWER_ENTRY"),
        (refused(sub=b64url(bytes(32))), "BAD_MEMBER"),
        (replace(refused(), kind="answer.given"), "BAD_ANSWER_ENTRY"),
    ],
)
def test_a_refusal_names_a_consent_only_when_it_was_the_lenders_own(changed, reason):
    with pytest.raises(Malformed) as caught:
        parse_refused(changed)
    assert caught.value.reason == reason
