"""A real witness over HTTP: what it cosigns, and what it never does."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from credproof.base.encoding import b64
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.base.limits import WITNESS_BODY_BYTES_MAX
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.cosignature import cosigned, with_lines
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner, VerifierKey
from credproof.log.witness import AddCheckpoint, parse_add_checkpoint
from credproof_server.witness import store
from credproof_server.witness.app import _add, _newest

from tests.cli.command import run


def tree(size: int, flavour: bytes = b"") -> Tree:
    made = Tree()
    made.extend([leaf_hash(flavour + bytes([i])) for i in range(size)])
    return made


TREE, FORK = tree(60), tree(60, b"another")


def asked(signer: NoteSigner, old: int, size: int, of: Tree = TREE) -> bytes:
    note = sign_checkpoint(Checkpoint(signer.name, size, of.root(size)), [signer])
    return AddCheckpoint(old, of.consistency_proof(old, size), note).to_bytes()


class Served:
    """A witness in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.listen = "127.0.0.1:0"
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "credproof.cli.app", "witness", "serve", self.folder]
        self.process = subprocess.Popen(
            [*command, "--listen", self.listen],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.address = self.process.stdout.readline().split("//")[1].strip()
        self.listen = self.address  # it comes back where it was

    def stop(self, number: int = signal.SIGTERM) -> str:
        self.process.send_signal(number)
        return self.process.communicate(timeout=15)[1]

    def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, str, bytes]:
        connection = http.client.HTTPConnection(self.address, timeout=10)
        connection.request(method, path, body)
        reply = connection.getresponse()
        found = reply.status, reply.getheader("content-type"), reply.read()
        connection.close()
        return found

    def add(self, body: bytes) -> tuple[int, bytes]:
        status, _, told = self.call("POST", "/add-checkpoint", body)
        return status, told


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("witness")
    store.init(folder, "witness.example/one", ml_dsa=True)
    made = Served(folder)
    yield made
    if made.process.poll() is None:
        made.stop()


@pytest.fixture
def witness(served) -> Iterator[store.Witness]:
    """The same witness, opened beside the one that serves."""
    opened = store.Witness(served.folder)
    yield opened
    opened.close()


@pytest.fixture
def log(witness, request) -> NoteSigner:
    """A log of its own for each test, known to the running witness."""
    name = request.node.name
    made = NoteSigner(f"log.example/{name}", Ed25519Signer(hashlib.sha256(name.encode()).digest()))
    witness.add_log(made.verifier_key)
    return made


def test_what_continues_is_cosigned_by_both_keys_and_can_be_read_by_monitors(served, witness, log):
    keys = [cosigner.key for cosigner in witness.cosigners]
    for old, size in ((0, 0), (0, 3), (3, 3), (3, 60)):
        status, lines = served.add(asked(log, old, size))
        assert status == 200
        note = with_lines(
            asked(log, old, size).partition(b"\n\n")[2], lines.decode().splitlines(True)
        )
        assert set(cosigned(note, keys)) == set(keys)
    name = hashlib.sha256(log.name.encode()).hexdigest()
    status, kind, newest = served.call("GET", f"/{name}/checkpoint")
    assert (status, kind) == (200, "text/plain; charset=utf-8")
    assert newest == note
    assert served.call("GET", f"/{'0' * 64}/checkpoint")[0] == 404


def test_each_refusal_has_the_status_of_the_protocol(served, log):
    assert served.add(asked(log, 0, 10))[0] == 200
    stranger = NoteSigner("stranger.example", log.signer)
    thief = NoteSigner(log.name, Ed25519Signer(bytes(32)))
    expected = {
        asked(stranger, 10, 20): 404,
        asked(thief, 10, 20): 403,
        asked(log, 10, 20).replace(b"old 10", b"old 30"): 400,
        b"old ten\n\n": 400,
        b"": 400,
        asked(log, 10, 20).replace(b"old 10\n", b"old 10\nAAAA\n"): 400,
        asked(log, 10, 20, FORK): 422,
        asked(log, 10, 10, FORK): 422,
        b"x" * (WITNESS_BODY_BYTES_MAX + 1): 413,
    }
    assert {body: served.add(body)[0] for body in expected} == expected
    assert served.call("GET", "/add-checkpoint")[::2] == (405, b"METHOD_NOT_ALLOWED\n")
    for path in ("/anything", "/add-checkpoint/"):
        assert served.call("POST", path)[::2] == (404, b"NO_SUCH_PATH\n")
    assert served.add(asked(log, 10, 20))[0] == 200


