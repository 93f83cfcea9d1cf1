"""Refilling a restored log from an export: all that it holds beyond the log's end, or nothing."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from credproof.base.errors import DataLoss, Malformed, VerificationFailed
from credproof.log.audit import LogAudit
from sqlalchemy import Connection

from credproof_server.backups.copies import opened, opened_file
from credproof_server.backups.metadata import add_metadata
from credproof_server.backups.reached import Restored, newest_signed, state
from credproof_server.directory import ServiceDirectory
from credproof_server.log.directory_state import changes_from, load_top
from credproof_server.log.disproof import require_branch
from credproof_server.log.epochs import write_changes
from credproof_server.row_checks import require_rows
from credproof_server.storage import engine as engines
from credproof_server.storage import leaves, repository, transfer


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
    with (
        directory.locked(),
        opened(directory, engines.MAIN) as engine,
        opened_file(file) as source,
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
        add_metadata(directory.folder, transfer.exported_files(rows))
    return state(directory)


def _require_reaching(rows: Connection, size: int) -> None:
    first = repository.first_index(rows)
    if first is not None and first > size:
        raise Malformed(
            "GAP", f"the export begins at entry {first}, the log ends before entry {size}"
        )


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


def _require_sound(directory: ServiceDirectory, target: Connection) -> None:
    """Chain and tree of the refilled log must reach what was signed, and its rows must be there."""
    signed, audit = newest_signed(directory), LogAudit()
    indexes = defaultdict[str, set[int]](set)
    for line in repository.all_lines(target):
        indexes[audit.feed(line)].add(audit.size - 1)
        if audit.size == signed.tree_size:
            audit.finish(signed)
    size, root = transfer.size_and_root(target)
    if (audit.size, audit.root()) != (size, root):
        raise DataLoss("EXPORT_DIFFERS", "the export is not of this log")
    require_rows(target, indexes)
