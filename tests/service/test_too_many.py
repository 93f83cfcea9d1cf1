"""More than an answer, a directory or a consent carries: refused by name, with nothing lost."""

from __future__ import annotations

from itertools import count

import pytest
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base.errors import Conflict, LimitExceeded, Refused
from credproof.base.limits import (
    BATCH_ITEMS_MAX,
    EVIDENCE_TOKENS_MAX,
    PROVIDER_ATTESTATIONS_MAX,
)
from credproof.log.entry import parse_entry
from credproof.verification.answer_entry import parse_refused
from credproof.verification.document import (
    CONSENT,
    join_signatures,
    sign_document,
    verify_document,
)
from credproof.wire import answer as wire
from credproof_server.checking import check
from credproof_server.service import consents, drafting
from credproof_server.service.withdrawals import Withdrawals
from credproof_server.storage import repository
from credproof_server.storage.tables import answers
from sqlalchemy import func, select

from tests.deployment import DOMAIN, package, statement
from tests.service.asking import Asking
from tests.world import FAIR, POLICY, POOR, signer_of

REASON = "TOO_MANY_ATTESTATIONS"


class Many(Asking):
    """A borrower who has as many accounts as a test wants."""

    def __init__(self, deployment, core) -> None:
        super().__init__(deployment, core)
        self._numbers = count()

    async def open_accounts(self, number: int, values=None):
        """What became of so many more accounts."""
        names = [f"more-{next(self._numbers)}" for _ in range(number)]
        made = [package(statement(values, account=name), self.bank) for name in names]
        return [
            result
            for start in range(0, number, BATCH_ITEMS_MAX)
            for result in await self.submit(made[start : start + BATCH_ITEMS_MAX])
        ]

    async def close_account(self, token: bytes) -> None:
        about = {"issuer": "bank", "service": DOMAIN, "reason": "closed"}
        now = self.core.clock()
        signed = sign_withdrawal(self.bank, token=token, now=now, **about)
        (result,) = await Withdrawals(self.core).withdraw("bank", [signed])
        assert not isinstance(result, Exception)


@pytest.fixture
async def many(deployment, core) -> Many:
    made = Many(deployment, core)
    await made.attest()
    return made


def answers_kept(core) -> int:
    with core.engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(answers)).scalar_one()


def last_refusal(core):
    with core.engine.connect() as connection:
        lines = repository.lines(connection, 0, core.sequencer.head.tree_size)
    entries = [parse_entry(line) for line in lines]
    return parse_refused([e for e in entries if e.kind == "answer.refused"][-1])


async def refused(many: Many, question) -> None:
    before = answers_kept(many.core)
    with pytest.raises(Refused) as caught:
        await many.ask(question)
    assert (caught.value.reason, answers_kept(many.core)) == (REASON, before)


async def test_as_many_as_an_answer_carries_are_shown_and_one_more_is_refused_and_uses_nothing(
    many, core, deployment
):
    policy = POLICY
    consent = await many.consent(policy, mode="once")
    await many.open_accounts(EVIDENCE_TOKENS_MAX)
    question = many.question(policy, consent)
    await refused(many, question)
    told = last_refusal(core)
    assert (told.reason, told.consent, told.asked.policy) == (REASON, consent, policy.ref)
    assert check(deployment.directory).damage == ()

    await many.close_account(many.newest)
    bundle = await many.ask(question)
    assert len(bundle.tokens) == EVIDENCE_TOKENS_MAX
    assert wire.parse(wire.to_bytes(bundle)) == bundle
    assert check(deployment.directory).damage == ()


@pytest.mark.parametrize("values", [FAIR, POOR, {}], ids=["another tier", "REFER", "INCOMPLETE"])
async def test_whether_it_is_refused_depends_on_no_figure(many, values):
    """An answer that shows one of them, or none, would tell what the refusal does not."""
    silent = {"otherwise": {"outcome": "REFER", "reasons": "silent"}}
    policy = many.policy("9 per day", **silent)
    consent = await many.consent(policy)
    await many.open_accounts(EVIDENCE_TOKENS_MAX, values)
    await refused(many, many.question(policy, consent))


async def test_more_members_than_a_lookup_names_are_refused_too(many, monkeypatch):
    monkeypatch.setattr(drafting, "DIRECTORY_MEMBERS_MAX", 2)
    policy = many.policy("9 per day")
    consent = await many.consent(policy)
    await many.open_accounts(1)
    assert len((await many.ask(many.question(policy, consent))).directory.lookups[0].members) == 2
    await many.open_accounts(1)
    await refused(many, many.question(policy, consent))


async def test_a_provider_has_so_many_accounts_of_a_borrower_and_not_one_more(many):
    """Nobody is told that an answer is complete while one is kept out: none is given any more."""
    policy = many.policy("9 per day")
    consent = await many.consent(policy)
    results = await many.open_accounts(PROVIDER_ATTESTATIONS_MAX)
    *taken, over = results
    assert not any(isinstance(item, Exception) for item in taken)
    assert isinstance(over, Conflict)
    assert (over.reason, over.step) == ("TOO_MANY_ACCOUNTS", 7)
    await refused(many, many.question(policy, consent))

    await many.attest(seq=2)  # one that is there goes on
    await many.bind(many.lend)  # so does another schema
    await many.close_account(many.newest)
    (taken,) = await many.open_accounts(1)
    assert not isinstance(taken, Exception)
    (over,) = await many.open_accounts(1)
    assert over.reason == "TOO_MANY_ACCOUNTS"
    assert PROVIDER_ATTESTATIONS_MAX > EVIDENCE_TOKENS_MAX


async def test_an_account_that_was_closed_and_is_attested_again_counts_again(many):
    first = many.newest
    await many.close_account(first)
    await many.open_accounts(PROVIDER_ATTESTATIONS_MAX)
    with pytest.raises(Conflict) as caught:
        await many.attest(seq=2)
    assert caught.value.reason == "TOO_MANY_ACCOUNTS"


async def test_signatures_that_make_a_consent_too_long_to_be_read_are_refused(many, monkeypatch):
    """Kept with them, it could be neither asked under nor revoked."""
    phone = signer_of("new phone")
    await many.bind(phone)
    policy = many.policy("2 per day")
    consent = await many.consent(policy)
    claims = verify_document(many.document, CONSENT, []).claims
    both = join_signatures([many.document, sign_document(phone, CONSENT, claims)])
    monkeypatch.setattr(consents, "TOKEN_BYTES_MAX", len(both) - 1)
    with pytest.raises(LimitExceeded) as caught:
        await many.grant(both, phone)
    assert caught.value.reason == "LIMIT_EXCEEDED"
    assert (await many.ask(many.question(policy, consent))).consent == many.document

    monkeypatch.setattr(consents, "TOKEN_BYTES_MAX", len(both))
    await many.grant(both, phone)
    assert (await many.ask(many.question(policy, consent))).consent == both