def test_another_size_is_told_so_that_the_log_can_go_on_from_there(served, log):
    assert served.add(asked(log, 0, 10))[0] == 200
    for old in (0, 5):
        status, kind, told = served.call("POST", "/add-checkpoint", asked(log, old, 20))
        assert (status, kind, told) == (409, "text/x.tlog.size", b"10\n")


def test_a_fork_is_refused_and_kept_as_evidence_and_strangers_fill_nothing(served, witness, log):
    served.add(asked(log, 0, 10))
    forged = asked(log, 10, 20, FORK)
    served.add(forged)
    served.add(asked(NoteSigner(log.name, Ed25519Signer(bytes(32))), 10, 20, FORK))
    assert [item.body for item in witness.evidence(log.name)] == [forged]


def test_nobody_makes_a_witness_call_an_honest_log_forked_nor_fills_what_it_keeps(
    served, witness, log, monkeypatch
):
    """Whoever reads a log can post its checkpoints with proofs that are none."""

    def against() -> list[tuple[int, bool]]:
        return [(item.size, item.fork) for item in witness.evidence(log.name)]

    served.add(asked(log, 0, 10))
    rubbish = b"old 10\n" + b64(bytes(32)).encode() + b"\n"
    for size in (10, 12, 12):
        assert served.add(asked(log, 10, size).replace(b"old 10\n", rubbish))[0] == 422
    assert against() == [(12, False)], "not what was cosigned, and the other once"
    assert f"{log.name}  10 entries, 1 unproved" in run("witness", "list", served.folder)
    assert served.add(asked(log, 10, 12))[0] == 200
    assert against() == [], "it was proved"
    monkeypatch.setattr(store, "EVIDENCE_MAX", 2)
    forks = [asked(log, 12, 12, tree(12, bytes([i, i]))) for i in range(3)]
    for body in (forks[0], *(asked(log, 12, size, FORK) for size in (13, 14, 15)), *forks[1:]):
        with pytest.raises(CredproofError):
            witness.add_checkpoint(parse_add_checkpoint(body), 0)
    assert against() == [(12, True), (14, False), (15, False), (12, True)]
    assert f"{log.name}  12 entries, 2 forks, 2 unproved" in run("witness", "list", served.folder)


def test_a_witness_prints_its_keys_again_and_shows_its_evidence(served, witness, log, tmp_path):
    assert served.add(asked(log, 0, 10))[0] == 200
    forged, before = asked(log, 10, 20, FORK), witness.newest(log.name)
    assert served.add(forged)[0] == 422
    assert served.add(asked(log, 10, 15))[0] == 200
    printed = run("witness", "keys", served.folder).splitlines()
    assert printed == [f"Key:   {cosigner.key}" for cosigner in witness.cosigners]
    told = json.loads(run("witness", "evidence", served.folder, "--json"))
    assert [(item["origin"], item["size"]) for item in told if item["origin"] == log.name] == [
        (log.name, 20)
    ]
    (number,) = [str(item["id"]) for item in told if item["origin"] == log.name]
    run("witness", "evidence", served.folder, "-o", tmp_path / "evidence")
    assert (tmp_path / "evidence" / f"{number}.request").read_bytes() == forged
    cosigned_note = (tmp_path / "evidence" / f"{number}.cosigned").read_bytes()
    assert cosigned_note == before, "what a fork is a fork of, however far the witness has come"
    assert f"{log.name}: unproved, 20 entries" in run("witness", "evidence", served.folder)


def test_what_was_cosigned_is_remembered_by_a_witness_that_is_killed(served, log):
    assert served.add(asked(log, 0, 40))[0] == 200
    served.stop(signal.SIGKILL)
    served.start()
    assert served.add(asked(log, 0, 20)) == (409, b"40\n")
    assert served.add(asked(log, 20, 30, FORK)) == (409, b"40\n")
    assert served.add(asked(log, 40, 50))[0] == 200


