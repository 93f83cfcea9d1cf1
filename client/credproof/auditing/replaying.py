"""Computing the directory anew from what was verified: is anything left out of its roots?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice

from credproof.auditing.index import Index
from credproof.auditing.own import require_own
from credproof.auditing.showing import Showing
from credproof.base.errors import VerificationFailed
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.verification.replay import Replay


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """A log whose `roots` roots of the directory are all what its entries make.

    The newest one has `indexes` leaves; `uncovered` changes are logged after what it covers.
    """

    checkpoint: VerifiedCheckpoint
    roots: int
    indexes: int
    root: bytes
    uncovered: int


def replayed(
    index: Index, audited: VerifiedCheckpoint, showing: Showing, progress: Callable[[int], None]
) -> ReplayReport:
    """Compute every root anew from the lines that are kept.

    Raises:
        LogFault: `ROOT_DIFFERS`, `NOT_A_MEMBER` naming the entry, with files that show it.
        DataLoss: `INDEX_DAMAGED`: the index is not what was verified.
        Malformed, VerificationFailed: an entry that changes the directory and cannot be read.
    """
    replay = Replay()
    require_own(index, audited.tree_size, audited.root_hash)
    index.require_columns()
    for log_index, line in enumerate(islice(index.lines(), audited.tree_size)):
        try:
            replay.feed_line(line)
        except VerificationFailed as error:
            raise showing.directory(error, log_index) from None
        progress(1)
    return ReplayReport(audited, replay.roots, len(replay.filed), replay.root, replay.uncovered)
