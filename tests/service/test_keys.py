"""Keys of borrowers: lost ones end everywhere, new ones take over, several sign one document."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from credproof.attestation.withdrawal import KEY_LOST, sign_withdrawal
from credproof.base import jws
from credproof.base.errors import CredproofError, Malformed, Refused
from credproof.verification.bundle import RelyingParty
from credproof.verification.consent import sign_revocation, verify_consent
from credproof.verification.document import (
    CONSENT,
    PAUSE,
    join_signatures,
    sign_document,
    verify_document,
)
from credproof.verification.pausing import sign_pause
from credproof_server import standing
from credproof_server.checking import check
from credproof_server.demo.authenticator import SoftwareAuthenticator
from credproof_server.service.consents import Consents
from credproof_server.service.pausing import Pausing
from credproof_server.service.requests import Requests
from credproof_server.service.withdrawals import Withdrawals, Withdrawn

from tests.deployment import DOMAIN
from tests.service.asking import Asking
from tests.world import POLICY, signer_of

NEW = signer_of("new phone")
PAGE = RelyingParty("pages.example", ("https://pages.example",))
MOVED = RelyingParty("pages.example", ("https://new.pages.example",))


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


async def refused(reason: str, work) -> None:
    with pytest.raises(CredproofError) as caught:
        await work
    assert caught.value.reason == reason


async def lose(asking: Asking, token: bytes):
    text = sign_withdrawal(
        asking.bank,
        issuer="bank",
        service=DOMAIN,
        token=token,
        reason=KEY_LOST,
        now=int(time.time()),
    )
    (result,) = await Withdrawals(asking.core).withdraw("bank", [text])
    return result


def cosigned(document: str, signer) -> str:
    claims = verify_document(document, CONSENT, [PAGE]).claims
    return join_signatures([document, sign_document(signer, CONSENT, claims)])


async def lost(asking: Asking) -> bytes:
    """The borrower's key is bound once more, and that binding is reported lost; its token id."""
    token = await asking.bind(account="key-2")
    assert isinstance(await lose(asking, token), Withdrawn)
    return token


async def test_a_lost_key_ends_under_every_binding_of_it(asking):
    """The first binding, in another account, still stands: a thief's key opens nothing by it."""
    consent_id = await asking.consent(POLICY)
    await lost(asking)
    await refused("CONSENT_PAUSED", asking.ask(asking.question(POLICY, consent_id)))
    await refused("NOT_PERMITTED", asking.consent(POLICY))


async def test_a_paused_consent_is_active_again_once_a_new_key_has_signed_it(asking):
    consent_id = await asking.consent(POLICY, mode="once")
    token = await lost(asking)
    await asking.bind(NEW, replaces=token)
    await refused("CONSENT_PAUSED", asking.ask(asking.question(POLICY, consent_id)))

    await asking.grant(cosigned(asking.document, NEW), NEW)
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens
    await refused("CONSENT_USED_UP", asking.ask(asking.question(POLICY, consent_id)))


async def test_a_lost_key_that_is_bound_anew_counts_again(asking):
    consent_id = await asking.consent(POLICY)
    await lost(asking)
    await asking.bind(account="key-3")
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens


async def test_a_binding_replaces_only_one_that_has_ended(asking):
    token = await asking.bind(account="key-2")
    await refused("NOT_REPLACED", asking.bind(NEW, replaces=token))
    await refused("NOT_REPLACED", asking.bind(NEW, replaces=bytes(32)))


async def test_only_a_key_is_lost(asking):
    found = await lose(asking, asking.newest)
    assert (type(found).__name__, found.reason) == ("Malformed", "BAD_REASON")


async def test_a_report_of_loss_while_a_question_is_answered_comes_first_or_last(asking):
    """Whichever commit is first: never an answer after the reply to the report."""
    consent_id = await asking.consent(POLICY)
    token = await asking.bind(account="key-2")
    draft = asking.draft(asking.question(POLICY, consent_id))
    await lose(asking, token)
    await refused("SNAPSHOT_CHANGED", asking.give(draft))


async def test_two_racing_questions_never_both_use_a_once(asking):
    consent_id = await asking.consent(POLICY, mode="once")
    asked = [asking.ask(asking.question(POLICY, consent_id)) for _ in range(8)]
    found = await asyncio.gather(*asked, return_exceptions=True)
    refusals = [item.reason for item in found if isinstance(item, Refused)]
    assert refusals == ["CONSENT_USED_UP"] * 7


