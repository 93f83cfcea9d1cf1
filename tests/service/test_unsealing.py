"""A detail takes two auditors and a reason; what is given is logged first, and nothing more."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from credproof.base.encoding import b64url, parse_json
from credproof.base.errors import CredproofError
from credproof.base.limits import UNSEALINGS_PENDING_MAX
from credproof.log.entry import parse_entry
from credproof.verification.answer import Reference, answer_commitment, parse_answer
from credproof.verification.answer_entry import parse_given
from credproof.verification.details import verify_detail
from credproof.verification.log_rules import LogRules
from credproof_server.checking import check
from credproof_server.service import searching, telling, unsealing
from credproof_server.service.core import Core
from credproof_server.service.searching import Searching
from credproof_server.service.telling import Telling
from credproof_server.service.unsealing import Unsealing
from credproof_server.storage import people, repository

from tests.deployment import Deployment
from tests.service.asking import Asking
from tests.service.test_checking import behind_the_back, damage
from tests.service.unsealing import WHY, Office, entry_at, newest
from tests.verification.test_log_rules import Memory
from tests.world import POLICY, seed_of, signer_of


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Deployment:
    deployment = Deployment(tmp_path_factory.mktemp("unsealing"))
    for role, name in (("provider", "bank"), ("lender", "lend"), ("auditor", "office")):
        deployment.admit(role, name)
    deployment.admit("auditor", "second")
    deployment.admit("auditor", "third")
    return deployment


@pytest.fixture(scope="module")
def opened(made) -> Iterator[Core]:
    core = made.directory.open_core()
    yield core
    core.close()


@pytest.fixture(scope="module")
def asking(made, opened) -> Asking:
    """A borrower who is attested."""
    found = Asking(made, opened)
    asyncio.run(found.attest())
    return found


@pytest.fixture(scope="module")
def answered(asking) -> int:
    """The log index of an answer."""
    return asyncio.run(answer(asking))


async def answer(asking: Asking) -> int:
    await asking.ask(asking.question(POLICY, await asking.consent(POLICY)))
    return asking.core.sequencer.head.tree_size - 1


def consented(core: Core) -> int:
    """The log index of the newest consent."""
    with core.engine.connect() as connection:
        entries = [parse_entry(line) for line in repository.all_lines(connection)]
    return max(entry.seq for entry in entries if entry.kind == "consent.granted")


@pytest.fixture
def office(made, opened) -> Office:
    names = ("office", "second", "third")
    return Office(opened, {name: made.home(name).signer for name in names})


async def reason_of(step) -> str:
    with pytest.raises(CredproofError) as caught:
        await step
    return caught.value.reason


def later(core: Core, seconds: int) -> Core:
    """The service as it will be then; the sequencer's clock is moved too, for as long."""
    return replace(core, clock=lambda: int(time.time()) + seconds)


@contextmanager
def at_time(core: Core, seconds: int) -> Iterator[Core]:
    """Times of entries never go back: only for what is refused, and so logs nothing."""
    clock = core.sequencer._clock
    core.sequencer._clock = lambda: int(time.time()) + seconds
    yield later(core, seconds)
    core.sequencer._clock = clock


def suspended(core: Core, name: str):
    """The registry in force, with an auditor suspended since just now."""
    trust = core.sequencer.state.trust
    changed = [
        replace(item, status="suspended", since=int(time.time()) - 1) if item.id == name else item
        for item in trust.bundle.participants
    ]
    return replace(trust, bundle=replace(trust.bundle, participants=tuple(changed)))


async def test_the_verdicts_behind_an_answer_are_given_with_their_salt(office, answered):
    request = await office.approved(answered)
    given = await office.open(request)
    entry = entry_at(office.core, answered)
    verdicts = verify_detail(entry, "verdicts", given.opening)
    assert set(verdicts) == set(POLICY.questions)
    assert set(verdicts.values()) <= {"YES", "NO", "UNKNOWN"}
    logged = newest(office.core)
    assert (logged.seq, logged.kind, logged.actor) == (given.log_index, "detail.unsealed", "office")
    assert (logged.object, logged.fields["entry"]) == (request, answered)
    assert not any(value in str(logged.fields) for value in ("YES", "complaint"))


