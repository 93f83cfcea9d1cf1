"""Damaged homes, wrong files and odd input: one line that says what to do, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError
from credproof.verification.consent import parse_request

from tests.cli.command import run
from tests.deployment import Deployment
from tests.world import World


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("deployment"))
    made.admit("lender", "lend")
    return made


@pytest.fixture
def lend(deployment, tmp_path) -> Path:
    """A copy of the lender's home, to be damaged."""
    return Path(shutil.copytree(deployment.folder / "lend", tmp_path / "lend"))


@pytest.mark.parametrize("name", ["participant.json", "tls.key", "tls.crt", "ca.crt"])
def test_a_home_that_lacks_a_file_is_told(lend, name):
    (lend / name).unlink()
    assert run("audit", "verify", home=lend, code=2).startswith("error: ")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"a":1.5}', b"text"])
def test_a_home_with_damaged_settings_is_told(lend, content):
    (lend / "participant.json").write_bytes(content)
    assert run("audit", "verify", home=lend, code=2).startswith("error: ")


@pytest.mark.parametrize("content", [None, b"", b"{}", b"[]", b"\xff", b'{"a":1.5}', b"text"])
def test_without_a_sound_trust_bundle_nothing_verifies(lend, tmp_path, content):
    (tmp_path / "x.answer").write_bytes(b"")
    (lend / "trust.json").unlink()
    if content is not None:
        (lend / "trust.json").write_bytes(content)
    told = run("lender", "verify", tmp_path / "x.answer", home=lend, code=1)
    assert told.startswith("error at check 0: ")


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b"text", b'{"settings":{}}'])
def test_what_is_no_admission_is_not_joined(lend, tmp_path, content):
    (tmp_path / "admission").write_bytes(content)
    assert run("join", lend, tmp_path / "admission", code=2).startswith("error: ")


def test_an_admission_for_somebody_else_is_not_joined(deployment, tmp_path):
    deployment.admit("lender", "other")
    admission = tmp_path / "admission"
    made = json.loads((deployment.folder / "other" / "participant.json").read_text())
    home = deployment.folder / "other"
    texts = {name: (home / name).read_text() for name in ("ca.crt", "tls.crt", "trust.json")}
    document = {
        "authority": texts["ca.crt"],
        "certificate": texts["tls.crt"],
        "settings": made,
        "trust": texts["trust.json"],
    }
    admission.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    run("enrol", tmp_path / "new", "--role", "lender", "--id", "new", "--title", "New")
    told = run("join", tmp_path / "new", admission, code=1)
    assert "OTHER_PARTICIPANT" in told


def test_an_admission_under_another_root_than_told_is_not_joined(lend, tmp_path):
    settings = json.loads((lend / "participant.json").read_text())
    document = {
        "authority": (lend / "ca.crt").read_text(),
        "certificate": (lend / "tls.crt").read_text(),
        "settings": settings,
        "trust": (lend / "trust.json").read_text(),
    }
    admission = tmp_path / "admission"
    admission.write_text(json.dumps(document, sort_keys=True, separators=(",", ":")))
    assert "WRONG_ROOT" in run("join", lend, admission, "--root", "00" * 16, code=1)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"text", b'{"csr":"x","proof":"y"}'])
def test_what_is_no_enrolment_is_not_admitted(deployment, tmp_path, content):
    (tmp_path / "enrolment").write_bytes(content)
    told = run(
        "participant", "add", deployment.service, tmp_path / "enrolment", "-o", tmp_path / "out",
        code=2,
    )  # fmt: skip
    assert told.startswith("error: ")
    assert not (tmp_path / "out").exists()


def test_nobody_is_admitted_twice_under_one_name(deployment, tmp_path):
    run("enrol", tmp_path / "twin", "--role", "lender", "--id", "lend", "--title", "Twin")
    enrolment = tmp_path / "twin" / "enrolment.json"
    told = run("participant", "add", deployment.service, enrolment, "-o", tmp_path / "out", code=2)
    assert "ALREADY_ADMITTED" in told
    assert "credproof participant renew" in told, "what to do if it is the same one"


def test_an_admission_that_was_lost_is_made_again_and_changes_nothing(deployment, tmp_path):
    before = deployment.directory.log_head()
    enrolment = deployment.folder / "lend" / "enrolment.json"
    run("participant", "add", deployment.service, enrolment, "-o", tmp_path / "out")
    run("join", deployment.folder / "lend", tmp_path / "out")
    assert before == deployment.directory.log_head()


