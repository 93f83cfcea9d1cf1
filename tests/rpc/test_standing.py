"""Suspension takes effect at once, on open connections too, and ends without a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from credproof.base.errors import NOT_ACTIVE, Conflict, Refused
from credproof_server import admission

from tests.rpc.conftest import LENDER, PROVIDER


@contextmanager
def suspended(running, name: str) -> Iterator[None]:
    service = running.world.service
    admission.set_status(service, name, "suspended")
    try:
        yield
    finally:
        admission.set_status(service, name, "active")


def ask(lender, subject_id: str, consent: str):
    return lender.ask(lender.subject(subject_id), policy_id="revolving-standing", consent=consent)


def test_a_suspended_provider_is_refused_on_its_open_connection(running):
    with running.world.provider() as provider, suspended(running, PROVIDER):
        with pytest.raises(Refused) as caught:
            provider.submit([running.record()], schema_id="consumer-revolving/1")
        assert (caught.value.reason, caught.value.message) == ("NOT_PERMITTED", NOT_ACTIVE)


def test_what_a_suspended_provider_attested_gives_no_answer_until_it_is_active_again(
    running, lender
):
    subject_id, consent, _ = running.consented(lender)
    kept = ask(lender, *running.consented(lender)[:2])
    with suspended(running, PROVIDER):
        with pytest.raises(Refused) as caught:
            ask(lender, subject_id, consent)
        assert caught.value.reason == "CONSENT_PAUSED"
        assert lender.verify(kept.bundle).outcome.tier == "A", "what was answered before stands"
    assert ask(lender, subject_id, consent).verified.outcome.tier == "A"


def test_a_suspended_lender_is_refused_on_its_open_connection(running, lender):
    subject_id, consent, _ = running.consented(lender)
    with suspended(running, LENDER), pytest.raises(Refused) as caught:
        ask(lender, subject_id, consent)
    assert caught.value.reason == "NOT_PERMITTED"


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("nobody", "suspended", "NO_SUCH_PARTICIPANT"),
        ("operator", "suspended", "OPERATOR_STAYS"),
        (LENDER, "active", "NO_CHANGE"),
    ],
)
def test_a_status_that_cannot_change_says_why(running, name, status, reason):
    with pytest.raises(Conflict) as caught:
        admission.set_status(running.world.service, name, status)
    assert reason == caught.value.reason


def test_the_list_of_participants_tells_who_is_suspended(running):
    with suspended(running, LENDER):
        found = {p.id: p.status for p in admission.participants(running.world.service)}
    assert (found[LENDER], found[PROVIDER]) == ("suspended", "active")
