"""Consents that rest, end, or end while an answer is made: all decided in the commit."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import PAUSE_AGE_MAX_S
from credproof.verification.consent import sign_revocation
from credproof.verification.document import PAUSE, RESUMPTION
from credproof.verification.pausing import sign_pause
from credproof_server.backups import making, refilling, restoring
from credproof_server.checking import check
from credproof_server.demo.authenticator import SoftwareAuthenticator
from credproof_server.service.consents import Consents
from credproof_server.service.pausing import Pausing

from tests.service.asking import Asking
from tests.service.test_keys import NEW, PAGE, cosigned, lost, with_page
from tests.world import POLICY, signer_of


@pytest.fixture
async def asking(deployment, core) -> Asking:
    made = Asking(deployment, core)
    await made.attest()
    return made


@pytest.fixture
async def consent_id(asking) -> bytes:
    return await asking.consent(POLICY)


async def refused(reason: str, work) -> None:
    with pytest.raises(CredproofError) as caught:
        await work
    assert reason == caught.value.reason


def signed(asking: Asking, kind, consent_id: bytes, *, by=None, at: int = 0) -> str:
    signer, now = by or asking.borrower, at or int(time.time())
    return sign_pause(signer, kind, consent_id, jti=os.urandom(16), now=now)


async def send(asking: Asking, text: str, kind, caller=None) -> int:
    key = (caller or asking.borrower).public
    return (await Pausing(asking.core).change(text, kind, key)).log_index


async def change(asking: Asking, kind, consent_id: bytes, **how) -> int:
    return await send(asking, signed(asking, kind, consent_id, **how), kind, how.get("by"))


async def is_paused(asking: Asking, consent_id: bytes) -> None:
    await refused("CONSENT_PAUSED", asking.ask(asking.question(POLICY, consent_id)))


# -- what pausing does


async def test_a_paused_consent_gives_no_answer_until_it_is_resumed(asking, consent_id):
    for _ in range(2):  # of the same second
        await change(asking, PAUSE, consent_id)
        await is_paused(asking, consent_id)
        await change(asking, RESUMPTION, consent_id)
    assert await asking.ask(asking.question(POLICY, consent_id))


async def test_the_same_pause_again_gives_the_same_receipt(asking, consent_id):
    text = signed(asking, PAUSE, consent_id)
    assert await send(asking, text, PAUSE) == await send(asking, text, PAUSE)
    assert check(asking.core_directory).rows["pause"] == 1


async def test_a_pause_while_a_question_is_answered_comes_first(asking, consent_id):
    """The draft was made while the consent was active: the commit decides."""
    draft = asking.draft(asking.question(POLICY, consent_id))
    await change(asking, PAUSE, consent_id)
    await refused("CONSENT_PAUSED", asking.give(draft))


async def test_another_consent_of_the_borrower_goes_on(asking, consent_id):
    other = await asking.consent(POLICY)
    await change(asking, PAUSE, consent_id)
    assert await asking.ask(asking.question(POLICY, other))


async def test_a_pause_gives_no_second_use_of_a_once(asking):
    consent_id = await asking.consent(POLICY, mode="once")
    await asking.ask(asking.question(POLICY, consent_id))
    await change(asking, PAUSE, consent_id)
    await change(asking, RESUMPTION, consent_id)
    await refused("CONSENT_USED_UP", asking.ask(asking.question(POLICY, consent_id)))


async def test_nothing_resumes_a_revoked_consent(asking, consent_id):
    await change(asking, PAUSE, consent_id)
    revocation = sign_revocation(asking.borrower, consent_id, now=int(time.time()))
    await Consents(asking.core).revoke(revocation, asking.borrower.public)
    await refused("CONSENT_REVOKED", change(asking, RESUMPTION, consent_id))
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


# -- which document counts


async def test_an_old_pause_after_a_resumption_counts_nothing(asking, consent_id):
    text = signed(asking, PAUSE, consent_id)
    await send(asking, text, PAUSE)
    await change(asking, RESUMPTION, consent_id)
    await refused("SUPERSEDED", send(asking, text, PAUSE))
    assert await asking.ask(asking.question(POLICY, consent_id))


async def test_an_old_resumption_after_a_pause_counts_nothing(asking, consent_id):
    """Sent before, or signed before and held back."""
    earlier = int(time.time()) - 5
    held_back = signed(asking, RESUMPTION, consent_id, at=earlier)
    text = signed(asking, RESUMPTION, consent_id, at=earlier)
    await send(asking, text, RESUMPTION)
    await change(asking, PAUSE, consent_id)
    await refused("SUPERSEDED", send(asking, text, RESUMPTION))
    await refused("SUPERSEDED", send(asking, held_back, RESUMPTION))
    await is_paused(asking, consent_id)


@pytest.mark.parametrize(
    ("offset", "reason"), [(-PAUSE_AGE_MAX_S - 5, "TOO_OLD"), (200, "FROM_THE_FUTURE")]
)
async def test_one_that_was_held_back_for_long_or_dated_ahead_is_refused(
    asking, consent_id, offset, reason
):
    await refused(reason, change(asking, PAUSE, consent_id, at=int(time.time()) + offset))


async def test_a_pause_is_no_resumption_and_a_revocation_neither(asking, consent_id):
    pause = signed(asking, PAUSE, consent_id)
    await refused("WRONG_TYPE", send(asking, pause, RESUMPTION))
    revocation = sign_revocation(asking.borrower, consent_id, now=int(time.time()))
    await refused("WRONG_TYPE", send(asking, revocation, PAUSE))


# -- whose document counts


async def test_only_a_key_that_signed_the_consent_pauses_it(asking, consent_id):
    await asking.bind(NEW)
    await refused("NOT_PERMITTED", change(asking, PAUSE, consent_id, by=NEW))
    await refused("NOT_PERMITTED", change(asking, PAUSE, bytes(32)))
    text = signed(asking, PAUSE, consent_id)
    await refused("NOT_PERMITTED", send(asking, text, PAUSE, caller=NEW))
    await asking.grant(cosigned(asking.document, NEW), NEW)
    await change(asking, PAUSE, consent_id, by=NEW)
    await is_paused(asking, consent_id)


async def test_a_lost_key_neither_pauses_nor_resumes(asking, consent_id):
    """A thief's phone may have signed the consent: it counts no more, the new key does."""
    await change(asking, PAUSE, consent_id)
    token = await lost(asking)
    await asking.bind(NEW, replaces=token)
    await asking.grant(cosigned(asking.document, NEW), NEW)
    for kind in (PAUSE, RESUMPTION):
        await refused("NOT_PERMITTED", change(asking, kind, consent_id))
    await is_paused(asking, consent_id)
    await change(asking, RESUMPTION, consent_id, by=NEW)
    assert await asking.ask(asking.question(POLICY, consent_id))


