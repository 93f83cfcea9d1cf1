"""What the watching of misuse keeps over restarts, backups and time, and nothing else."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from types import SimpleNamespace

import pytest
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, CredproofError, Malformed, Refused
from credproof.base.group import hash_to_group
from credproof.base.limits import ANOMALY_EVIDENCE_MAX, ENTRY_BYTES_MAX
from credproof.log.entry import parse_entry
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED, parse_anomaly
from credproof_server import admission, app
from credproof_server.backups import making, refilling, restoring
from credproof_server.checking import check
from credproof_server.config import FILE_NAME
from credproof_server.service.answering import Ask, Settle
from credproof_server.service.looking import Looking, RaiseTogether
from credproof_server.service.pseudonyms import Pseudonyms
from credproof_server.service.raising import Borrower, LiftThrottle
from credproof_server.service.verify import Verify
from credproof_server.storage import observations, repository

from tests.adversary.misuse import RULES
from tests.deployment import watch
from tests.service.asking import Asking
from tests.world import POLICY, seed_of

DAY = 86_400


@pytest.fixture
def watched(deployment):
    """The deployment under the small thresholds of the seeded attacks."""
    watch(deployment.service, RULES)
    return deployment


@pytest.fixture
def core(watched):
    opened = watched.directory.open_core()
    yield opened
    opened.close()


def guess(number: int, lender: str = "lend") -> Ask:
    """A question about somebody made up; the same number asks the same."""
    ids = (seed_of(f"{name} {number}") for name in ("request", "nonce", "sub", "consent"))
    request, nonce, sub, consent = ids
    return Ask(lender, request[:16], nonce, sub, POLICY.ref, consent, bytes(32), bytes(32))


async def told(core, *numbers: int) -> list[str]:
    results = await Verify(core).ask_many([guess(number) for number in numbers])
    return [result.reason for result in results]


def entries(core, kind: str) -> list:
    with core.engine.connect() as connection:
        found = map(parse_entry, repository.all_lines(connection))
        return [entry for entry in found if entry.kind == kind]


def rules_raised(core) -> list[str]:
    return [parse_anomaly(entry).rule for entry in entries(core, ENTRY_RAISED)]


LENDERS = 2000
"""An entry that named so many, each by an id of 40 letters, would be longer than one may be."""


class RaiseMany:
    """What is raised when so many lenders were answered about one borrower."""

    def __init__(self, core, about: Borrower, monkeypatch) -> None:
        self._rules, self._about, self._patch = core.rules, about, monkeypatch

    def apply(self, tx) -> int:
        names = [f"lender-{number:033}" for number in range(LENDERS)]
        given = [tx.append("answer.given", n, bytes(32), salt=bytes(16), fields={}) for n in names]
        rows = [
            SimpleNamespace(
                sub=self._about.sub, lender=n, policy_digest=bytes(32), log_index=at, time=tx.time
            )
            for n, at in zip(names, given, strict=True)
        ]
        self._patch.setattr(observations, "asked_about", lambda *_: rows)
        return RaiseTogether(self._rules, [self._about]).apply(tx)


async def test_so_many_lenders_are_counted_and_the_newest_are_named(core, monkeypatch):
    """An entry has room for 64 KiB: what is told of a borrower must not stop the log."""
    sub = seed_of("popular")
    about = Borrower(sub, core.vault.keys([sub])[sub])
    assert (await core.commit(RaiseMany(core, about, monkeypatch))).value == 1
    (entry,) = entries(core, ENTRY_RAISED)
    found = parse_anomaly(entry)
    newest = range(LENDERS - ANOMALY_EVIDENCE_MAX, LENDERS)
    assert found.participants == tuple(f"lender-{number:033}" for number in newest)
    assert found.counts == {"lenders": LENDERS, "answers": LENDERS}
    assert len(found.evidence) == ANOMALY_EVIDENCE_MAX
    assert len(entry.to_line()) < ENTRY_BYTES_MAX // 16


def count(core, table: str) -> int:
    with core.engine.connect() as connection:
        return connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()


def kept(core) -> list[int]:
    """The log indexes of the refusals that are kept."""
    with core.engine.connect() as connection:
        query = "SELECT log_index FROM refusals ORDER BY log_index"
        return list(connection.exec_driver_sql(query).scalars())


async def refused(core, reason: str, *questions: Ask) -> list[str]:
    """What questions are told that are refused for this reason."""
    settled = await core.commit(Settle(core.rules, [(q, Refused(reason, "")) for q in questions]))
    return [result.reason for result in settled.value]


def later(core, seconds: int) -> None:
    """What is kept of questions becomes older."""
    with core.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE refusals SET time = time - {seconds}")
        connection.exec_driver_sql("DELETE FROM activity WHERE span = 60")


# -- time and restarts


async def test_a_restart_in_the_middle_forgets_no_question_and_no_throttle(core, watched):
    assert await told(core, 1, 2, 3) == ["NOT_PERMITTED"] * 3
    core.close()
    again = watched.directory.open_core()
    try:
        assert await told(again, 4, 5, 6) == ["NOT_PERMITTED"] * 2 + ["THROTTLED"]
    finally:
        again.close()
    once_more = watched.directory.open_core()
    try:
        assert await told(once_more, 7) == ["THROTTLED"]
        assert rules_raised(once_more) == ["enumeration"]
    finally:
        once_more.close()


async def test_what_lies_before_the_window_is_not_counted_and_is_forgotten(core):
    await told(core, 1, 2, 3)
    with core.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE refusals SET time = time - {DAY + 1}")
    assert await told(core, 4, 5) == ["NOT_PERMITTED"] * 2
    assert rules_raised(core) == []
    with core.engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE refusals SET time = time - {3 * DAY}")
        connection.exec_driver_sql(f"UPDATE activity SET start = start - {3 * DAY}")
    await Looking(core).look()
    assert (count(core, "refusals"), count(core, "activity")) == (0, 0)


async def test_a_throttle_ends_by_itself_and_is_raised_again_only_by_new_conduct(core):
    await told(core, 1, 2, 3, 4, 5)
    with core.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE anomalies SET until = time")
    assert await told(core, 6, 7, 8, 9) == ["NOT_PERMITTED"] * 4
    assert rules_raised(core) == ["enumeration"]
    assert await told(core, 10, 11) == ["NOT_PERMITTED", "THROTTLED"]
    assert rules_raised(core) == ["enumeration"] * 2


async def test_a_rule_that_only_tells_is_raised_once_in_its_window(core, watched):
    only_told = RULES.replace("throttle: 3600", "throttle: 0")
    core.close()
    watch(watched.service, only_told)
    again = watched.directory.open_core()
    try:
        assert set(await told(again, *range(12))) == {"NOT_PERMITTED"}
        assert rules_raised(again) == ["enumeration"]
    finally:
        again.close()


async def test_what_a_throttle_refuses_is_logged_and_kept_nowhere_else(core):
    await told(core, *range(9))
    logged = [entry.fields["reason"] for entry in entries(core, "answer.refused")]
    assert logged == ["NOT_PERMITTED"] * 5 + ["THROTTLED"] * 4
    assert count(core, "refusals") == 5


async def test_no_more_refusals_are_kept_than_a_rule_can_count(core, monkeypatch):
    monkeypatch.setattr("credproof_server.service.monitoring.OBSERVATIONS_MAX", 3)
    assert await told(core, *range(9)) == ["NOT_PERMITTED"] * 9
    assert kept(core) == [entry.seq for entry in entries(core, "answer.refused")][-3:]


@pytest.mark.parametrize("reason", ["CAP_REACHED", "NOT_PERMITTED"])
async def test_many_old_refusals_hide_no_new_attack(core, monkeypatch, reason):
    """As many as are kept, then an enumeration."""
    monkeypatch.setattr("credproof_server.service.monitoring.OBSERVATIONS_MAX", 5)
    await refused(core, reason, *map(guess, (1, 1, 2, 2, 3)))
    assert (rules_raised(core), len(kept(core))) == ([], 5)
    assert (await told(core, *range(10, 16)))[-1] == "THROTTLED"
    assert rules_raised(core) == ["enumeration"]


async def test_refusals_that_only_a_burst_counts_are_kept_for_their_minute(core):
    await refused(core, "CAP_REACHED", guess(1), guess(2))
    assert len(kept(core)) == 2
    later(core, 61)
    await refused(core, "CAP_REACHED", guess(3))
    assert kept(core) == [entry.seq for entry in entries(core, "answer.refused")][-1:]


async def test_a_draft_made_before_its_lender_was_throttled_is_not_given(core, watched):
    asking = Asking(watched, core)
    await asking.attest()
    question = asking.question(POLICY, await asking.consent(POLICY))
    draft = asking.draft(question)
    await told(core, *range(5))
    (settled,) = (await core.commit(Settle(core.rules, [(question, draft)]))).value
    assert settled.reason == "THROTTLED"
    assert count(core, "answers") == 0


async def test_a_throttled_lender_learns_no_pseudonym_and_uses_up_no_quota(core):
    await told(core, *range(5))
    key_id = core.trust.oprf_key.id
    element = hash_to_group(b"guess", b"a test")
    with pytest.raises(CredproofError) as caught:
        await Pseudonyms(core).evaluate("lend", "lender", key_id, [element])
    assert caught.value.reason == "THROTTLED"
    assert count(core, "evaluations") == 0
    assert await Pseudonyms(core).evaluate("bank", "provider", key_id, [element])


# -- what others caused


@pytest.mark.parametrize("reason", ["CONSENT_PAUSED", "TOO_MANY_ATTESTATIONS"])
async def test_a_batch_that_is_refused_for_what_providers_did_is_no_burst(core, reason):
    """As when a provider is suspended: twice the questions of a burst, none answered."""
    told = await refused(core, reason, *map(guess, range(40)))
    assert (set(told), rules_raised(core)) == ({reason}, [])
    later(core, 61)
    told = await refused(core, reason, *map(guess, range(40)))
    assert (set(told), rules_raised(core)) == ({reason}, [])


@pytest.mark.parametrize("size", [1, 30])
async def test_a_paused_consent_excuses_one_question_in_a_minute(core, size, monkeypatch):
    """Alone or in batches: the twentieth that is not excused is a burst."""
    now = int(time.time())
    monkeypatch.setattr(core.sequencer, "_clock", lambda: now)  # no minute ends meanwhile
    for _ in range(30 // size):
        await refused(core, "CONSENT_PAUSED", *[guess(1)] * size)
    logged = [entry.fields["reason"] for entry in entries(core, "answer.refused")]
    assert logged == ["CONSENT_PAUSED"] * 21 + ["THROTTLED"] * 9
    assert rules_raised(core) == ["burst"]


async def test_paused_consents_change_no_answered_share(core):
    await refused(core, "CONSENT_PAUSED", *map(guess, range(9)))
    with core.engine.connect() as connection:
        assert connection.exec_driver_sql("SELECT * FROM activity").all() == []


async def test_paused_consents_count_for_a_number_of_the_lenders_own(core, watched):
    core.close()
    watch(watched.service, RULES.replace("held: 3", "lend: 3"))
    again = watched.directory.open_core()
    try:
        for number in range(6):
            await refused(again, "CONSENT_PAUSED", guess(number))
        (entry,) = entries(again, ENTRY_RAISED)
        assert parse_anomaly(entry).counts == {"questions": 4, "answered": 0}
        assert len(parse_anomaly(entry).evidence) == 4
    finally:
        again.close()


# -- the operator


async def test_a_throttle_is_lifted_once_and_the_log_names_the_operator(core, watched):
    for name, reason in (("lend", "NOT_THROTTLED"), ("nobody", "NO_SUCH_PARTICIPANT")):
        with pytest.raises(Conflict) as caught:
            await core.commit(LiftThrottle("operator", name))
        assert caught.value.reason == reason
    await told(core, *range(5))
    core.close()
    admission.lift_throttle(watched.service, "lend")  # the service does not run
    again = watched.directory.open_core()
    try:
        (entry,) = entries(again, ENTRY_LIFTED)
        assert (entry.actor, entry.fields) == ("operator", {"participant": "lend"})
        assert await told(again, 6) == ["NOT_PERMITTED"]
        assert check(watched.directory).damage == ()
    finally:
        again.close()


async def test_bad_rules_are_refused_at_the_start(deployment):
    told = {
        "burst: {window: 61}": ("BAD_RULES", "burst: the window is 60 seconds"),
        "bisection: {window: 60, steps: 1}": ("BAD_MEMBER", "bisection lacks halvings"),
        "burst: [": ("NOT_YAML", "not strict YAML"),
    }
    for rules, (reason, says) in told.items():
        watch(deployment.service, rules)
        assert await refused_at_start(deployment) == (reason, f"rules.yaml: {says}")
    (deployment.service / "rules.yaml").unlink()
    reason, says = await refused_at_start(deployment)
    assert (reason, says) == ("NO_RULES", "cannot read the rules of misuse in rules.yaml")


async def refused_at_start(deployment) -> tuple[str, str]:
    """The reason, and the message up to its first comma or colon after the file's name."""
    with pytest.raises(Malformed) as caught:
        await app.serve(deployment.directory, lambda *_: None)
    return caught.value.reason, caught.value.message.partition(",")[0].removesuffix(": no anchors")