async def test_the_signed_answer_and_the_consent_are_details_too(office, answered):
    given = await office.open(await office.approved(answered, "answer"))
    _, answer = parse_answer(given.opening.content.decode("ascii"))
    assert answer.outcome.tier == "A"
    granted = consented(office.core)
    consent = await office.open(await office.approved(granted, "consent"))
    assert parse_json(consent.opening.content)["terms"]["aud"] == "lend"
    verify_detail(entry_at(office.core, granted), "consent", consent.opening)


async def test_each_of_the_two_is_logged_once_and_a_third_gets_nothing(office, answered):
    request = await office.approved(answered)
    first = await office.open(request)
    assert (await office.open(request)).log_index == first.log_index
    assert (await office.open(request, "second")).log_index == first.log_index + 1
    assert await reason_of(office.open(request, "third")) == "OTHER_AUDITORS"
    assert newest(office.core).seq == first.log_index + 1


async def test_nothing_is_given_before_a_second_auditor_approved(office, answered):
    request = await office.ask(answered)
    assert await reason_of(office.open(request)) == "UNSEAL_NOT_APPROVED"
    assert await reason_of(office.decide(request, "office")) == "SAME_AUDITOR"
    await office.decide(request, approves=False)
    assert newest(office.core).kind == "unseal.declined"
    assert await reason_of(office.decide(request)) == "UNSEAL_DECIDED"
    assert await reason_of(office.open(request)) == "UNSEAL_NOT_APPROVED"


async def test_the_same_documents_again_change_nothing(office, answered):
    unsealing, text = Unsealing(office.core), office.request(answered)
    index = await unsealing.ask("office", text, WHY)
    assert await unsealing.ask("office", text, WHY) == index
    name = (await unsealing.listed(index))[0]
    decision = office.decision(entry_at(office.core, index).object)
    decided = await unsealing.decide("second", decision)
    assert await unsealing.decide("second", decision) == decided == index + 1
    listed = (await unsealing.listed(index))[0]
    assert (listed.reason, listed.decision, listed.decided_index) == (WHY, decision, decided)
    assert (name.decision, listed.given) == ("", ())


async def test_after_its_time_a_request_is_worth_nothing(office, answered):
    request, approved = await office.ask(answered), await office.approved(answered)
    with at_time(office.core, 3700) as then:
        late = Office(then, office.signers)
        signed = late.decision(request, now=int(time.time()) + 3700)
        assert await reason_of(Unsealing(then).decide("second", signed)) == "UNSEAL_EXPIRED"
        assert await reason_of(late.open(approved)) == "UNSEAL_EXPIRED"


@pytest.mark.parametrize("who", ["office", "second"])
async def test_an_auditor_who_is_withdrawn_unseals_nothing_more(office, answered, who):
    request, approved = await office.ask(answered), await office.approved(answered)
    state = office.core.sequencer.state
    trust = state.trust
    state.trust = suspended(office.core, who)
    try:
        assert await reason_of(office.open(approved)) == "AUDITOR_SUSPENDED"
        assert await reason_of(office.open(approved, "second")) == "AUDITOR_SUSPENDED"
        steps = {"office": office.ask(answered), "second": office.decide(request)}
        assert await reason_of(steps.pop(who)) == "NOT_AN_AUDITOR"
        for step in steps.values():
            step.close()
    finally:
        state.trust = trust


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"auditor": "second"}, "WRONG_ISSUER"),
        ({"domain": "other.example"}, "WRONG_SERVICE"),
        ({"now": int(time.time()) - 7200, "life_s": 90_000}, "KEY_NOT_VALID"),
        ({"now": int(time.time()) + 7200}, "FROM_THE_FUTURE"),
        ({"entry": seed_of("another line")}, "OTHER_ENTRY"),
        ({"reason": seed_of("another reason")}, "OTHER_REASON"),
        ({"log_index": 10**6}, "NO_SUCH_INDEX"),
        ({"log_index": -1}, "BAD_UNSEALING"),
        ({"detail": "everything"}, "BAD_UNSEALING"),
        ({"detail": "consent"}, "NO_SUCH_DETAIL"),
        ({"life_s": 7 * 86_400 + 1}, "BAD_UNSEALING"),
    ],
)
async def test_a_bad_request_is_refused_and_not_logged(office, answered, changes, reason):
    size = office.core.sequencer.head.tree_size
    text = office.request(answered, **changes)
    assert await reason_of(Unsealing(office.core).ask("office", text, WHY)) == reason
    assert office.core.sequencer.head.tree_size == size