async def test_a_passkey_pauses_and_resumes_what_it_consented_to(asking):
    with_page(asking)
    phone = SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    await asking.bind(phone)
    consent_id = await asking.consent(POLICY, signer=phone)
    caller = signer_of("caller")
    await send(asking, signed(asking, PAUSE, consent_id, by=phone), PAUSE, caller)
    await is_paused(asking, consent_id)
    await send(asking, signed(asking, RESUMPTION, consent_id, by=phone), RESUMPTION, caller)
    assert await asking.ask(asking.question(POLICY, consent_id))


# -- consents that end


async def test_a_consent_that_has_ended_is_told_to_its_lender_only(asking, consent_id):
    later(asking, 91)
    question = asking.question(POLICY, consent_id)
    await refused("CONSENT_EXPIRED", asking.ask(question))
    for other in ({"lender": "other-lend"}, {"sub": bytes(32)}):
        stranger = replace(question, request_id=os.urandom(16), **other)
        assert await reason_of(asking, stranger) in ("NOT_PERMITTED", "LENDER_NOT_LICENSED")


async def test_a_consent_that_ends_while_an_answer_is_made_gives_none(asking, consent_id):
    draft = asking.draft(asking.question(POLICY, consent_id))
    ended = replace(draft, expires_at=draft.issued_at - 1)
    await refused("CONSENT_EXPIRED", asking.give(ended))
    last_second = replace(draft, expires_at=int(time.time()) + 60)
    assert await asking.give(last_second)


async def test_a_revoked_consent_is_told_as_revoked_when_its_key_is_lost_too(asking, consent_id):
    revocation = sign_revocation(asking.borrower, consent_id, now=int(time.time()))
    await Consents(asking.core).revoke(revocation, asking.borrower.public)
    await lost(asking)
    await refused("CONSENT_REVOKED", asking.ask(asking.question(POLICY, consent_id)))


