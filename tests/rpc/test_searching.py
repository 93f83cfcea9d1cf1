"""An auditor searches: in its own index, and for one person through the service, which logs it."""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from credproof import auditor as auditor_module
from credproof.base.encoding import parse_b64url
from credproof.base.errors import Refused
from credproof.channel import call
from credproof.cli import searching
from credproof.log.entry import parse_entry
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.answer import Reference
from credproof.verification.answer_entry import parse_given
from credproof.verification.log_rules import Finding
from credproof.wire import answer as answer_wire

from tests.cli.command import run, run_both
from tests.rpc.conftest import AUDITOR, LENDER


@pytest.fixture(scope="module")
def asked(running):
    """Somebody who was asked about, paused and revoked; and somebody else."""
    with running.world.lender() as lender:
        subject_id, consent, borrower = running.consented(lender)
        subject = lender.subject(subject_id)
        kept = lender.ask(
            subject, policy_id="revolving-standing", consent=consent, case="case 9", staff="clerk 4"
        )
        borrower.pause(consent)
        borrower.revoke(consent)
        other, its, _ = running.consented(lender)
        lender.ask(lender.subject(other), policy_id="revolving-standing", consent=its)
    with running.world.auditor() as auditor:
        auditor.verify()
    return subject_id, kept, running.home(AUDITOR).folder


def found(home, *options) -> list[dict]:
    return json.loads(run("audit", "search", "--json", *options, "--home", home))


def test_entries_are_found_by_what_they_say(running, asked):
    _, _, home = asked
    given = found(home, "--kind", "answer.given", "--limit", "1000")
    assert len(given) >= 2
    assert {entry["kind"] for entry in given} == {"answer.given"}
    assert found(home, "--outcome", "TIER", "--actor", running.home(LENDER).settings.id)
    assert not found(home, "--actor", "nobody-here")
    assert not found(home, "--since", "2100-01-01")
    assert not found(home, "--until", "2020-01-01")
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)
    behind = ahead.astimezone(dt.timezone(dt.timedelta(hours=-9)))
    for time in (ahead, behind):
        assert not found(home, "--since", time.isoformat()), "its zone counts"
    first = found(home, "--limit", "1", "--policy", "revolving-standing")
    rest = found(home, "--policy", "revolving-standing", "--after", str(first[0]["seq"]))
    assert first[0] not in rest
    by_object = found(home, "--object", parse_b64url(first[0]["object"]).hex())
    assert first[0] in by_object


def test_a_lenders_reference_is_found_by_its_text_and_salt_only(asked, tmp_path):
    _, kept, home = asked
    staff: Reference = answer_wire.parse(kept.to_bytes()).kept.staff
    (tmp_path / "an.answer").write_bytes(kept.to_bytes())
    exported = json.loads(run("lender", "export", tmp_path / "an.answer"))["kept"]
    given = exported["staffReference"]
    (entry,) = found(home, "--staff", given["text"], "--salt", given["salt"])
    assert entry["kind"] == "answer.given"
    assert not found(home, "--staff", "clerk 5", "--salt", staff.salt.hex())
    assert not found(home, "--case", "case 9", "--salt", staff.salt.hex()), "each has its own salt"
    run("audit", "search", "--staff", "clerk 4", "--home", home, code=2)


def test_what_happened_under_a_consent_is_found_as_csv_and_table(asked):
    _, _, home = asked
    given = parse_given(parse_entry(json_line(found(home, "--kind", "answer.given")[-1])))
    consent = given.consent.hex()
    told = run("audit", "search", "--consent", consent, "--format", "csv", "--home", home)
    (row,) = csv.DictReader(io.StringIO(told))
    assert (row["kind"], row["consent"]) == ("answer.given", consent), "as it is asked for"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", row["time"])
    since = ("--since", row["time"], "--consent", consent)
    assert [entry["seq"] for entry in found(home, *since)] == [int(row["log_index"])]
    granted = run("audit", "search", "--object", consent, "--home", home)
    assert "consent.granted" in granted, "whole, though no terminal is wide enough for it"


