"""An answer is given only on the attestations that it was made from."""

from __future__ import annotations

import pytest
from credproof.base.errors import Conflict
from credproof.wire.errors import code_of
from credproof_server.service.consents import RevokeConsent
from credproof_server.service.verify import Verify
from credproof_server.storage.tables import answers
from sqlalchemy import func, select

from tests.deployment import package, statement
from tests.service.asking import Asking
from tests.world import POLICY, POOR


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


async def question(asking: Asking):
    return asking.question(POLICY, await asking.consent(POLICY, mode="once"))


async def refused(asking: Asking, draft) -> None:
    before = asking.core.sequencer.head
    with pytest.raises(Conflict) as caught:
        await asking.give(draft)
    assert caught.value.reason == "SNAPSHOT_CHANGED"
    assert code_of(caught.value).name == "ABORTED"
    assert before == asking.core.sequencer.head, "nothing was logged"


def given(asking: Asking) -> int:
    with asking.core.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(answers)).scalar_one()


async def test_figures_that_worsen_while_the_answer_is_made_are_not_overlooked(asking):
    draft = asking.draft(await question(asking))
    await asking.attest(POOR, seq=2)
    await refused(asking, draft)
    assert given(asking) == 0


async def test_an_account_that_is_attested_while_the_answer_is_made_is_not_overlooked(asking):
    draft = asking.draft(await question(asking))
    await asking.submit([package(statement(POOR, account="account-2"), asking.bank)])
    await refused(asking, draft)


async def test_another_borrowers_attestation_changes_nothing(asking):
    draft = asking.draft(await question(asking))
    other = statement(sub=b"\x07" * 32, account="account-2")
    await asking.submit([package(other, asking.bank)])
    assert await asking.give(draft) is not None


async def test_the_same_question_again_is_answered_on_the_new_figures(asking):
    """The consent was for one answer; the one that was not given has not used it up."""
    asked = await question(asking)
    draft = asking.draft(asked)
    await asking.attest(POOR, seq=2)
    await refused(asking, draft)

    assert (await Verify(asking.core).ask(asked)).tokens == (), "the person is referred"
    assert given(asking) == 1


async def test_a_consent_revoked_while_the_answer_is_made_is_told_before_the_figures(asking):
    """Whoever lost the consent learns nothing of what was attested meanwhile."""
    asked = await question(asking)
    draft = asking.draft(asked)
    key = asking.core.vault.key(asking.sub)
    await asking.core.commit(RevokeConsent(asked.consent_id, key))
    await asking.attest(POOR, seq=2)
    with pytest.raises(Exception, match="revoked"):
        await asking.give(draft)
