"""The command line, as its users type it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
from credproof import standard
from credproof_server.demo.world import World

from tests.cli.command import run
from tests.world import GOOD

CSV = "id,limit,used,late\n7,100000,10000,0\n8,oops,1,0\n9,200000,0,1,extra\n10,50000,100,0\n"
MAPPING = """
mapping: 1
schema: consumer-revolving/1
subject: {scheme: ref, prefix: client-, column: id}
account: {column: id}
currency: TWD
as_of: day-of-run
claims:
  credit_limit: {scale: {of: {column: limit}, by: 100}}
  utilisation_bp: {ratio_bp: {of: {column: used}, over: {column: limit}}}
  overdue_cycles: {at_least_zero: {column: late}}
  max_overdue_cycles_6m: {column: late}
  overdue_months_6m: {column: late}
"""


@pytest.fixture(scope="module")
def office(tmp_path_factory) -> Iterator[Path]:
    """A service made, run and peopled by the command line alone."""
    folder = tmp_path_factory.mktemp("office")
    first, second = World(folder), None
    del second
    run(
        "init",
        folder / "service",
        "--domain",
        "office.example",
        "--participants-listen",
        "127.0.0.1:0",
        "--borrowers-listen",
        "127.0.0.1:0",
    )
    with first.served():
        for role, name in (("provider", "bank"), ("lender", "lend"), ("auditor", "audit")):
            home = folder / name
            run("enrol", home, "--role", role, "--id", name, "--title", name.title())
            admission = folder / f"{name}.admission.json"
            standing = ("--licence", "L-1", "--purposes", "ORIGINATION") if name == "lend" else ()
            applied = (folder / "service", home / "enrolment.json")
            run("participant", "add", *applied, "-o", admission, *standing)
            run("join", home, admission)
        fingerprint = run("provider", "fingerprint", home=folder / "bank").strip()
        run("lender", "pin", "bank", fingerprint, home=folder / "lend")
        (folder / "clients.csv").write_text(CSV)
        (folder / "mapping.yaml").write_text(MAPPING)
        yield folder


@pytest.fixture(scope="module")
def submitted(office) -> Path:
    told = run(
        "provider",
        "submit",
        office / "clients.csv",
        "--mapping",
        office / "mapping.yaml",
        "--json",
        home=office / "bank",
        code=2,
    )
    report = json.loads(told)
    assert (report["accepted"], report["already"]) == (2, 0)
    assert [row["line"] for row in report["rejected"]] == [3, 4]
    assert "oops" not in told
    return office


@pytest.fixture(scope="module")
def answered(submitted) -> Path:
    """Through all files that borrower, provider and lender exchange."""
    folder = submitted
    me = folder / "me"
    run("borrower", "create", me)
    run("borrower", "prove", "--provider", "bank", "-o", folder / "proof", home=me)
    bank = folder / "bank"
    run(
        "provider", "bind", folder / "proof", "--subject", "ref:client-7", "-o", folder / "pass",
        home=bank,
    )  # fmt: skip
    run("borrower", "join", folder / "pass", home=me)
    lend = folder / "lend"
    about = ("--subject", "ref:client-7", "--policy", "revolving-standing")
    run("lender", "request", *about, "-o", folder / "request", home=lend)
    notice = run("borrower", "show", folder / "request", home=me)
    assert "审批新贷款" in notice
    run("borrower", "consent", folder / "request", "-o", folder / "consent", "--yes", home=me)
    told = run(
        "lender", "ask", *about, "--consent", folder / "consent", "-o", folder / "x.answer",
        home=lend,
    )  # fmt: skip
    assert "tier A" in told
    return folder


def test_a_rerun_submits_only_what_is_missing(submitted):
    told = run(
        "provider", "submit", submitted / "clients.csv", "--mapping", submitted / "mapping.yaml",
        "--json", home=submitted / "bank", code=2,
    )  # fmt: skip
    assert (json.loads(told)["accepted"], json.loads(told)["already"]) == (0, 2)


def test_runs_are_listed_as_columns_that_do_not_touch(submitted):
    first, *_ = run("provider", "runs", home=submitted / "bank").splitlines()
    name, schema, *counts = first.split()
    listed = json.loads(run("provider", "runs", "--json", home=submitted / "bank"))
    assert (name, schema) == (listed[0]["run"], listed[0]["schema"])
    assert len(name) > 18
    assert counts[1].startswith("accepted")


def test_a_kept_answer_verifies_and_says_what_was_proved_and_by_whom(answered):
    told = run("lender", "verify", answered / "x.answer", home=answered / "lend")

    assert "Nothing overdue now" in told
    assert "bank (key pinned by you)" in told
    assert "yes, 1 of 1 current attestations shown" in told


def test_the_json_of_a_verified_answer_has_the_shipped_schema(answered):
    schema = json.loads(standard.read("json-schemas/verify-result.json"))
    good = json.loads(
        run("lender", "verify", answered / "x.answer", "--json", home=answered / "lend")
    )
    jsonschema.validate(good, schema)

    assert good["valid"]
    assert [source["provider"] for source in good["sources"]] == ["bank"]


def test_a_flipped_byte_is_refused_with_exit_code_1_and_names_the_check(answered):
    data = bytearray((answered / "x.answer").read_bytes())
    at = data.index(b"eyJ") + 150
    data[at] = ord("A") if data[at] != ord("A") else ord("B")
    (answered / "flipped.answer").write_bytes(data)
    told = run(
        "lender", "verify", answered / "flipped.answer", "--json", home=answered / "lend", code=1
    )
    bad = json.loads(told)
    jsonschema.validate(bad, json.loads(standard.read("json-schemas/verify-result.json")))
    assert not bad["valid"]
    assert bad["reason"]


def test_a_table_of_instalments_stays_within_what_the_tier_offers(answered):
    loan = ("lender", "instalments", answered / "x.answer", "--rate-bp", "1200")
    table = json.loads(
        run(*loan, "--amount", "3000000", "--months", "6", "--json", home=answered / "lend")
    )
    assert (table["currency"], table["repayment"]) == ("TWD", "equal_instalments")
    assert sum(row["principal"] for row in table["instalments"]) == 3_000_000
    shown = run(*loan, "--amount", "3000000", "--months", "6", home=answered / "lend")
    assert f"{table['instalments'][0]['due'] / 100:,.2f} TWD" in shown

    for beyond in (("5000001", "6"), ("3000000", "7")):
        told = run(
            *loan, "--amount", beyond[0], "--months", beyond[1], home=answered / "lend", code=2
        )
        assert "NOT_OFFERED" in told


def test_the_best_tier_gives_no_reason_for_an_adverse_notice(answered):
    told = run("lender", "notice", answered / "x.answer", home=answered / "lend", code=2)
    assert "NOTHING_ADVERSE" in told


def test_another_lender_cannot_pass_the_answer_off_as_its_own(answered):
    folder = answered
    run("enrol", folder / "lend2", "--role", "lender", "--id", "lend2", "--title", "Lend Two")
    admission = folder / "lend2.admission.json"
    run(
        "participant",
        "add",
        folder / "service",
        folder / "lend2" / "enrolment.json",
        "-o",
        admission,
    )
    run("join", folder / "lend2", admission)
    told = run("lender", "verify", folder / "x.answer", home=folder / "lend2", code=1)
    assert "ANSWER_OTHER_LENDER" in told


def test_a_kept_answer_can_be_exported_as_json(answered):
    exported = json.loads(run("lender", "export", answered / "x.answer"))
    parts = {"answer", "consent", "tokens", "bindings", "logged", "checkpoint", "kept"}
    assert set(exported) == {*parts, "directory"}


def test_a_revoked_consent_is_over(answered):
    run("borrower", "revoke", answered / "consent", home=answered / "me")
    about = ("--subject", "ref:client-7", "--policy", "revolving-standing")
    told = run(
        "lender", "ask", *about, "--consent", answered / "consent", "-o", answered / "y.answer",
        home=answered / "lend", code=2,
    )  # fmt: skip
    assert "CONSENT_REVOKED" in told


def test_the_log_is_verified_and_shown_line_by_line(answered):
    summary = json.loads(run("audit", "verify", "--json", "--whole", home=answered / "audit"))
    assert summary["chain_ok"]
    assert summary["tree_ok"]
    lines = run("audit", "show", "--limit", "3", home=answered / "audit").splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [0, 1, 2]


def test_check_finds_nothing_wrong_beside_the_running_service(answered):
    told = json.loads(run("check", answered / "service", "--json"))
    assert told["ok"]
    assert told["rows"]["attestation"] == 3


def test_the_log_of_the_service_names_nobody(answered):
    text = (answered / "service.log").read_text()
    assert "credproof.v1" in text
    for secret in ("client-7", "10000000", "ref:"):
        assert secret not in text


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["lender", "verify", "missing.answer"], 2, "cannot read"),
        (["provider", "submit", "missing.csv", "--mapping", "missing.yaml"], 2, "cannot read"),
        (["serve", "nowhere"], 2, "credproof init"),
        (["borrower", "show", "missing"], 2, ""),
        (["enrol", "x", "--role", "king", "--id", "abc", "--title", "T"], 2, "role must be"),
    ],
)
def test_usage_errors_say_what_to_do_and_exit_with_2(tmp_path, arguments, code, told):
    assert told in run(*arguments, code=code, home=tmp_path)


def test_without_a_service_the_exit_code_is_3(answered, tmp_path):
    import shutil

    shutil.copytree(answered / "audit", tmp_path / "audit")
    settings = json.loads((tmp_path / "audit" / "participant.json").read_text())
    settings["address"] = "127.0.0.1:1"
    (tmp_path / "audit" / "participant.json").write_text(json.dumps(settings))
    run("audit", "verify", home=tmp_path / "audit", code=3)


def test_init_refuses_a_directory_that_is_not_empty(office):
    assert "not empty" in run("init", office / "service", "--domain", "x.example", code=2)


def test_the_sample_figures_are_tier_a():
    assert GOOD["utilisation_bp"] == 1000