def test_racing_requests_never_roll_it_back(served, log):
    assert served.add(asked(log, 0, 1))[0] == 200
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(served.add, [asked(log, 1, size) for size in range(2, 42)]))
    won = [status for status, _ in found].count(200)
    assert won == 1
    size = next(i for i, (status, _) in enumerate(found, 2) if status == 200)
    assert served.add(asked(log, 0, 60)) == (409, f"{size}\n".encode())


def test_a_witness_is_made_once_and_a_log_added_once(tmp_path):
    store.init(tmp_path / "w", "witness.example/one")
    witness = store.Witness(tmp_path / "w")
    key = NoteSigner("log.example/once", Ed25519Signer(bytes(32))).verifier_key
    witness.add_log(key)
    for call, reason in (
        (lambda: store.init(tmp_path / "w", "witness.example/one"), "NOT_EMPTY"),
        (lambda: store.init(tmp_path / "v", "no name"), "BAD_NOTE"),
        (lambda: store.init(tmp_path / "v", "https://witness.example/v"), "BAD_WITNESS_NAME"),
        (lambda: witness.add_log(key), "LOG_KNOWN"),
        (lambda: store.Witness(tmp_path / "nothing"), "NO_WITNESS"),
    ):
        with pytest.raises(CredproofError) as error:
            call()
        assert error.value.reason == reason
    witness.close()


@pytest.mark.parametrize("damage", ["missing", "empty", "junk", "a table"])
def test_a_witness_that_lost_its_memory_says_so_and_makes_no_new_one(tmp_path, damage):
    folder = tmp_path / "witness"
    store.init(folder, "witness.example/one")
    database = folder / "witness.db"
    if damage == "a table":
        with closing(sqlite3.connect(database)) as opened:
            opened.execute("DROP TABLE seen")
    else:
        database.write_bytes(b"not a database" * 100 if damage == "junk" else b"")
        if damage == "missing":
            database.unlink()
    key = NoteSigner("log.example/lost", Ed25519Signer(bytes(32))).verifier_key
    for words in (["serve", folder, "--listen", "127.0.0.1:0"], ["list", folder]):
        (told,) = run("witness", *words, code=1).splitlines()
        assert told.rpartition(" ")[2].strip("()") == "WITNESS_DAMAGED"
        assert "credproof witness init" in told
    run("witness", "add-log", folder, str(key), code=1)
    assert database.exists() == (damage != "missing")


def test_a_witness_whose_memory_is_damaged_while_it_serves_cosigns_nothing(tmp_path):
    store.init(tmp_path, "witness.example/one")
    made = NoteSigner("log.example/hurt", Ed25519Signer(bytes(32)))
    with closing(store.Witness(tmp_path)) as witness:
        witness.add_log(made.verifier_key)
        witness._database.execute("DROP TABLE seen")
        told = [_add(witness, asked(made, 0, 3), 1_795_000_000), _newest(witness, "0" * 64)]
    assert [(reply.status_code, reply.body) for reply in told] == [(500, b"WITNESS_DAMAGED\n")] * 2


def test_it_logs_one_line_per_request_without_saying_which_log(served, log):
    served.stop()
    served.start()
    served.add(asked(log, 0, 3))
    served.add(b"")
    logged = served.stop()
    assert logged.splitlines() == [
        '{"status": 200, "reason": null}',
        '{"status": 400, "reason": "BAD_WITNESS_REQUEST"}',
    ]
    assert served.process.returncode == 0


@pytest.mark.parametrize(
    "text", ["junk", "", "log.example+00", "log.example+65230755+AT", "a b+0+AT=="]
)
def test_who_adds_a_log_by_what_is_no_key_is_told_what_one_looks_like(tmp_path, text):
    store.init(tmp_path / "witness", "witness.example/one")
    first, second = run("witness", "add-log", tmp_path / "witness", text, code=2).splitlines()
    assert "NAME+HASH+KEY" in first
    assert first.rpartition(" ")[2].strip("()") == "BAD_VKEY"
    (example,) = re.findall(r"\S+\+\S+\+[\w+/=]+", second)
    assert str(VerifierKey.parse(example)) == example
