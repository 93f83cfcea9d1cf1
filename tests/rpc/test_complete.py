"""Completeness over a real service: what a lender is shown, and what an auditor computes anew."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace

import jsonschema
import pytest
from credproof import filed, standard
from credproof import provider as provider_module
from credproof.cli.app import app
from credproof.v1 import attestation_service_pb2 as pb
from typer.testing import CliRunner

from tests.cli.command import run
from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER
from tests.rpc.registry import add_policy
from tests.world import GOOD

POLICY = "revolving-standing"


@pytest.fixture
def kept(running, lender):
    subject_id, consent, _ = running.consented(lender, GOOD)
    return lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)


def test_an_answer_is_complete_and_covers_what_was_attested_just_now(kept):
    found = kept.verified.completeness
    assert (found.state, found.shown, found.of) == ("complete", 1, 1)


def test_a_lender_reads_how_complete_an_answer_is(running, kept, tmp_path):
    path = tmp_path / "kept.answer"
    path.write_bytes(kept.to_bytes())
    told = ["lender", "verify", str(path), "--home", str(running.world.home(LENDER))]

    result = CliRunner().invoke(app, told)

    assert "Complete:   yes, 1 of 1 current attestations shown" in result.output
    as_json = json.loads(CliRunner().invoke(app, [*told, "--json"]).output)
    assert as_json["completeness"] == {"state": "complete", "shown": 1, "of": 1, "absent": []}


def test_a_lender_reads_that_there_is_nothing(running, tmp_path):
    policy = add_policy(running, "strict", completeness="required")
    borrower, path = running.bound("ref:newcomer"), tmp_path / "nothing.answer"
    with running.world.lender() as lender:
        about = lender.subject("ref:newcomer")
        request = lender.request(about, policy_id=policy.id)
        consent = borrower.consent(borrower.check(request), language="en")
        path.write_bytes(lender.ask(about, policy_id=policy.id, consent=consent).to_bytes())

    told = ["lender", "verify", str(path), "--home", str(running.world.home(LENDER))]
    result = CliRunner().invoke(app, told)

    assert "Absent:     consumer-revolving/1, no attestation of it about this" in result.output
    as_json = json.loads(CliRunner().invoke(app, [*told, "--json"]).output)
    assert as_json["completeness"]["absent"] == ["consumer-revolving/1"]
    jsonschema.validate(as_json, json.loads(standard.read("json-schemas/verify-result.json")))


def test_an_auditor_computes_every_root_anew(running, kept):
    with running.world.auditor() as auditor:
        report = auditor.replay(auditor.verify().checkpoint)
    assert report.roots > 0
    assert report.indexes >= 2, "figures and a key binding"

    told = ["audit", "replay", "--home", str(running.world.home(AUDITOR))]
    assert "each what the entries before it make" in CliRunner().invoke(app, told).output
    again = json.loads(CliRunner().invoke(app, [*told, "--json"]).output)
    assert again["roots"] >= report.roots


def test_a_provider_verifies_that_all_of_it_is_filed_where_it_belongs(running):
    record = running.record(GOOD)
    with running.world.provider() as provider:
        for used in (1_000_000, 2_000_000):
            changed = replace(record, values={**GOOD, "used_amount": used})
            provider.submit([changed], schema_id="consumer-revolving/1")
        before = provider.self_check().checked
        provider.withdraw([record.account], schema_id="consumer-revolving/1", reason="error")
        corrected = replace(record, values={**GOOD, "used_amount": 3_000_000})
        assert provider.submit([corrected], schema_id="consumer-revolving/1").accepted == 1
        after = provider.self_check()
        assert before == after.checked > 0, "one was withdrawn, one came"
        assert after.faults == ()
    with running.world.auditor() as auditor:
        auditor.verify()
        with auditor.index() as index:
            assert index.findings() == [], "the withdrawal is in the log as its provider signed it"


def faults(running) -> list[tuple[int, str]]:
    """What the provider finds wrong: log index and reason."""
    with running.world.provider() as provider:
        report = provider.self_check()
    return [(fault.log_index, fault.reason) for fault in report.faults]


def receipts(running) -> list[int]:
    """The log indexes of all that was accepted and not withdrawn."""
    with running.world.provider() as provider:
        return [item.log_index for item in provider._outbox.accepted(-1, 10**6)]


LIES = {
    "somewhere else": ("OTHER_INDEX", {"schema_id": "key-binding/1"}),
    "under another borrower": ("BAD_DLEQ_PROOF", {"sub": bytes(32)}),
    "instead of another": ("OTHER_ENTRY", {"token_id": bytes(32)}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_provider_notices_what_is_filed(running, monkeypatch, lie):
    """The service says of each attestation what would be true of another one."""
    reason, changes = LIES[lie]
    running.person()
    honest = filed.verify_filed
    monkeypatch.setattr(
        filed,
        "verify_filed",
        lambda item, *shown: honest(replace(item, **changes), *shown),
    )
    assert {found for _, found in faults(running)} == {reason}


def test_a_provider_notices_that_its_old_attestation_stays(running, monkeypatch):
    honest = filed.verify_filed
    monkeypatch.setattr(
        filed,
        "verify_filed",
        lambda item, _before, *shown: honest(item, replace(item, state="accepted"), *shown),
    )
    assert faults(running) == [(index, "NOT_REPLACED") for index in receipts(running)]


@contextmanager
def rewritten(running, *changes: tuple[str, int]):
    """What the operator does to rows of its own database, until the end."""
    path = running.world.service / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        kept = {
            table: database.execute(f"SELECT * FROM {table}").fetchall()
            for table in ("attestations", "entries")
        }
        try:
            for change, log_index in changes:
                assert database.execute(change, (log_index,)).rowcount == 1
            yield
        finally:
            for table, rows in kept.items():
                marks = ", ".join("?" * len(rows[0]))
                database.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)


ROW_LOST = "DELETE FROM attestations WHERE log_index = ?"
ENTRY_LOST = "DELETE FROM entries WHERE log_index = ?"
ENTRY_CHANGED = (
    "UPDATE entries SET line = CAST(replace(line, 'index', 'inbox') AS BLOB) WHERE log_index = ?"
)
ENTRY_OF_ANOTHER = (
    "UPDATE entries SET line = CAST(replace(line, 'taiwan-card', 'taiwan-cart') AS BLOB)"
    " WHERE log_index = ?"
)


def test_a_provider_is_told_of_every_receipt_that_the_service_denies(running):
    """Lost rows, lost entries and changed entries: one does not hide the others."""
    for _ in range(3):
        running.person()
    at = receipts(running)
    changes = {
        at[0]: (ROW_LOST, "RECEIPT_DENIED"),
        at[1]: (ENTRY_CHANGED, "ENTRY_CHANGED"),
        at[2]: (ENTRY_OF_ANOTHER, "ENTRY_CHANGED"),
        at[-3]: (ENTRY_LOST, "RECEIPT_DENIED"),
        at[-1]: (ROW_LOST, "RECEIPT_DENIED"),
    }
    home = running.home(PROVIDER).folder
    with rewritten(running, *((change, index) for index, (change, _) in changes.items())):
        assert faults(running) == [(index, reason) for index, (_, reason) in changes.items()]
        told = run("provider", "self-check", home=home, code=1)
        as_json = json.loads(run("provider", "self-check", "--json", home=home, code=1))
    assert f"filed right {len(at) - 5:>8}\nfound wrong {5:>8}\n" in told
    for index, (_, reason) in changes.items():
        assert re.search(rf"^entry {index}: .* \({reason}\)$", told, re.MULTILINE)
    assert told.endswith("and let an auditor look at these entries\n")
    assert [item["log_index"] for item in as_json["faults"]] == list(changes)
    assert as_json["checked"] == len(at)
    assert faults(running) == []


def test_a_service_that_shows_fewer_than_were_asked_for_denies_them(running, monkeypatch):
    honest = provider_module.call

    def fewer(method, request, **more):
        reply = honest(method, request, **more)
        if isinstance(reply, pb.ShowFiledResponse):
            del reply.items[-1]
        return reply

    monkeypatch.setattr(provider_module, "call", fewer)
    assert faults(running) == [(index, "RECEIPT_DENIED") for index in receipts(running)]


def test_the_command_says_how_many_are_filed_right(running):
    running.person()
    told = ["provider", "self-check", "--home", str(running.world.home(PROVIDER))]
    assert "filed right" in CliRunner().invoke(app, told).output
    assert json.loads(CliRunner().invoke(app, [*told, "--json"]).output)["checked"] > 0
