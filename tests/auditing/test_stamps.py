"""The file of timestamps cannot be made anew: what is wrong with it is told as what it is."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from credproof.auditing import database
from credproof.auditing.stamps import STAMPS_NAME, KeptStamp, Stamps
from credproof.base.errors import DataLoss


def test_timestamps_that_are_damaged_inside_are_told(tmp_path):
    """Found by whoever reads the spoilt page, not by opening the file."""
    with Stamps(tmp_path) as stamps:
        stamps.add(KeptStamp(i, "one", b"log.example\n" * 50, bytes(500)) for i in range(1, 50))
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
