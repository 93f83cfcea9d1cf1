"""A real service and two real witnesses: what is published, kept, refreshed, and refused."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
from credproof import standard
from credproof.auditor import WITNESSED_NAME
from credproof.base.errors import Conflict, CredproofError, DataLoss, Unreachable
from credproof.cli.app import app
from credproof.lender import KeptAnswer, OfflineVerifier
from credproof.log.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from credproof.log.continued import parse_continued
from credproof.log.cosignature import Ed25519Cosigner, cosigned
from credproof.log.merkle import Tree, leaf_hash
from credproof.log.note import parse_note
from credproof.log.witness import parse_add_checkpoint
from credproof.verification.trust import Trust
from credproof.wire import answer as answer_wire
from credproof.witnessing import Pending
from credproof_server import backups, new_origin, quorums, standing
from credproof_server.admission import change_bundle
from credproof_server.config import FILE_NAME
from credproof_server.demo.world import AUDITOR, LENDER, World
from credproof_server.directory import DISPROOF, HIGH_WATER, SAID, WITNESSED, ServiceDirectory
from credproof_server.log.disproof import DisproofFile
from credproof_server.log.said import SaidFile
from credproof_server.storage import repository
from credproof_server.witness import store
from typer.testing import CliRunner

from tests.cli.command import run
from tests.deployment import watch
from tests.proposing import proposed, variant
from tests.rpc.conftest import Running
from tests.witness.test_asking import Liar
from tests.witness.test_witness import Served

REQUIRED = variant("witnessed-standing", witness="required")
WAIT_S = 30.0


class Scene:
    """A service whose quorum is two of three witnesses, one of which lies."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.make()
        watch(self.world.service, "")
        self._listen()
        self.witnesses = [self._witness(name) for name in ("one", "two")]
        thief = Ed25519Cosigner("liar.example", bytes([8] * 32))

        def lie(body: bytes) -> tuple[int, bytes]:
            text = parse_note(parse_add_checkpoint(body).note).text if body else ""
            return (200, thief.cosign(text, int(time.time())).encode()) if text else (500, b"")

        self.liar = Liar(lie)
        self.quorum = "".join(self.lines()) + "group enough 2 one two liar\nquorum enough\n"
        self.running = Running(self.world)
        self.served = ExitStack()

    def _listen(self) -> None:
        path = self.world.service / FILE_NAME
        text = path.read_text().replace('tiles_listen = ""', 'tiles_listen = "127.0.0.1:0"')
        path.write_text(text)

    def _witness(self, name: str) -> Served:
        folder = self.world.folder / f"witness-{name}"
        store.init(folder, f"witness.example/{name}")
        with closing(store.Witness(folder)) as witness:
            witness.add_log(self.directory.log_signer().verifier_key)
        return Served(folder)

    def lines(self) -> Iterator[str]:
        for name, served in zip(("one", "two"), self.witnesses, strict=True):
            with closing(store.Witness(served.folder)) as witness:
                key = witness.cosigners[0].key
            yield f"witness {name} {key} http://{served.address}/\n"
        yield self.liar.line

    @property
    def directory(self) -> ServiceDirectory:
        return ServiceDirectory(self.world.service)

    @property
    def lender_home(self) -> Path:
        return self.world.home(LENDER)

    def start(self) -> None:
        self.served.enter_context(self.world.served())

    def stop(self) -> None:
        self.served.close()

    def publish_policy(self) -> None:
        pin = proposed(self.world.service, REQUIRED).pin
        change_bundle(
            self.directory,
            lambda now: replace(now.bundle, policies=(*now.bundle.policies, pin)),
            None,
            documents=(REQUIRED.document,),
        )

    def ask(self, policy: str, *, wait_s: float = WAIT_S):
        with self.world.lender() as lender:
            lender.witness_wait_s = wait_s
            subject, borrower = self.running.person()
            found = lender.subject(subject)
            request = lender.request(found, policy_id=policy)
            consent = borrower.consent(borrower.check(request), language="zh")
            return lender.ask(found, policy_id=policy, consent=consent)

    def refresh(self, bundle):
        """The answer, once witnesses have come so far."""
        with self.world.lender() as lender:
            return until(lambda: lender.refresh(bundle))

    def checkpoint(self) -> tuple[int, bytes]:
        running = json.loads((self.world.service / "running.json").read_text())
        connection = http.client.HTTPConnection(running["tiles"], timeout=10)
        connection.request("GET", "/checkpoint")
        reply = connection.getresponse()
        found = reply.status, reply.read()
        connection.close()
        return found

    def kept(self) -> bytes:
        return (self.world.service / WITNESSED).read_bytes()

    def trust(self) -> Trust:
        return self.running.home(LENDER).trust(at=0)


