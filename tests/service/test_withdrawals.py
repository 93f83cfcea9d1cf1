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
from credproof.verification.trust import NEVER
from credproof_server.service.verify import GiveAnswer, Verify
from credproof_server.service.withdrawals import Withdrawals, Withdrawn
from credproof_server.storage import repository

from tests.service.asking import SUB, Person
from tests.world import signer_of


@pytest.fixture
async def person(deployment, core) -> Person:
    made = Person(deployment, core)
    await made.attest()
    await made.bind()
    return made


def current(core) -> list[bytes]:
    with core.engine.connect() as connection:
        return repository.current_tokens(connection, SUB)


def signed(person: Person, token: bytes, *, signer=None, **changes: object) -> str:
    claims = {
        "issuer": "bank",
        "service": person.core.trust.bundle.domain,
        "token": token,
        "reason": "error",
        "now": int(time.time()),
        **changes,
    }
    return sign_withdrawal(signer or person.deployment.home("bank").signer, **claims)


def _with(trust, *providers):
    others = tuple(p for p in trust.bundle.participants if p.id not in {q.id for q in providers})
    bundle = replace(trust.bundle, participants=(*others, *providers))
    return replace(trust, bundle=bundle)


def _with_an_old_key(trust):
    bank = trust.participants["bank"]
    return _with(trust, replace(bank, keys=(DatedKey(bank.keys[0].public, 0, NEVER),)))


async def withdraw(person: Person, *tokens: str, provider: str = "bank"):
    return await Withdrawals(person.core).withdraw(provider, tokens)


async def test_no_answer_rests_on_a_withdrawn_attestation(person, core):
    consent_id = await person.consent()
    figures, _ = current(core)
    (receipt,) = await withdraw(person, signed(person, figures))

    assert isinstance(receipt, Withdrawn)
    outcome = parse_answer((await person.ask(consent_id)).answer)[1].outcome
    assert (outcome.kind, outcome.reasons) == ("INCOMPLETE", ("ABSENT",))


async def test_a_consent_ends_with_the_binding_of_its_key(person, core):
    consent_id = await person.consent()
    _, binding = current(core)
    await withdraw(person, signed(person, binding, reason="wrong-person"))
    with pytest.raises(Refused) as caught:
        await person.ask(consent_id)
    assert caught.value.reason == "NOT_PERMITTED"


async def test_an_answer_drafted_before_a_withdrawal_is_not_given_after_it(person, core):
    ask = person.question(await person.consent())
    draft = Verify(core)._prepare("lend", ask)
    await withdraw(person, signed(person, current(core)[0]))
    with pytest.raises(Conflict) as caught:
        await core.commit(GiveAnswer("lend", draft))
    assert caught.value.reason == "SNAPSHOT_CHANGED"


async def test_the_log_names_reason_and_token_and_the_signature_is_kept(person, core):
    token = current(core)[0]
    text = signed(person, token, reason="closed")
    (receipt,) = await withdraw(person, text)
    with core.engine.connect() as connection:
        line = json.loads(repository.lines(connection, receipt.log_index, 1)[0])

    assert (line["kind"], line["actor"]) == ("attestation.withdrawn", "bank")
    assert line["fields"]["reason"] == "closed"
    assert line["object"] == jws.b64url(jws.token_id(text))


async def test_withdrawing_again_gives_the_same_receipt(person, core):
    token = current(core)[0]
    (first,) = await withdraw(person, signed(person, token))
    (again,) = await withdraw(person, signed(person, token, reason="closed"))
    assert first == again


async def test_the_account_goes_on_after_a_withdrawal(person, core):
    token = current(core)[0]
    await withdraw(person, signed(person, token))
    await person.attest(seq=2, prev=token)
    assert len(current(core)) == 2


async def test_a_superseded_attestation_is_not_withdrawn(person, core):
    token = current(core)[0]
    await person.attest(seq=2, prev=token)
    (result,) = await withdraw(person, signed(person, token))
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
    person, core, change, reason
):
    before = current(core)
    (result,) = await withdraw(person, signed(person, **{"token": before[0], **change}))
    assert (reason, before) == (result.reason, current(core))


async def test_an_old_or_early_withdrawal_is_signed_anew(person, core):
    core.sequencer.state.trust = _with_an_old_key(core.trust)
    now, token = int(time.time()), current(core)[0]
    old, early = (signed(person, token, now=at) for at in (now - 86_500, now + 300))
    results = await withdraw(person, old, early)
    assert [item.reason for item in results] == ["TOO_OLD", "FROM_THE_FUTURE"]


async def test_another_provider_withdraws_nothing_of_the_banks(person, core, deployment):
    token, other = current(core)[0], signer_of("other-bank")
    bank = core.trust.participants["bank"]
    rival = replace(bank, id="other-bank", keys=(DatedKey(other.public, 0, NEVER),))
    core.sequencer.state.trust = _with(core.trust, bank, rival)
    mine = signed(person, token, signer=other, issuer="other-bank")
    (result,) = await withdraw(person, mine, provider="other-bank")

    assert result.reason == "NO_SUCH_ATTESTATION"
    assert token in current(core)


async def test_a_bad_withdrawal_does_not_hold_up_its_neighbours(person, core):
    figures, binding = current(core)
    results = await withdraw(person, "rubbish", signed(person, figures), signed(person, binding))
    assert [isinstance(item, Withdrawn) for item in results] == [False, True, True]


async def test_too_many_at_once_are_refused(person):
    with pytest.raises(LimitExceeded):
        await withdraw(person, *["rubbish"] * 129)
