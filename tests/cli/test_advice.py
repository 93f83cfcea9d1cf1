"""What an error tells to do fits whoever reads it."""

from __future__ import annotations

import pytest
from credproof.base.errors import NOT_ACTIVE, Malformed, Refused, VerificationFailed
from credproof.cli.advice import next_step

SHOWN_WRONG = ("OTHER_INDEX", "OTHER_MEMBERS", "BAD_LOOKUP_PROOF", "BAD_INCLUSION_PROOF")


@pytest.mark.parametrize("reason", SHOWN_WRONG)
def test_a_borrower_whose_records_are_shown_wrong_is_not_told_to_get_them_again(reason):
    told = next_step(VerificationFailed(reason, "a token shown was filed somewhere else"))
    assert "ask the operator why" in told
    assert "tell your provider" in told
    of_an_answer = next_step(VerificationFailed(reason, "the same, in an answer", step=9))
    assert "check 9" in of_an_answer


@pytest.mark.parametrize("reason", ["OTHER_TRUST", "REGISTRY_WITHHELD", "ENTRY_CHANGED"])
def test_who_is_no_auditor_is_not_told_to_keep_an_auditors_files(reason):
    """A provider that watches its keys meets these too."""
    told = next_step(VerificationFailed(reason, "the log names another version"))
    assert "ask the operator why" in told
    assert "audited.json" in told.partition("as an auditor keep")[2]


def test_a_lender_whose_provider_has_a_new_key_is_told_to_ask_the_provider_itself():
    told = next_step(VerificationFailed("NOT_THE_PINNED_KEY", "another key", step=4))
    assert "ask the provider itself" in told
    assert "lender pin" in told


def test_an_operator_who_brings_a_root_key_of_before_is_told_where_the_new_one_goes():
    told = next_step(Malformed("OTHER_ROOT_KEY", "this is not the root key of this service"))
    assert "--root-key" in told
    assert "offline-root/root.key" in told


def test_a_suspended_participant_is_told_of_that_and_not_of_consents():
    assert "participant resume" in next_step(Refused("NOT_PERMITTED", NOT_ACTIVE))
    other = next_step(Refused("NOT_PERMITTED", "the service does not permit this"))
    assert "consent" in other
