"""Whose bindings of a borrower's key count: its provider's, and those of binders it accepts."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from credproof.attestation.token import parse_token
from credproof.verification.acceptance import sign_acceptance
from credproof.verification.answer import parse_answer
from credproof_server.service.ingest import Ingest

from tests.deployment import DOMAIN, package, seal, statement
from tests.service.asking import Asking
from tests.world import KEY_BINDING, POLICY, complete, signer_of

NEW = signer_of("new phone")


@pytest.fixture
async def with_telco(deployment) -> AsyncIterator[Asking]:
    """The borrower's figures are the bank's; only the telco has bound the new key."""
    deployment.admit("provider", "telco")
    core = deployment.directory.open_core()
    made = Asking(deployment, core)
    await made.attest()
    key = complete(KEY_BINDING, {"jwk": NEW.public.jwk(), "method": "SOFTWARE"})
    binding = statement(key, schema=KEY_BINDING, account="key", issuer="telco")
    sealed = seal(core.trust, [package(binding, deployment.home("telco").signer)], provider="telco")
    (result,) = (await Ingest(core).submit("telco", sealed)).results
    assert hasattr(result, "log_index")
    yield made
    core.close()


async def test_a_provider_that_binds_a_key_of_its_own_opens_only_its_own_attestations(with_telco):
    consent_id = await with_telco.consent(POLICY, signer=NEW)
    bundle = await with_telco.ask(with_telco.question(POLICY, consent_id))
    outcome = parse_answer(bundle.answer)[1].outcome
    assert (bundle.tokens, outcome.kind, outcome.reasons) == ((), "INCOMPLETE", ("ABSENT",))


async def test_a_binder_that_the_provider_accepts_opens_its_attestations(with_telco):
    state, bank = with_telco.core.sequencer.state, with_telco.bank
    text = sign_acceptance(
        bank, provider="bank", domain=DOMAIN, binders=["telco"], now=int(time.time())
    )
    participants = tuple(
        replace(item, acceptance=text) if item.id == "bank" else item
        for item in state.trust.bundle.participants
    )
    state.trust = replace(
        state.trust, bundle=replace(state.trust.bundle, participants=participants)
    )
    consent_id = await with_telco.consent(POLICY, signer=NEW)
    bundle = await with_telco.ask(with_telco.question(POLICY, consent_id))

    assert [parse_token(item.token).issuer for item in bundle.tokens] == ["bank"]
    assert [parse_token(item.token).issuer for item in bundle.bindings] == ["telco"]
