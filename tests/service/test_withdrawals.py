"""A withdrawn attestation proves nothing from the reply on, and only its provider withdraws it."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base import jws
from credproof.base.errors import Conflict, LimitExceeded, Refused
from credproof.base.keys import DatedKey
from credproof.verification.answer import parse_answer
from credproof.verification.participant import NEVER
from credproof_server.service.withdrawals import Withdrawals, Withdrawn
from credproof_server.storage import repository

from tests.deployment import statement
from tests.service.asking import Asking
from tests.world import POLICY, signer_of


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


def current(core) -> list[bytes]:
    with core.engine.connect() as connection:
        return repository.current_tokens(connection, [statement().sub])[statement().sub]


def signed(asking: Asking, token: bytes, *, signer=None, **changes: object) -> str:
    claims = {
        "issuer": "bank",
        "service": asking.core.trust.bundle.domain,
        "token": token,
        "reason": "error",
        "now": int(time.time()),
        **changes,
    }
    return sign_withdrawal(signer or asking.bank, **claims)


def _with(trust, *providers):
    others = tuple(p for p in trust.bundle.participants if p.id not in {q.id for q in providers})
    bundle = replace(trust.bundle, participants=(*others, *providers))
    return replace(trust, bundle=bundle)


def _with_an_old_key(trust):
    bank = trust.participants["bank"]
    return _with(trust, replace(bank, keys=(DatedKey(bank.keys[0].public, 0, NEVER),)))


async def withdraw(asking: Asking, *tokens: str, provider: str = "bank"):
    return await Withdrawals(asking.core).withdraw(provider, tokens)


async def test_no_answer_rests_on_a_withdrawn_attestation(asking, core):
    consent_id = await asking.consent(POLICY, mode="once")
    figures, _ = current(core)
    (receipt,) = await withdraw(asking, signed(asking, figures))

    assert isinstance(receipt, Withdrawn)
    outcome = parse_answer((await asking.ask(asking.question(POLICY, consent_id))).answer)[
        1
    ].outcome
    assert (outcome.kind, outcome.reasons) == ("INCOMPLETE", ("ABSENT",))


async def test_a_consent_pauses_with_the_binding_of_its_key(asking, core):
    consent_id = await asking.consent(POLICY, mode="once")
    _, binding = current(core)
    await withdraw(asking, signed(asking, binding, reason="wrong-person"))
    with pytest.raises(Refused) as caught:
        await asking.ask(asking.question(POLICY, consent_id))
    assert caught.value.reason == "CONSENT_PAUSED"


async def test_an_answer_drafted_before_a_withdrawal_is_not_given_after_it(asking, core):
    draft = asking.draft(asking.question(POLICY, await asking.consent(POLICY, mode="once")))
    await withdraw(asking, signed(asking, current(core)[0]))
    with pytest.raises(Conflict) as caught:
        await asking.give(draft)
    assert caught.value.reason == "SNAPSHOT_CHANGED"


async def test_the_log_names_reason_and_token_and_the_signature_is_kept(asking, core):
    token = current(core)[0]
    text = signed(asking, token, reason="closed")
    (receipt,) = await withdraw(asking, text)
    with core.engine.connect() as connection:
        line = json.loads(repository.lines(connection, receipt.log_index, 1)[0])

    assert (line["kind"], line["actor"]) == ("attestation.withdrawn", "bank")
    assert line["fields"]["reason"] == "closed"
    assert line["object"] == jws.b64url(jws.token_id(text))


async def test_withdrawing_again_gives_the_same_receipt(asking, core):
    token = current(core)[0]
    (first,) = await withdraw(asking, signed(asking, token))
    (again,) = await withdraw(asking, signed(asking, token, reason="closed"))
    assert first == again


async def test_the_account_goes_on_after_a_withdrawal(asking, core):
    token = current(core)[0]
    await withdraw(asking, signed(asking, token))
    await asking.attest(seq=2)
    assert len(current(core)) == 2


async def test_a_superseded_attestation_is_not_withdrawn(asking, core):
    token = current(core)[0]
    await asking.attest(seq=2)
    (result,) = await withdraw(asking, signed(asking, token))
    assert result.reason == "SUPERSEDED"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"signer": signer_of("thief")}, "UNKNOWN_KEY"),
        ({"issuer": "other-bank"}, "WRONG_ISSUER"),
        ({"service": "elsewhere.example"}, "WRONG_SERVICE"),
        ({"token": bytes(32)}, "NO_SUCH_ATTESTATION"),
        ({"reason": "regret"}, "BAD_REASON"),
        ({"now": 1_700_000_000}, "KEY_NOT_VALID"),
    ],
)
async def test_a_withdrawal_that_is_not_the_providers_own_changes_nothing(
    asking, core, change, reason
):
    before = current(core)
    (result,) = await withdraw(asking, signed(asking, **{"token": before[0], **change}))
    assert (reason, before) == (result.reason, current(core))


async def test_an_old_or_early_withdrawal_is_signed_anew(asking, core):
    core.sequencer.state.trust = _with_an_old_key(core.trust)
    now, token = int(time.time()), current(core)[0]
    old, early = (signed(asking, token, now=at) for at in (now - 86_500, now + 300))
    results = await withdraw(asking, old, early)
    assert [item.reason for item in results] == ["TOO_OLD", "FROM_THE_FUTURE"]


async def test_another_provider_withdraws_nothing_of_the_banks(asking, core, deployment):
    token, other = current(core)[0], signer_of("other-bank")
    bank = core.trust.participants["bank"]
    rival = replace(bank, id="other-bank", keys=(DatedKey(other.public, 0, NEVER),))
    core.sequencer.state.trust = _with(core.trust, bank, rival)
    mine = signed(asking, token, signer=other, issuer="other-bank")
    (result,) = await withdraw(asking, mine, provider="other-bank")

    assert result.reason == "NO_SUCH_ATTESTATION"
    assert token in current(core)


async def test_a_bad_withdrawal_does_not_hold_up_its_neighbours(asking, core):
    figures, binding = current(core)
    results = await withdraw(asking, "rubbish", signed(asking, figures), signed(asking, binding))
    assert [isinstance(item, Withdrawn) for item in results] == [False, True, True]


async def test_too_many_at_once_are_refused(asking):
    with pytest.raises(LimitExceeded):
        await withdraw(asking, *["rubbish"] * 129)