async def test_a_request_signed_by_an_unregistered_key_is_refused(office, answered):
    forged = Office(office.core, {"office": signer_of("somebody")})
    assert await reason_of(forged.ask(answered)) == "UNKNOWN_KEY"
    decision = forged.decision(await office.ask(answered), "office", auditor="second")
    assert await reason_of(Unsealing(office.core).decide("second", decision)) == "UNKNOWN_KEY"
    nobodys = office.decide(seed_of("a request that nobody made"))
    assert await reason_of(nobodys) == "NO_SUCH_UNSEALING"
    assert await reason_of(office.open(seed_of("nor this"))) == "NO_SUCH_UNSEALING"


async def test_a_request_says_why_in_words(office, answered):
    blank = Reference(" ", WHY.salt)
    text = office.request(answered, reason=blank.digest)
    assert await reason_of(Unsealing(office.core).ask("office", text, blank)) == "NO_REASON"


async def test_an_auditor_has_so_many_undecided_requests_and_no_more(office, answered):
    waiting = [await office.ask(answered, by="third") for _ in range(UNSEALINGS_PENDING_MAX)]
    assert await reason_of(office.ask(answered, by="third")) == "LIMIT_EXCEEDED"
    await office.decide(waiting[0], approves=False)
    await office.ask(answered, by="third")


async def test_no_verdicts_are_found_by_trying_them_on_the_log(office, answered):
    """There are few: who knows the salt finds them. Nothing in the entry is the salt."""
    entry = entry_at(office.core, answered)
    given, opening = (
        parse_given(entry),
        (await office.open(await office.approved(answered))).opening,
    )
    kinds = itertools.product(("YES", "NO", "UNKNOWN"), repeat=len(POLICY.questions))
    vectors = [dict(zip(POLICY.questions, kind, strict=True)) for kind in kinds]
    digests = (given.tag, given.consent, entry.object, given.asked.case, given.asked.staff)
    for salt in (entry.salt, entry.prev, *digests):
        assert all(answer_commitment(salt, v) != given.verdicts for v in vectors)
    found = [v for v in vectors if answer_commitment(opening.salt, v) == given.verdicts]
    assert found == [parse_json(opening.content)]


async def test_a_search_for_the_person_and_the_borrower_are_told(office, asking, answered):
    request = await office.approved(answered, "answer")
    index = (await office.open(request)).log_index
    with office.core.engine.connect() as connection:
        assert people.entries_about(connection, asking.sub, 3) == [index - 2, index - 1, index]
    told = await Telling(office.core).unsealed(asking.sub, asking.borrower.public)
    last = told[-1]
    assert (last.log_index, last.auditor, last.entry_index) == (index, "office", answered)
    stranger = Telling(office.core).unsealed(asking.sub, signer_of("stranger").public)
    assert await reason_of(stranger) == "NOT_PERMITTED"
    nobody = Telling(office.core).unsealed(seed_of("nobody"), asking.borrower.public)
    assert await reason_of(nobody) == "NOT_PERMITTED"


async def test_pages_and_lists_are_cut_at_their_limit(office, asking, answered, monkeypatch):
    given = [(await office.open(await office.approved(answered))).log_index for _ in range(3)]
    first = given[0] - 2
    monkeypatch.setattr(unsealing, "UNSEALINGS_PAGE_MAX", 2)
    page = await Unsealing(office.core).listed(first)
    assert [item.log_index for item in page] == [given[0] - 2, given[1] - 2]
    monkeypatch.setattr(telling, "UNSEALED_TOLD_MAX", 2)
    told = await Telling(office.core).unsealed(asking.sub, asking.borrower.public)
    assert [row.log_index for row in told] == given[1:]
    monkeypatch.undo()
    assert (unsealing.UNSEALINGS_PAGE_MAX, telling.UNSEALED_TOLD_MAX) == (100, 1000)


