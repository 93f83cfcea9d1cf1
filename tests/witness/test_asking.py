"""The log's side: it gets what witnesses give, and believes none that lies or is silent."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator

import pytest
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.cosignature import Ed25519Cosigner, cosigned
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner, parse_note
from credproof.log.quorum import NOBODY, Quorum, parse_quorum
from credproof.log.witness import parse_add_checkpoint
from credproof_server.log.witnesses import Cosigning, compare, newest
from credproof_server.witness import store

from tests.witness.test_witness import Served


def tree(size: int, flavour: bytes = b"") -> Tree:
    made = Tree()
    made.extend([leaf_hash(flavour + bytes([i])) for i in range(size)])
    return made


TREE = tree(60)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[list[Served]]:
    """Two witnesses in processes of their own."""
    made = []
    for name in ("one", "two"):
        folder = tmp_path_factory.mktemp(name)
        store.init(folder, f"witness.example/{name}")
        made.append(Served(folder))
    yield made
    for item in made:
        item.stop()


class Scene:
    """A log known to both witnesses, and quorums over them."""

    def __init__(self, served: list[Served], name: str) -> None:
        seed = hashlib.sha256(name.encode()).digest()
        self.log = NoteSigner(f"log.example/{name}", Ed25519Signer(seed))
        self.served = served
        self.lines, self.keys = [], []
        for number, item in enumerate(served):
            witness = store.Witness(item.folder)
            witness.add_log(self.log.verifier_key)
            self.keys.append(witness.cosigners[0].key)
            witness.close()
            self.lines.append(f"witness w{number} {self.keys[-1]} http://{item.address}/\n")

    def quorum(self, *more: str) -> Quorum:
        names = " ".join(line.split()[1] for line in (*self.lines, *more))
        text = "".join((*self.lines, *more)) + f"group all-of-them all {names}\n"
        return parse_quorum(f"{text}quorum all-of-them\n".encode())

    def note(self, size: int, of: Tree = TREE) -> bytes:
        return sign_checkpoint(Checkpoint(self.log.name, size, of.root(size)), [self.log])

    def cosign(self, cosigning: Cosigning, size: int, quorum: Quorum) -> set:
        return set(cosigned(cosigning.cosign(self.note(size), size, quorum), quorum.keys))


@pytest.fixture
def scene(served, request) -> Scene:
    return Scene(served, request.node.name)


class Clock:
    """A monotonic clock that stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Liar:
    """A witness that answers everything with the same status and body."""

    def __init__(self, answer) -> None:
        liar = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                liar.calls += 1
                body = self.rfile.read(int(self.headers["content-length"]))
                status, told = answer(body)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(told)

            do_GET = do_POST  # noqa: N815

            def log_message(self, *_):
                pass

        self.calls = 0
        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.key = Ed25519Cosigner("liar.example", bytes([7] * 32)).key
        self.line = f"witness liar {self.key} http://127.0.0.1:{self.server.server_port}\n"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_both_witnesses_cosign_as_the_log_grows(scene):
    quorum, cosigning = scene.quorum(), Cosigning(TREE)
    for size in (0, 1, 7, 7, 60):
        found = scene.cosign(cosigning, size, quorum)
        assert found == set(scene.keys)
        assert quorum.is_reached(found)
    assert all(newest(w, scene.log.verifier_key).tree_size == 60 for w in quorum.witnesses.values())


def test_a_log_that_forgot_where_its_witnesses_stand_is_told_and_goes_on(scene):
    quorum = scene.quorum()
    assert scene.cosign(Cosigning(TREE), 30, quorum) == set(scene.keys)
    assert scene.cosign(Cosigning(TREE), 45, quorum) == set(scene.keys)


def test_without_witnesses_nothing_is_asked(scene):
    assert Cosigning(TREE).cosign(scene.note(5), 5, NOBODY) == scene.note(5)


