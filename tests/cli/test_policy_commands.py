"""`credproof policy`: lint, diff, explain, sign, publish, list, as operators type them."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
from credproof import standard
from credproof.base.errors import CredproofError
from credproof.cli.advice import next_step
from credproof.cli.app import app
from credproof.cli.policy import moment
from credproof.home import Home
from typer.testing import CliRunner

from tests.deployment import Deployment

SHIPPED = standard.read("policies/revolving-standing.yaml").decode()
SECOND = SHIPPED.replace("version: 1", "version: 2", 1).replace("below: 8000", "below: 7000")


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["policy", *map(str, arguments)])
    if isinstance(result.exception, CredproofError):
        raise result.exception
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    first, second = tmp_path / "one.yaml", tmp_path / "two.yaml"
    first.write_text(SHIPPED, "utf-8")
    second.write_text(SECOND, "utf-8")
    return first, second


def test_lint_shows_bits_per_question_and_in_all(files):
    told = run("lint", files[0])
    assert "question room 1.00 bits" in told
    assert "utilisation_bp: 1.58 bits, 3 parts of at most 14" in told
    found = json.loads(CliRunner().invoke(app, ["policy", "lint", str(files[0]), "--json"]).stdout)
    assert found["ok"]
    assert found["asked_bits"] > len({item["claim"] for item in found["claims"]})


@pytest.mark.parametrize(
    ("name", "english", "chinese"),
    [
        ("completeness", "no attestation of what is asked was left out", "没有遗漏"),
        ("witness", "enough witnesses have cosigned the log", "见证方联署"),
    ],
)
def test_lint_and_explain_say_what_a_policy_demands_of_an_answer(files, name, english, chinese):
    assert "Demands" not in run("lint", files[0])
    assert english not in run("explain", files[0], "--language", "en")
    files[0].write_text(f"{SHIPPED}\n{name}: required\n", "utf-8")
    assert english in run("lint", files[0])
    assert json.loads(run("lint", files[0], "--json"))["demands"] == [name]
    assert english in run("explain", files[0], "--language", "en")
    assert chinese in run("explain", files[0])


def test_lint_says_how_exactly_several_policies_together_can_tell_a_claim(files):
    told = run("lint", *files)
    assert "utilisation_bp: 4 cells on 14 bands, the narrowest has 1" in told
    assert "TOO_NARROW" not in told
    promise = "narrowest: {consumer-revolving/1: {utilisation_bp: 2}}\n"
    files[0].write_text(SHIPPED + promise, "utf-8")
    assert "the narrowest has 2" in run("lint", files[0])
    told = run("lint", *files)
    assert "utilisation_bp is promised 2 bands, one lender is refused (TOO_NARROW)" in told
    found = json.loads(run("lint", *files, "--json"))
    assert [item["policy"]["version"] for item in found["policies"]] == [1, 2]
    kept = {item["claim"]: item["kept"] for item in found["meter"]}
    assert [claim for claim, is_kept in kept.items() if not is_kept] == ["utilisation_bp"]


def test_lint_refuses_a_policy_that_asks_more_exactly_than_it_promises(files):
    promise = "narrowest: {consumer-revolving/1: {utilisation_bp: 3}}\n"
    files[0].write_text(SHIPPED + promise, "utf-8")
    assert "BELOW_NARROWEST" in run("lint", files[0], code=1)


def test_explain_says_what_is_promised_in_both_languages(files):
    promise = "narrowest: {consumer-revolving/1: {utilisation_bp: 2}}\n"
    files[0].write_text(SHIPPED + promise, "utf-8")
    english = run("explain", files[0], "--language", "en")
    assert "Share of the limit in use: all answers to this lender in 401 days together" in english
    assert "within 2 steps" in english
    assert "额度使用率：该机构在 401 天内" in run("explain", files[0])


def test_lint_refuses_a_threshold_off_the_ladder_with_exit_code_1(files):
    files[0].write_text(SHIPPED.replace("below: 8000", "below: 8001"), "utf-8")
    assert "NOT_ON_LADDER" in run("lint", files[0], code=1)
    assert json.loads(run("lint", files[0], "--json", code=1))["reason"] == "NOT_ON_LADDER"
    told = run("lint", files[1], files[0], code=1)
    assert f"in {files[0]}: question room: " in told
    assert "utilisation_bp: nearest are 8000 and 9000" in told


def test_diff_says_what_moves(files):
    assert "question room: threshold moved 8000 -> 7000" in run("diff", *files)
    found = json.loads(run("diff", *files, "--json"))
    assert (found["from"], found["to"], len(found["changes"])) == (1, 2, 1)
    assert "nothing changes" in run("diff", files[0], files[0])


def test_explain_says_what_is_proved_and_what_is_not_touched(files):
    english = run("explain", files[0], "--language", "en")
    assert "Share of the limit in use: less than 80 %" in english
    assert "It does not touch: " in english
    assert "额度使用率" in run("explain", files[0])
    with pytest.raises(CredproofError) as caught:
        run("explain", files[0], "--language", "fr")
    assert caught.value.reason == "BAD_LANGUAGE"
    assert "name a file" in run("explain", "no-such-policy", code=2)


def test_a_policy_goes_from_one_operator_to_the_other_and_into_force(files, tmp_path):
    service = Deployment(tmp_path / "d").service
    proposal = tmp_path / "two.proposal"
    first, second = service / "operator", service / "operator-2"
    one = run("sign", files[1], "-o", proposal, "--home", first, "--until", "2099-01-01")
    assert "Approvals: 1 of 2" in one
    with pytest.raises(CredproofError) as caught:
        run("publish", service, proposal)
    assert caught.value.reason == "NOT_APPROVED"
    assert "let the other one sign" in (next_step(caught.value) or "")
    assert "begin anew" in run(
        "sign", proposal, "-o", proposal, "--home", second, "--until", "2099-01-02", code=2
    )
    assert "Approvals: 2 of 2" in run("sign", proposal, "-o", proposal, "--home", second)
    published = run("publish", service, proposal)
    assert "Published: revolving-standing version 2" in published
    assert "utilisation_bp: with the policies in force, single bands can become" in published
    assert "credit_limit: with the policies in force" not in published
    assert run("list", service).count("in force") == 3
    found = json.loads(run("list", service, "--json"))
    assert [(pin["id"], pin["version"]) for pin in found][-1] == ("revolving-standing", 2)
    assert "2099-01-01T23:59:59Z" in run("list", service), "its last day"


def ago(days: float) -> str:
    return moment(int(time.time() - days * 86400))


def test_an_approval_that_can_never_count_is_refused_at_once(files, tmp_path):
    operator = Deployment(tmp_path / "d").service / "operator"
    pinned = moment(Home(operator).trust(at=0).bundle.policies[0].valid_from)
    proposal = tmp_path / "two.proposal"
    for reason, dates in [
        ("BAD_DATES", ("--from", "2099-01-02", "--until", "2099-01-01")),
        ("BACKDATED", ("--from", ago(2), "--until", ago(1))),
        ("BACKDATED", ("--from", ago(7.01))),
    ]:
        with pytest.raises(CredproofError) as caught:
            run("sign", files[1], "-o", proposal, "--home", operator, *dates)
        assert caught.value.reason == reason
        assert not proposal.exists()
    assert "like 2026-12-31" in run(
        "sign", files[1], "-o", proposal, "--home", operator, "--until", "31.12.2026", code=2
    )
    for dates in [("--from", ago(6.9)), ("--from", "2099-01-01", "--until", "2099-01-01")]:
        run("sign", files[1], "-o", proposal, "--home", operator, *dates)
    ending = ("--from", ago(100), "--until", moment(int(time.time()) + 60))
    assert pinned[:10] in run(
        "sign", files[0], "-o", proposal, "--home", operator, "--from", pinned
    )
    run("sign", files[0], "-o", proposal, "--home", operator, *ending)


def test_only_an_operator_approves(files, tmp_path):
    home = tmp_path / "lender"
    shutil.copytree(Deployment(tmp_path / "d").service / "operator", home)
    settings = json.loads((home / "participant.json").read_text())
    (home / "participant.json").write_text(json.dumps({**settings, "role": "lender"}))
    with pytest.raises(CredproofError) as caught:
        run("sign", files[1], "-o", tmp_path / "two.proposal", "--home", home)
    assert caught.value.reason == "NOT_AN_OPERATOR"
    assert not (tmp_path / "two.proposal").exists()


def test_a_policy_in_force_is_explained_by_its_id(tmp_path):
    service = Deployment(tmp_path).service
    told = run("explain", "revolving-standing", "--home", service / "operator", "--language", "en")
    assert "revolving-standing, version 1" in told
