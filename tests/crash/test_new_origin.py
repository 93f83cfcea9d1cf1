"""Entries that are lost for good: the log goes on under a new origin, and everybody can see it."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from credproof.auditing.evidence import LogFault
from credproof.auditing.index import INDEX_NAME
from credproof.auditing.trusted import CHECKPOINT_NAME, STATE_NAME, WITNESSED_NAME
from credproof.auditor import Auditor
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import CredproofError, VerificationFailed
from credproof.cli.advice import next_step
from credproof.home import Home
from credproof.lender import KeptAnswer, OfflineVerifier
from credproof.log.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    parse_checkpoint,
    sign_checkpoint,
)
from credproof.log.merkle import Tree, leaf_hash
from credproof_server import new_origin
from credproof_server.backups import making, restoring
from credproof_server.checking import check
from credproof_server.demo.world import AUDITOR, DOMAIN, LENDER, PROVIDER, World
from credproof_server.directory import HIGH_WATER, ServiceDirectory
from credproof_server.log.high_water import HighWater

from tests.cli.command import run
from tests.rpc.conftest import Running
from tests.rpc.takeover import reason

ORIGIN = f"{DOMAIN}/log2"


class Loss:
    """A service with an answer given before its backup, whose newest entries are lost."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.world.make()
        with self.world.served():
            self.world.populate()
            self.running = Running(self.world)
            self.answer = self.ask()
            self.backed_up = self.back_up()
            with self.world.auditor() as auditor:
                auditor.verify()
            self.running.person()
            self.lost_answer = self.ask()
            with self.world.auditor() as auditor:
                auditor.verify()
        self.lost = self._newest()  # an epoch may have been closed after the auditor looked
        (self.world.service / "log.db").unlink()
        (self.world.service / "log.db-wal").unlink(missing_ok=True)
        folder = self.world.folder
        restoring.restore(self.world.service, folder / "backup", folder / "keys", None)

    def copied(self, folder: Path) -> Loss:
        """The same in another folder; only one of all can be served at a time."""
        other = copy.copy(self)
        other.world = self.world.copy(folder)
        other.running = Running(other.world, self.running.count)
        return other

    @property
    def directory(self) -> ServiceDirectory:
        return ServiceDirectory(self.world.service)

    def _newest(self) -> VerifiedCheckpoint:
        key = self.directory.log_signer().verifier_key
        newest = HighWater(self.world.service / HIGH_WATER).newest(key)
        assert newest is not None
        return newest

    def ask(self) -> KeptAnswer:
        with self.world.lender() as lender:
            subject_id, consent, _ = self.running.consented(lender)
            subject = lender.subject(subject_id)
            return lender.ask(subject, policy_id="revolving-standing", consent=consent)

    def back_up(self) -> int:
        folder = self.world.folder
        return making.back_up(self.directory, folder / "backup", folder / "keys")

    def begin_anew(self) -> None:
        new_origin.begin_anew(self.world.service, ORIGIN)


@pytest.fixture(scope="module")
def lost(tmp_path_factory) -> Loss:
    """One to copy, since to make one takes long."""
    return Loss(tmp_path_factory.mktemp("lost"))


@pytest.fixture
def loss(lost, tmp_path) -> Loss:
    return lost.copied(tmp_path / "loss")


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert reason == caught.value.reason


def test_an_operator_is_told_what_a_new_origin_undoes_and_does_it_again_before_serving(loss):
    """Else a stolen key that had ended would count again."""
    service = loss.world.service
    told = run("restore", service, "--new-origin", ORIGIN)
    assert "Undone:     renewals, suspensions" in told
    run("participant", "suspend", service, PROVIDER)
    with loss.world.served():
        assert reason(loss.world.home(PROVIDER)) == "NOT_PERMITTED"


def test_the_first_entry_of_the_new_origin_names_the_last_checkpoint_of_the_old(loss):
    loss.begin_anew()
    with loss.world.served(), loss.world.auditor() as auditor:
        line = json.loads(next(auditor.lines(loss.backed_up, loss.backed_up + 1)))
        checkpoint = auditor.checkpoint()
    assert line["kind"] == "log.continued"
    assert line["fields"]["tree_size"] == loss.lost.tree_size
    assert checkpoint.origin == ORIGIN
    assert check(loss.directory).damage == ()


def test_old_answers_verify_still_and_new_ones_under_the_new_origin(loss):
    loss.begin_anew()
    with loss.world.served():
        new = loss.ask()
        home = Home(loss.world.home(LENDER))
        old = OfflineVerifier(home).verify(loss.answer.to_bytes())
    assert old.checkpoint.origin == f"{DOMAIN}/log"
    assert new.verified.checkpoint.origin == ORIGIN


