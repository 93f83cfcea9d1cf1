"""Making a backup, or an export, of a service that may run meanwhile."""

from __future__ import annotations

import shutil
from pathlib import Path

from credproof.base.errors import Conflict, Malformed

from credproof_server.backups.copies import (
    LOG_FILE,
    VAULT_FILE,
    folders_in,
    keep_private,
    opened,
    opened_file,
)
from credproof_server.backups.metadata import metadata_files
from credproof_server.config import FILE_NAME
from credproof_server.directory import ServiceDirectory
from credproof_server.storage import engine as engines
from credproof_server.storage import transfer


def back_up(directory: ServiceDirectory, main: Path, keys: Path) -> int:
    """Copy a service, which may run, into two new folders; gives the copied log's size.

    The data keys are copied last: they are there before the rows that need them.

    Raises:
        Conflict: `NOT_EMPTY`.
        Malformed: `NOT_APART`.
    """
    require_apart(main, keys)
    for folder in (main, keys):
        _new_folder(folder)
    with opened(directory, engines.MAIN) as engine:
        transfer.copy_database(engine, main / LOG_FILE)
    for name in (FILE_NAME, "root.json"):
        shutil.copy2(directory.folder / name, main / name)
    for name in folders_in(directory.folder):
        shutil.copytree(directory.folder / name, main / name)
    copy_keys(directory, keys)
    keep_private(main)
    return _size(main / LOG_FILE)


def copy_keys(directory: ServiceDirectory, keys: Path) -> None:
    """Copy the data keys of a service, which may run, into a folder."""
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = keys / f"{VAULT_FILE}.new"
    fresh.unlink(missing_ok=True)
    with opened(directory, engines.VAULT) as engine:
        transfer.copy_database(engine, fresh)
    fresh.replace(keys / VAULT_FILE)
    keep_private(keys)


def export(directory: ServiceDirectory, file: Path, since: int) -> int:
    """Write what was logged from the entry `since` on, with its rows, to a new file.

    With all metadata of the trust bundle, read last: so it names at least the bundle of the rows.
    Gives the log's size. The file is there when it is whole, not before.

    Raises:
        Conflict: `NOT_EMPTY` when the file is there.
        Malformed: `NO_SUCH_INDEX`.
    """
    if file.exists():
        raise Conflict("NOT_EMPTY", "the file is there already")
    fresh = file.with_name(f".{file.name}.new")
    for left in (fresh, *(fresh.with_name(fresh.name + end) for end in ("-wal", "-shm"))):
        left.unlink(missing_ok=True)
    with opened(directory, engines.MAIN) as engine, engine.connect() as source:
        size, _ = transfer.size_and_root(source)
        if not 0 <= since <= size:
            raise Malformed("NO_SUCH_INDEX", f"the log has {size} entries")
        with opened_file(fresh) as target, target.begin() as connection:
            transfer.export_rows(source, connection, since)
            transfer.export_files(connection, metadata_files(directory.folder))
    fresh.replace(file)
    return size


def require_apart(data: Path, keys: Path) -> None:
    """Refuse to put data keys where a copy of what they open lies.

    Raises:
        Malformed: `NOT_APART`.
    """
    data, keys = data.resolve(), keys.resolve()
    if data.is_relative_to(keys) or keys.is_relative_to(data):
        raise Malformed("NOT_APART", "the data keys need a folder apart from what they open")


def _size(log: Path) -> int:
    with opened_file(log) as engine, engine.connect() as connection:
        return transfer.size_and_root(connection)[0]


def _new_folder(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise Conflict("NOT_EMPTY", f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
