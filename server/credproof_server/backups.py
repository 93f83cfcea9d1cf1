"""Backups and restores: a restored log must go on where it was signed, and nobody comes back.

A backup has two parts that are kept apart: the main part (log, rows, keys of the service), and
the data keys of the borrowers, whose copies decide how long an erased person could come back.
Neither holds the key-encryption key or the offline root. The high-water mark is in no backup.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Final

from credproof.base.errors import Conflict, DataLoss, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.home import replace_file
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.note import NoteSigner, VerifierKey
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from credproof_server.config import FILE_NAME, load_config
from credproof_server.directory import (
    DISPROOF,
    HIGH_WATER,
    METADATA,
    OPERATOR,
    SAID,
    WITNESSED,
    ServiceDirectory,
    locked,
)
from credproof_server.log.directory_state import changes_from, load_top
from credproof_server.log.disproof import require_branch
from credproof_server.log.epochs import write_changes
from credproof_server.log.high_water import HighWater, damaged_mark
from credproof_server.row_checks import require_rows
from credproof_server.storage import engine as engines
from credproof_server.storage import leaves, repository, transfer
from credproof_server.storage.keystore import KEK_VARIABLE, KeyStore, load_key_encryption

LOG_FILE: Final = "log.db"
VAULT_FILE: Final = "vault.db"
ASIDE: Final = "replaced-"
FOLDERS: Final = ("keys", "tls", OPERATOR, METADATA)
"""Folders of a service's directory that are copied file by file; one may not be there."""
METADATA_FILES: Final = (f"{METADATA}/*.json", "keys/tuf-*.key")
"""Metadata of the trust bundle, and the service's own keys for it."""


