"""Closing epochs: a root of the directory over all that the log holds, logged.

Between epochs the directory stands still: what is accepted or withdrawn meanwhile is applied when
the next one is closed. That is after a second, or at once when a question needs it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

from credproof.base.errors import DataLoss, VerificationFailed
from credproof.base.limits import DIRECTORY_AGE_MAX_S
from credproof.log.directory import NO_PLACES, Leaf, Subtree, Top, subtree
from credproof.log.entry import SALT_BYTES, parse_entry
from credproof.verification.filing import (
    ACTOR,
    ENTRY_ROOT,
    Change,
    Filed,
    apply_all,
    parse_root,
)
from sqlalchemy import Connection

from credproof_server.log.directory_state import Epoch
from credproof_server.log.state import Transaction
from credproof_server.storage import leaves

EPOCH_S: Final = 1.0
"""How often an epoch is closed when there is news, in seconds."""
REFRESH_S: Final = DIRECTORY_AGE_MAX_S // 2
"""From this age on, in seconds, a root is not good for an answer: the next one needs it younger."""
CHANGES_PAGE: Final = 500
"""So many changes are applied at a time."""


class CloseEpoch:
    """Logs a root over all that is logged, when there is news or the newest one is too old."""

    def apply(self, tx: Transaction) -> None:
        """
        Raises:
            DataLoss: `LOG_DAMAGED` when the stored leaves are not what the log says.
        """
        epoch, changes = tx.epoch, tx.changes
        if not changes and epoch and tx.time - epoch.root.time < REFRESH_S:
            return
        try:
            places = write_changes(tx.connection, tx.top, changes, tx.places)
        except VerificationFailed as error:
            raise DataLoss("LOG_DAMAGED", "stored directory is not what the log says") from error
        root, covered = tx.top.root_with(places), tx.size
        fields: dict[str, object] = {"covered": covered}
        index = tx.append(ENTRY_ROOT, ACTOR, root, salt=os.urandom(SALT_BYTES), fields=fields)
        row = {"log_index": index, "root": root, "covered": covered}
        leaves.add_root(tx.connection, row)
        line = tx.line(index)
        tx.close_epoch(Epoch(parse_root(parse_entry(line)), line), places)


def write_changes(
    connection: Connection,
    top: Top,
    changes: Sequence[Change],
    places: Mapping[int, Subtree] = NO_PLACES,
) -> Mapping[int, Subtree]:
    """Apply changes to the stored leaves; gives the places that they change above them.

    Raises:
        VerificationFailed: `NOT_A_MEMBER` when they do not fit what is stored.
    """
    for start in range(0, len(changes), CHANGES_PAGE):
        buckets = _write_page(connection, top, changes[start : start + CHANGES_PAGE])
        rows = [{"bucket": n, "hash": b.hash, "is_leaf": b.is_leaf} for n, b in buckets.items()]
        leaves.put_buckets(connection, rows)
        places = top.changed(buckets, places)
    return places


def _write_page(
    connection: Connection, top: Top, changes: Sequence[Change]
) -> Mapping[int, Subtree]:
    touched = {change.index: top.bucket(change.index) for change in changes}
    stored = leaves.in_buckets(connection, set(touched.values()))
    filed = {
        r.place: Filed(r.salt, leaves.members_of(r.members)) for r in stored if r.place in touched
    }
    apply_all(changes, filed)
    kept = [(found, found.leaf(index)) for index, found in filed.items() if found.members]
    rows = [leaves.leaf_row(touched[leaf.index], leaf, found) for found, leaf in kept]
    leaves.put(connection, rows)
    gone = set(touched) - {leaf.index for _, leaf in kept}
    leaves.remove(connection, [(touched[index], index) for index in gone])
    fresh = defaultdict[int, list[Leaf]](list)
    for row in stored:
        if row.place not in touched:
            fresh[row.bucket].append(Leaf(row.place, row.value))
    for _, leaf in kept:
        fresh[touched[leaf.index]].append(leaf)
    return {n: subtree(sorted(fresh[n]), top.bits) for n in touched.values()}