def test_an_admission_that_cannot_be_written_admits_nobody(deployment, tmp_path):
    run("enrol", tmp_path / "late", "--role", "lender", "--id", "late", "--title", "Late")
    enrolment, nowhere = tmp_path / "late" / "enrolment.json", "/proc/no/admission"
    run("participant", "add", deployment.service, enrolment, "-o", nowhere, code=2)
    assert "late" not in run("participant", "list", deployment.service)


def test_another_operator_is_admitted_only_when_the_operator_says_so(deployment, tmp_path):
    run("enrol", tmp_path / "boss", "--role", "operator", "--id", "boss", "--title", "Boss")
    add = ("participant", "add", deployment.service, tmp_path / "boss" / "enrolment.json")
    assert "OTHER_ROLE" in run(*add, "-o", tmp_path / "out", code=2)
    assert "OTHER_ROLE" in run(*add, "-o", tmp_path / "out", "--role", "lender", code=2)


def test_another_root_key_changes_nothing(deployment, tmp_path):
    (tmp_path / "other.key").write_text("A" * 43)
    before = deployment.directory.log_head()
    told = run(
        "participant", "suspend", deployment.service, "lend",
        "--root-key", tmp_path / "other.key", code=2,
    )  # fmt: skip
    assert "OTHER_ROOT_KEY" in told
    assert before == deployment.directory.log_head()


@pytest.mark.parametrize(
    "option", [("--domain", 'a"b'), ("--domain", ""), ("--participants-listen", "nonsense")]
)
def test_a_service_that_could_not_run_is_not_half_made(tmp_path, option):
    arguments = {"--domain": "ok.example"} | dict([option])
    words = [word for pair in arguments.items() for word in pair]
    assert "BAD_CONFIG" in run("init", tmp_path / "new", *words, code=2)
    assert not (tmp_path / "new").exists()


def test_a_service_without_its_high_water_mark_is_not_served(deployment, tmp_path):
    service = Path(shutil.copytree(deployment.service, tmp_path / "service"))
    mark = (service / "high-water").read_bytes()
    (service / "high-water").unlink()
    assert "NO_HIGH_WATER" in run("serve", service, code=1)
    (tmp_path / "newest").write_bytes(mark)
    run("restore", service, "--checkpoint", tmp_path / "newest")
    assert mark == (service / "high-water").read_bytes()
    assert "MARK_THERE" in run("restore", service, "--checkpoint", tmp_path / "newest", code=2)


def test_without_the_root_key_nobody_is_admitted_and_the_message_says_how(deployment, tmp_path):
    run("enrol", tmp_path / "new", "--role", "lender", "--id", "newcomer", "--title", "New")
    service = Path(shutil.copytree(deployment.service, tmp_path / "service"))
    shutil.move(service / "offline-root", tmp_path / "safe")
    enrolment = tmp_path / "new" / "enrolment.json"
    assert "--root-key" in run(
        "participant", "add", service, enrolment, "-o", tmp_path / "out", code=2
    )
    run(
        "participant", "add", service, enrolment, "-o", tmp_path / "out",
        "--root-key", tmp_path / "safe" / "root.key",
    )  # fmt: skip
    assert (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "text", "code"),
    [
        ("credproof.toml", "not toml =", 2),
        ("credproof.toml", "trust_domain = 1\n", 2),
        ("kek", "short", 1),
        ("log.db", "not a database", 1),
    ],
)
def test_a_damaged_service_directory_is_told(deployment, tmp_path, file, text, code):
    service = Path(shutil.copytree(deployment.service, tmp_path / "service"))
    (service / file).write_text(text)
    for name in ("log.db-wal", "log.db-shm"):
        (service / name).unlink(missing_ok=True)
    told = run("check", service, code=code)
    assert "error: " in told


@pytest.mark.parametrize("argument", ["a-directory", "missing"])
def test_a_directory_or_nothing_instead_of_a_file_is_told(lend, tmp_path, argument):
    (tmp_path / "a-directory").mkdir()
    assert run("lender", "verify", tmp_path / argument, home=lend, code=2)


@pytest.mark.parametrize("content", [b"", b"\x00", b"\xff" * 100, b"text", b"\x0a\x03abc"])
def test_what_is_no_answer_fails_verification(lend, tmp_path, content):
    (tmp_path / "x.answer").write_bytes(content)
    assert "error" in run("lender", "verify", tmp_path / "x.answer", home=lend, code=1)


def test_a_request_for_a_consent_that_never_ends_is_refused():
    """A date beyond the calendar must not crash the borrower's tool."""
    world = World()
    token = world.request(world.terms(expires_at=2**53 - 1))
    with pytest.raises(CredproofError) as caught:
        parse_request(token)
    assert caught.value.reason == "BAD_CONSENT"