def test_settings_from_before_there_were_rules_take_what_ships(deployment):
    path = deployment.service / FILE_NAME
    path.write_text(path.read_text().partition("[misuse]")[0])
    assert deployment.directory.rules().name == "shipped"


# -- copies and checks


async def test_a_throttle_that_was_changed_behind_the_back_is_named(core, watched):
    await told(core, *range(5))
    assert check(watched.directory).damage == ()
    changes = (
        "UPDATE anomalies SET until = time",
        "UPDATE anomalies SET until = until + 1",
        "UPDATE anomalies SET participant = 'other'",
        "UPDATE anomalies SET rule = 'burst'",
        "UPDATE anomalies SET evaluations = 0",
        "UPDATE anomalies SET sub = zeroblob(32)",
        "UPDATE anomalies SET lifted_index = 1, until = time",
        "DELETE FROM anomalies",
    )
    with closing(sqlite3.connect(watched.service / "log.db", isolation_level=None)) as database:
        database.execute("CREATE TEMP TABLE kept AS SELECT * FROM anomalies")
        for change in changes:
            database.execute(change)
            assert [item.what for item in check(watched.directory).damage] == ["anomaly"], change
            database.execute("DELETE FROM anomalies")
            database.execute("INSERT INTO anomalies SELECT * FROM kept")


