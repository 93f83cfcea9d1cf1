"""A provider against a real service: runs that stop anywhere are run again, and nothing doubles."""

from __future__ import annotations

import datetime as dt
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from credproof.attestation.package import parse_package
from credproof.base.errors import Unreachable
from credproof.base.limits import BATCH_ITEMS_MAX
from credproof.provider import Provider, SubmitReport
from credproof.records.mapping import Record
from credproof.records.outbox import Item
from credproof.submission.sender import Sender
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.filing import ENTRY_ROOT
from credproof.verification.participant import Participant
from credproof_server import admission
from credproof_server.demo.world import World
from credproof_server.directory import ServiceDirectory

from tests.rpc.conftest import PROVIDER, Running
from tests.world import FAIR, GOOD, POOR

SCHEMA = "consumer-revolving/1"
NOVEMBER, DECEMBER = dt.date(2025, 11, 30), dt.date(2025, 12, 31)
DAY_S = 24 * 3600


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    """A service whose provider has been there for a week, so that it may have signed long ago."""
    world = World(tmp_path_factory.mktemp("provider"))
    world.make()
    with world.served():
        world.populate()
        backdate_key(ServiceDirectory(world.service))
        yield Running(world)


def backdate_key(directory: ServiceDirectory) -> None:
    with admission.trust_channel(directory) as channel:
        current = channel.current()
        bundle = current.bundle
        participants = [dated(found) for found in bundle.participants]
        changed = replace(
            bundle, version=bundle.version + 1, participants=type(bundle.participants)(participants)
        )
        root = directory.root_signer()
        channel.publish(admission.signed_bundle(root, changed, current.documents))


def dated(found: Participant) -> Participant:
    keys = [replace(key, not_before=key.not_before - 7 * DAY_S) for key in found.keys]
    return replace(found, keys=type(found.keys)(keys))


@pytest.fixture
def provider(running) -> Iterator[Provider]:
    with running.world.provider() as opened:
        yield opened


def submit(provider: Provider, *records: Record) -> SubmitReport:
    return provider.submit(records, schema_id=SCHEMA)


def figures(report: SubmitReport) -> tuple[int, int, list[str]]:
    return report.accepted, report.already, [row.reason for row in report.rejected]


def months(running) -> tuple[Record, Record]:
    """Two records of one new account."""
    record = running.record(GOOD)
    return replace(record, as_of=NOVEMBER), replace(record, as_of=DECEMBER, values=FAIR)


def newest(provider: Provider, account: str) -> Item:
    return provider._outbox.newest(SCHEMA, [account])[account]


def chain(provider: Provider, account: str) -> list[tuple[int, dt.date]]:
    """The account's accepted items in the outbox; they are one chain, as the service has it."""
    query = "SELECT package FROM items WHERE account = ? AND state = 'accepted' ORDER BY seq"
    packages = [parse_package(row[0]) for row in provider._outbox._rows(query, account)]
    assert [bytes(32), *(p.token.id for p in packages[:-1])] == [p.prev for p in packages]
    head = provider._heads(provider.trust.schema(SCHEMA).digest, [account])[account]
    assert head == (packages[-1].seq, packages[-1].token.id)
    return [(package.seq, package.token.as_of) for package in packages]


# -- which records are attested


def test_a_rerun_of_several_months_attests_nothing_twice(running, provider):
    november, december = months(running)
    assert figures(submit(provider, november, december)) == (2, 0, [])
    assert figures(submit(provider, november, december)) == (0, 2, [])
    assert chain(provider, november.account) == [(1, NOVEMBER), (2, DECEMBER)]


def test_only_the_month_that_is_missing_is_attested(running, provider):
    november, december = months(running)
    submit(provider, november)
    assert figures(submit(provider, november, december)) == (1, 1, [])
    assert chain(provider, november.account) == [(1, NOVEMBER), (2, DECEMBER)]