@dataclass(frozen=True, slots=True)
class LogHead:
    """Where a stored log ends: its size and its root (hexadecimal)."""

    tree_size: int
    root: str


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore reached: the log's size, and the size that was signed before.

    `aside` is where the high-water mark is now, if a disproof took its place.
    """

    tree_size: int
    signed_size: int
    aside: Path | None = None

    @property
    def missing(self) -> int:
        """How many signed entries are still not there."""
        return max(0, self.signed_size - self.tree_size)


# -- backing up ------------------------------------------------------------------


def back_up(directory: ServiceDirectory, main: Path, keys: Path) -> LogHead:
    """Copy a service, which may run, into two new folders; gives where the copied log ends.

    The data keys are copied last: they are there before the rows that need them.

    Raises:
        Conflict: `NOT_EMPTY`.
        Malformed: `NOT_APART`.
    """
    require_apart(main, keys)
    for folder in (main, keys):
        _new_folder(folder)
    with _opened(directory, engines.MAIN) as engine:
        transfer.copy_database(engine, main / LOG_FILE)
    for name in (FILE_NAME, "root.json"):
        shutil.copy2(directory.folder / name, main / name)
    for name in _there(directory.folder):
        shutil.copytree(directory.folder / name, main / name)
    copy_keys(directory, keys)
    head = _head(main / LOG_FILE)
    _private(main)
    return head


def copy_keys(directory: ServiceDirectory, keys: Path) -> None:
    """Copy the data keys of a service, which may run, into a folder."""
    keys.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = keys / f"{VAULT_FILE}.new"
    fresh.unlink(missing_ok=True)
    with _opened(directory, engines.VAULT) as engine:
        transfer.copy_database(engine, fresh)
    fresh.replace(keys / VAULT_FILE)
    _private(keys)


def require_apart(data: Path, keys: Path) -> None:
    """Refuse to put data keys where a copy of what they open lies.

    Raises:
        Malformed: `NOT_APART`.
    """
    data, keys = data.resolve(), keys.resolve()
    if data.is_relative_to(keys) or keys.is_relative_to(data):
        raise Malformed("NOT_APART", "the data keys need a folder apart from what they open")


def export(directory: ServiceDirectory, file: Path, since: int) -> LogHead:
    """Write what was logged from the entry `since` on, with its rows, to a new file.

    With all metadata of the trust bundle, read last: so it names at least the bundle of the rows.
    Gives where the log ends.

    Raises:
        Conflict: `NOT_EMPTY` when the file is there.
        Malformed: `NO_SUCH_INDEX`.
    """
    if file.exists():
        raise Conflict("NOT_EMPTY", "the file is there already")
    target = engines.connect(engines.sqlite_url(file))
    try:
        with _opened(directory, engines.MAIN) as engine, engine.connect() as source:
            size, root = transfer.size_and_root(source)
            if not 0 <= since <= size:
                raise Malformed("NO_SUCH_INDEX", f"the log has {size} entries")
            with target.begin() as connection:
                transfer.export_rows(source, connection, since)
                transfer.export_files(connection, _metadata_files(directory.folder))
    finally:
        target.dispose()
    return LogHead(size, (root or b"").hex())


# -- restoring -------------------------------------------------------------------


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
    mark = _newest_mark(folder, main, checkpoint)
    with locked(folder):
        _set_aside(folder)
        former = _replace_mark(folder, mark)
        _put_back(folder, main)
        _put_keys_back(folder, keys)
        _private(folder)
        return replace(state(ServiceDirectory(folder)), aside=former)


def set_mark(folder: Path, checkpoint: Path) -> Restored:
    """Put a checkpoint in the place of a high-water mark that is lost.

    Raises:
        Conflict: `MARK_THERE`: a mark that is there is never replaced. `IN_USE`.
        DataLoss: `HIGH_WATER_DAMAGED`: nor is one that cannot be read.
        Malformed, VerificationFailed: as `verify_checkpoint`; then nothing is written.
    """
    directory = ServiceDirectory(folder)
    with directory.locked():
        key = directory.log_signer().verifier_key
        if HighWater(folder / HIGH_WATER).newest(key):
            message = "the high-water mark is there: nothing was done, it needs no --checkpoint"
            raise Conflict("MARK_THERE", message)
        seen = _named_checkpoint(checkpoint, key)
        HighWater(folder / HIGH_WATER).write(seen.note)
    return state(directory)


def refill(directory: ServiceDirectory, file: Path) -> Restored:
    """Add what an export holds beyond the log's end, all or nothing.

    Raises:
        Malformed: `NO_BACKUP`, `GAP` when the export begins after the log's end.
        DataLoss: `EXPORT_DIFFERS` when it is not of this log, or lacks rows; `LOG_FORKED` when the
            log with it is not what was signed.
        Conflict: `IN_USE`.
    """
    if not file.is_file():
        raise Malformed("NO_BACKUP", "there is no such export")
    source = engines.connect(engines.sqlite_url(file))
    try:
        with (
            directory.locked(),
            _opened(directory, engines.MAIN) as engine,
            source.connect() as rows,
            engine.begin() as target,
        ):
            size, _ = transfer.size_and_root(target)
            _require_reaching(rows, size)
            before = leaves.newest_root(target)
            transfer.import_rows(rows, target, size)
            _refile(target, before.covered if before else 0)
            require_branch(target, directory.marks())
            _require_sound(directory, target)
            _add_metadata(directory.folder, transfer.exported_files(rows))
    finally:
        source.dispose()
    return state(directory)


def _refile(target: Connection, covered: int) -> None:
    """Bring the directory from what its root covered to what the newest one covers."""
    newest = leaves.newest_root(target)
    if newest is None or newest.covered <= covered:
        return
    top = load_top(target)
    try:
        changes = changes_from(target, covered, newest.covered)
        root = top.root_with(write_changes(target, top, changes))
    except VerificationFailed as error:
        raise DataLoss("EXPORT_DIFFERS", "the export is not of this log") from error
    if root != newest.root:
        raise DataLoss("EXPORT_DIFFERS", "the export is not of this log")


def state(directory: ServiceDirectory) -> Restored:
    """Where the stored log ends, and where it was signed."""
    return Restored(directory.log_head()[0], _signed(directory).tree_size)


def _signed(directory: ServiceDirectory) -> VerifiedCheckpoint:
    newest = directory.signed()
    assert newest is not None, "a restore requires it"
    return newest


def _require_reaching(rows: Connection, size: int) -> None:
    first = repository.first_index(rows)
    if first is not None and first > size:
        raise Malformed(
            "GAP", f"the export begins at entry {first}, the log ends before entry {size}"
        )


def _require_sound(directory: ServiceDirectory, target: Connection) -> None:
    """Chain and tree of the refilled log must reach what was signed, and its rows must be there."""
    signed, audit = _signed(directory), LogAudit()
    indexes = defaultdict[str, set[int]](set)
    for line in repository.all_lines(target):
        indexes[audit.feed(line)].add(audit.size - 1)
        if audit.size == signed.tree_size:
            audit.finish(signed)
    size, root = transfer.size_and_root(target)
    if (audit.size, audit.root()) != (size, root):
        raise DataLoss("EXPORT_DIFFERS", "the export is not of this log")
    require_rows(target, indexes)


# -- files -----------------------------------------------------------------------


@contextmanager
def _opened(directory: ServiceDirectory, store: str) -> Iterator[Engine]:
    engine = directory.engine(store)
    try:
        with engines.readable():
            yield engine
    finally:
        engine.dispose()


def _head(path: Path) -> LogHead:
    engine = engines.connect(engines.sqlite_url(path))
    try:
        with engine.connect() as connection:
            size, root = transfer.size_and_root(connection)
    finally:
        engine.dispose()
    return LogHead(size, (root or b"").hex())


def _new_folder(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise Conflict("NOT_EMPTY", f"{folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def _private(folder: Path) -> None:
    """Only the owner reads a copy, and it is on disk when this returns."""
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o700 if path.is_dir() else 0o600)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


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
        aside = _new_aside(folder)
        for path in there:
            path.rename(aside / path.name)


def _new_aside(folder: Path) -> Path:
    prefix = time.strftime(f"{ASIDE}%Y%m%dT%H%M%SZ-", time.gmtime())
    return Path(tempfile.mkdtemp(prefix=prefix, dir=folder))


def _replace_mark(folder: Path, mark: bytes) -> Path | None:
    """Put the mark in its place; gives where the one before is, if a disproof stood against it.

    The disproof goes last: an interrupted restore finds it again.
    """
    file = HighWater(folder / HIGH_WATER)
    if not (folder / DISPROOF).exists():
        file.write(mark)
        return None
    aside = _new_aside(folder)
    if (former := file.read()) is not None:
        HighWater(aside / HIGH_WATER).write(former)
    file.write(mark)
    for name in (WITNESSED, SAID, DISPROOF):  # what was witnessed may be of the fork too
        if (folder / name).exists():
            (folder / name).rename(aside / name)
    return aside


def _put_back(folder: Path, main: Path) -> None:
    for name in (FILE_NAME, "root.json", LOG_FILE):
        shutil.copy2(main / name, folder / name)
    for name in _there(main):
        shutil.copytree(main / name, folder / name, dirs_exist_ok=True)
    _put_metadata_back(folder)


def _there(folder: Path) -> list[str]:
    """Services of older versions have no metadata."""
    return [name for name in FOLDERS if (folder / name).is_dir()]


def _put_metadata_back(folder: Path) -> None:
    """Metadata that is newer than the backup, as clients have seen it."""
    for aside in sorted(folder.glob(f"{ASIDE}*")):
        _add_metadata(folder, _metadata_files(aside))
    (folder / METADATA / "timestamp.json").unlink(missing_ok=True)


def _metadata_files(folder: Path) -> dict[str, bytes]:
    """Metadata, and the service's own keys for it, encrypted: by their place in a directory."""
    paths = [path for pattern in METADATA_FILES for path in sorted(folder.glob(pattern))]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def _add_metadata(folder: Path, files: Mapping[str, bytes]) -> None:
    """Add what is not there: metadata of a version never changes.

    Only the timestamp does. Without one the service signs it anew, and the snapshot, when it
    starts: else it would give clients less than they have seen.
    """
    places = {folder / _metadata_place(name): data for name, data in files.items()}
    for path, data in places.items():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if not path.exists():
            replace_file(path, data)
    if files:
        (folder / METADATA / "timestamp.json").unlink(missing_ok=True)


