"""What the log keeps of a question, for whoever audits it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError
from credproof.log.entry import parse_entry
from credproof.verification.answer_entry import Asked, parse_given, parse_refused
from credproof.verification.policy import PolicyRef
from credproof_server.storage import repository

from tests.service.asking import Asking
from tests.world import POLICY, seed_of


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


def last(core):
    with core.engine.connect() as connection:
        line = repository.lines(connection, core.sequencer.head.tree_size - 1, 1)[0]
    return parse_entry(line)


async def refused(asking, question):
    with pytest.raises(CredproofError):
        await asking.ask(question)
    return parse_refused(last(asking.core))


async def test_an_answer_is_logged_with_what_was_asked_and_what_came_of_it(asking, core):
    question = asking.question(POLICY, await asking.consent(POLICY))
    question = replace(question, case_digest=seed_of("case"), staff_digest=seed_of("staff"))
    await asking.ask(question)
    found = parse_given(last(core))
    assert found.asked == Asked(POLICY.ref, "ORIGINATION", seed_of("case"), seed_of("staff"))
    assert (found.consent, found.outcome) == (question.consent_id, "TIER")


async def test_a_refusal_before_consent_names_no_consent(asking):
    """The id that was sent may be another lender's: the log says of it as little as the reply."""
    question = asking.question(POLICY, seed_of("not a consent of this lender"))
    found = await refused(asking, question)
    assert (found.reason, found.consent) == ("NOT_PERMITTED", None)
    assert found.asked.policy == POLICY.ref


async def test_a_refusal_after_consent_names_it(asking):
    policy = asking.policy("1 per consent")
    consent_id = await asking.consent(policy)
    await asking.ask(asking.question(policy, consent_id))
    found = await refused(asking, asking.question(policy, consent_id))
    assert (found.reason, found.consent) == ("CAP_REACHED", consent_id)


async def test_no_text_of_a_lenders_choice_gets_into_the_log(asking):
    """An id that is no policy's may be anything, and a version too large for any JSON."""
    made_up = PolicyRef("\x1b[31mme", 2**62, seed_of("nothing"))
    question = replace(asking.question(POLICY, bytes(32)), policy=made_up)
    found = await refused(asking, question)
    assert (found.asked.policy, found.asked.purpose) == (None, None)