def later(asking: Asking, days: int) -> None:
    """The service's clock goes on by so many days, and everything but the consent lasts."""
    clock = asking.core.clock
    object.__setattr__(asking.core, "clock", lambda: clock() + days * 86_400)


async def reason_of(asking: Asking, question) -> str:
    with pytest.raises(CredproofError) as caught:
        await asking.ask(question)
    return caught.value.reason


# -- stored


@pytest.fixture
async def peopled(asking, consent_id) -> Asking:
    await change(asking, PAUSE, consent_id)
    await change(asking, RESUMPTION, consent_id)
    return asking


async def test_pauses_and_resumptions_are_checked(peopled):
    report = check(peopled.core_directory)
    assert report.damage == ()
    assert (report.rows["pause"], report.rows["resumption"]) == (1, 1)


CHANGES = [
    (["pause"], "DELETE FROM pauses WHERE paused"),
    (["resumption"], "DELETE FROM pauses WHERE NOT paused"),
    (["pause"], "UPDATE pauses SET paused = 7 WHERE paused"),
    (["pause", "resumption"], "UPDATE pauses SET paused = 0 WHERE paused"),
    (["pause"], "UPDATE pauses SET issued_at = issued_at + 1 WHERE paused"),
    (["pause"], "UPDATE pauses SET issued_at = 'soon' WHERE paused"),
    (["pause"], "UPDATE pauses SET sub = zeroblob(32) WHERE paused"),
    (["pause"], "UPDATE pauses SET consent_id = zeroblob(32) WHERE paused"),
    (["pause"], "UPDATE pauses SET document_id = zeroblob(32) WHERE paused"),
    (["pause"], "UPDATE pauses SET sealed = x'00' WHERE paused"),
]


async def test_a_changed_row_of_pauses_is_named(peopled):
    database = sqlite3.connect(peopled.core_directory.folder / "log.db")
    sound = sqlite3.connect(":memory:")
    with closing(database), closing(sound):
        database.backup(sound)
        for what, change in CHANGES:
            with database:
                database.execute(change)
            found = [item.what for item in check(peopled.core_directory).damage]
            assert (change, what) == (change, found)
            sound.backup(database)


async def test_an_older_backup_does_not_undo_a_pause(tmp_path, deployment, core):
    """It is refilled with the pause, or it does not serve at all."""
    asking = Asking(deployment, core)
    await asking.attest()
    consent_id = await asking.consent(POLICY)
    directory, main, keys = deployment.directory, tmp_path / "backup", tmp_path / "keys"
    size = making.back_up(directory, main, keys)
    await change(asking, PAUSE, consent_id)
    making.export(directory, tmp_path / "export", size)
    core.close()
    restoring.restore(directory.folder, main, keys, None)
    with pytest.raises(CredproofError) as caught:
        directory.open_core()
    assert caught.value.reason == "LOG_BEHIND"

    refilling.refill(directory, tmp_path / "export")
    assert check(directory).damage == ()
    again = directory.open_core()
    try:
        await is_paused(Asking(deployment, again), consent_id)
    finally:
        again.close()


async def test_an_export_that_lacks_a_pause_is_refused(tmp_path, peopled):
    directory, file = peopled.core_directory, tmp_path / "export"
    main, keys = tmp_path / "backup", tmp_path / "keys"
    making.export(directory, file, 0)
    size = making.back_up(directory, main, keys)
    assert size
    database = sqlite3.connect(file)
    with database:
        database.execute("DELETE FROM pauses WHERE paused")
    database.close()
    with pytest.raises(CredproofError) as caught:
        _refill_empty(peopled, main, keys, file)
    assert caught.value.reason == "EXPORT_DIFFERS"


def _refill_empty(asking: Asking, main, keys, file) -> None:
    """Restore a log that ends before the pause, then refill it."""
    directory = asking.core_directory
    asking.core.close()
    database = sqlite3.connect(main / "log.db")
    with database:
        (at,) = database.execute("SELECT log_index FROM pauses WHERE paused").fetchone()
        for table in ("pauses", "entries"):
            database.execute(f"DELETE FROM {table} WHERE log_index >= {at}")
        database.execute(f"DELETE FROM commits WHERE tree_size > {at}")
    database.close()
    restoring.restore(directory.folder, main, keys, None)
    refilling.refill(directory, file)
