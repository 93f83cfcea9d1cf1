"""Reading the audit log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from credproof.base.errors import Malformed, Unreachable
from credproof.base.limits import TIMESTAMPS_PAGE_MAX
from sqlalchemy import Row

from credproof_server.service.core import Core
from credproof_server.storage import repository, stamps


class Audit:
    """The use case of auditors. Proofs are given for committed sizes only."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def checkpoint(self) -> bytes:
        """The newest signed checkpoint."""
        return self._core.sequencer.head.note

    def witnessed(self) -> bytes:
        """The newest checkpoint that reached the quorum; empty when there is none.

        Raises:
            DataLoss: `LOG_FORKED`, `LOG_BEHIND`: a witness showed another log than this one. Who
                waited for witnesses would wait for ever.
        """
        self._core.sequencer.require_undisputed()
        return self._published()

    def disproof(self) -> bytes:
        """The checkpoint that a witness showed against this log; empty when there is none."""
        found = self._core.sequencer.disproof
        return b"" if found is None else found.seen.note

    def _published(self) -> bytes:
        head = self._core.published.head
        return b"" if head is None else head.note

    def for_everybody(self) -> bytes:
        """The newest checkpoint; where a quorum is asked for, the newest that reached it.

        Raises:
            Unreachable: `NOT_WITNESSED_YET`.
        """
        if self._core.trust.quorum.needed is None:
            newest, published = self._core.sequencer.head, self._core.published.head
            is_same = published is not None and published.tree_size == newest.tree_size
            return self._published() if is_same else newest.note
        if not (note := self._published()):
            raise Unreachable("NOT_WITNESSED_YET", "witnesses have not cosigned a checkpoint yet")
        return note

    async def lines(self, start: int, limit: int) -> Sequence[bytes]:
        """Entries from `start` on that the newest checkpoint covers."""
        size = self._core.sequencer.head.tree_size
        limit = min(limit, size - start)
        if limit <= 0:
            return ()

        def read() -> Sequence[bytes]:
            with self._core.engine.connect() as connection:
                return repository.lines(connection, start, limit)

        return await self._core.in_thread(read)

    async def timestamps(self, size: int, authority: str) -> Sequence[Row[Any]]:
        """The timestamps that come after this size and authority, a page of them."""

        def read() -> Sequence[Row[Any]]:
            with self._core.engine.connect() as connection:
                return stamps.page(connection, (size, authority), TIMESTAMPS_PAGE_MAX)

        return await self._core.in_thread(read)

    def inclusion_proof(self, log_index: int, tree_size: int) -> tuple[bytes, ...]:
        """The inclusion proof of an entry.

        Raises:
            Malformed: `NO_SUCH_SIZE`, `NO_SUCH_INDEX`.
        """
        self._require_signed(tree_size)
        return self._core.sequencer.state.tree.inclusion_proof(log_index, tree_size)

    def consistency_proof(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the tree of size `new` continues the one of size `old`.

        Raises:
            Malformed: `NO_SUCH_SIZE`.
        """
        self._require_signed(new)
        return self._core.sequencer.state.tree.consistency_proof(old, new)

    def _require_signed(self, tree_size: int) -> None:
        if tree_size > self._core.sequencer.head.tree_size:
            raise Malformed("NO_SUCH_SIZE", "no checkpoint of that size was signed yet")