@pytest.mark.parametrize(
    "misspelled", [("--kind", "answer.refuse"), ("--purpose", "origination"), ("--outcome", "A")]
)
def test_a_misspelled_kind_is_told_and_not_taken_for_nothing(asked, misspelled):
    run("audit", "search", *misspelled, "--home", asked[2], code=2)


def json_line(entry: dict) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()


def test_a_person_is_found_and_the_search_is_in_the_log(running, asked):
    subject_id, _, home = asked
    command = [sys.executable, "-m", "credproof.cli.app", "audit", "search", "--person"]
    command += ["--why", "complaint 17", "--format", "json", "--home", str(home)]
    done = subprocess.run(
        command, input=f"{subject_id}\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    kinds = [entry["kind"] for entry in json.loads(done.stdout)]
    assert kinds == ["consent.granted", "answer.given", "consent.paused", "consent.revoked"]
    searched = found(home, "--kind", "audit.searched")[-1]
    assert searched["actor"] == running.home(AUDITOR).settings.id
    kept = json.loads((home / "searches.jsonl").read_text().splitlines()[-1])
    why = Reference(kept["reason"], bytes.fromhex(kept["salt"]))
    assert (kept["log_index"], why.text) == (searched["seq"], "complaint 17")
    assert why.digest == parse_b64url(searched["fields"]["reason"])
    assert "complaint" not in json.dumps(searched)
    assert searched["fields"]["tag"] is not None


def test_a_search_for_a_person_that_cannot_be_done_is_not_logged(asked):
    subject_id, _, home = asked
    command = ("audit", "search", "--person", "--why", "complaint 18", "--home", home)
    before = found(home, "--kind", "audit.searched")
    for wrong in (("--kind", "answer.refuse"), ("--purpose", "origination")):
        run(*command, *wrong, given=subject_id, code=2)
    run("audit", "verify", "--home", home)
    assert found(home, "--kind", "audit.searched") == before


@pytest.mark.parametrize("most", [4, 5])
def test_of_a_person_with_more_entries_than_are_told_that_is_said(asked, monkeypatch, most):
    subject_id, _, home = asked
    monkeypatch.setattr(searching, "PERSON_ENTRIES_MAX", most)
    command = ("audit", "search", "--person", "--why", "complaint 20", "--json", "--home", home)
    told, beside = run_both(*command, given=subject_id)
    assert len(json.loads(told)) == 4
    assert (f"the newest {most} entries" in beside) == (most == 4)


def test_a_table_shows_no_digest_of_a_reason_in_the_place_of_one(asked):
    subject_id, _, home = asked
    run("audit", "search", "--person", "--why", "complaint 19", "--home", home, given=subject_id)
    told = run("audit", "search", "--kind", "audit.searched", "--home", home)
    digest = found(home, "--kind", "audit.searched")[-1]["fields"]["reason"]
    assert "audit.searched" in told
    assert digest not in told


def test_a_person_is_not_looked_for_without_a_reason(asked):
    _, _, home = asked
    run("audit", "search", "--person", "--home", home, code=2)


def test_nothing_is_found_of_somebody_unknown_but_that_was_searched_too(running, asked):
    with running.world.auditor() as auditor:
        assert auditor.search_person("ref:nobody-knows", reason="a mistake") == frozenset()
        auditor.verify()
    assert found(asked[2], "--kind", "audit.searched")[-1]["fields"]["tag"] is None


@pytest.mark.parametrize("role", ["lender", "provider"])
def test_nobody_but_an_auditor_looks_for_a_person(running, role):
    with getattr(running.world, role)() as session:
        request = pb.SearchPersonRequest(sub=bytes(32), reason_digest=bytes(32))
        with pytest.raises(Refused):
            call(AuditServiceStub(session._channel).SearchPerson, request)


def test_a_month_is_reported_in_figures(asked):
    _, _, home = asked
    month = found(home, "--kind", "answer.given")[-1]
    name = dt.datetime.fromtimestamp(month["time"], dt.UTC).strftime("%Y-%m")
    told = json.loads(run("audit", "report", "--month", name, "--home", home, "--json"))
    given = found(home, "--kind", "answer.given", "--limit", "1000")
    counted = sum(
        counts["answered"]
        for purposes in told["questions"].values()
        for counts in purposes.values()
    )
    assert counted == len(given) == sum(told["outcomes"].values())
    assert told["consents"]["paused"] >= 1
    assert (told["beyond_cap"], told["findings"], told["whole"]) == ([], {}, False)
    shown = run("audit", "report", "--month", name, "--home", home)
    assert "Outcomes:" in shown
    assert "not whole" in shown
    run("audit", "report", "--month", "2026-1", "--home", home, code=2)


@pytest.mark.parametrize(
    ("month", "outside", "told"),
    [
        ("2020-01", "BEFORE_LOG", "before the log, which began on {began}"),
        ("2100-01", "FUTURE", "not begun yet"),
    ],
)
def test_a_month_that_the_log_knows_nothing_of_is_not_reported_as_empty(
    asked, month, outside, told
):
    _, _, home = asked
    began = dt.datetime.fromtimestamp(found(home, "--limit", "1")[0]["time"], dt.UTC)
    shown = run("audit", "report", "--month", month, "--home", home)
    assert told.format(began=f"{began:%Y-%m-%d}") in shown
    assert "none" not in shown
    value = json.loads(run("audit", "report", "--month", month, "--home", home, "--json"))
    assert (value["outside"], value["whole"]) == (outside, False)
    assert value["began"] == began.timestamp()


def test_an_answer_gets_a_page_from_the_auditors_home_alone(asked, tmp_path):
    """Nothing but the home and the file: the address there leads nowhere."""
    _, kept, home = asked
    away = tmp_path / "away"
    shutil.copytree(home, away)
    settings = (away / "participant.json").read_text()
    (away / "participant.json").write_text(
        re.sub(r'"address":"[^"]*"', '"address":"127.0.0.1:1"', settings)
    )
    (tmp_path / "a.answer").write_bytes(kept.to_bytes())
    words = ("audit", "evidence", tmp_path / "a.answer", "--home", away)
    told = json.loads(run(*words, "--language", "en", "--json"))
    assert (told["file"], told["valid"]) == (str(tmp_path / "a.html"), True)
    page = (tmp_path / "a.html").read_text()
    assert "VERIFIED, every check passed" in page
    assert "since version" in page
    shutil.rmtree(away / "registry")
    run(*words)
    page = (tmp_path / "a.html").read_text()
    assert "此目录从未跟踪日志" in page
    assert "版（2" not in page  # no version with its date: nothing is said to be since then
    twice = run(*words, "-o", tmp_path / "a.answer", code=2)
    assert "SAME_FILE" in twice
    broken = replace(kept.bundle, checkpoint=kept.bundle.checkpoint[:-8] + b"AAAAAA=\n")
    (tmp_path / "b.answer").write_bytes(answer_wire.to_bytes(broken))
    bad = ("audit", "evidence", tmp_path / "b.answer", "--home", away)
    assert json.loads(run(*bad, "--json", code=1))["valid"] is False
    assert "does not verify" in run(*bad, code=1)
    assert "未通过核实" in (tmp_path / "b.html").read_text()


def test_of_many_findings_the_first_get_files_up_to_a_limit(running, asked, monkeypatch):
    monkeypatch.setattr(auditor_module, "EVIDENCE_FINDINGS_MAX", 3)
    with running.world.auditor() as auditor:
        for count in (3, 4):
            findings = [Finding("RULE", index, "broken") for index in range(count)]
            shown = auditor.finding_evidence(findings)
            assert [f"entry-{index}.logged.json" in shown[index] for index in range(3)] == [
                True
            ] * 3
            assert len(shown) == 3
    monkeypatch.undo()
    assert auditor_module.EVIDENCE_FINDINGS_MAX == 100


def test_before_anything_was_verified_a_search_says_what_to_do(tmp_path):
    assert "audit follow" in run("audit", "search", "--home", tmp_path, code=2)