# -- several signatures


async def test_a_document_signed_by_two_keys_is_one_consent(asking):
    await asking.bind(NEW)
    consent_id = await asking.consent(POLICY)
    both = cosigned(asking.document, NEW)
    for _ in range(2):
        await asking.grant(both, NEW)
    bundle = await asking.ask(asking.question(POLICY, consent_id))

    assert bundle.consent == both
    assert check(asking.core_directory).rows["signature"] == 1


async def test_any_key_that_signed_a_consent_revokes_it(asking):
    await asking.bind(NEW)
    consent_id = await asking.consent(POLICY)
    by_new = sign_revocation(NEW, consent_id, now=int(time.time()))
    await refused("NOT_PERMITTED", Consents(asking.core).revoke(by_new, NEW.public))

    await asking.grant(cosigned(asking.document, NEW), NEW)
    await Consents(asking.core).revoke(by_new, NEW.public)
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


async def test_a_consent_of_somebody_is_not_signed_by_a_stranger(asking):
    """Else strangers could fill it up with signatures."""
    await asking.consent(POLICY)
    stranger = signer_of("stranger")
    alone = sign_document(stranger, CONSENT, verify_document(asking.document, CONSENT, []).claims)
    await refused("NOT_PERMITTED", asking.grant(alone, stranger))


async def test_a_stranger_who_holds_a_consent_adds_no_signature_beside_the_borrowers(asking):
    """Else whoever has the text could revoke it, or leave a new key no place to sign."""
    consent_id = await asking.consent(POLICY)
    stranger = signer_of("stranger")
    await refused("NOT_PERMITTED", asking.grant(cosigned(asking.document, stranger), stranger))
    by_stranger = sign_revocation(stranger, consent_id, now=int(time.time()))
    await refused("NOT_PERMITTED", Consents(asking.core).revoke(by_stranger, stranger.public))
    assert check(asking.core_directory).rows["signature"] == 0


async def test_a_signature_by_an_unbound_key_is_refused_with_all_that_come_with_it(asking):
    """Registering for the first time, and later beside one that may be added."""
    stranger = signer_of("stranger")
    document = asking.signed_consent(POLICY)
    await refused("NOT_PERMITTED", asking.grant(cosigned(document, stranger)))
    await asking.grant(document)
    await asking.bind(NEW)
    both = cosigned(cosigned(document, NEW), stranger)
    await refused("NOT_PERMITTED", asking.grant(both, NEW))
    assert check(asking.core_directory).rows["signature"] == 0
    await asking.grant(cosigned(document, NEW), NEW)


async def test_a_lost_key_adds_no_signature_but_revokes_what_it_signed_before(asking):
    consent_id = await asking.consent(POLICY)
    document = asking.document
    token = await asking.bind(NEW)
    other = asking.signed_consent(POLICY)
    await asking.grant(cosigned(document, NEW), NEW)
    await lose(asking, token)
    await refused("NOT_PERMITTED", asking.grant(cosigned(other, NEW), NEW))
    await asking.grant(cosigned(document, NEW))  # all of it is there already
    revocation = sign_revocation(NEW, consent_id, now=int(time.time()))
    await Consents(asking.core).revoke(revocation, NEW.public)
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


async def test_a_key_that_is_lost_before_the_commit_signs_nothing(asking):
    """Both a consent and a further signature were good when they were prepared."""
    await asking.consent(POLICY)
    token, consents = await asking.bind(NEW), Consents(asking.core)
    texts = [asking.signed_consent(POLICY, signer=NEW), cosigned(asking.document, NEW)]
    prepared = [consents._prepare(text, NEW.public) for text in texts]
    await lose(asking, token)
    for command in prepared:
        await refused("NOT_PERMITTED", asking.core.commit(command))
    rows = check(asking.core_directory).rows
    assert (rows["consent"], rows["signature"]) == (1, 0)


async def test_two_calls_that_bring_the_same_signature_at_once_store_it_once(asking):
    """One of them brings another signature too, which is kept."""
    third, consents = signer_of("third phone"), Consents(asking.core)
    for signer in (NEW, third):
        await asking.bind(signer)
    consent_id = await asking.consent(POLICY)
    more = cosigned(asking.document, NEW)
    most = cosigned(more, third)
    prepared = [consents._prepare(text, NEW.public) for text in (more, most)]
    for command in prepared:
        await asking.core.commit(command)
    assert (await asking.ask(asking.question(POLICY, consent_id))).consent == most
    assert check(asking.core_directory).damage == ()


