"""The log's side: it gets what witnesses give, and believes none that lies or is silent."""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from collections.abc import Iterator

import pytest
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.cosignature import Ed25519Cosigner, cosigned, with_lines
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import NoteSigner, parse_note
from credproof.log.quorum import NOBODY, Quorum, parse_quorum
from credproof.log.witness import parse_add_checkpoint
from credproof_server import quorum_cli
from credproof_server.log.cosigning import Cosigning
from credproof_server.log.said import Said, SaidFile
from credproof_server.log.witnesses import compare, newest
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

    def cosigning(self, *monotonic, said=None) -> Cosigning:
        return Cosigning(TREE, self.log.verifier_key, lambda: NOW, said or {}, *monotonic)

    def note(self, size: int, of: Tree = TREE) -> bytes:
        return sign_checkpoint(Checkpoint(self.log.name, size, of.root(size)), [self.log])

    def cosign(self, cosigning: Cosigning, size: int, quorum: Quorum) -> set:
        return set(cosigned(cosigning.cosign(self.note(size), size, quorum), quorum.keys))


@pytest.fixture
def scene(served, request) -> Scene:
    return Scene(served, request.node.name)


NOW = 1_795_000_000


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
    quorum, cosigning = scene.quorum(), scene.cosigning()
    for size in (0, 1, 7, 7, 60):
        found = scene.cosign(cosigning, size, quorum)
        assert found == set(scene.keys)
        assert quorum.is_reached(found)
    assert all(newest(w, scene.log.verifier_key).tree_size == 60 for w in quorum.witnesses.values())


def test_a_log_that_forgot_where_its_witnesses_stand_is_told_and_goes_on(scene):
    quorum = scene.quorum()
    assert scene.cosign(scene.cosigning(), 30, quorum) == set(scene.keys)
    assert scene.cosign(scene.cosigning(), 45, quorum) == set(scene.keys)


def test_without_witnesses_nothing_is_asked(scene):
    assert scene.cosigning().cosign(scene.note(5), 5, NOBODY) == scene.note(5)


def test_a_dead_witness_keeps_nobody_waiting_and_is_asked_again_later(scene):
    dead = Ed25519Cosigner("dead.example", bytes([5] * 32)).key
    quorum = scene.quorum(f"witness dead {dead} http://127.0.0.1:1/\n")
    clock = Clock()
    cosigning = scene.cosigning(clock)
    for size in (10, 20):
        found = scene.cosign(cosigning, size, quorum)
        assert found == set(scene.keys)
        assert not quorum.is_reached(found)


def test_who_is_slow_is_not_waited_for_once_others_suffice_nor_asked_meanwhile(scene):
    let_go, answered = threading.Event(), threading.Event()

    def slow(_):
        let_go.wait(20)
        answered.set()
        return 500, b""

    liar = Liar(slow)
    lines = (*scene.lines, liar.line)
    enough = "".join(lines) + "group enough 2 w0 w1 liar\nquorum enough\n"
    cosigning = scene.cosigning()
    for size in (10, 20):
        assert scene.cosign(cosigning, size, parse_quorum(enough.encode())) == set(scene.keys)
    assert not answered.is_set()
    assert liar.calls == 1
    let_go.set()
    while str(liar.key) not in cosigning.said():
        time.sleep(0.01)
    assert cosigning.said()[str(liar.key)] == Said(NOW, 500, "WITNESS_REFUSED", 0)
    liar.close()


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
    cosigning = scene.cosigning(clock)
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
        scene.cosign(scene.cosigning(), 10, scene.quorum(liar.line))
        told = json.loads(caplog.messages.pop())
        assert told == {"witness": "liar", "status": answer(b"")[0], "reason": reason}
        liar.close()
    scene.cosign(scene.cosigning(), 10, scene.quorum(f"witness dead {dead} http://127.0.0.1:1/\n"))
    told = json.loads(caplog.messages.pop())
    assert told == {"witness": "dead", "status": None, "reason": "WITNESS_UNREACHABLE"}