def test_an_answer_under_an_old_origin_is_not_taken_as_a_new_one(loss):
    loss.begin_anew()
    with loss.world.served(), loss.world.lender() as lender:
        refused("NO_KNOWN_SIGNATURE", lambda: lender.verify(loss.answer.bundle, received_now=True))


def test_an_answer_whose_entry_was_lost_is_told_as_that_when_it_is_refreshed(loss):
    """Not as a wrong argument, nor as a proof that fails: the lender asked for nothing wrong."""
    loss.begin_anew()
    with loss.world.served(), loss.world.lender() as lender, loss.world.auditor() as auditor:
        lost, witnessing = loss.lost_answer.bundle, lender._witnessing
        checkpoint = auditor.checkpoint()
        assert lost.logged.log_index >= checkpoint.tree_size, "not even the index is there"
        refused("ENTRIES_LOST", lambda: witnessing.moved(lost, checkpoint))
        while checkpoint.tree_size <= lost.logged.log_index:
            loss.running.person()
            checkpoint = auditor.checkpoint()
        refused("ENTRIES_LOST", lambda: witnessing.moved(lost, checkpoint))
        moved = witnessing.moved(loss.answer.bundle, checkpoint)
        assert lender.verify(moved).checkpoint.origin == ORIGIN
        advice = str(next_step(VerificationFailed("ENTRIES_LOST", "")))
        assert "credproof audit compare" in advice


def test_an_auditor_is_told_what_was_lost_and_goes_on_and_compares_what_is_left(loss, tmp_path):
    home, signer = loss.world.home(AUDITOR), loss.directory.log_signer()
    beyond = Checkpoint(signer.name, loss.lost.tree_size + 1, bytes(32))
    file, hidden = tmp_path / "old", sign_checkpoint(beyond, [signer])
    file.write_bytes((home / CHECKPOINT_NAME).read_bytes())
    loss.begin_anew()
    with loss.world.served(), loss.world.auditor() as auditor:
        report = auditor.verify()
        (found,) = report.continued
        assert (found.log_index, found.tree_size) == (loss.backed_up, loss.lost.tree_size)
        assert auditor.verify().continued == ()
    words = ("audit", "compare", file, "--home", home)
    assert "entries that were lost" in run(*words, code=2)
    file.write_bytes(loss.answer.bundle.checkpoint)
    assert "the same past" in run(*words)
    file.write_bytes(hidden)
    assert "(LOG_REPLACED)" in run(*words, code=1)


def test_entries_that_an_auditor_verified_are_told_as_lost_as_long_as_it_has_them(loss):
    """`audit follow`, which cron runs, said that nothing is wrong."""
    home, end, size = loss.world.home(AUDITOR), loss.backed_up, loss.lost.tree_size
    own = json.loads((home / STATE_NAME).read_bytes())["tree_size"]
    loss.begin_anew()
    lost = f"entries {end} to {own - 1} of {DOMAIN}/log, which you had verified: lost-{own}.db"
    with loss.world.served():
        told = run("audit", "follow", "--home", home)
        assert f"Continues:   {DOMAIN}/log: entries {end} to {size - 1} of it were lost" in told
        for word in ("follow", "verify"):
            assert lost in run("audit", word, "--home", home)
            (item,) = json.loads(run("audit", word, "--json", "--home", home))["lost"]
            names = {"file": f"lost-{own}.db", "first": end, "last": own - 1}
            assert item == {**names, "origin": f"{DOMAIN}/log"}
        assert "Nothing is wrong" not in run("audit", "follow", "--home", home)
        (home / f"lost-{own}.db").unlink()
        assert "Nothing is wrong" in run("audit", "follow", "--home", home)
    told = run("audit", "search", "--kind", "log.continued", "--home", home)
    assert f"entries {end} to {size - 1} of it were lost" in told


def test_an_auditor_refuses_a_new_origin_that_is_silent_about_what_it_saw(loss):
    """The operator names an older checkpoint than the one that the auditor has."""
    signer = loss.directory.log_signer()
    seen = Checkpoint(signer.name, loss.lost.tree_size + 1, bytes(32))
    home = loss.world.home(AUDITOR)
    (home / CHECKPOINT_NAME).write_bytes(sign_checkpoint(seen, [signer]))
    loss.begin_anew()
    with loss.world.served(), Auditor.open(home) as auditor:
        with pytest.raises(VerificationFailed) as caught:
            auditor.verify()
        assert caught.value.reason == "LOG_REPLACED"


