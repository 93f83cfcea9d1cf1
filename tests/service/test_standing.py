"""Whose word counts now: a suspended provider's and an expired binding's do not."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from credproof.base.errors import Conflict, Refused
from credproof.verification.answer import parse_answer
from credproof_server.service.ingest import Ingest
from credproof_server.storage import repository
from credproof_server.storage.tables import data_keys
from sqlalchemy import update

from tests.deployment import package, seal, statement
from tests.service.asking import Asking
from tests.world import POLICY


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


async def consented(asking: Asking) -> bytes:
    return await asking.consent(POLICY, mode="once")


async def ask(asking: Asking, consent_id: bytes):
    return await asking.ask(asking.question(POLICY, consent_id))


def core_binding(core, asking: Asking) -> bytes:
    """The id of the binding that is current."""
    with core.engine.connect() as connection:
        return repository.current_tokens(connection, [asking.sub])[asking.sub][-1]


def outcome(bundle) -> str | None:
    return parse_answer(bundle.answer)[1].outcome.tier


def suspend(core, name: str) -> None:
    bundle = core.trust.bundle
    participants = tuple(
        replace(p, status="suspended", since=int(time.time())) if p.id == name else p
        for p in bundle.participants
    )
    core.sequencer.state.trust = replace(
        core.trust, bundle=replace(bundle, participants=participants)
    )


async def refused(asking: Asking, consent_id: bytes) -> None:
    with pytest.raises(Refused) as caught:
        await ask(asking, consent_id)
    assert caught.value.reason == "CONSENT_PAUSED"


async def test_a_borrower_who_is_attested_and_bound_gets_an_answer(asking):
    assert outcome(await ask(asking, await consented(asking))) == "A"


async def test_what_a_suspended_provider_attested_proves_nothing_any_more(asking, core):
    consent_id = await consented(asking)
    suspend(core, "bank")
    await refused(asking, consent_id)


async def test_a_suspended_providers_binding_makes_no_new_consent(asking, core):
    suspend(core, "bank")
    with pytest.raises(Refused) as caught:
        await consented(asking)
    assert caught.value.reason == "NOT_PERMITTED"


async def test_an_expired_binding_gives_no_answer_and_uses_up_no_consent(asking, core):
    await asking.bind(seq=2, prev=core_binding(core, asking), expires_at=int(time.time()) + 10)
    consent_id = await consented(asking)

    asking.core = replace(core, clock=lambda: core.clock() + 20)  # the root is not old yet
    await refused(asking, consent_id)
    await asking.bind(account="key-bound-again")
    assert outcome(await ask(asking, consent_id)) == "A"


async def test_an_attestation_about_an_erased_borrower_is_refused_by_itself(
    asking, core, deployment
):
    with core.vault._engine.begin() as connection:
        connection.execute(
            update(data_keys).where(data_keys.c.sub == asking.sub).values(erased=True)
        )
    bank = deployment.home("bank").signer
    other = statement(sub=b"\x07" * 32, account="account-7")
    batch = [package(statement(account="account-6"), bank), package(other, bank)]
    first, second = (await Ingest(core).submit("bank", seal(core.trust, batch))).results

    assert (first.step, first.reason) == (8, "SUBJECT_ERASED")
    assert second.sub == other.sub


async def test_an_answer_drafted_before_a_suspension_is_not_given_after_it(asking, core):
    draft = asking.draft(asking.question(POLICY, await consented(asking)))
    trust = core.trust
    bundle = replace(trust.bundle, version=trust.bundle.version + 1)
    core.sequencer.state.trust = replace(trust, bundle=bundle)
    with pytest.raises(Conflict) as caught:
        await asking.give(draft)
    assert caught.value.reason == "SNAPSHOT_CHANGED"