def test_a_dead_witness_keeps_nobody_waiting_and_is_asked_again_later(scene):
    dead = Ed25519Cosigner("dead.example", bytes([5] * 32)).key
    quorum = scene.quorum(f"witness dead {dead} http://127.0.0.1:1/\n")
    clock = Clock()
    cosigning = Cosigning(TREE, clock)
    for size in (10, 20):
        found = scene.cosign(cosigning, size, quorum)
        assert found == set(scene.keys)
        assert not quorum.is_reached(found)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: (500, b""),
        lambda _: (302, b""),
        lambda _: (200, b""),
        lambda _: (200, b"\xff\xfe"),
        lambda _: (200, b"x" * 200_000),
        lambda _: (409, b"ten\n"),
        lambda _: (409, b"61\n"),
        lambda _: (409, b"3\n"),
    ],
)
def test_a_witness_that_answers_nonsense_gives_nothing_and_is_left_alone_for_a_while(scene, answer):
    liar = Liar(answer)
    quorum, clock = scene.quorum(liar.line), Clock()
    cosigning = Cosigning(TREE, clock)
    assert scene.cosign(cosigning, 10, quorum) == set(scene.keys)
    calls = liar.calls
    scene.cosign(cosigning, 11, quorum)
    assert liar.calls == calls
    clock.now = 1.0
    scene.cosign(cosigning, 12, quorum)
    assert liar.calls > calls
    liar.close()


def test_a_witness_that_fails_is_named_in_the_log_with_the_reason(scene, caplog):
    dead = Ed25519Cosigner("dead.example", bytes([5] * 32)).key
    liars = {"WITNESS_REFUSED": lambda _: (500, b""), "WITNESS_AHEAD": lambda _: (409, b"61\n")}
    for reason, answer in liars.items():
        liar = Liar(answer)
        scene.cosign(Cosigning(TREE), 10, scene.quorum(liar.line))
        assert json.loads(caplog.messages.pop()) == {"witness": "liar", "reason": reason}
        liar.close()
    scene.cosign(Cosigning(TREE), 10, scene.quorum(f"witness dead {dead} http://127.0.0.1:1/\n"))
    assert json.loads(caplog.messages.pop())["reason"] == "WITNESS_UNREACHABLE"


def test_a_cosignature_by_another_key_or_of_another_checkpoint_is_not_taken(scene):
    thief = Ed25519Cosigner("liar.example", bytes([8] * 32))
    true = Ed25519Cosigner("liar.example", bytes([7] * 32))

    def by_another_key(body):
        note = parse_add_checkpoint(body).note
        return 200, thief.cosign(parse_note(note).text, 1_795_000_000).encode()

    def of_another(_):
        return 200, true.cosign(parse_note(scene.note(9)).text, 1_795_000_000).encode()

    for answer in (by_another_key, of_another):
        liar = Liar(answer)
        found = scene.cosign(Cosigning(TREE), 10, scene.quorum(liar.line))
        assert found == set(scene.keys)
        liar.close()


def test_a_log_that_is_behind_its_witnesses_or_another_does_not_start(scene):
    quorum, key = scene.quorum(), scene.log.verifier_key
    assert compare(TREE, key, quorum) == []
    scene.cosign(Cosigning(TREE), 50, quorum)
    assert compare(TREE, key, quorum) == []
    assert compare(tree(50), key, quorum) == []
    for mine, reason in ((tree(49), "LOG_BEHIND"), (tree(60, b"another"), "LOG_FORKED")):
        with pytest.raises(CredproofError) as error:
            compare(mine, key, quorum)
        assert error.value.reason == reason


def test_a_silent_or_lying_witness_does_not_stop_a_start_and_is_named(scene):
    dead = Ed25519Cosigner("dead.example", bytes([5] * 32)).key
    liar = Liar(lambda _: (200, scene.note(60, tree(60, b"another"))))
    quorum = scene.quorum(f"witness dead {dead} http://127.0.0.1:1/\n", liar.line)
    assert compare(TREE, scene.log.verifier_key, quorum) == ["dead", "liar"]
    liar.close()
