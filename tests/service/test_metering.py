"""The meter, in the commit that answers: what would tell more exactly than promised is refused."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from credproof.base.encoding import parse_json
from credproof.base.errors import Refused
from credproof.base.limits import ATTESTATION_LIFE_MAX_S, CLOCK_SKEW_S, METER_DAYS
from credproof_server.service.uses import Uses
from credproof_server.service.verify import Verify
from credproof_server.storage import repository

from tests.service.asking import Asking
from tests.service.test_caps import DAY, backdate
from tests.world import GOOD, POLICY

FIVE = {"consumer-revolving/1": {"utilisation_bp": 5}}
ROOM = {"schema": "consumer-revolving/1", "claim": "utilisation_bp"}


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


def below(asking: Asking, threshold: int, **members: object):
    """A policy with one question: a share of the limit below a rung."""
    document = parse_json(POLICY.document)
    questions = {"room": {**ROOM, "below": threshold}}
    tiers = [{**document["tiers"][0], "when": ["room"]}]
    name = f"below-{threshold}-{len(members)}"
    return asking.policy("9 per day", policy=name, questions=questions, tiers=tiers, **members)


async def ask(asking: Asking, policy):
    return await asking.ask(asking.question(policy, await asking.consent(policy)))


async def refused(waiting) -> tuple:
    with pytest.raises(Refused) as caught:
        await waiting
    error = caught.value
    assert error.reason == "TOO_NARROW"
    return error.message, error.step


def last_line(core) -> bytes:
    with core.engine.connect() as connection:
        return bytes(repository.lines(connection, core.sequencer.head.tree_size - 1, 1)[0])


async def test_answers_under_two_policies_do_not_go_below_what_one_of_them_promises(asking, core):
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    assert await ask(asking, careful)
    await refused(ask(asking, other))
    assert b'"reason":"TOO_NARROW"' in last_line(core)
    assert await ask(asking, careful), "the same rungs again tell nothing new"


async def test_the_promise_of_the_policy_that_is_asked_now_counts_too(asking):
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    assert await ask(asking, other)
    await refused(ask(asking, careful))


async def test_what_keeps_every_promise_is_answered(asking):
    """6000 and 12000 leave cells of six, five and three bands."""
    three = {"consumer-revolving/1": {"utilisation_bp": 3}}
    assert await ask(asking, below(asking, 6000, narrowest=three))
    assert await ask(asking, below(asking, 12000))
    await refused(ask(asking, below(asking, 10000)))


async def test_of_several_promises_the_strictest_counts(asking):
    three = {"consumer-revolving/1": {"utilisation_bp": 3}}
    assert await ask(asking, below(asking, 6000, narrowest=FIVE))
    await refused(ask(asking, below(asking, 12000, narrowest=three)))


async def test_without_a_promise_nothing_is_refused(asking):
    for threshold in (3000, 4000, 5000):
        assert await ask(asking, below(asking, threshold))


async def test_questions_that_race_are_answered_only_as_long_as_the_promise_holds(asking):
    policies = [below(asking, 6000, narrowest=FIVE), below(asking, 3000)]
    drafts = [asking.draft(asking.question(p, await asking.consent(p))) for p in policies]
    assert await asking.give(drafts[0])
    await refused(asking.give(drafts[1]))


async def test_a_batch_is_refused_item_by_item(asking):
    policies = [below(asking, 6000, narrowest=FIVE), below(asking, 3000), below(asking, 6000)]
    questions = [asking.question(p, await asking.consent(p)) for p in policies]
    results = await Verify(asking.core).ask_many(questions)
    assert [getattr(item, "reason", "answered") for item in results] == [
        "answered",
        "TOO_NARROW",
        "answered",
    ]


async def test_an_answer_that_was_given_is_given_again_whatever_was_refused_since(asking):
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    question = asking.question(other, await asking.consent(other))
    first = await asking.ask(question)
    await refused(ask(asking, careful))
    assert await asking.ask(question) == first


async def test_in_one_commit_only_what_this_lender_asked_about_this_borrower_counts(asking, core):
    policy = below(asking, 6000)
    ask = asking.question(policy, bytes(32))
    others = [replace(ask, lender="other"), replace(ask, sub=bytes(32))]
    with core.engine.connect() as connection:
        tx = SimpleNamespace(connection=connection, time=core.clock())
        uses = Uses(tx, [(use, policy.cap) for use in (ask, *others)])
    uses.add(ask)
    assert uses.answered(ask) == {policy.ref.digest}
    assert [uses.answered(other) for other in others] == [set(), set()]


async def test_a_refused_question_uses_nothing_up(asking):
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    assert await ask(asking, careful)
    once = await asking.consent(other, mode="once")
    for _ in range(2):
        await refused(asking.ask(asking.question(other, once)))


async def test_an_answer_counts_as_long_as_an_attestation_can_live_and_no_longer(asking, core):
    assert METER_DAYS * DAY > ATTESTATION_LIFE_MAX_S + 2 * CLOCK_SKEW_S
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    assert await ask(asking, careful)
    backdate(core, int(time.time()) - METER_DAYS * DAY + 60)
    await refused(ask(asking, other))
    backdate(core, int(time.time()) - METER_DAYS * DAY - 60)
    assert await ask(asking, other)


async def test_an_answer_under_a_policy_that_is_listed_no_more_counts_as_all_rungs(asking, core):
    careful, gone = below(asking, 6000, narrowest=FIVE), below(asking, 6000)
    assert await ask(asking, gone)
    trust = core.trust
    pins = tuple(pin for pin in trust.bundle.policies if pin.ref != gone.ref)
    bundle = replace(trust.bundle, policies=pins, version=trust.bundle.version + 1)
    core.sequencer.state.trust = replace(trust, bundle=bundle)
    await refused(ask(asking, careful))


@pytest.mark.parametrize("share", [None, 0, 2999, 3000, 5999, 6000, 100_000])
async def test_the_refusal_is_the_same_whatever_the_figure_is(asking, core, share):
    careful, other = below(asking, 6000, narrowest=FIVE), below(asking, 3000)
    await asking.attest({**GOOD, "utilisation_bp": share}, seq=2)
    await ask(asking, careful)
    told = await refused(ask(asking, other))
    assert told == (
        "with the answers before it would tell more exactly than a policy promises",
        None,
    )
    told_of = {"case", "consent", "policy", "purpose", "reason", "staff"}
    assert set(parse_json(last_line(core))["fields"]) == told_of