def until(call):
    """What a call gives once witnesses have cosigned."""
    deadline = time.monotonic() + WAIT_S
    while True:
        try:
            return call()
        except CredproofError as error:
            if error.reason != "NOT_WITNESSED_YET" or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("witnessed"))
    quorums.set_quorum(made.world.service, made.quorum.encode())
    made.publish_policy()
    made.start()
    made.world.populate()
    yield made
    made.stop()
    made.liar.close()
    for witness in made.witnesses:
        if witness.process.poll() is None:
            witness.stop()


def test_an_answer_is_pending_then_refreshed_and_its_entries_stay(scene, tmp_path):
    kept = scene.ask("revolving-standing")
    assert kept.verified.witnesses.state == "pending"
    scene.running.person()  # the log grows on, so every proof is another one
    found = scene.refresh(kept.bundle)
    assert found.verified.witnesses.state == "reached"
    assert set(found.verified.witnesses.times) == {"one", "two"}
    assert found.bundle.logged.line == kept.bundle.logged.line
    assert found.bundle.answer == kept.bundle.answer
    assert scene.refresh(found.bundle).to_bytes() == found.to_bytes()

    lines = found.bundle.checkpoint.decode().splitlines(keepends=True)
    place = next(i for i, line in enumerate(lines) if "witness.example/two" in line)
    lines[place] = (
        lines[place][:-20] + ("A" if lines[place][-20] != "A" else "B") + lines[place][-19:]
    )
    bad = replace(found.bundle, checkpoint="".join(lines).encode())
    with pytest.raises(CredproofError) as caught:
        OfflineVerifier(scene.running.home(LENDER)).verify(answer_wire.to_bytes(bad))
    assert (caught.value.step, caught.value.reason) == (8, "BAD_SIGNATURE")


def test_everybody_gets_the_newest_witnessed_checkpoint_and_auditors_keep_it(scene):
    scene.refresh(scene.ask("revolving-standing").bundle)
    status, note = scene.checkpoint()
    trust = scene.trust()
    assert status == 200
    assert trust.quorum.is_reached(cosigned(note, trust.quorum.keys))
    mark = (scene.world.service / HIGH_WATER).read_bytes()
    sizes = [
        verify_checkpoint(each, trust.log_key.name, [trust.log_key]).tree_size
        for each in (scene.kept(), mark)
    ]
    assert sizes[0] <= sizes[1]
    with scene.world.auditor() as auditor:
        checkpoint, witnesses = auditor.witnessed(auditor.verify().checkpoint)
    assert witnesses.state == "reached"
    assert (scene.world.home(AUDITOR) / WITNESSED_NAME).read_bytes() == checkpoint.note
    shown = CliRunner().invoke(app, ["quorum", "show", str(scene.world.service), "--json"])
    assert json.loads(shown.stdout)["witnessed"]["state"] == "reached"
    one, _, liar = json.loads(shown.stdout)["witnesses"]
    assert (one["name"], one["status"], one["reason"]) == ("one", 200, None)
    assert one["tree_size"] >= checkpoint.tree_size
    assert (liar["name"], liar["reason"], liar["tree_size"]) == ("liar", "WITNESS_REFUSED", 0)
    shown = CliRunner().invoke(app, ["quorum", "show", str(scene.world.service)])
    assert "liar: 0 entries cosigned; at " in shown.stdout
    assert "WITNESS_REFUSED, HTTP status 200: it did not cosign by the key" in shown.stdout
    told = CliRunner().invoke(app, ["audit", "verify", "--home", str(scene.world.home(AUDITOR))])
    assert "quorum reached at" in told.stdout


