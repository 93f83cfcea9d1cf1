"""Restores that are interrupted, repeated, or given the wrong files: never a fork, nobody back."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import Checkpoint, sign_checkpoint
from credproof.log.note import NoteSigner
from credproof_server.backups import making, marks, reached, refilling, restoring
from credproof_server.checking import check

from tests.crash.drill import refused
from tests.deployment import statement


class Killed(Exception):
    """Here the process would have died."""


def erased(drill, sub: bytes) -> tuple[bool, bytes]:
    with closing(sqlite3.connect(drill.directory.folder / "vault.db")) as vault:
        query = "SELECT erased, wrapped FROM data_keys WHERE sub = ?"
        found, wrapped = vault.execute(query, (sub,)).fetchone()
    return bool(found), wrapped


@pytest.mark.parametrize("step", ["_set_aside", "_put_back", "_put_keys_back", "keep_private"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_restore_interrupted_anywhere_serves_nobody_who_was_erased(
    drill, monkeypatch, step, when
):
    sub = statement().sub
    drill.erase(sub)
    drill.destroy()
    real = getattr(restoring, step)

    def dies(*given: object) -> None:
        if when == "after":
            real(*given)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(restoring, step, dies)
        with pytest.raises(Killed):
            drill.restore(keys=drill.keys)
    with pytest.raises(CredproofError):
        drill.directory.open_core()
    drill.restore(keys=drill.keys)
    assert erased(drill, sub) == (True, b"")


async def test_a_restore_may_be_repeated_at_once(drill):
    assert drill.restore() == drill.restore()
    assert len(list(drill.directory.folder.glob("replaced-*"))) == 2


async def test_a_wrong_checkpoint_changes_nothing_and_the_right_one_is_taken_then(drill, tmp_path):
    (drill.directory.folder / "high-water").unlink()
    wrong, right = tmp_path / "wrong", tmp_path / "right"
    wrong.write_bytes(b"nonsense\n")
    right.write_bytes(drill.note)
    refused("BAD_NOTE", lambda: drill.restore(checkpoint=wrong))
    assert not list(drill.directory.folder.glob("replaced-*"))
    assert drill.restore(checkpoint=right).signed_size == drill.size


def old_mark(drill) -> bytes:
    """The high-water mark as an image of the whole disk would bring it back."""
    with closing(sqlite3.connect(drill.main / "log.db")) as database:
        query = "SELECT tree_size, root FROM commits ORDER BY tree_size DESC"
        size, root = database.execute(query).fetchone()
    signer = drill.directory.log_signer()
    return sign_checkpoint(Checkpoint(signer.name, size, root), [signer])


async def test_the_newer_of_mark_and_checkpoint_holds(drill, tmp_path):
    newest, oldest = tmp_path / "newest", tmp_path / "oldest"
    newest.write_bytes(drill.note)
    oldest.write_bytes(old_mark(drill))
    assert drill.restore(checkpoint=oldest).signed_size == drill.size
    (drill.directory.folder / "high-water").write_bytes(oldest.read_bytes())
    assert drill.restore(checkpoint=newest).signed_size == drill.size
    refused("LOG_BEHIND", drill.directory.open_core)


async def test_a_log_whose_high_water_mark_is_lost_is_not_signed(drill):
    """Else an older database, copied there by hand, would be signed and fork the log."""
    mark = drill.directory.folder / "high-water"
    mark.unlink()
    refused("NO_HIGH_WATER", drill.directory.open_core)
    note = drill.folder / "note"
    note.write_bytes(b"nonsense\n")
    refused("BAD_NOTE", lambda: marks.set_mark(drill.directory.folder, note))
    assert not mark.exists()
    note.write_bytes(drill.note)
    marks.set_mark(drill.directory.folder, note)
    refused("MARK_THERE", lambda: marks.set_mark(drill.directory.folder, note))
    whole = mark.read_bytes()
    mark.write_bytes(b"junk")
    refused("HIGH_WATER_DAMAGED", lambda: marks.set_mark(drill.directory.folder, note))
    refused("HIGH_WATER_DAMAGED", lambda: drill.restore(checkpoint=note))
    mark.write_bytes(whole)
    note.write_bytes(b"junk")
    error = refused("BAD_NOTE", lambda: drill.restore(checkpoint=note))
    assert f"the checkpoint in {note}" in error.message, "which of the two"
    refused("BAD_NOTE", lambda: drill.restore(checkpoint=note.rename(drill.main / mark.name)))
    drill.directory.open_core().close()


async def test_what_a_lost_configuration_left_behind_is_set_aside_too(drill):
    (drill.directory.folder / "credproof.toml").unlink()
    left = drill.deployment.service / "log.db-wal"
    left.write_bytes(b"of the database that was there")
    drill.restore()
    (aside,) = drill.deployment.service.glob("replaced-*")
    assert (aside / "log.db-wal").read_bytes() == b"of the database that was there"


async def test_data_keys_that_cannot_be_read_are_told_since_nobody_knows_who_was_erased(drill):
    for path in drill.directory.folder.glob("vault.db*"):
        path.unlink()
    (drill.directory.folder / "vault.db").write_bytes(b"not a database" * 1000)
    refused("KEYS_UNREADABLE", drill.restore)
    for aside in drill.deployment.service.glob("replaced-*"):
        shutil.rmtree(aside)
    assert drill.restore().signed_size == drill.size


async def test_a_disk_full_of_restored_keys_is_not_taken_for_keys_that_cannot_be_read(
    drill, monkeypatch
):
    """Else whoever was erased is moved away, as that error advises, and comes back."""
    sub = statement().sub
    drill.erase(sub)
    with monkeypatch.context() as patch:
        patch.setattr(restoring.transfer, "merge_keys", fill)
        with pytest.raises(sqlite3.OperationalError, match="disk is full"):
            drill.restore(keys=drill.keys)
    drill.restore(keys=drill.keys)
    assert erased(drill, sub) == (True, b"")


def fill(_older: object, target) -> None:
    target.exec_driver_sql("PRAGMA max_page_count = 1")
    target.exec_driver_sql("CREATE TABLE much AS SELECT zeroblob(100000)")


async def test_databases_elsewhere_are_not_restored_to_a_place_that_nobody_reads(drill):
    path = drill.main / "credproof.toml"
    path.write_text(path.read_text().replace('main_url = ""', 'main_url = "sqlite:///x.db"'))
    refused("STORAGE_ELSEWHERE", drill.restore)


async def test_an_older_export_brings_no_revoked_consent_back(drill):
    """Exports may be applied in any order."""
    older = drill.folder / "older.db"
    making.export(drill.directory, older, 0)
    with closing(sqlite3.connect(older)) as database, database:
        database.execute("UPDATE consents SET revoked_index = NULL")  # as before it was revoked
        for table in ("entries", "consents", "attestations", "answers"):
            database.execute(f"DELETE FROM {table} WHERE log_index >= ?", (drill.backed_up,))
        database.execute("DELETE FROM commits WHERE tree_size > ?", (drill.backed_up,))
    refilling.refill(drill.directory, older)
    assert check(drill.directory).damage == ()


@pytest.mark.parametrize(
    "change",
    [
        "DELETE FROM consents WHERE revoked_index IS NOT NULL",
        "UPDATE consents SET revoked_index = NULL",
        "DELETE FROM attestations WHERE log_index = (SELECT max(log_index) FROM attestations)",
        "DELETE FROM answers",
    ],
)
async def test_an_export_without_the_rows_of_its_entries_is_refused(drill, change):
    drill.destroy()
    before = drill.restore()
    with closing(sqlite3.connect(drill.export)) as database, database:
        assert database.execute(change).rowcount
    refused("EXPORT_DIFFERS", lambda: refilling.refill(drill.directory, drill.export))
    assert before == reached.state(drill.directory)


async def test_both_parts_of_a_backup_never_lie_in_one_folder(drill):
    both = drill.folder / "both"
    for main, keys in ((both, both), (both, both / "keys"), (both / "main", both)):
        refused(
            "NOT_APART", lambda main=main, keys=keys: making.back_up(drill.directory, main, keys)
        )
    assert not both.exists()
    refused("NOT_APART", lambda: making.require_apart(both / "since.db", both))


async def test_an_export_of_nothing_says_where_the_log_ends(drill):
    assert making.export(drill.directory, drill.folder / "nothing.db", drill.size) == drill.size


async def test_a_backup_under_another_name_of_the_log_is_refused_before_anything_is_changed(drill):
    signer = NoteSigner("elsewhere.example/log", Ed25519Signer(drill.directory.keys.read("log")))
    note = sign_checkpoint(Checkpoint(signer.name, drill.size, bytes(32)), [signer])
    (drill.directory.folder / "high-water").write_bytes(note)
    with pytest.raises(CredproofError):
        drill.restore()
    assert not list(drill.directory.folder.glob("replaced-*"))
