"""Completeness over a real service: what a lender is shown, and what an auditor computes anew."""

from __future__ import annotations

import json
from dataclasses import replace

import jsonschema
import pytest
from credproof import provider as provider_module
from credproof import standard
from credproof.base.errors import VerificationFailed
from credproof.cli.app import app
from typer.testing import CliRunner

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
        before = provider.self_check()
        provider.withdraw([record.account], schema_id="consumer-revolving/1", reason="error")
        corrected = replace(record, values={**GOOD, "used_amount": 3_000_000})
        assert provider.submit([corrected], schema_id="consumer-revolving/1").accepted == 1
        assert before == provider.self_check() > 0, "one was withdrawn, one came"
    with running.world.auditor() as auditor:
        auditor.verify()
        with auditor.index() as index:
            assert index.findings() == [], "the withdrawal is in the log as its provider signed it"


LIES = {
    "somewhere else": ("OTHER_INDEX", {"schema_id": "key-binding/1"}),
    "under another borrower": ("BAD_DLEQ_PROOF", {"sub": bytes(32)}),
    "instead of another": ("OTHER_ENTRY", {"token_id": bytes(32)}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_provider_notices_what_is_filed(running, monkeypatch, lie):
    """The service says of one attestation what would be true of another one."""
    reason, changes = LIES[lie]
    running.person()
    honest = provider_module.verify_filed
    monkeypatch.setattr(
        provider_module,
        "verify_filed",
        lambda item, *shown: honest(replace(item, **changes), *shown),
    )
    with running.world.provider() as provider, pytest.raises(VerificationFailed) as caught:
        provider.self_check()
    assert caught.value.reason == reason


def test_a_provider_notices_that_the_service_denies_what_it_gave_a_receipt_for(
    running, monkeypatch
):
    running.person()
    with running.world.provider() as provider:
        honest = provider._outbox.accepted

        def last_is_unknown(*page):
            items = honest(*page)
            return [*items[:-1], replace(items[-1], token_id=bytes(32))] if items else items

        monkeypatch.setattr(provider._outbox, "accepted", last_is_unknown)
        with pytest.raises(VerificationFailed) as caught:
            provider.self_check()
        denied = max(item.log_index for item in honest(-1, 128))
    assert caught.value.reason == "RECEIPT_DENIED"
    assert str(denied) in caught.value.message, "the first that is denied is named"


def test_a_provider_notices_that_its_old_attestation_stays(running, monkeypatch):
    honest = provider_module.verify_filed
    monkeypatch.setattr(
        provider_module,
        "verify_filed",
        lambda item, _before, *shown: honest(item, replace(item, state="accepted"), *shown),
    )
    with running.world.provider() as provider, pytest.raises(VerificationFailed) as caught:
        provider.self_check()
    assert caught.value.reason == "NOT_REPLACED"


def test_the_command_says_how_many_are_filed_right(running):
    running.person()
    told = ["provider", "self-check", "--home", str(running.world.home(PROVIDER))]
    assert "filed right" in CliRunner().invoke(app, told).output
    assert json.loads(CliRunner().invoke(app, [*told, "--json"]).output)["checked"] > 0