def _metadata_place(name: str) -> PurePath:
    """Where a file of metadata belongs; an export can name any other place."""
    place = PurePath(name)
    if len(place.parts) != 2 or not any(place.match(pattern) for pattern in METADATA_FILES):
        raise DataLoss("EXPORT_DIFFERS", "the export holds files of something else")
    return place


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
    first, second = (engines.connect(engines.sqlite_url(path)) for path in (older, newer))
    try:
        with first.connect() as before, second.begin() as restored:
            transfer.merge_keys(before, restored)
    except DatabaseError as error:
        raise DataLoss(
            "KEYS_UNREADABLE",
            "data keys that were set aside cannot be read, nor who was erased: restore with the"
            f" newest copy of them, once {older.parent.name} is moved away",
        ) from error
    finally:
        first.dispose()
        second.dispose()


def _newest_mark(folder: Path, main: Path, checkpoint: Path | None) -> bytes:
    """The newest signed checkpoint that is known, before anything is changed."""
    config = load_config(main)
    if config.storage.main_url or config.storage.vault_url:
        raise Conflict(
            "STORAGE_ELSEWHERE",
            f"the backup's {FILE_NAME} names databases elsewhere: empty main_url and vault_url"
            " there to restore them into the service's directory",
        )
    stored = KeyStore(main / "keys", load_key_encryption(folder / "kek"))
    key = NoteSigner(config.log_origin, Ed25519Signer(stored.read("log"))).verifier_key
    seen = [_named_checkpoint(path, key) for path in _marks(folder, checkpoint)]
    if not seen:
        raise Malformed(
            "NO_CHECKPOINT",
            "the high-water mark is lost: name the newest checkpoint that an auditor has"
            " with --checkpoint, or the log could fork",
        )
    backup = engines.connect(engines.sqlite_url(main / LOG_FILE))
    try:
        with engines.readable(), backup.connect() as connection:
            require_branch(connection, seen)
    finally:
        backup.dispose()
    return max(seen, key=lambda one: one.tree_size).note


def _marks(folder: Path, checkpoint: Path | None) -> list[Path]:
    """Where there is a checkpoint: the disproof stands for the mark of what it disproves."""
    disproof, mark = folder / DISPROOF, folder / HIGH_WATER
    own = disproof if disproof.exists() else mark
    return [*([own] if own.exists() else []), *([checkpoint] if checkpoint else [])]


def _named_checkpoint(path: Path, key: VerifierKey) -> VerifiedCheckpoint:
    """The checkpoint in a file; an error says in which."""
    try:
        return verify_checkpoint(path.read_bytes(), key.name, [key])
    except Malformed as error:
        if path.name == HIGH_WATER:
            raise damaged_mark(path) from error
        raise Malformed(error.reason, f"the checkpoint in {path}: {error.message}") from error
    except VerificationFailed as error:
        told = f"the checkpoint in {path}: {error.message}"
        raise VerificationFailed(error.reason, told) from error
