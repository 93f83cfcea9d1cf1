"""A real service and two real witnesses: what is published, kept, refreshed, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.auditing.trusted import WITNESSED_NAME
from credproof.base.errors import Conflict, CredproofError
from credproof.cli.app import app
from credproof.lender import OfflineVerifier
from credproof.log import witnessed as log_witnessed
from credproof.log.checkpoint import (
    Checkpoint,
    parse_checkpoint,
    sign_checkpoint,
    verify_checkpoint,
)
from credproof.log.continued import parse_continued
from credproof.log.cosignature import cosigned
from credproof.log.merkle import Tree, leaf_hash, verify_consistency
from credproof.log.witness import parse_add_checkpoint
from credproof.wire import answer as answer_wire
from credproof.witnessing import Pending
from credproof_server import new_origin, quorums
from credproof_server.demo.world import AUDITOR, LENDER
from credproof_server.directory import (
    DISPROOF,
    HIGH_WATER,
    SAID,
    WITNESSED,
    ServiceDirectory,
)
from credproof_server.log.disproof import DisproofFile
from credproof_server.log.said import SaidFile
from credproof_server.storage import repository
from typer.testing import CliRunner

from tests.cli.command import run
from tests.witness.scene import REQUIRED, Copies, Scene, refused


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


def test_with_a_witness_down_answers_stay_pending_until_it_is_back(scene, tmp_path, monkeypatch):
    scene.witnesses[1].stop()
    with pytest.raises(Pending) as pending:
        scene.ask(REQUIRED.id, wait_s=1.5)
    assert pending.value.reason == "NOT_WITNESSED_YET"
    with monkeypatch.context() as patch:
        patch.setattr(log_witnessed, "WITNESS_LAG_S", -1)
        for command in ("verify", "follow"):
            audited = ("audit", command, "--home", str(scene.world.home(AUDITOR)))
            assert "             not cosigned since" in run(*audited)
            waits = json.loads(run(*audited, "--json"))["unwitnessed"]
            assert waits["first"] <= waits["last"]
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
    assert f"{file}: one, two: quorum reached" in run(*words)
    assert OfflineVerifier(scene.running.home(LENDER)).verify(file.read_bytes()).outcome.tier
    again = file.read_bytes()
    assert f"{file}: was witnessed before: one, two: quorum reached" in run(*words)
    assert file.read_bytes() == again
    file.write_bytes(again[:-5])
    assert "(NOT_A_BUNDLE)" in run(*words, code=1), "as lender verify says"


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
    assert [item.text == scene.quorum for item in former] == [False, True, False], "first nobody"


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


def test_auditors_are_given_what_witnesses_showed_and_show_it_to_others(copies):
    """The service's word against itself counts because both checkpoints bear its signature."""
    (folder,) = copies.shown.iterdir()
    assert folder.name.startswith("LOG_FORKED-")
    assert "has signed another past" in copies.told["verify"]
    key = ServiceDirectory(copies.forked).log_signer().verifier_key
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert str(key) in files["log.vkey"].decode().splitlines()
    assert files["other.checkpoint"] == (copies.forked / DISPROOF).read_bytes()
    seen, other = (
        verify_checkpoint(files[f"{name}.checkpoint"], key.name, [key])
        for name in ("seen", "other")
    )
    asked = parse_add_checkpoint(files["past.request"])
    past = parse_checkpoint(files["past.checkpoint"].decode())
    verify_consistency(past.tree_size, past.root_hash, seen.tree_size, seen.root_hash, asked.proof)
    assert (past.tree_size, asked.note) == (other.tree_size, seen.note)
    assert past.root_hash != other.root_hash


def test_what_witnesses_showed_stops_every_start_though_they_are_silent_and_check_tells_it(copies):
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


def test_a_fork_is_restored_to_what_witnesses_saw_and_what_is_behind_goes_on_anew_after_it(copies):
    forked = copies.forked
    mark = (forked / HIGH_WATER).read_bytes()
    with pytest.raises(CredproofError) as caught:
        new_origin.begin_anew(forked, "demo.example/log2")
    assert caught.value.reason == "LOG_FORKED"
    folder = copies.folder
    require_no_fork_restored(forked, folder)
    assert (forked / HIGH_WATER).read_bytes() == mark
    words = ["restore", forked, "--from", folder / "backup", "--keys-from", folder / "keys"]
    told = run(*map(str, words))
    aside = next(path.parent for path in forked.glob("replaced-*/high-water"))
    assert aside.name in told
    assert (aside / HIGH_WATER).read_bytes() == mark
    assert not (forked / DISPROOF).exists()
    assert "LOG_FORKED" not in run("quorum", "show", str(forked))
    ServiceDirectory(forked).open_core().close()

    behind = copies.behind
    key = ServiceDirectory(behind).log_signer().verifier_key
    seen = DisproofFile(behind / DISPROOF).newest(key)
    assert "Witnessed:  nothing yet" not in run("quorum", "show", str(behind))
    told = run("restore", str(behind), "--new-origin", "demo.example/log2")
    require_unwitnessed(behind, told)
    with closing(ServiceDirectory(behind).open_core()) as core, core.engine.connect() as rows:
        lines = list(repository.all_lines(rows))
    told = [parse_continued(line) for line in lines if b'"kind":"log.continued"' in line]
    assert [(item.origin, item.tree_size) for item in told] == [(key.name, seen.tree_size)]


def require_no_fork_restored(forked: Path, folder: Path) -> None:
    """Neither by a backup of the fork itself, nor by an export of it; all stays as it was."""
    run("backup", forked, "--to", folder / "own", "--keys-to", folder / "own-keys")
    run("export", forked, folder / "own.db", "--since", "0", "--keys-to", folder / "own-keys-2")
    before = sorted(path.name for path in forked.iterdir())
    for words in (
        ("--from", folder / "own", "--keys-from", folder / "own-keys"),
        ("--from-export", folder / "own.db"),
    ):
        assert "(LOG_FORKED)" in run("restore", forked, *words, code=1), words
        assert sorted(path.name for path in forked.iterdir()) == before
    assert (forked / DISPROOF).exists()


def require_unwitnessed(service: Path, told: str) -> None:
    """Nobody has witnessed the new origin, and witnesses must be given its key to do so."""
    shown = run("quorum", "show", str(service))
    key = str(ServiceDirectory(service).log_signer().verifier_key)
    assert f"Log:        {key}" in shown
    assert "Witnessed:  nothing yet" in shown
    assert "one: not asked yet" in shown
    assert f"Log key:    {key}" in told
    assert "credproof witness add-log" in told
    for name in (WITNESSED, SAID):
        assert not (service / name).exists()
        (service / f"{name}.old").rename(service / name)
    assert "Witnessed:  nothing yet" in run("quorum", "show", str(service))