def test_a_copy_has_the_checkpoint_that_witnesses_cosigned_but_never_goes_back(scene, tmp_path):
    quorum = scene.trust().quorum
    with scene.world.auditor() as auditor:
        copied = auditor.export(tmp_path).checkpoint
        assert quorum.is_reached(cosigned((tmp_path / "checkpoint").read_bytes(), quorum.keys))
        assert copied.tree_size == verify_size(scene, (tmp_path / "checkpoint").read_bytes())
        assert auditor._to_copy(copied.tree_size + 10**6).note == auditor.checkpoint().note


def forked(scene: Scene, bundle):
    """The answer as a service shows it that has another first entry for this lender alone."""
    with scene.world.auditor() as auditor:
        size = auditor.checkpoint().tree_size
        leaves = [leaf_hash(line) for line in auditor.lines(0, size)]
    tree = Tree()
    tree.extend([leaf_hash(b"another"), *leaves[1:]])

    def proved(place):
        return replace(place, hashes=tree.inclusion_proof(place.log_index, size))

    log = scene.directory.log_signer()
    assert bundle.directory is not None
    return replace(
        bundle,
        directory=replace(bundle.directory, root=proved(bundle.directory.root)),
        logged=proved(bundle.logged),
        tokens=tuple(replace(i, logged=proved(i.logged)) for i in bundle.tokens),
        bindings=tuple(replace(i, logged=proved(i.logged)) for i in bundle.bindings),
        checkpoint=sign_checkpoint(Checkpoint(log.name, size, tree.root()), [log]),
    )


def test_refreshing_finds_a_log_that_was_shown_to_this_lender_alone_and_keeps_it(scene, tmp_path):
    kept = scene.ask("revolving-standing")
    bundle = forked(scene, kept.bundle)
    scene.refresh(kept.bundle)
    with scene.world.lender() as lender:
        assert lender.verify(bundle).witnesses.state == "pending"
    file = tmp_path / "forked.answer"
    file.write_bytes(answer_wire.to_bytes(bundle))
    words = ["lender", "refresh", file, "--home", scene.lender_home]
    said, step = run(*words, code=1).splitlines()[-2:]
    assert said.endswith("(LOG_FORKED)")
    assert "keep your files as they are" in step
    assert file.read_bytes() == answer_wire.to_bytes(bundle)
    key = scene.trust().log_key
    with scene.world.auditor() as auditor, pytest.raises(CredproofError) as found:
        auditor.witnessed(verify_checkpoint(bundle.checkpoint, key.name, [key]))
    assert found.value.reason == "BAD_CONSISTENCY_PROOF"


def test_a_policy_that_requires_witnesses_waits_for_them(scene):
    assert scene.ask(REQUIRED.id).verified.witnesses.state == "reached"


def test_with_a_witness_down_answers_stay_pending_until_it_is_back(scene, tmp_path):
    scene.witnesses[1].stop()
    with pytest.raises(Pending) as pending:
        scene.ask(REQUIRED.id, wait_s=1.5)
    assert pending.value.reason == "NOT_WITNESSED_YET"
    file = tmp_path / "case.answer"
    file.write_bytes(pending.value.to_bytes())
    with pytest.raises(CredproofError) as caught:
        OfflineVerifier(scene.running.home(LENDER)).verify(file.read_bytes())
    assert (caught.value.step, caught.value.reason) == (8, "NOT_WITNESSED")
    words = ["lender", "refresh", str(file), "--home", str(scene.lender_home)]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, file.read_bytes()) == (3, pending.value.to_bytes())

    scene.witnesses[1].start()
    scene.refresh(pending.value.bundle)
    assert CliRunner().invoke(app, words).exit_code == 0
    assert OfflineVerifier(scene.running.home(LENDER)).verify(file.read_bytes()).outcome.tier
    again = file.read_bytes()
    assert CliRunner().invoke(app, words).exit_code == 0
    assert file.read_bytes() == again


def test_a_restart_keeps_what_was_witnessed_and_dead_witnesses_stop_nobody(scene):
    before = scene.checkpoint()
    scene.stop()
    for witness in scene.witnesses:
        witness.stop()
    scene.start()
    assert scene.checkpoint()[0] == 200
    assert verify_size(scene, scene.checkpoint()[1]) >= verify_size(scene, before[1])
    for witness in scene.witnesses:
        witness.start()


def verify_size(scene: Scene, note: bytes) -> int:
    key = scene.trust().log_key
    return verify_checkpoint(note, key.name, [key]).tree_size


