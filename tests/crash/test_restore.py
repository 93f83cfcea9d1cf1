"""The whole drill: back up, go on, lose everything, restore. No fork, nobody comes back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from credproof.base.errors import Conflict, CredproofError, DataLoss, Malformed, Refused
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import verify_checkpoint
from credproof.log.merkle import verify_consistency
from credproof_server.backups import copies, making, reached, refilling
from credproof_server.checking import check
from credproof_server.storage import repository
from sqlalchemy import select

from tests.crash.drill import refused
from tests.deployment import package, statement
from tests.service.asking import Asking
from tests.world import POLICY


async def test_an_older_backup_refuses_to_sign_and_says_what_is_missing(drill):
    drill.destroy()
    restored = drill.restore()
    assert restored == reached.Restored(drill.backed_up, drill.size)

    error = refused("LOG_BEHIND", drill.directory.open_core)
    assert f"{drill.backed_up} to {drill.size - 1}" in error.message
    assert isinstance(error, DataLoss)


async def test_a_refilled_log_goes_on_where_it_was_signed_and_is_no_fork(drill):
    drill.destroy()
    drill.restore()
    assert refilling.refill(drill.directory, drill.export).missing == 0
    assert check(drill.directory).damage == ()

    core = drill.directory.open_core()
    try:
        asking = Asking(drill.deployment, core)
        await asking.submit([package(statement(account="after"), asking.bank)])
        key = core.sequencer._signer.verifier_key
        old = verify_checkpoint(drill.note, key.name, [key])
        new = verify_checkpoint(core.sequencer.head.note, key.name, [key])
        proof = core.sequencer.state.tree.consistency_proof(old.tree_size, new.tree_size)
        verify_consistency(old.tree_size, old.root_hash, new.tree_size, new.root_hash, proof)
    finally:
        core.close()


async def test_what_was_revoked_used_up_or_superseded_stays_so(drill):
    drill.destroy()
    drill.restore()
    refilling.refill(drill.directory, drill.export)
    core = drill.directory.open_core()
    try:
        asking = Asking(drill.deployment, core)
        for consent_id, reason in (
            (drill.kept_consent, "CONSENT_REVOKED"),
            (drill.used_consent, "CONSENT_USED_UP"),
        ):
            with pytest.raises(Refused) as caught:
                await asking.ask(asking.question(POLICY, consent_id))
            assert reason == caught.value.reason
        with core.engine.connect() as connection:
            rows = repository.current_attestations(connection, [asking.sub])[asking.sub]
        assert sorted(row.seq for row in rows) == [1, 2], "the key's binding, and the newer figures"
    finally:
        core.close()


async def test_whoever_was_erased_since_the_backup_does_not_come_back(drill):
    sub = statement().sub
    drill.erase(sub)
    drill.destroy()
    drill.restore(keys=drill.keys)  # the older data keys: the person is still in them
    engine = drill.directory.engine("vault")
    from credproof_server.storage.tables import data_keys

    with engine.connect() as connection:
        row = connection.execute(select(data_keys).where(data_keys.c.sub == sub)).one()
    engine.dispose()
    assert (row.erased, row.wrapped) == (True, b"")


async def test_data_keys_that_are_newer_than_their_backup_are_kept(drill):
    drill.destroy()
    drill.restore(keys=drill.keys)
    refilling.refill(drill.directory, drill.export)
    assert check(drill.directory).damage == ()


async def test_a_machine_that_is_lost_is_restored_with_kek_and_newest_checkpoint(drill, tmp_path):
    kek = (drill.directory.folder / "kek").read_bytes()
    note = tmp_path / "newest.checkpoint"
    note.write_bytes(drill.note)
    shutil.rmtree(drill.deployment.service)
    refused("NO_KEK", drill.restore)

    drill.deployment.service.mkdir(exist_ok=True)
    (drill.deployment.service / "kek").write_bytes(kek)
    refused("NO_CHECKPOINT", drill.restore)
    assert drill.restore(checkpoint=note).missing == drill.size - drill.backed_up
    assert refilling.refill(drill.directory, drill.export).missing == 0
    assert check(drill.directory).damage == ()


async def test_an_export_that_leaves_a_gap_is_refused(drill, tmp_path):
    late = tmp_path / "late.db"
    making.export(drill.directory, late, drill.backed_up + 1)
    drill.destroy()
    drill.restore()
    refused("GAP", lambda: refilling.refill(drill.directory, late))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE entries SET line = CAST(replace(line, 'lend', 'bank') AS BLOB)",
        "UPDATE commits SET root = zeroblob(32)",
        "DELETE FROM entries WHERE log_index = (SELECT min(log_index) + 1 FROM entries)",
    ],
)
async def test_a_bent_export_is_refused_as_a_whole(drill, change):
    drill.destroy()
    before = drill.restore()
    with closing(sqlite3.connect(drill.export)) as database, database:
        database.execute(change)
    with pytest.raises(CredproofError) as caught:
        refilling.refill(drill.directory, drill.export)
    assert caught.value.reason in ("CHAIN_BROKEN", "EXPORT_DIFFERS", "SEQ_GAP")
    assert before == reached.state(drill.directory)


async def test_a_refill_may_be_repeated(drill):
    drill.destroy()
    drill.restore()
    once = refilling.refill(drill.directory, drill.export)
    assert once == refilling.refill(drill.directory, drill.export)
    assert check(drill.directory).damage == ()


async def test_what_a_restore_replaces_is_kept_beside_it(drill):
    drill.restore()
    (aside,) = drill.directory.folder.glob("replaced-*")
    assert (aside / "log.db").stat().st_size > 0


async def test_a_backup_is_made_beside_writers_and_is_whole(drill):
    copy = sqlite3.connect(drill.main / "log.db")
    with closing(copy):
        audit = LogAudit()
        for (line,) in copy.execute("SELECT line FROM entries ORDER BY log_index"):
            audit.feed(line)
    assert audit.size == drill.backed_up


async def test_neither_part_of_a_backup_holds_the_kek_the_root_or_the_other_part(drill):
    main = {path.name for path in drill.main.rglob("*")}
    keys = {path.name for path in drill.keys.rglob("*")}
    assert not main & {"kek", "root.key", "vault.db", "high-water"}
    assert keys == {"vault.db"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in drill.main.rglob("*"))


async def test_folders_and_files_that_are_there_are_not_written_over(drill):
    refused("NOT_EMPTY", lambda: making.back_up(drill.directory, drill.main, drill.keys))
    refused("NOT_EMPTY", lambda: making.export(drill.directory, drill.export, 0))
    refused("NO_BACKUP", lambda: drill.restore(keys=drill.folder / "nowhere"))
    refused("NO_BACKUP", lambda: refilling.refill(drill.directory, drill.folder / "nothing"))
    refused("NO_SUCH_INDEX", lambda: making.export(drill.directory, drill.folder / "x", 10**6))


async def test_an_export_that_is_refused_or_interrupted_leaves_its_place_free(drill, monkeypatch):
    """Else the same command could not be run again, and half an export lay there as if whole."""
    file = drill.folder / "late.db"
    refused("NO_SUCH_INDEX", lambda: making.export(drill.directory, file, 10**6))
    with monkeypatch.context() as patch:
        patch.setattr(making.transfer, "export_files", interrupt)
        with pytest.raises(KeyboardInterrupt):
            making.export(drill.directory, file, 0)
    assert not file.exists()
    assert making.export(drill.directory, file, 0) == drill.size
    assert [path.name for path in drill.folder.glob("*late.db*")] == ["late.db"]


async def test_a_full_disk_is_not_taken_for_a_damaged_database(drill):
    """Else a healthy service would be restored because the disk for its exports is full."""
    with pytest.raises(sqlite3.OperationalError, match="disk is full"):
        fill(drill)


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def fill(drill) -> None:
    """Write to a copy for which there is no room."""
    with (
        copies.opened(drill.directory, "main"),
        copies.opened_file(drill.folder / "full") as full,
        full.begin() as connection,
    ):
        connection.exec_driver_sql("PRAGMA max_page_count = 1")
        connection.exec_driver_sql("CREATE TABLE much (more)")


async def test_a_running_service_is_not_restored_over(drill):
    with drill.directory.locked():
        assert isinstance(refused("IN_USE", drill.restore), Conflict)
        refused("IN_USE", lambda: refilling.refill(drill.directory, drill.export))
    assert issubclass(Malformed, CredproofError)


async def test_a_log_that_was_rewritten_is_told_apart_from_one_that_is_behind(drill):
    with closing(sqlite3.connect(drill.directory.folder / "log.db")) as database, database:
        size = database.execute("SELECT max(tree_size) FROM commits").fetchone()[0]
        database.execute("UPDATE entries SET leaf = zeroblob(32) WHERE log_index = 3")
        from credproof.log.merkle import Tree

        tree = Tree()
        tree.extend([r[0] for r in database.execute("SELECT leaf FROM entries ORDER BY log_index")])
        database.execute("UPDATE commits SET root = ? WHERE tree_size = ?", (tree.root(), size))
    refused("LOG_FORKED", drill.directory.open_core)
