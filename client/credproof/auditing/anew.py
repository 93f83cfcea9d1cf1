"""Reading a log from its first entry into a new index, which then takes the place of the old one.

Until then nothing that was kept is changed, whatever the service gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from credproof.auditing.database import remove
from credproof.auditing.evidence import LogFault
from credproof.auditing.index import Index
from credproof.auditing.own import Seen, own_tree
from credproof.auditing.rereading import Beside, faults_of
from credproof.auditing.signed import Source
from credproof.auditing.surviving import Surviving
from credproof.auditing.trusted import Trusted
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint
from credproof.log.continued import ENTRY_CONTINUED
from credproof.log.entry import parse_entry

Follow = Callable[[Index, Source], AuditReport]
"""Brings an index up to a checkpoint, out of a source."""


def read_whole(
    source: Source, path: Path, vkeys: Sequence[str], follow: Follow
) -> tuple[AuditReport, Sequence[LogFault]]:
    """Read all of it again; gives what the service gives otherwise than it was verified, too.

    That is told of all that was verified and is kept here, which must be of this log: own lines
    stand in its place. Without them, the first entry that is wrong ends it: as `follow`.

    Raises:
        LogFault, Malformed, VerificationFailed: as `Following.run`.
    """
    with _beside(path) as (own, index):
        beside = Beside(source, own, _kept(own))
        report = follow(index, beside)
        index.take_over(own)
        faults = faults_of(beside.wrong, index, report.checkpoint, vkeys, 0)
        index.copy_over(own)
    return report, faults


def read_moved(
    source: Source,
    path: Path,
    kept: Trusted,
    seen: Seen,
    checkpoint: VerifiedCheckpoint,
    vkeys: Sequence[str],
    follow: Follow,
) -> AuditReport:
    """Read a log of a new origin, which must be the one that was `seen` but for what was lost.

    Raises:
        LogFault, Malformed, VerificationFailed: as `Following.run` and `Surviving.require_same`.
    """
    with _beside(path) as (own, index):
        report, cut = follow(index, source), []
        for known in (seen, *_beyond(own, seen)):
            surviving = Surviving(own, index, kept, known, checkpoint, vkeys)
            report = replace(report, uncompared=surviving.require_same(report))
            cut += [known] if surviving.is_cut(report) else []
        index.take_over(own)
        for known in cut:
            kept.keep_lost(known, own)
        index.copy_over(own)
    return report


@contextmanager
def _beside(path: Path) -> Iterator[tuple[Index, Index]]:
    """The index at this path, and an empty one beside it for the time being."""
    fresh = path.with_name(f"{path.name}.new")
    remove(fresh)
    try:
        with Index(path) as own, Index(fresh) as index:
            yield own, index
    finally:
        remove(fresh)


def _kept(own: Index) -> int:
    """How many entries are kept as they were verified: all of them or none."""
    state = own.state
    size = state.position.size
    return 0 if own_tree(own, size, state.root()) is None else size


def _beyond(own: Index, seen: Seen) -> Sequence[Seen]:
    """How far own lines of the log of `seen` go after it, which nobody signed for us to keep."""
    state, old = own.state, seen.checkpoint
    tree = own_tree(own, state.position.size, state.root())
    if tree is None or tree.size <= old.tree_size or tree.root(old.tree_size) != old.root_hash:
        return ()
    if any(parse_entry(line).kind == ENTRY_CONTINUED for line in own.lines(old.tree_size)):
        return ()  # they are of the new origin: an audit ended before it kept its checkpoint
    return (Seen(Checkpoint(old.origin, tree.size, tree.root()), None),)
