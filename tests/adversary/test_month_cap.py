"""A lender wants more answers in a month than its purpose allows: by several policies, several
consents, a whole batch at once, and a template of its own."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError, Refused
from credproof.records.asks import Ask
from credproof.verification.purpose import Template
from credproof_server import standing

from tests.rpc.conftest import LENDER
from tests.rpc.registry import add_policy, changed, publish, templates

ALLOWED = 3
OVER = "PURPOSE_ANSWERS_PER_MONTH"


@pytest.fixture(scope="module")
def policies(running) -> list[str]:
    caps = {"answers": "9 per day"}
    names = ["monthly-one", "monthly-two"]
    return [add_policy(running, name, caps=caps).id for name in names]


@pytest.fixture(autouse=True)
def few(running, policies):
    with changed(running, templates(answers_per_month=ALLOWED)):
        yield


def consents(running, lender, policies, count: int) -> tuple[str, list[tuple[str, str]]]:
    """One borrower, and consents to the policies in turn: policy and consent."""
    subject_id, borrower = running.person()
    found = []
    for number in range(count):
        policy = policies[number % len(policies)]
        request = lender.request(lender.subject(subject_id), policy_id=policy, mode="continuing")
        consent = borrower.consent(borrower.check(request), language="zh")
        found.append((policy, consent))
    return subject_id, found


def test_other_policies_and_consents_give_no_answer_more(running, policies):
    with running.world.lender() as lender:
        subject_id, given = consents(running, lender, policies, ALLOWED + 2)
        subject = lender.subject(subject_id)
        outcomes = []
        for policy, consent in given:
            try:
                outcomes.append(lender.ask(subject, policy_id=policy, consent=consent))
            except Refused as error:
                outcomes.append((error.reason, error.message.partition(":")[0]))
    assert outcomes[ALLOWED:] == [(OVER, "answers_per_month")] * 2
    assert not any(isinstance(item, tuple) for item in outcomes[:ALLOWED])


def test_one_batch_gives_no_answer_more(running, policies):
    with running.world.lender() as lender:
        subject_id, given = consents(running, lender, policies, ALLOWED + 2)
        asks = [Ask(subject_id, policy, consent, "", "") for policy, consent in given]
        results = list(lender.ask_many(asks))
    reasons = [item.reason for item in results if isinstance(item, CredproofError)]
    assert reasons == [OVER] * 2


def test_the_template_of_this_lender_counts_and_not_the_one_for_any(running, policies):
    own = Template(LENDER, "ORIGINATION", 1, 366, 183, 92)
    standing.set_template(running.world.service, own)
    with running.world.lender() as lender:
        subject_id, given = consents(running, lender, policies, 2)
        subject = lender.subject(subject_id)
        lender.ask(subject, policy_id=given[0][0], consent=given[0][1])
        with pytest.raises(Refused) as caught:
            lender.ask(subject, policy_id=given[1][0], consent=given[1][1])
    assert caught.value.reason == OVER


def test_an_answer_over_the_cap_is_no_answer_though_the_same_request_comes_again(running, policies):
    with running.world.lender() as lender:
        subject_id, given = consents(running, lender, policies, ALLOWED + 1)
        asks = [Ask(subject_id, policy, consent, "", "") for policy, consent in given]
        prepared = lender.prepare(asks)
        first, again = lender.put(prepared), lender.put(prepared)
    assert [type(item) for item in first] == [type(item) for item in again]
    assert first[-1].reason == again[-1].reason == OVER
    assert [i.bundle.answer for i in first[:-1]] == [i.bundle.answer for i in again[:-1]]


def test_a_purpose_that_nobody_opened_is_closed(running, policies, lender):
    subject_id, given = consents(running, lender, policies, 1)
    publish(running, lambda bundle: replace(bundle, purposes=()))
    with pytest.raises(Refused) as caught:
        lender.ask(lender.subject(subject_id), policy_id=given[0][0], consent=given[0][1])
    assert caught.value.reason == "PURPOSE_NOT_OPEN"