def rewritten(loss: Loss, index: int) -> Checkpoint:
    """Another salt in one entry of what is left, chained anew; gives where it was the old log."""
    origin = loss.directory.log_signer().name
    with closing(sqlite3.connect(loss.world.service / "log.db")) as database, database:
        query = "SELECT line FROM entries ORDER BY log_index"
        found = [line for (line,) in database.execute(query)]
        before = Tree()
        before.extend([leaf_hash(line) for line in found])
        tree = Tree()
        for place, line in enumerate(found):
            entry = json.loads(line)
            if place == index:
                entry["salt"] = b64url(bytes(16))
            if place > index:
                entry["prev"] = b64url(hashlib.sha256(found[place - 1]).digest())
            found[place] = canonical_json(entry)
            tree.append(leaf_hash(found[place]))
            row = (found[place], leaf_hash(found[place]), place)
            database.execute("UPDATE entries SET line = ?, leaf = ? WHERE log_index = ?", row)
        for (size,) in database.execute("SELECT tree_size FROM commits").fetchall():
            row = (tree.root(size), size)
            database.execute("UPDATE commits SET root = ? WHERE tree_size = ?", row)
    return Checkpoint(origin, before.size, before.root())


def test_only_the_lost_tail_may_differ_under_a_new_origin(loss):
    """Else an operator who loses two entries could write all the others anew."""
    home, signer = loss.world.home(AUDITOR), loss.directory.log_signer()
    changed = loss.backed_up - 3
    left = rewritten(loss, changed)
    loss.begin_anew()
    before = (home / CHECKPOINT_NAME).read_bytes()
    with loss.world.served(), Auditor.open(home) as auditor:
        for _ in range(2):
            files = forked(auditor)
            assert f"entry-{changed}.seen.tlog-proof" in files
            assert f"entry-{changed}.now.tlog-proof" in files
        (home / INDEX_NAME).unlink()
        (home / WITNESSED_NAME).write_bytes(sign_checkpoint(left, [signer]))
        assert parse_checkpoint(forked(auditor)["now-past.checkpoint"].decode()).origin == ORIGIN
    assert (home / CHECKPOINT_NAME).read_bytes() == before


def forked(auditor: Auditor) -> Mapping[str, bytes]:
    with pytest.raises(LogFault) as caught:
        auditor.verify()
    assert caught.value.reason == "LOG_FORKED"
    return caught.value.files


def test_a_new_origin_that_was_interrupted_is_not_served_until_it_is_finished(loss, monkeypatch):
    def broken(*_: object) -> None:
        raise OSError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(new_origin, "_publish", broken)
        with pytest.raises(OSError, match="killed"):
            loss.begin_anew()
    refused("ORIGIN_UNFINISHED", loss.directory.open_core)
    loss.begin_anew()
    core = loss.directory.open_core()
    kinds = [json.loads(line)["kind"] for line in lines(core)]
    core.close()
    assert kinds.count("log.continued") == 1


def test_a_second_loss_that_takes_the_beginning_of_the_new_origin_is_told_of_both(loss):
    """A copy of the database of before came back: nothing in it names the origin between."""
    folder, service, second = loss.world.folder, loss.world.service, f"{DOMAIN}/log3"
    loss.begin_anew()
    with loss.world.served():
        loss.running.person()
    between = Home(loss.world.home(AUDITOR)).folder
    (service / "log.db").unlink()
    (service / "log.db-wal").unlink(missing_ok=True)
    shutil.copy(folder / "backup" / "log.db", service / "log.db")
    new_origin.begin_anew(service, second)
    with loss.world.served():
        told = json.loads(run("audit", "verify", "--json", "--home", between))
        home = Home(loss.world.home(LENDER))
        with loss.world.lender():
            old = OfflineVerifier(home).verify(loss.answer.to_bytes())
    ended = {item["origin"]: (item["kept"], item["log_index"]) for item in told["continued"]}
    assert sorted(ended) == [f"{DOMAIN}/log", ORIGIN]
    assert {kept for kept, _ in ended.values()} == {loss.backed_up}
    assert sorted(at for _, at in ended.values()) == [loss.backed_up, loss.backed_up + 1]
    assert told["findings"] == []
    assert old.checkpoint.origin == f"{DOMAIN}/log", "its key is listed still"
    assert check(loss.directory).damage == ()


def lines(core) -> list[bytes]:
    from credproof_server.storage import repository

    with core.engine.connect() as connection:
        return list(repository.all_lines(connection))


def test_a_whole_log_gets_no_new_origin(tmp_path):
    world = World(tmp_path)
    world.make()
    refused("NOTHING_LOST", lambda: new_origin.begin_anew(world.service, ORIGIN))
    refused("BAD_ORIGIN", lambda: new_origin.begin_anew(world.service, "https://x y"))


def test_a_trust_bundle_names_each_origin_once():
    from tests.world import World as Lying

    world = Lying()
    vkey = str(world.log.signer.verifier_key)
    refused("BAD_TRUST", lambda: world.trust(old_logs=(vkey,)))
    assert replace(world.bundle(), old_logs=()).old_logs == ()