@pytest.mark.parametrize("over", [0, 1])
async def test_a_search_for_a_person_tells_the_newest_entries_up_to_its_limit(
    office, asking, answered, monkeypatch, over
):
    await office.open(await office.approved(answered))
    seek = Searching(office.core).person
    every = (await seek("office", asking.sub, WHY.digest)).log_indexes
    monkeypatch.setattr(searching, "PERSON_ENTRIES_MAX", len(every) - over)
    assert (await seek("office", asking.sub, WHY.digest)).log_indexes == every[over:]
    monkeypatch.undo()
    assert searching.PERSON_ENTRIES_MAX == 10_000


async def test_the_log_of_all_this_breaks_no_rule_and_every_row_is_whole(office, made, answered):
    await office.open(await office.approved(answered))
    await office.decide(await office.ask(answered), approves=False)
    with office.core.engine.connect() as connection:
        entries = [parse_entry(line) for line in repository.all_lines(connection)]
    # The service's own registry is what each version of it said, but for the very first entries.
    rules = LogRules(Memory(), lambda _entry: office.core.trust)
    kinds = ("unseal.", "detail.unsealed")
    found = rules.feed_page(entries, entries[-1].time)
    broken = [f for f in found if entries[f.log_index].kind.startswith(kinds)]
    assert broken == []
    report = check(made.directory)
    assert report.damage == ()
    assert report.rows["unsealed detail"] >= 1
    assert report.rows["unseal refusal"] >= 1


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("unsealing", "UPDATE unsealings SET detail = 'answer' WHERE log_index = {}"),
        ("unsealing", "UPDATE unsealings SET sealed = x'00' WHERE log_index = {}"),
        ("unsealing", "DELETE FROM unsealings WHERE log_index = {}"),
        ("unseal approval", "UPDATE unseal_decisions SET auditor = 'third' WHERE log_index = {}+1"),
        ("unsealed detail", "UPDATE unsealed_details SET auditor = 'third' WHERE log_index = {}+2"),
        ("unsealed detail", "UPDATE unsealed_details SET time = 0 WHERE log_index = {}+2"),
        ("answer", "UPDATE answers SET verdicts = x'00'"),
    ],
)
async def test_any_row_that_is_not_what_was_logged_is_named(office, made, answered, what, change):
    index = (await office.open(await office.approved(answered))).log_index - 2
    tables = ("unsealings", "unseal_decisions", "unsealed_details", "answers")
    with behind_the_back(made) as database:
        for table in tables:
            database.execute(f"CREATE TEMP TABLE kept_{table} AS SELECT * FROM {table}")
        database.execute(change.format(index))
        try:
            assert {what} == {found for found, _, _ in damage(made)}
        finally:
            for table in tables:
                database.execute(f"DELETE FROM {table}")
                database.execute(f"INSERT INTO {table} SELECT * FROM kept_{table}")


async def test_verdicts_that_were_not_kept_then_are_told_as_that(office, made, asking):
    index = await answer(asking)
    with behind_the_back(made) as database:
        database.execute(f"UPDATE answers SET verdicts = NULL WHERE log_index = {index}")
    assert await reason_of(office.ask(index)) == "DETAIL_NOT_KEPT"


async def test_after_erasure_a_detail_is_told_as_erased(office, made, answered):
    """The last test of this module: whoever is erased stays so."""
    request, waiting = await office.approved(answered), await office.ask(answered)
    granted = consented(office.core)
    size = office.core.sequencer.head.tree_size
    with behind_the_back(made, "vault.db") as database:
        database.execute("UPDATE data_keys SET erased = 1, wrapped = x''")
    for step in (office.open(request), office.ask(answered), office.ask(granted, "consent")):
        assert await reason_of(step) == "DETAIL_ERASED"
    assert office.core.sequencer.head.tree_size == size
    listed = {item.log_index: item for item in await Unsealing(office.core).listed(0)}
    assert all(item.reason is None for item in listed.values())
    await office.decide(waiting, approves=False)
    assert b64url(waiting) == newest(office.core).fields["request"]