async def test_a_call_is_by_a_key_that_signed(asking):
    document = asking.signed_consent(POLICY)
    await refused("NOT_PERMITTED", asking.grant(document, signer_of("stranger")))


# -- further signatures, when the registry has changed since the consent


def change(asking: Asking, **members: object) -> None:
    """The lender's entry in the registry is another one now."""
    trust = asking.core.trust
    changed = [replace(p, **members) if p.id == "lend" else p for p in trust.bundle.participants]
    bundle = replace(trust.bundle, participants=tuple(changed))
    asking.core.sequencer.state.trust = replace(trust, bundle=bundle)


def renumbered(asking: Asking) -> dict[str, object]:
    licence = asking.core.trust.participants["lend"].licence
    assert licence is not None
    return {"licence": replace(licence, number="another number"), "title": "Another title"}


async def test_a_new_key_signs_a_consent_whose_notice_would_be_another_now(asking):
    consent_id = await asking.consent(POLICY)
    fresh = asking.signed_consent(POLICY, signer=NEW)
    token = await lost(asking)
    await asking.bind(NEW, replaces=token)
    change(asking, **renumbered(asking))
    await asking.grant(cosigned(asking.document, NEW), NEW)
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens
    await refused("NOT_PERMITTED", asking.grant(fresh, NEW))


async def test_a_new_key_signs_a_consent_one_of_whose_policies_is_out_of_force(asking):
    other = asking.policy("2 per day")
    consent_id = await asking.consent(POLICY, other)
    await asking.bind(NEW)
    trust = asking.core.trust
    pins = [replace(p, valid_until=1) if p.ref == other.ref else p for p in trust.bundle.policies]
    bundle = replace(trust.bundle, policies=tuple(pins))
    asking.core.sequencer.state.trust = replace(trust, bundle=bundle)
    await asking.grant(cosigned(asking.document, NEW), NEW)
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens


@pytest.mark.parametrize(
    "ended", [{"licence": None}, {"certified": {}}, {"status": "suspended", "since": 1}]
)
async def test_a_consent_whose_lender_may_not_ask_any_more_takes_no_further_signature(
    asking, ended
):
    await asking.consent(POLICY)
    await asking.bind(NEW)
    change(asking, **ended)
    await refused("NOT_PERMITTED", asking.grant(cosigned(asking.document, NEW), NEW))


async def test_a_consent_that_has_ended_takes_no_further_signature(asking):
    await asking.consent(POLICY)
    await asking.bind(NEW)
    asking.core = replace(asking.core, clock=lambda: int(time.time()) + 91 * 86_400)
    await refused("NOT_PERMITTED", asking.grant(cosigned(asking.document, NEW), NEW))


# -- passkeys


def with_page(asking: Asking) -> None:
    state = asking.core.sequencer.state
    state.trust = replace(state.trust, bundle=replace(state.trust.bundle, relying_parties=(PAGE,)))


async def test_a_passkey_consents_and_revokes(asking):
    with_page(asking)
    phone = SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    await asking.bind(phone)
    consent_id = await asking.consent(POLICY, signer=phone)
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens

    revocation = sign_revocation(phone, consent_id, now=int(time.time()))
    await Consents(asking.core).revoke(revocation, signer_of("caller").public)
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


async def test_a_passkey_of_a_page_that_the_bundle_does_not_name_counts_nothing(asking):
    phone = SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    await asking.bind(phone)
    await refused(
        "UNKNOWN_RELYING_PARTY", asking.grant(asking.signed_consent(POLICY, signer=phone))
    )


@pytest.mark.parametrize(
    ("domain", "origins"),
    [
        ("bureau.example", ["http://bureau.example"]),
        ("bureau.example", ["https://evil.example"]),
        ("bureau.example", ["https://notbureau.example"]),
        ("bureau.example", ["https://bureau.example", "https://bureau.example.evil.example"]),
        ("bureau.example", ["https://bureau.example/page"]),
        ("bureau.example", ["http://localhost:7480"]),
        ("bureau.example", []),
        ("com", ["https://bureau.com"]),
        ("127.0.0.1", ["http://127.0.0.1"]),
        ("Bureau.example", ["https://bureau.example"]),
    ],
)
def test_pages_where_no_browser_would_use_the_passkey_are_refused(tmp_path, domain, origins):
    with pytest.raises(Malformed) as caught:
        standing.set_page(tmp_path, RelyingParty(domain, tuple(origins)))
    assert caught.value.reason == "BAD_PAGE"


