"""Caps: how often a lender may ask, per day and month of the service's own clock."""

from __future__ import annotations

import calendar
import time

import pytest
from credproof.base.errors import Refused
from credproof_server.storage import repository
from credproof_server.storage.tables import answers
from sqlalchemy import update

from tests.service.asking import Asking

DAY = 86_400


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


async def refused(asking: Asking, question) -> None:
    with pytest.raises(Refused) as caught:
        await asking.ask(question)
    assert caught.value.reason == "CAP_REACHED"


def backdate(core, answered_at: int) -> None:
    """As if every answer so far had been given then."""
    with core.engine.begin() as connection:
        connection.execute(update(answers).values(time=answered_at))


def day_start() -> int:
    now = int(time.time())
    return now - now % DAY


def month_start() -> int:
    today = time.gmtime()
    return calendar.timegm((today.tm_year, today.tm_mon, 1, 0, 0, 0))


@pytest.mark.parametrize("cap", ["2 per consent", "2 per day", "2 per month"])
async def test_a_policys_cap_is_the_number_of_its_answers_and_not_one_more(asking, cap):
    policy = asking.policy(cap)
    consent = await asking.consent(policy)
    for _ in range(2):
        await asking.ask(asking.question(policy, consent))
    await refused(asking, asking.question(policy, consent))


@pytest.mark.parametrize(("cap", "start"), [("1 per day", day_start), ("1 per month", month_start)])
async def test_an_answer_of_the_period_before_uses_no_cap_but_the_periods_first_second_does(
    asking, core, cap, start
):
    policy = asking.policy(cap)
    consent = await asking.consent(policy)
    await asking.ask(asking.question(policy, consent))
    backdate(core, start())
    await refused(asking, asking.question(policy, consent))

    backdate(core, start() - 1)
    assert await asking.ask(asking.question(policy, consent))
    await refused(asking, asking.question(policy, consent))


async def test_an_answer_of_long_ago_still_counts_under_a_cap_for_the_consents_life(asking, core):
    policy = asking.policy("1 per consent")
    consent = await asking.consent(policy)
    await asking.ask(asking.question(policy, consent))
    backdate(core, 0)
    await refused(asking, asking.question(policy, consent))


async def test_the_same_question_again_is_answered_at_the_cap(asking):
    policy = asking.policy("1 per day")
    consent = await asking.consent(policy)
    question = asking.question(policy, consent)
    first = await asking.ask(question)
    await refused(asking, asking.question(policy, consent))
    assert first == await asking.ask(question)


async def test_the_cap_of_one_policy_is_not_used_by_answers_of_another(asking):
    one, other = asking.policy("1 per day"), asking.policy("1 per month")
    consent = await asking.consent(one, other)
    await asking.ask(asking.question(one, consent))
    assert await asking.ask(asking.question(other, consent))
    await refused(asking, asking.question(one, consent))


@pytest.mark.parametrize("cap", ["1 per day", "1 per month"])
async def test_a_second_consent_gives_no_second_share_of_a_periods_cap(asking, cap):
    policy = asking.policy(cap)
    await asking.ask(asking.question(policy, await asking.consent(policy)))
    await refused(asking, asking.question(policy, await asking.consent(policy)))


async def test_a_second_consent_has_a_cap_of_its_own_where_the_cap_is_per_consent(asking):
    policy = asking.policy("1 per consent")
    for _ in range(2):
        assert await asking.ask(asking.question(policy, await asking.consent(policy)))


async def test_questions_that_race_for_the_last_answer_get_it_once(asking):
    """Both drafts were made while the cap had room: the commit decides."""
    policy = asking.policy("1 per day")
    consent = await asking.consent(policy)
    drafts = [asking.draft(asking.question(policy, consent)) for _ in range(2)]
    await asking.give(drafts[0])
    with pytest.raises(Refused) as caught:
        await asking.give(drafts[1])
    assert caught.value.reason == "CAP_REACHED"


async def test_a_question_over_the_cap_is_in_the_log_with_its_reason(asking, core):
    policy = asking.policy("1 per day")
    consent = await asking.consent(policy)
    await asking.ask(asking.question(policy, consent))
    await refused(asking, asking.question(policy, consent))
    with core.engine.connect() as connection:
        last = repository.lines(connection, core.sequencer.head.tree_size - 1, 1)[0]
    assert b'"reason":"CAP_REACHED"' in last
