"""The high-water mark of a restore: the newest that was signed, whoever has it.

It is in no backup. Where a disproof stands, that is the mark: the one that is there may be that of
a fork.
"""

from __future__ import annotations

from pathlib import Path

from credproof.base.errors import Conflict, Malformed, VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.note import NoteSigner, VerifierKey

from credproof_server.backups.copies import LOG_FILE, new_aside, opened_file
from credproof_server.backups.reached import Restored, state
from credproof_server.config import FILE_NAME, load_config
from credproof_server.directory import DISPROOF, HIGH_WATER, SAID, WITNESSED, ServiceDirectory
from credproof_server.log.disproof import require_branch
from credproof_server.log.high_water import HighWater, damaged_mark
from credproof_server.storage import engine as engines
from credproof_server.storage.keystore import KeyStore, load_key_encryption


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


def newest_mark(folder: Path, main: Path, checkpoint: Path | None) -> bytes:
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
    seen = [_mark(path, key, folder) for path in _marks(folder, checkpoint)]
    if not seen:
        raise Malformed(
            "NO_CHECKPOINT",
            "the high-water mark is lost: name the newest checkpoint that an auditor has"
            " with --checkpoint, or the log could fork",
        )
    with (
        engines.readable(),
        opened_file(main / LOG_FILE) as backup,
        backup.connect() as connection,
    ):
        require_branch(connection, seen)
    return max(seen, key=lambda one: one.tree_size).note


def _marks(folder: Path, checkpoint: Path | None) -> list[Path]:
    """Where there is a checkpoint: the disproof stands for the mark of what it disproves."""
    disproof, mark = folder / DISPROOF, folder / HIGH_WATER
    own = disproof if disproof.exists() else mark
    return [*([own] if own.exists() else []), *([checkpoint] if checkpoint else [])]


def _mark(path: Path, key: VerifierKey, folder: Path) -> VerifiedCheckpoint:
    try:
        return _named_checkpoint(path, key)
    except Malformed as error:
        if path == folder / HIGH_WATER:
            raise damaged_mark(path) from error
        raise


def _named_checkpoint(path: Path, key: VerifierKey) -> VerifiedCheckpoint:
    """The checkpoint in a file; an error says in which."""
    try:
        return verify_checkpoint(path.read_bytes(), key.name, [key])
    except Malformed as error:
        raise Malformed(error.reason, f"the checkpoint in {path}: {error.message}") from error
    except VerificationFailed as error:
        told = f"the checkpoint in {path}: {error.message}"
        raise VerificationFailed(error.reason, told) from error


def replace_mark(folder: Path, mark: bytes) -> Path | None:
    """Put the mark in its place; gives where the one before is, if a disproof stood against it.

    The disproof goes last: an interrupted restore finds it again.
    """
    file = HighWater(folder / HIGH_WATER)
    if not (folder / DISPROOF).exists():
        file.write(mark)
        return None
    aside = new_aside(folder)
    if (former := file.read()) is not None:
        HighWater(aside / HIGH_WATER).write(former)
    file.write(mark)
    for name in (WITNESSED, SAID, DISPROOF):  # what was witnessed may be of the fork too
        if (folder / name).exists():
            (folder / name).rename(aside / name)
    return aside