@pytest.fixture
async def moved(deployment) -> AsyncIterator[tuple[Asking, SoftwareAuthenticator, bytes]]:
    """A passkey's consent, whose page then ended: the service as it stands after that."""
    deployment.change_trust(lambda bundle: replace(bundle, relying_parties=(PAGE,)))
    core = deployment.directory.open_core()
    made, phone = Asking(deployment, core), SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    await made.attest()
    await made.bind(phone)
    consent_id = await made.consent(POLICY, signer=phone)
    core.close()
    standing.set_page(deployment.service, MOVED)
    made.core = deployment.directory.open_core()
    yield made, phone, consent_id
    made.core.close()


async def test_a_consent_outlives_the_page_where_it_was_signed(moved):
    asking, phone, consent_id = moved
    assert (await asking.ask(asking.question(POLICY, consent_id))).tokens
    found = verify_consent(asking.document, asking.core.trust.bundle.relying_parties)
    waited = await Requests(asking.core).consent("lend", asking.sub, found.request)
    assert waited.state == "ACTIVE"
    await asking.grant(asking.document, phone)  # nothing new: the same receipt
    report = check(asking.core_directory)
    assert (report.damage, report.rows["consent"]) == ((), 1)


async def test_a_consent_whose_page_has_ended_is_revoked_on_the_present_one(moved):
    asking, phone, consent_id = moved
    old = sign_revocation(phone, consent_id, now=int(time.time()))
    await refused("BAD_ASSERTION", Consents(asking.core).revoke(old, NEW.public))

    phone.origin = MOVED.origins[0]
    new = sign_revocation(phone, consent_id, now=int(time.time()))
    await Consents(asking.core).revoke(new, NEW.public)
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


async def test_a_consent_whose_page_has_ended_is_paused_on_the_present_one(moved):
    asking, phone, consent_id = moved

    async def pause() -> None:
        said = {"jti": bytes(16), "now": int(time.time())}
        text = sign_pause(phone, PAUSE, consent_id, **said)
        await Pausing(asking.core).change(text, PAUSE, NEW.public)

    await refused("BAD_ASSERTION", pause())
    phone.origin = MOVED.origins[0]
    await pause()
    await refused("CONSENT_PAUSED", asking.ask(asking.question(POLICY, consent_id)))


async def test_nothing_new_is_consented_to_on_a_page_that_has_ended(moved):
    """Though it bears a time at which what is stored counts: clocks may differ."""
    asking, phone, _ = moved
    await refused("BAD_ASSERTION", asking.consent(POLICY, signer=phone))
    phone.origin = MOVED.origins[0]
    assert await asking.consent(POLICY, signer=phone)


# -- checking


@pytest.fixture
async def peopled(asking) -> Asking:
    await asking.bind(NEW)
    await asking.consent(POLICY)
    await asking.grant(cosigned(asking.document, NEW), NEW)
    await lost(asking)
    return asking


async def test_ended_keys_and_signatures_are_checked(peopled):
    report = check(peopled.core_directory)
    assert report.damage == ()
    assert (report.rows["ended key"], report.rows["signature"]) == (1, 1)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("ended key", "DELETE FROM ended_keys"),
        ("ended key", "UPDATE ended_keys SET kid = '00'"),
        ("ended key", "UPDATE ended_keys SET sub = zeroblob(32)"),
        ("signature", "DELETE FROM signatures"),
        ("signature", "UPDATE signatures SET sealed = x'00'"),
        ("signature", "UPDATE signatures SET consent_id = zeroblob(32)"),
        ("signature", "UPDATE signatures SET sub = zeroblob(32)"),
    ],
)
async def test_a_changed_row_of_keys_is_named(peopled, what, change):
    database = sqlite3.connect(peopled.core_directory.folder / "log.db")
    with database:
        database.execute(change)
    database.close()
    assert [what] == [item.what for item in check(peopled.core_directory).damage]


async def test_a_jws_of_another_kind_is_no_signature(asking):
    claims = verify_document(asking.signed_consent(POLICY), CONSENT, []).claims
    wrong = jws.sign(asking.borrower, jws.REQUEST, claims, carry_key=True)
    await refused("WRONG_TYPE", asking.grant(wrong))
