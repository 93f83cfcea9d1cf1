"""`credproof audit follow` as cron runs it: exit codes, what is told once, evidence in files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socketserver
import sqlite3
import subprocess
import sys
import threading
import time
from unittest import mock

import pytest
from credproof.auditor import Auditor
from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, Refused, Unreachable, VerificationFailed
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof_server.demo.world import AUDITOR, PROVIDER, World
from credproof_server.directory import ServiceDirectory
from credproof_server.service.core import fresh_salt

from tests.cli.command import run


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> World:
    """One to copy."""
    made = World(tmp_path_factory.mktemp("following"))
    made.make()
    with made.served():
        made.populate()
    return made


@pytest.fixture
def world(made, tmp_path) -> World:
    return made.copy(tmp_path / "world")


class Whisper:
    """What an operator logs who bypasses every check: an answer that nobody consented to."""

    def apply(self, tx) -> int:
        digest = b64url(bytes(32))
        fields = {
            **dict.fromkeys(("case", "consent", "staff", "tag", "verdicts"), digest),
            "outcome": "TIER",
            "policy": {"digest": digest, "id": "made-up", "version": 1},
            "purpose": "ORIGINATION",
        }
        return tx.append("answer.given", "somebody", bytes(32), salt=fresh_salt(), fields=fields)


def follow(world: World, *options, code: int = 0) -> dict:
    home = world.home(AUDITOR)
    told = run("audit", "follow", *options, "--json", "--home", home, code=code)
    return json.loads(told.partition("\nerror")[0])


def test_cron_is_told_by_exit_codes_and_a_finding_once(world, tmp_path):
    with world.served():
        first = follow(world)
        assert (first["reason"], first["read"], first["roots"]) == ("", first["size"], None)
        assert isinstance(follow(world, "--replay")["roots"], int)
        told_as = run("audit", "follow", "--replay", "--home", world.home(AUDITOR))
        assert re.search(r"^Roots: +[0-9]+, each what the entries before", told_as, re.MULTILINE)
        assert told_as.endswith("Nothing is wrong.\n")
        told_as = run("audit", "follow", "--home", world.home(AUDITOR))
        assert "Nothing is wrong in the entries; --replay looks for" in told_as
    assert follow(world, code=3)["reason"] == "NO_ANSWER"
    offline = json.loads(
        run("audit", "replay", "--offline", "--json", "--home", world.home(AUDITOR))
    )
    assert offline["size"] == first["size"]
    (world.home(AUDITOR) / "newest.checkpoint").rename(tmp_path / "newest.checkpoint")
    run("audit", "replay", "--offline", home=world.home(AUDITOR), code=2)
    (tmp_path / "newest.checkpoint").rename(world.home(AUDITOR) / "newest.checkpoint")

    core = ServiceDirectory(world.service).open_core()
    core.sequencer.submit(Whisper()).result()
    core.close()
    findings = tmp_path / "findings"
    with world.served():
        told = follow(world, "--evidence", findings, code=1)
        assert told["reason"] == "RULE_BROKEN"
        assert [f["rule"] for f in told["findings"]] == ["ANSWER_WITHOUT_CONSENT"]
        again = follow(world, "--evidence", findings)
        assert (again["findings"], again["standing"]) == ([], 1), "it was told"
        told_as = run("audit", "follow", "--home", world.home(AUDITOR))
        assert "Standing:  1 told" in told_as
        assert "Nothing is wrong" not in told_as
    (folder,) = findings.iterdir()
    names = {path.name for path in folder.iterdir()}
    index = told["findings"][0]["log_index"]
    assert {f"entry-{index}.logged.json", f"entry-{index}.logged.tlog-proof"} <= names
    assert "RULE_BROKEN" in (folder / "README.txt").read_text()


class Attest:
    """An attestation that is logged just before the service stops."""

    def apply(self, tx) -> int:
        fields = {"index": b64url(bytes(32))}
        kind = "attestation.accepted"
        return tx.append(kind, PROVIDER, bytes(32), salt=fresh_salt(), fields=fields)


def test_a_service_that_stood_still_is_called_behind_at_no_moment(world, monkeypatch):
    """It makes a root before anybody can read its log."""
    core = ServiceDirectory(world.service).open_core()
    core.sequencer.submit(Attest()).result()
    core.close()
    later = time.time() + 1000
    with world.served():
        monkeypatch.setattr(time, "time", lambda: later)
        told = follow(world)
    assert (told["reason"], told["faults"]) == ("", [])


def test_a_finding_gets_its_files_whoever_told_of_it_first(world, tmp_path):
    """Somebody looks by hand, cron writes the files; what is broken is never `Verified`."""
    home, findings = world.home(AUDITOR), tmp_path / "findings"
    core = ServiceDirectory(world.service).open_core()
    core.sequencer.submit(Whisper()).result()
    core.close()
    with world.served():
        for more in ([], [], ["--whole"]):
            told = run("audit", "verify", *more, "--home", home, code=1)
            assert "Verified:    signature, hash chain, order of times, Merkle tree\n" in told
            assert "ANSWER_WITHOUT_CONSENT" in told
        assert follow(world)["findings"] == [], "it was told"
        (tmp_path / "file").touch()
        lost = follow(world, "--evidence", tmp_path / "file" / "x", code=1)
        assert (lost["reason"], lost["evidence"]) == ("RULE_BROKEN", [])
        assert [fault["reason"] for fault in lost["faults"]] == ["SYSTEM_ERROR"]
        first = follow(world, "--evidence", findings, code=1)
        assert [str(path) for path in findings.iterdir()] == first["evidence"]
        run("audit", "verify", "--whole", "--home", home, code=1)
        assert follow(world, "--evidence", findings)["evidence"] == []
        shutil.rmtree(findings)
        assert follow(world, "--evidence", findings, code=1)["evidence"] == first["evidence"]
        assert follow(world, "--evidence", findings)["evidence"] == [], "it is there again"
        (home / "audit.db").unlink()
        assert follow(world, "--evidence", findings, code=1)["evidence"] == first["evidence"]


def test_with_an_interval_it_looks_again_and_again_until_it_is_interrupted(world):
    home = world.home(AUDITOR)
    words = ["audit", "follow", "--interval", "1", "--json", "--home", str(home)]
    command = [sys.executable, "-m", "credproof.cli.app", *words]
    with world.served(), subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        told = [json.loads(read_object(process.stdout)) for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert [item["reason"] for item in told] == ["", ""]
    assert told[1]["read"] == told[1]["size"] - told[0]["size"]


PASSING = [
    Refused("NOT_PERMITTED", "suspended for a moment"),
    Conflict("AUDIT_BUSY", "another audit is at work in this home"),
    OSError(28, "No space left on device", "findings"),
    sqlite3.OperationalError("database or disk is full"),
    Unreachable("NO_ANSWER", "no answer"),
]


def test_with_an_interval_it_outlives_whatever_may_pass(made, monkeypatch):
    """It ends by a signal alone; else who looks into the mail of cron sees nothing for weeks."""
    opened = mock.Mock(side_effect=[*PASSING, KeyboardInterrupt])
    monkeypatch.setattr(Auditor, "open", opened)
    monkeypatch.setattr(threading.Event, "wait", lambda *_: False)
    words = ["audit", "follow", "--interval", "1", "--home", made.home(AUDITOR)]
    told = run(*words, code=130)
    assert opened.call_count == len(PASSING) + 1
    for passing in ("NOT_PERMITTED", "AUDIT_BUSY", "No space left", "disk is full", "NO_ANSWER"):
        assert passing in told


def test_with_an_interval_it_does_not_go_on_about_a_home_that_is_none(tmp_path):
    words = ["audit", "follow", "--interval", "1", "--home", tmp_path]
    assert "NO_PARTICIPANT" in run(*words, code=2)


def read_object(stream) -> bytes:
    """One JSON object, which ends with a line of its own."""
    lines = []
    while not lines or lines[-1] != b"}\n":
        lines.append(stream.readline())
        assert lines[-1], "it ended"
    return b"".join(lines)


def test_a_forked_log_is_told_with_its_files(world, tmp_path, monkeypatch):
    """The auditor holds a checkpoint, signed by the real key, of a log that is not there."""
    home = world.home(AUDITOR)
    with world.served():
        follow(world)
    signer = ServiceDirectory(world.service).log_signer()
    note = sign_checkpoint(Checkpoint(signer.name, 2, bytes(32)), [signer])
    (home / "newest.checkpoint").write_bytes(note)
    with world.served():
        words = ["--evidence", tmp_path / "fork"]
        assert follow(world, *words, code=1)["reason"] == "LOG_FORKED"
        (folder,) = (tmp_path / "fork").iterdir()
        assert f"already in {folder}" in run("audit", "follow", *words, "--home", home, code=1)
        older = VerificationFailed("TUF_ROLLBACK", "the service gives out an older bundle")
        monkeypatch.setattr("credproof.session.fetch_trust", mock.Mock(side_effect=older))
        told = follow(world, *words, code=1)
        assert [fault["reason"] for fault in told["faults"]] == ["LOG_FORKED", "TUF_ROLLBACK"]
        assert told["evidence"] == [str(folder)], "the bundle that is kept says who signed the log"
    assert list((tmp_path / "fork").iterdir()) == [folder]
    assert (folder / "seen.checkpoint").read_bytes() == note
    assert (folder / "add-checkpoint.request").read_text().startswith("old 2\n")


class Stranger(socketserver.BaseRequestHandler):
    """Whatever listens at a port, and speaks no TLS."""

    def handle(self) -> None:
        self.request.sendall(b"220 mail.example ESMTP\r\n")


def test_what_answers_there_and_is_no_such_service_is_one_error_as_json(world):
    """gRPC's own lines about its handshake stood before it."""
    home = world.home(AUDITOR)
    settings = json.loads((home / "participant.json").read_bytes())
    with socketserver.TCPServer(("127.0.0.1", 0), Stranger) as stranger:
        threading.Thread(target=stranger.serve_forever, daemon=True).start()
        settings["address"] = f"127.0.0.1:{stranger.server_address[1]}"
        (home / "participant.json").write_text(json.dumps(settings))
        words = [sys.executable, "-m", "credproof.cli.start", "audit", "verify", "--json"]
        done = subprocess.run([*words, "--home", home], capture_output=True, check=False)
        stranger.shutdown()
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stderr)["reason"] == "NO_ANSWER"
