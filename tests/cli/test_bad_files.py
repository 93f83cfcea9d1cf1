"""Damaged homes, wrong files and odd input: one line that says what to do, never a traceback."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError
from credproof.verification.consent import parse_request

from tests.cli.test_commands import run
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


def test_nobody_is_admitted_twice(deployment, tmp_path):
    enrolment = deployment.folder / "lend" / "enrolment.json"
    told = run("participant", "add", deployment.service, enrolment, "-o", tmp_path / "out", code=2)
    assert "ALREADY_ADMITTED" in told


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
        ("kek", "short", 2),
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