def test_what_was_witnessed_stays_so_when_the_quorum_is_changed_or_taken_away(scene, tmp_path):
    home, file = scene.running.home(LENDER), tmp_path / "case.answer"
    file.write_bytes(scene.ask(REQUIRED.id).to_bytes())
    lines = scene.quorum.splitlines(keepends=True)
    for text in ("".join([lines[0], "quorum one\n"]), ""):
        quorums.set_quorum(scene.world.service, text.encode())
        with scene.world.lender() as lender:  # knows the newest bundle from now on
            lender.refresh(answer_wire.parse(file.read_bytes()))
        found = OfflineVerifier(home).verify(file.read_bytes())
        assert set(found.witnesses.times) == {"one", "two"}
    former = scene.trust().bundle.former_quorums
    assert [item.text == scene.quorum for item in former] == [True, False]


def test_without_a_quorum_there_is_nothing_to_refresh(tmp_path, scene):
    quorums.set_quorum(scene.world.service, b"")
    kept = scene.ask("revolving-standing")
    assert kept.verified.witnesses.state == "none"
    with scene.world.lender() as lender, pytest.raises(Conflict) as caught:
        lender.refresh(kept.bundle)
    assert caught.value.reason == "NO_QUORUM"
    assert scene.checkpoint()[0] == 200
    quorums.set_quorum(scene.world.service, scene.quorum.replace("127.0.0.1", "127.0.0.2").encode())
    with scene.world.lender() as lender, pytest.raises(CredproofError):
        lender.refresh(kept.bundle)


def test_a_question_that_needs_witnesses_whom_nobody_names_is_answered_once_somebody_is(
    scene, tmp_path
):
    quorums.set_quorum(scene.world.service, b"")
    consent, output = tmp_path / "case.consent", tmp_path / "case.answer"
    with scene.world.lender() as lender:
        subject, borrower = scene.running.person()
        request = lender.request(lender.subject(subject), policy_id=REQUIRED.id)
        consent.write_text(borrower.consent(borrower.check(request), language="zh"))
    words = ["lender", "ask", "--policy", REQUIRED.id, "--subject", subject, "--consent", consent]
    words += ["-o", output, "--home", scene.lender_home]
    told = run(*words, code=1)
    assert "(NOT_WITNESSED)" in told
    assert "put the same question again" in told
    assert "refresh" not in told
    assert not output.exists()
    quorums.set_quorum(scene.world.service, scene.quorum.encode())
    run(*words)
    assert OfflineVerifier(scene.running.home(LENDER)).verify(output.read_bytes()).outcome.tier


# -- from here on the service is down, and so are its witnesses


class Copies:
    """A service that is behind, and one that went another way; then all witnesses are down.

    `told` is what callers were told by the second, while it ran and witnesses came back.
    """

    def __init__(self, scene: Scene, folder: Path) -> None:
        kept = scene.ask("revolving-standing")
        scene.stop()
        self.folder, self.scene = folder, scene
        self.behind, world = folder / "behind", scene.world.copy(folder / "other")
        self.forked = world.service
        shutil.copytree(scene.world.service, self.behind)
        scene.start()
        scene.refresh(kept.bundle)
        scene.refresh(scene.ask("revolving-standing").bundle)
        scene.stop()
        backups.back_up(scene.directory, folder / "backup", folder / "keys")
        assert refused(self.behind) == "LOG_BEHIND"
        self.told = self._fork(world, kept)

    def _fork(self, world: World, kept: KeptAnswer) -> dict[str, str]:
        for witness in self.scene.witnesses:
            witness.stop()
        for days in range(30, 39):  # nobody hears of these
            changed = replace(standard.purposes()[0], data_life_days=days)
            standing.set_template(world.service, changed)
        with world.served():
            for witness in self.scene.witnesses:
                witness.start()
            told = self._told(world, kept)
        for witness in self.scene.witnesses:
            witness.stop()
        return told

    def _told(self, world: World, kept: KeptAnswer) -> dict[str, str]:
        home, file = str(world.home(AUDITOR)), self.folder / "kept.answer"
        file.write_bytes(kept.to_bytes())
        refresh = ("lender", "refresh", str(file), "--home", str(world.home(LENDER)))
        until(lambda: None if "LOG_FORKED" in tried(*refresh) else pending())
        return {
            "operator": run("participant", "suspend", str(world.service), LENDER, code=1),
            "lender": run(*refresh, code=1),
            "verify": run("audit", "verify", "--home", home, code=1),
            "follow": run("audit", "follow", "--home", home, code=1),
            "export": run("audit", "export", str(self.folder / "tiles"), "--home", home, code=1),
            "show": run("quorum", "show", str(world.service)),
        }