async def test_a_restored_service_throttles_and_counts_on(core, watched, tmp_path):
    """Backed up with three refusals, exported with the throttle: neither is lost."""
    await told(core, 1, 2, 3)
    size = making.back_up(watched.directory, tmp_path / "main", tmp_path / "keys")
    await told(core, 4, 5)
    making.export(watched.directory, tmp_path / "since.db", size)
    core.close()
    restoring.restore(watched.service, tmp_path / "main", tmp_path / "keys", None)
    refilling.refill(watched.directory, tmp_path / "since.db")
    again = watched.directory.open_core()
    try:
        assert await told(again, 6) == ["THROTTLED"]
        assert (count(again, "refusals"), rules_raised(again)) == (5, ["enumeration"])
        with again.engine.connect() as connection:
            query = "SELECT questions FROM activity WHERE span = 86400"
            assert connection.exec_driver_sql(query).scalars().all() == [5]
        assert check(watched.directory).damage == ()
    finally:
        again.close()


async def test_a_throttle_that_was_lifted_after_the_backup_stays_lifted(core, watched, tmp_path):
    await told(core, *range(5))
    size = making.back_up(watched.directory, tmp_path / "main", tmp_path / "keys")
    await core.commit(LiftThrottle("operator", "lend"))
    making.export(watched.directory, tmp_path / "since.db", size)
    core.close()
    restoring.restore(watched.service, tmp_path / "main", tmp_path / "keys", None)
    refilling.refill(watched.directory, tmp_path / "since.db")
    again = watched.directory.open_core()
    try:
        assert await told(again, 9) == ["NOT_PERMITTED"]
    finally:
        again.close()
    assert check(watched.directory).damage == ()


# -- what is written


async def test_an_anomaly_holds_no_figure_no_pseudonym_and_no_consent(core):
    await told(core, *range(5))
    (entry,) = entries(core, ENTRY_RAISED)
    assert set(entry.fields) == {
        *("counts", "evaluations", "evidence", "participants", "rule"),
        *("tag", "throttle", "version", "window"),
    }
    line = entry.to_line().decode()
    for number in range(5):
        question = guess(number)
        for secret in (question.sub, question.consent_id):
            assert b64url(secret) not in line
    assert (entry.actor, entry.object) == ("service", core.rules.digest)
