"""The file of timestamps cannot be made anew: what is wrong with it is told as what it is."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest
from credproof.auditing import database
from credproof.auditing.stamps import STAMPS_NAME, Authorities, KeptStamp, Stamps
from credproof.base.errors import DataLoss
from credproof.log.stamped import Stamped

from tests.timestamps.authority import Certificates


def note(size: int) -> bytes:
    signature = "\n— log.example AAAAAAAA\n"
    return f"log.example\n{size}\n{'A' * 43}=\n{signature}".encode()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A home whose timestamps, of 5 and of 9 entries, were verified."""
    home = tmp_path_factory.mktemp("sound")
    made = Certificates(home / "authority")
    Authorities(home).add("one", made.file.read_bytes(), "")
    with Stamps(home) as stamps:
        stamps.add(
            KeptStamp(size, "asked", note(size), made.stamp_note(note(size))) for size in (5, 9)
        )
        stamps.look()
        assert [stamped.tree_size for stamped in stamps.verified({})] == [5, 9]
    return home


@pytest.mark.parametrize(
    "change",
    [
        "time = time - 1048576",
        "time = NULL",
        "stamped_by = NULL",
        "stamped_by = 'two'",
        "tree_size = 8",
        "origin = 'mog.example'",
        "origin = CAST(x'ff' AS TEXT)",
        "note = CAST(note AS TEXT)",
        "note = CAST(replace(note, x'41413d0a', x'41423d0a') AS BLOB)",
        "response = CAST(response AS TEXT)",
        "response = substr(response, 1, 400)",
        "response = CAST(substr(response, 1, length(response) - 1) || x'00' AS BLOB)",
    ],
)
def test_a_kept_timestamp_that_was_changed_names_nobody_and_tells_no_date(sound, tmp_path, change):
    """What was verified of it once was believed: of an honest operator it made a finding."""
    shutil.copytree(sound, home := tmp_path / "home")
    with closing(sqlite3.connect(home / STAMPS_NAME)) as database, database:
        assert database.execute(f"UPDATE stamps SET {change} WHERE tree_size = 9").rowcount == 1
    with pytest.raises(DataLoss) as caught, Stamps(home) as stamps:
        _ = [stamps.kept(stamped) for stamped in stamps.verified({})]
    assert caught.value.reason == "STAMPS_DAMAGED"


@pytest.mark.parametrize(
    ("was", "flipped"),
    [
        (b"note BLOB", b"nope BLOB"),
        (b"digest BLOB", b"diges\xf4 BLOB"),
        (b"TABLE st", b"TABL\xc5 st"),
    ],
)
def test_a_flipped_bit_in_how_the_file_is_laid_out_is_its_damage(sound, tmp_path, was, flipped):
    """It was told as a full disk, or in no words at all."""
    shutil.copytree(sound, home := tmp_path / "home")
    data = (home / STAMPS_NAME).read_bytes()
    assert data.count(was) == 1
    (home / STAMPS_NAME).write_bytes(data.replace(was, flipped))
    with pytest.raises(DataLoss) as caught, Stamps(home) as stamps:
        stamps.look()
    assert caught.value.reason == "STAMPS_DAMAGED"


def test_timestamps_that_are_sound_are_kept_as_they_came(sound):
    with Stamps(sound) as stamps:
        with pytest.raises(DataLoss):
            stamps.kept(Stamped(7, 1, "one"))
        assert [stamps.kept(found).note for found in stamps.verified({})] == [note(5), note(9)]


def test_timestamps_that_are_damaged_inside_are_told(tmp_path):
    """Found by whoever reads the spoilt page, not by opening the file."""
    with Stamps(tmp_path) as stamps:
        stamps.add(KeptStamp(i, "one", note(i), bytes(1000)) for i in range(1, 50))
    data = bytearray((tmp_path / STAMPS_NAME).read_bytes())
    data[16_384:] = bytes(len(data) - 16_384)
    (tmp_path / STAMPS_NAME).write_bytes(data)
    with pytest.raises(DataLoss) as caught, Stamps(tmp_path) as stamps:
        stamps.untrusted()
    assert caught.value.reason == "STAMPS_DAMAGED"


def test_timestamps_that_another_process_writes_are_not_called_damaged(tmp_path, monkeypatch):
    """Else their owner would set them aside."""
    Stamps(tmp_path).close()
    monkeypatch.setattr(database, "BUSY_S", 0)
    with closing(sqlite3.connect(tmp_path / STAMPS_NAME)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError):
            Stamps(tmp_path)
