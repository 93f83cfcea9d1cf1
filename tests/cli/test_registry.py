"""The operator's commands about licences, purposes and the bureau, on a service at rest."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest
from credproof.base.errors import Conflict
from credproof.verification.policy import PURPOSES
from credproof_server import standing

from tests.cli.command import run
from tests.deployment import Deployment

YEAR_S = 365 * 86_400


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("registry"))
    made.admit("provider", "bank")
    made.admit("lender", "lend", licence=None, certified=None)
    return made


@pytest.fixture
def service(deployment) -> Path:
    return deployment.service


def listed(service: Path, name: str) -> dict:
    found = json.loads(run("participant", "list", service, "--json"))
    return next(item for item in found if item["id"] == name)


def trust(deployment: Deployment):
    core = deployment.directory.open_core()
    try:
        return core.trust
    finally:
        core.close()


def seconds(day: str) -> int:
    return int(dt.datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp())


def day_in(days: int) -> str:
    return (dt.datetime.now(dt.UTC) + dt.timedelta(days=days)).strftime("%Y-%m-%d")


def test_a_lender_is_licensed_and_certified_by_days_and_the_list_shows_it(service):
    assert "no licence" in run("participant", "list", service)
    run(
        "participant",
        "licence",
        service,
        "lend",
        "L-7",
        "--from",
        "2026-01-02",
        "--until",
        "2099-12-31",
    )
    run("participant", "certify", service, "lend", "REVIEW", "--until", day_in(300))
    run("participant", "certify", service, "lend", "SERVICING")
    found = listed(service, "lend")
    assert found["licence"] == {
        "number": "L-7",
        "from": seconds("2026-01-02"),
        "until": seconds("2099-12-31") + 86_399,
    }
    assert found["certified"]["REVIEW"] == seconds(day_in(300)) + 86_399
    assert found["certified"]["SERVICING"] == seconds(day_in(365)) - 1
    text = run("participant", "list", service)
    assert f"L-7 until 2099-12-31; REVIEW until {day_in(300)}" in text


def test_an_end_in_the_past_ends_a_licence_now(service):
    run("participant", "licence", service, "lend", "L-7", "--until", "2026-01-31")
    assert listed(service, "lend")["licence"]["until"] == seconds("2026-01-31") + 86_399


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("licence", "bank", "L-7"), "NOT_A_LENDER"),
        (("licence", "nobody", "L-7"), "NO_SUCH_PARTICIPANT"),
        (("licence", "lend", "L 7"), "BAD_TRUST"),
        (
            ("licence", "lend", "L-7", "--from", "2026-02-01", "--until", "2026-01-31"),
            "BAD_LICENCE",
        ),
        (("certify", "bank", "REVIEW"), "NOT_A_LENDER"),
        (("certify", "lend", "REVIEW", "--until", day_in(400)), "CERTIFIED_TOO_FAR"),
    ],
)
def test_what_cannot_be_entered_is_told_and_changes_nothing(deployment, service, words, reason):
    before = trust(deployment).token
    command, *rest = words
    assert f"({reason})" in run("participant", command, service, *rest, code=2)
    assert trust(deployment).token == before


def test_only_lenders_are_admitted_with_a_licence(deployment, service, tmp_path):
    run("enrol", tmp_path / "b", "--role", "provider", "--id", "other", "--title", "Other")
    enrolment = tmp_path / "b" / "enrolment.json"
    given = ("participant", "add", service, enrolment, "-o", tmp_path / "out", "--licence", "L-1")
    assert "(NOT_A_LENDER)" in run(*given, code=2)
    assert "other" not in trust(deployment).participants


def test_a_lender_is_admitted_with_a_licence_and_purposes_for_a_year(service, tmp_path):
    run("enrol", tmp_path / "l", "--role", "lender", "--id", "third", "--title", "Third")
    enrolment, output = tmp_path / "l" / "enrolment.json", tmp_path / "out"
    given = ("--licence", "L-3", "--purposes", "ORIGINATION,REVIEW")
    run("participant", "add", service, enrolment, "-o", output, *given)
    found = listed(service, "third")
    assert found["licence"]["until"] == seconds(day_in(365)) - 1
    assert set(found["certified"]) == {"ORIGINATION", "REVIEW"}


def test_an_unknown_purpose_is_a_wrong_usage(service):
    for words in (("participant", "certify", service, "lend"), ("purpose", "remove", service)):
        assert "one of ORIGINATION" in run(*words, "GAMBLING", code=2)


def test_what_is_fair_is_set_for_any_lender_and_for_one_and_taken_away_again(service):
    shipped = json.loads(run("purpose", "list", service, "--json"))
    assert sorted(item["purpose"] for item in shipped) == sorted(PURPOSES)
    caps = ("--answers", "2", "--data-life", "20", "--window", "30", "--consent", "40")
    run("purpose", "set", service, "REVIEW", *caps)
    run("purpose", "set", service, "REVIEW", *caps[:-1], "50", "--lender", "lend")
    found = json.loads(run("purpose", "list", service, "--json"))
    review = [item for item in found if item["purpose"] == "REVIEW"]
    assert [(item["lender"], item["consent_days"]) for item in review] == [
        ("any", 40),
        ("lend", 50),
    ]
    told = run("purpose", "list", service)
    assert "2 a month, data life 20, window 30, consent 50 days" in told
    run("purpose", "remove", service, "REVIEW", "--lender", "lend")
    assert len(json.loads(run("purpose", "list", service, "--json"))) == len(PURPOSES)


def test_a_template_that_is_not_there_is_not_removed(deployment):
    with pytest.raises(Conflict) as caught:
        standing.remove_template(deployment.service, "lend", "COLLECTION")
    assert caught.value.reason == "NO_SUCH_TEMPLATE"


def test_a_template_is_for_a_lender_that_was_admitted(service):
    caps = ("--answers", "2", "--data-life", "20", "--window", "30", "--consent", "40")
    for who, reason in (("nobody", "NO_SUCH_PARTICIPANT"), ("bank", "NOT_A_LENDER")):
        told = run("purpose", "set", service, "REVIEW", *caps, "--lender", who, code=2)
        assert f"({reason})" in told


def test_the_operator_enters_its_own_licence_as_a_bureau(deployment, service):
    assert trust(deployment).bundle.bureau is None
    run("bureau", service, "PCR-1", "--until", "2099-01-01")
    found = trust(deployment).bundle.bureau
    assert (found.number, found.valid_until) == ("PCR-1", seconds("2099-01-02") - 1)


# -- rules of misuse


def test_the_rules_in_force_are_shown_and_others_are_checked_before_they_are(service, tmp_path):
    shipped = json.loads(run("rules", "show", service, "--json"))
    assert (shipped["name"], shipped["rules"]["burst"]["window"]) == ("shipped", 60)
    assert shipped["digest"] in run("rules", "show")
    own = tmp_path / "own.yaml"
    own.write_text(
        "misuse: own\nversion: 2\nlook_every: 60\nmany-lenders: {window: 60, lenders: 2}\n"
    )
    assert "own 2" in run("rules", "lint", own)
    own.write_text(own.read_text() + "burst: {window: 5}\n")
    told = run("rules", "lint", own, code=2)
    assert "BAD_RULES" in told
    assert "credproof rules lint" in told
