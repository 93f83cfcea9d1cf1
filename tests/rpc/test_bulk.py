"""Bulk submission: several processes, broken lines, withdrawals; nothing doubles or is lost."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace

import pytest
from credproof.base.errors import Malformed, Refused, Unreachable
from credproof.provider import Provider
from credproof.submission import sender as sending
from credproof.submission.attester import Processes

from tests.rpc.conftest import PROVIDER, Running, served
from tests.world import FAIR, GOOD, KEY_BINDING, signer_of

SCHEMA = "consumer-revolving/1"


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    """A service of its own: others need not check thousands of attestations."""
    with served(tmp_path_factory.mktemp("bulk")) as found:
        yield found


@pytest.fixture
def provider(running) -> Iterator[Provider]:
    with running.world.provider() as opened:
        yield opened


def records(running, count: int):
    return [running.record(GOOD) for _ in range(count)]


def figures(report) -> tuple[int, int, list[str]]:
    return report.accepted, report.already, [row.reason for row in report.rejected]


def submit(provider, rows, **how):
    return provider.submit(rows, schema_id=SCHEMA, **how)


# -- several processes


def test_two_processes_attest_what_one_would(running, provider):
    rows = records(running, 300)
    later = [replace(row, values=FAIR, as_of=row.as_of.replace(day=1)) for row in rows[:3]]
    assert figures(submit(provider, [*rows, *later], processes=2)) == (300, 0, ["OUTDATED"] * 3)
    assert figures(submit(provider, rows, processes=2)) == (0, 300, [])


def test_an_account_that_comes_again_while_it_is_on_its_way_continues_its_chain(running, provider):
    rows = records(running, 200)
    again = [replace(row, values=FAIR) for row in rows[:2]]
    old = [replace(row, as_of=row.as_of.replace(year=row.as_of.year - 1)) for row in rows]
    assert figures(submit(provider, [*old, *rows], processes=2)) == (400, 0, [])
    assert figures(submit(provider, again, processes=2)) == (2, 0, [])
    heads = provider._heads(provider.trust.schema(SCHEMA).digest, [rows[0].account])
    assert heads[rows[0].account][0] == 3


def test_a_process_that_signs_and_dies_ends_the_run_and_the_next_goes_on(
    running, provider, monkeypatch
):
    rows = records(running, 300)
    with monkeypatch.context() as patch:
        patch.setattr(Provider, "_processes", lambda self, count: Dying(self._home.folder, count))
        with pytest.raises(Unreachable) as caught:
            submit(provider, rows, processes=2)
    assert caught.value.reason == "WORKER_LOST"

    accepted, already, rejected = figures(submit(provider, rows))
    assert (accepted + already, rejected) == (300, [])


class Dying(Processes):
    """Its processes are killed once they have begun."""

    def attest(self, job):
        attesting = super().attest(job)
        for child in self.children:
            os.kill(child.pid, signal.SIGKILL)
        return attesting


# -- lines that break


class Breaking:
    """A stub whose first streams end after some replies, as when a line breaks."""

    def __init__(self, stub, *replies_of_each: int) -> None:
        self._stub = stub
        self._left = list(replies_of_each)
        self.streams = 0

    def __getattr__(self, name: str):
        return getattr(self._stub, name)

    def StreamAttestations(self, requests, **how):
        self.streams += 1
        replies = self._stub.StreamAttestations(requests, **how)
        return Cut(replies, self._left.pop(0)) if self._left else replies


class Cut:
    def __init__(self, replies, count: int) -> None:
        self._replies = replies
        self._count = count
        self.cancel = replies.cancel

    def __next__(self):
        self._count -= 1
        if self._count < 0:
            self._replies.cancel()
            raise StopIteration
        return next(self._replies)


def test_a_line_that_breaks_is_taken_up_again_where_it_broke(running, provider, monkeypatch):
    monkeypatch.setattr(sending, "BACK_OFF_S", (0.01, 0.01, 0.01))
    provider._attestations = Breaking(provider._attestations, 0, 2, 1)
    assert figures(submit(provider, records(running, 700))) == (700, 0, [])
    assert provider._attestations.streams == 4


def test_a_service_that_stays_away_ends_the_run_and_the_next_sends_the_rest(
    running, provider, monkeypatch
):
    monkeypatch.setattr(sending, "BACK_OFF_S", (0.01,))
    rows = records(running, 300)
    honest = provider._attestations
    provider._attestations = Breaking(honest, 1, 0, 0)
    with pytest.raises(Unreachable):
        submit(provider, rows)
    provider._attestations = honest
    accepted, already, rejected = figures(submit(provider, rows))
    assert (accepted + already, rejected) == (300, [])


# -- withdrawing


def withdraw(provider, *accounts: str, reason: str = "error"):
    report = provider.withdraw(accounts, schema_id=SCHEMA, reason=reason)
    return report.withdrawn, [(item.account, item.reason) for item in report.refused]


def test_a_withdrawn_account_answers_no_question_until_it_is_corrected(running, lender):
    subject_id, consent, borrower = running.consented(lender)
    account = f"account-{running.count}"
    corrected = replace(running.record(FAIR), subject=subject_id, account=account)
    with running.world.provider() as provider:
        assert withdraw(provider, account) == (1, [])
        assert ask(lender, subject_id, consent).kind == "INCOMPLETE"
        assert figures(submit(provider, [corrected])) == (1, 0, [])

    request = lender.request(lender.subject(subject_id), policy_id="revolving-standing")
    consent = borrower.consent(borrower.check(request), language="zh")
    assert ask(lender, subject_id, consent).tier == "B"


def ask(lender, subject_id: str, consent: str):
    subject = lender.subject(subject_id)
    return lender.ask(subject, policy_id="revolving-standing", consent=consent).verified.outcome


def test_a_rerun_does_not_bring_back_what_was_withdrawn(running, provider):
    rows = records(running, 2)
    submit(provider, rows)
    withdraw(provider, rows[0].account)
    assert figures(submit(provider, rows)) == (0, 1, ["WITHDRAWN"])


def test_a_whole_run_is_withdrawn_but_what_superseded_it(running, provider):
    rows = records(running, 200)
    submit(provider, rows)
    (run,) = [found.run for found in provider.runs() if found.counts == {"accepted": 200}]
    monthly = [replace(rows[0], values=FAIR)]
    submit(provider, monthly)
    report = provider.withdraw_run(run, reason="error")

    assert report.withdrawn == 199
    assert [item.reason for item in report.refused] == ["SUPERSEDED"]
    assert {"accepted": 1, "withdrawn": 199} in [found.counts for found in provider.runs()]


def test_withdrawing_what_is_not_there_is_told(provider):
    assert withdraw(provider, "nobody") == (0, [("nobody", "NO_SUCH_ATTESTATION")])
    with pytest.raises(Malformed) as caught:
        provider.withdraw_run("20200101T000000Z", reason="error")
    assert caught.value.reason == "UNKNOWN_RUN"


# -- what the SDK refuses by itself


def test_an_id_of_another_scheme_than_the_schemas_is_rejected(running, provider, monkeypatch):
    schema = provider.trust.schema(SCHEMA)
    monkeypatch.setitem(schema.__dict__, "id_schemes", ("cn-id",))
    assert figures(submit(provider, records(running, 1))) == (0, 0, ["OTHER_ID_SCHEME"])


def test_a_key_that_was_bound_to_somebody_else_is_not_bound_again(provider):
    from credproof.borrower import prove_possession

    proof = prove_possession(signer_of("one key"), provider=PROVIDER)
    provider.bind([("ref:first-owner", proof)])
    with pytest.raises(Malformed) as caught:
        provider.bind([("ref:second-owner", proof)])
    assert caught.value.reason in ("CONTRADICTION", "SUBJECT_CHANGED")
    assert KEY_BINDING.id == "key-binding/1"


def test_a_suspended_provider_is_told_at_once(running, provider):
    from tests.rpc.test_standing import suspended

    with suspended(running, PROVIDER), pytest.raises(Refused) as caught:
        submit(provider, records(running, 1))
    assert caught.value.reason == "NOT_PERMITTED"