def tried(*words: str) -> str:
    done = CliRunner().invoke(app, words)
    return done.output


def pending() -> NoReturn:
    raise Unreachable("NOT_WITNESSED_YET", "the service has not noticed yet")


@pytest.fixture(scope="module")
def copies(scene, tmp_path_factory) -> Copies:
    return Copies(scene, tmp_path_factory.mktemp("copies"))


def test_everybody_is_told_while_a_service_runs_that_was_shown_its_fork(copies):
    for who in ("operator", "lender", "verify", "follow", "export"):
        assert "log is not the one that it signed before (LOG_FORKED)" in copies.told[who], who
        assert "credproof quorum show" in copies.told[who], who
    assert "Verified:    signature, hash chain" in copies.told["verify"]
    assert "Entries:   " in copies.told["follow"]
    assert "Disproof:   " in copies.told["show"]


def test_a_copy_that_is_behind_or_goes_another_way_starts_no_more_though_witnesses_are_silent(
    copies,
):
    behind, forked = copies.behind, copies.forked
    said = {item.reason for item in SaidFile(forked / SAID).read().values()}
    assert "LOG_FORKED" in said
    for _ in range(2):
        assert refused(behind) == "LOG_BEHIND"
        assert refused(forked) == "LOG_FORKED"
    (behind / DISPROOF).rename(behind / "kept")
    (behind / DISPROOF).write_bytes(b"junk")
    assert refused(behind) == "DISPROOF_DAMAGED"
    (behind / "kept").replace(behind / DISPROOF)


def test_check_and_quorum_show_tell_the_operator_of_a_fork_and_what_to_do(copies):
    for copy, reason in ((copies.behind, "LOG_BEHIND"), (copies.forked, "LOG_FORKED")):
        told = run("check", str(copy), code=1)
        assert "damaged: what witnesses saw: a witness saw" in told
        assert f"({reason})" in told
        assert "next:    re" in told
        assert "nothing is damaged" not in told
        shown = run("quorum", "show", str(copy))
        assert "Log:        demo.credproof.example/log+" in shown
        assert "Disproof:   " in shown
        assert "credproof restore" in shown
        assert json.loads(run("quorum", "show", str(copy), "--json"))["disproof"]


def test_a_forked_copy_is_restored_to_what_witnesses_saw_and_goes_on(copies):
    forked = copies.forked
    mark = (forked / HIGH_WATER).read_bytes()
    with pytest.raises(CredproofError) as caught:
        new_origin.begin_anew(forked, "demo.example/log2")
    assert caught.value.reason == "LOG_FORKED"
    folder = copies.folder
    words = ["restore", forked, "--from", folder / "backup", "--keys-from", folder / "keys"]
    told = run(*map(str, words))
    aside = next(path.parent for path in forked.glob("replaced-*/high-water"))
    assert aside.name in told
    assert (aside / HIGH_WATER).read_bytes() == mark
    assert not (forked / DISPROOF).exists()
    ServiceDirectory(forked).open_core().close()


def test_a_copy_that_is_behind_goes_on_anew_after_what_witnesses_saw(copies):
    behind = copies.behind
    key = ServiceDirectory(behind).log_signer().verifier_key
    seen = DisproofFile(behind / DISPROOF).newest(key)
    new_origin.begin_anew(behind, "demo.example/log2")
    with closing(ServiceDirectory(behind).open_core()) as core, core.engine.connect() as rows:
        lines = list(repository.all_lines(rows))
    told = [parse_continued(line) for line in lines if b'"kind":"log.continued"' in line]
    assert [(item.origin, item.tree_size) for item in told] == [(key.name, seen.tree_size)]


def refused(service: Path) -> str:
    with pytest.raises(DataLoss) as caught:
        ServiceDirectory(service).open_core()
    return caught.value.reason