def test_a_cosignature_by_another_key_or_of_another_checkpoint_is_not_taken(scene):
    thief = Ed25519Cosigner("liar.example", bytes([8] * 32))
    true = Ed25519Cosigner("liar.example", bytes([7] * 32))

    def by_another_key(body):
        note = parse_add_checkpoint(body).note
        return 200, thief.cosign(parse_note(note).text, 1_795_000_000).encode()

    def of_another(_):
        return 200, true.cosign(parse_note(scene.note(9)).text, 1_795_000_000).encode()

    for answer, told in (
        (by_another_key, "it did not cosign by the key in the quorum file"),
        (of_another, "is of something else: ask it why"),
    ):
        liar, cosigning = Liar(answer), scene.cosigning()
        assert scene.cosign(cosigning, 10, scene.quorum(liar.line)) == set(scene.keys)
        assert told in quorum_cli._text(cosigning.said()[str(liar.key)])
        liar.close()


def test_a_log_that_is_behind_its_witnesses_or_another_does_not_start(scene):
    quorum, key = scene.quorum(), scene.log.verifier_key
    assert compare(TREE, key, quorum) == []
    scene.cosign(scene.cosigning(), 50, quorum)
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


def test_what_a_witness_says_against_the_log_counts_only_under_the_logs_own_signature(scene):
    liar, thief = Ed25519Cosigner("liar.example", bytes([7] * 32)), Ed25519Signer(bytes([9] * 32))

    def shown(size: int, of: Tree, note: bytes | None = None) -> bytes:
        note = note or scene.note(size, of)
        return with_lines(note, [liar.cosign(parse_note(note).text, NOW)])

    other = tree(60, b"another")
    stolen = sign_checkpoint(
        Checkpoint(scene.log.name, 60, other.root()), [NoteSigner(scene.log.name, thief)]
    )
    cases = [
        ((422, b""), (200, shown(30, other)), "LOG_FORKED", True),
        ((409, b"61\n"), (200, shown(61, tree(61))), "LOG_BEHIND", True),
        ((422, b""), (404, b""), "WITNESS_DISAGREES", False),
        ((422, b""), (200, shown(60, other, stolen)), "WITNESS_DISAGREES", False),
        ((422, b""), (200, shown(40, TREE)), "WITNESS_DISAGREES", False),
        ((409, b"61\n"), (500, b""), "WITNESS_AHEAD", False),
        ((404, b""), (404, b""), "WITNESS_REFUSED", False),
    ]
    for answer, newest_one, reason, disproves in cases:
        made = Liar(lambda body, told=(answer, newest_one): told[0] if body else told[1])
        cosigning = scene.cosigning()
        cosigning.cosign(scene.note(50), 50, scene.quorum(made.line))
        assert cosigning.said()[str(made.key)] == Said(NOW, answer[0], reason, 0)
        found = cosigning.disproof
        assert (found and found.reason) == (reason if disproves else None)
        made.close()


def test_how_far_each_witness_cosigned_is_kept_and_remembered_when_it_fails(scene, tmp_path):
    file, quorum = SaidFile(tmp_path / "witnesses.json"), scene.quorum()
    assert file.read() == {}
    cosigning = scene.cosigning()
    scene.cosign(cosigning, 20, quorum)
    file.write(cosigning.said())
    kept = {str(key): Said(NOW, 200, None, 20) for key in scene.keys}
    assert file.read() == kept
    liar = Liar(lambda _: (500, b""))
    line = f"witness w0 {scene.keys[0]} {liar.line.split()[3]}\n"
    alone = parse_quorum(f"{line}quorum w0\n".encode())
    again = scene.cosigning(said=file.read())
    scene.cosign(again, 30, alone)
    first, second = (again.said()[str(key)] for key in scene.keys)
    assert (first, second) == (Said(NOW, 500, "WITNESS_REFUSED", 20), kept[str(scene.keys[1])])
    for junk in (b"", b"[]", b'{"x":1}', b"\xff"):
        (tmp_path / "witnesses.json").write_bytes(junk)
        assert file.read() == {}
    liar.close()