def test_a_correction_of_the_newest_month_is_attested_also_back_to_what_it_was(running, provider):
    november, december = months(running)
    submit(provider, november, december)
    corrected = replace(december, values=POOR)
    assert figures(submit(provider, november, corrected)) == (1, 1, [])
    assert figures(submit(provider, november, corrected)) == (0, 2, [])
    assert figures(submit(provider, november, december)) == (1, 1, [])


@pytest.mark.parametrize("together", [True, False])
def test_an_older_month_never_stands_in_for_a_newer(running, provider, together):
    november, december = months(running)
    for _ in range(2):
        if together:
            report = submit(provider, december, november)
        else:
            submit(provider, december)
            report = submit(provider, november)
        assert [row.reason for row in report.rejected] == ["OUTDATED"]
    assert newest(provider, november.account).as_of == DECEMBER


def test_a_correction_of_an_older_month_is_rejected_and_the_rest_goes_on(running, provider):
    november, december = months(running)
    submit(provider, november, december)
    late = replace(november, values=POOR)
    assert figures(submit(provider, late, december)) == (0, 1, ["OUTDATED"])


def test_two_rows_of_one_day_that_differ_give_one_attestation_however_often_they_run(
    running, provider
):
    row = running.record(GOOD)
    other = replace(row, values=POOR, line=row.line + 1)
    filler = [running.record() for _ in range(BATCH_ITEMS_MAX - 1)]
    first = submit(provider, row, *filler, other)
    assert figures(first) == (BATCH_ITEMS_MAX, 0, ["CONTRADICTION"])
    assert first.rejected[0].line == other.line
    assert figures(submit(provider, row, other)) == (0, 1, ["CONTRADICTION"])


def test_a_row_that_stands_twice_is_attested_once(running, provider):
    row = running.record()
    assert figures(submit(provider, row, row)) == (1, 1, [])


# -- runs that stopped


def signed_only(running, monkeypatch, *records: Record, now: int | None = None) -> list[Item]:
    """A run that signs and then finds no service; gives what waits."""
    with running.world.provider() as provider, monkeypatch.context() as patch:
        if now is not None:
            provider._attester.clock = lambda: now
        patch.setattr(Sender, "send", unreachable)
        with pytest.raises(Unreachable):
            submit(provider, *records)
        return provider._outbox.pending(BATCH_ITEMS_MAX)


def unreachable(*_: object) -> None:
    raise Unreachable("NO_ANSWER", "the service does not answer")


def test_what_was_signed_is_sent_as_the_same_bytes_and_counted_once(running, monkeypatch):
    november, december = months(running)
    waiting = signed_only(running, monkeypatch, november, december)
    with running.world.provider() as provider:
        assert figures(submit(provider, november, december, running.record())) == (3, 0, [])
        assert newest(provider, november.account).token_id == waiting[-1].token_id
        assert len(chain(provider, november.account)) == 2


def test_what_waited_too_long_is_signed_anew_and_still_one_chain(running, monkeypatch):
    november, december = months(running)
    long_ago = int(time.time()) - 2 * DAY_S
    third = replace(december, as_of=dt.date(2026, 1, 1))
    with running.world.provider() as provider:
        submit(provider, november)
    old = signed_only(running, monkeypatch, december, third, running.record(), now=long_ago)
    with running.world.provider() as provider:
        assert figures(submit(provider, november, december, third)) == (3, 1, [])
        assert [day for _, day in chain(provider, november.account)] == [
            NOVEMBER,
            DECEMBER,
            third.as_of,
        ]
        assert newest(provider, november.account).token_id not in {item.token_id for item in old}


