"""What the registry allows a lender, decided on every question and in the commit."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError, Refused
from credproof.verification.participant import Licence
from credproof_server.service.answering import Ask
from credproof_server.service.ingest import Ingest
from credproof_server.storage import repository

from tests.deployment import package, seal, statement
from tests.service.asking import Asking
from tests.service.test_caps import backdate, month_start
from tests.world import KEY_BINDING, REVOLVING


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


def change(core, **members) -> None:
    """As if the next bundle had changed these members."""
    trust = core.trust
    bundle = replace(trust.bundle, version=trust.bundle.version + 1, **members)
    core.sequencer.state.trust = replace(trust, bundle=bundle)


def change_participant(core, name: str, **members) -> None:
    changed = [replace(p, **members) if p.id == name else p for p in core.trust.bundle.participants]
    change(core, participants=tuple(changed))


def fair(core, **members) -> None:
    """The templates of all purposes with members changed."""
    change(core, purposes=tuple(replace(item, **members) for item in core.trust.bundle.purposes))


async def refused(reason: str, waiting) -> str:
    with pytest.raises(Refused) as caught:
        await waiting
    assert reason == caught.value.reason
    return caught.value.message


async def test_the_month_cap_of_a_purpose_counts_every_policy_and_consent(asking, core):
    fair(core, answers_per_month=3)
    one, other = asking.policy("9 per day"), asking.policy("9 per month")
    both = await asking.consent(one, other)
    await asking.ask(asking.question(one, both))
    await asking.ask(asking.question(other, both))
    await asking.ask(asking.question(one, await asking.consent(one)))
    for policy, consent in ((one, both), (other, both), (other, await asking.consent(other))):
        told = await refused(
            "PURPOSE_ANSWERS_PER_MONTH", asking.ask(asking.question(policy, consent))
        )
        assert told.startswith("answers_per_month")


async def test_an_answer_of_the_month_before_does_not_count(asking, core):
    fair(core, answers_per_month=1)
    policy = asking.policy("9 per day")
    consent = await asking.consent(policy)
    await asking.ask(asking.question(policy, consent))
    backdate(core, month_start())
    await refused("PURPOSE_ANSWERS_PER_MONTH", asking.ask(asking.question(policy, consent)))
    backdate(core, month_start() - 1)
    assert await asking.ask(asking.question(policy, consent))


async def test_questions_that_race_for_the_last_answer_of_a_month_get_it_once(asking, core):
    fair(core, answers_per_month=1)
    policy = asking.policy("9 per day")
    consent = await asking.consent(policy)
    drafts = [asking.draft(asking.question(policy, consent)) for _ in range(2)]
    await asking.give(drafts[0])
    await refused("PURPOSE_ANSWERS_PER_MONTH", asking.give(drafts[1]))


async def test_the_answers_of_another_purpose_do_not_count(asking, core):
    fair(core, answers_per_month=1)
    one, review = asking.policy("9 per day"), asking.policy("8 per day", purpose="REVIEW")
    await asking.ask(asking.question(one, await asking.consent(one)))
    assert await asking.ask(asking.question(review, await asking.consent(review)))


@pytest.mark.parametrize(
    ("lender", "reason"),
    [
        ({"licence": None}, "LENDER_NOT_LICENSED"),
        ({"licence": Licence("L", 0, 9)}, "LENDER_NOT_LICENSED"),
        ({"certified": {}}, "PURPOSE_NOT_CERTIFIED"),
    ],
)
async def test_what_a_lender_lacks_is_told_alike_whoever_is_asked_about(
    asking, core, lender, reason
):
    policy = asking.policy("9 per day")
    known = asking.question(policy, await asking.consent(policy))
    change_participant(core, "lend", **lender)
    unknown = replace(known, sub=bytes(32), consent_id=bytes(32))
    assert await told(asking, known) == await told(asking, unknown)
    await refused(reason, asking.ask(known))


async def told(asking: Asking, question: Ask) -> tuple:
    with pytest.raises(CredproofError) as caught:
        await asking.ask(replace(question, request_id=b"\x07" * 16))
    return type(caught.value), caught.value.reason, caught.value.message, caught.value.step


async def test_a_refusal_for_want_of_a_licence_is_in_the_log_with_its_reason(asking, core):
    policy = asking.policy("9 per day")
    question = asking.question(policy, await asking.consent(policy))
    change_participant(core, "lend", licence=None)
    await refused("LENDER_NOT_LICENSED", asking.ask(question))
    with core.engine.connect() as connection:
        last = repository.lines(connection, core.sequencer.head.tree_size - 1, 1)[0]
    assert b'"reason":"LENDER_NOT_LICENSED"' in last


async def test_a_licence_that_ends_while_the_answer_is_made_gives_none(asking, core):
    policy = asking.policy("9 per day")
    draft = asking.draft(asking.question(policy, await asking.consent(policy)))
    licence = Licence("L", 0, draft.issued_at - 1)
    change_participant(core, "lend", licence=licence)
    await refused("LENDER_NOT_LICENSED", asking.give(draft))


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ({"consent_days": 30}, "PURPOSE_CONSENT_DAYS"),
        ({"data_life_days": 29}, "PURPOSE_DATA_LIFE_DAYS"),
        ({"window_days": 44}, "PURPOSE_WINDOW_DAYS"),
    ],
)
async def test_a_template_that_was_tightened_binds_consents_that_were_given(
    asking, core, template, reason
):
    policy = asking.policy("9 per day")
    question = asking.question(policy, await asking.consent(policy))
    fair(core, **template)
    await refused(reason, asking.ask(question))


@pytest.mark.parametrize(
    "template", [{"consent_days": 30}, {"data_life_days": 29}, {"window_days": 44}]
)
async def test_a_consent_beyond_its_purpose_is_not_granted_and_the_refusal_tells_nothing(
    asking, core, template
):
    policy = asking.policy("9 per day")
    fair(core, **template)
    told = await refused("NOT_PERMITTED", asking.consent(policy))
    assert told == "the service does not permit this"


async def test_a_purpose_without_a_template_is_refused(asking, core):
    policy = asking.policy("9 per day")
    question = asking.question(policy, await asking.consent(policy))
    change(core, purposes=())
    await refused("PURPOSE_NOT_OPEN", asking.ask(question))


async def test_a_policy_for_licensed_bureaus_is_answered_while_the_operator_is_one(asking, core):
    policy = asking.policy("9 per day", route="licensed-bureau")
    await refused("NOT_PERMITTED", asking.consent(policy))
    change(core, bureau=Licence("B", 0, core.clock() + 1000))
    question = asking.question(policy, await asking.consent(policy))
    assert await asking.ask(question)
    change(core, bureau=None)
    again = replace(question, request_id=b"\x08" * 16)
    await refused("ROUTE_NOT_LICENSED", asking.ask(again))


# -- schemas that a provider may attest


async def test_a_schema_taken_from_a_provider_is_neither_accepted_nor_used(asking, core):
    policy = asking.policy("9 per day")
    question = asking.question(policy, await asking.consent(policy))
    change_participant(core, "bank", schemas=(KEY_BINDING.digest,))
    bundle = await asking.ask(question)
    assert not bundle.tokens, "what a verifier would refuse is not shown"
    (result,) = await asking.submit([package(statement(account="new"), asking.bank)])
    assert (result.step, result.reason) == (0, "SCHEMA_NOT_ALLOWED")


async def test_a_batch_checked_before_its_schema_was_taken_away_is_refused_in_the_commit(
    asking, core
):
    ingest = Ingest(core)
    sealed = seal(core.trust, [package(statement(account="new"), asking.bank)])
    prepared = await ingest._check("bank", sealed)
    change_participant(core, "bank", schemas=(KEY_BINDING.digest,))
    (result,) = (await ingest._commit("bank", prepared)).results
    assert (result.step, result.reason) == (0, "SCHEMA_NOT_ALLOWED")


async def test_without_the_key_binding_schema_a_providers_bindings_open_nothing(asking, core):
    policy = asking.policy("9 per day")
    question = asking.question(policy, await asking.consent(policy))
    change_participant(core, "bank", schemas=(REVOLVING.digest,))
    await refused("CONSENT_PAUSED", asking.ask(question))
