"""Restoring a service from a backup: whoever was erased stays erased, and no log forks."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from credproof.base.errors import DataLoss, Malformed

from credproof_server.backups.copies import (
    ASIDE,
    FOLDERS,
    LOG_FILE,
    VAULT_FILE,
    folders_in,
    keep_private,
    new_aside,
    opened_file,
)
from credproof_server.backups.marks import newest_mark, replace_mark
from credproof_server.backups.metadata import add_metadata, metadata_files
from credproof_server.backups.reached import Restored, state
from credproof_server.config import FILE_NAME
from credproof_server.directory import ServiceDirectory, locked
from credproof_server.storage import engine as engines
from credproof_server.storage import transfer
from credproof_server.storage.keystore import KEK_VARIABLE


def restore(folder: Path, main: Path, keys: Path, checkpoint: Path | None) -> Restored:
    """Put a backup where a service was. What is there is kept in a folder beside it.

    The newer of the high-water mark that is there and `checkpoint` holds from then on; without
    a mark, that must be the newest signed checkpoint that anybody has. Where a disproof stands, it
    takes the place of the mark, which may be that of a fork. Data keys that are there
    and erased stay erased. Interrupted at any moment, it serves nobody and may be repeated.

    Raises:
        Malformed: `NO_BACKUP`, `NO_KEK`, `NO_CHECKPOINT`, or as `verify_checkpoint`.
        Conflict: `IN_USE`, `STORAGE_ELSEWHERE`.
        DataLoss: `KEY_NOT_OPENED` under another key-encryption key, `KEYS_UNREADABLE`,
            `HIGH_WATER_DAMAGED`; `LOG_FORKED` when the backup is of another log than was signed.
    """
    for path in (main / LOG_FILE, main / FILE_NAME, keys / VAULT_FILE):
        if not path.is_file():
            raise Malformed("NO_BACKUP", f"there is no backup: {path.name} is missing")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    _require_kek(folder)
    mark = newest_mark(folder, main, checkpoint)
    with locked(folder):
        _set_aside(folder)
        former = replace_mark(folder, mark)
        _put_back(folder, main)
        _put_keys_back(folder, keys)
        keep_private(folder)
        return replace(state(ServiceDirectory(folder)), aside=former)


def _require_kek(folder: Path) -> None:
    if not (folder / "kek").exists() and KEK_VARIABLE not in os.environ:
        raise Malformed(
            "NO_KEK", f"put the key-encryption key into {folder / 'kek'}: no backup holds it"
        )


def _set_aside(folder: Path) -> None:
    """Move what a restore replaces into a new folder of its own."""
    there = [folder / name for name in (FILE_NAME, "root.json", *FOLDERS)]
    there += [*folder.glob(f"{LOG_FILE}*"), *folder.glob(f"{VAULT_FILE}*")]
    there = [path for path in there if path.exists()]
    if there:
        aside = new_aside(folder)
        for path in there:
            path.rename(aside / path.name)


def _put_back(folder: Path, main: Path) -> None:
    for name in (FILE_NAME, "root.json", LOG_FILE):
        shutil.copy2(main / name, folder / name)
    for name in folders_in(main):
        shutil.copytree(main / name, folder / name, dirs_exist_ok=True)
    _put_metadata_back(folder)


def _put_metadata_back(folder: Path) -> None:
    """Metadata that is newer than the backup, as clients have seen it."""
    newer: dict[str, bytes] = {}
    for aside in folder.glob(f"{ASIDE}*"):
        newer |= metadata_files(aside)
    add_metadata(folder, newer)


def _put_keys_back(folder: Path, keys: Path) -> None:
    """The data keys, in place only when those set aside, by any restore, are merged in.

    Any: the newest folder may be what an interrupted restore left, which knows nobody.
    """
    fresh = folder / f"{VAULT_FILE}.new"
    shutil.copy2(keys / VAULT_FILE, fresh)
    for older in sorted(folder.glob(f"{ASIDE}*/{VAULT_FILE}")):
        _merge_keys(older, fresh)
    fresh.replace(folder / VAULT_FILE)


def _merge_keys(older: Path, newer: Path) -> None:
    try:
        with (
            engines.readable(),
            opened_file(older) as first,
            opened_file(newer) as second,
            first.connect() as before,
            second.begin() as restored,
        ):
            transfer.merge_keys(before, restored)
    except DataLoss as error:
        raise DataLoss(
            "KEYS_UNREADABLE",
            "data keys that were set aside cannot be read, nor who was erased: restore with the"
            f" newest copy of them, once {older.parent.name} is moved away",
        ) from error