def test_what_only_followed_something_too_old_is_signed_anew_with_it(running, monkeypatch):
    """The second was signed a moment later: old enough to wait, too young to be refused for it."""
    november, december = months(running)
    ages = iter([2 * DAY_S, 2 * DAY_S, 60])
    with running.world.provider() as provider, monkeypatch.context() as patch:
        provider._attester.clock = lambda: int(time.time()) - next(ages)
        patch.setattr(Sender, "send", unreachable)
        with pytest.raises(Unreachable):
            submit(provider, november, december)
    with running.world.provider() as provider:
        assert figures(submit(provider)) == (2, 0, [])
        assert chain(provider, november.account) == [(1, NOVEMBER), (2, DECEMBER)]


def test_one_refusal_costs_one_record_of_an_account(running, provider):
    """The service refuses what speaks of another borrower; what follows takes its place."""
    november, december = months(running)
    submit(provider, november)
    moved = replace(december, subject="ref:somebody-else", as_of=dt.date(2025, 12, 1))
    assert figures(submit(provider, moved, december)) == (1, 0, ["SUBJECT_CHANGED"])
    assert chain(provider, november.account) == [(1, NOVEMBER), (2, DECEMBER)]


def test_a_wrong_clock_is_told_and_does_not_sign_for_ever(running, provider, monkeypatch):
    november, december = months(running)
    long_ago = int(time.time()) - 2 * DAY_S
    provider._attester.clock = lambda: long_ago
    report = submit(provider, november, december)
    assert (report.accepted, report.rejected[0].reason) == (0, "TOO_OLD")
    assert len(report.rejected) == 2


# -- killed at any moment

ACCOUNTS, KILLS = 600, 8
DAYS = (dt.date(2025, 10, 31), NOVEMBER, DECEMBER)
MAPPING = """
mapping: 1
schema: consumer-revolving/1
subject: {scheme: ref, prefix: killed-, column: id}
account: {prefix: killed-, column: id}
currency: TWD
as_of: {column: day, format: "%Y-%m-%d"}
claims:
  credit_limit: {column: limit}
"""


def command(folder: Path, home: Path) -> list[str]:
    """`credproof provider submit` of three months of every account."""
    rows = [f"{n},{day},{1000 + n + day.month}" for n in range(ACCOUNTS) for day in DAYS]
    file, mapping = folder / "cards.csv", folder / "cards.mapping.yaml"
    file.write_text("id,day,limit\n" + "\n".join(rows) + "\n")
    mapping.write_text(MAPPING)
    words = ["provider", "submit", file, "--mapping", mapping, "--home", home, "--json"]
    return [sys.executable, "-m", "credproof.cli.app", *map(str, words)]


def report_of(words: list[str]) -> dict[str, Any]:
    return json.loads(subprocess.run(words, stdout=subprocess.PIPE, check=True).stdout)


def killed_after(words: list[str], seconds: float) -> bool:
    """Run it, and kill it; whether it was still running."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.returncode == -signal.SIGKILL


def test_killed_at_any_moment_and_run_again_leaves_every_record_once(running, tmp_path):
    words = command(tmp_path, running.world.home(PROVIDER))
    with running.world.auditor() as auditor:
        before = auditor.verify(whole=True).kinds
        start = time.monotonic()
        report_of([*words, "--limit", "1"])
        whole_start_s = time.monotonic() - start
        # Most of a run of one record is starting: from there on it is signing and sending.
        moments = [random.uniform(0.7, 1.5) * whole_start_s for _ in range(KILLS)]
        killed = [killed_after(words, moment) for moment in moments]
        done, again = report_of(words), report_of(words)
        after = auditor.verify(whole=True).kinds

    assert any(killed), moments
    records = ACCOUNTS * len(DAYS)
    assert (done["accepted"] + done["already"], done["rejected"]) == (records, []), moments
    assert (again["accepted"], again["already"]) == (0, records)
    added = Counter(after) - Counter(before)
    del added[ENTRY_ROOT]
    assert added == {ENTRY_ATTESTATION: records}, "no conflict"
    with running.world.provider() as provider:
        for n in range(ACCOUNTS):
            assert chain(provider, f"killed-{n}") == list(enumerate(DAYS, 1))
        assert provider._outbox.pending(1) == []
