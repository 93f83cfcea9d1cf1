"""What is wrong with a page that is no part of the signed tree, and whose doing it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from credproof.auditing.evidence import SERVED, SIGNED, Evidence, LogFault
from credproof.auditing.index import Index
from credproof.auditing.signed import SignedTree, first_not
from credproof.base.errors import Malformed, VerificationFailed
from credproof.log.audit import AuditState
from credproof.log.entry import parse_entry
from credproof.log.merkle import Frontier, leaf_hash

_NEVER_SIGNED: Final = ("BAD_ENTRY", "CHAIN_BROKEN", "SEQ_GAP", "TIME_WENT_BACK")
"""What is wrong with an entry whoever signed it."""


class Explaining:
    """Says of pages of a log what is wrong; `index` has the lines before them.

    `begin` gives evidence that has the checkpoints already.
    """

    def __init__(self, tree: SignedTree, index: Index, begin: Callable[[], Evidence]) -> None:
        self._tree = tree
        self._index = index
        self._begin = begin

    def raise_served(self, before: AuditState, page: Sequence[bytes]) -> None:
        """Tell what a service did to a page; nothing where the log itself signed what is wrong.

        Raises:
            LogFault: `SEQ_GAP`, `TREE_MISMATCH`, `ENTRY_CHANGED`.
        """
        start = before.position.size
        bad = first_not(
            lambda count: self._tree.is_prefix(start + count, _root(before, page[:count])),
            len(page),
        )
        if bad == len(page):
            return
        found = self._what_is_it(start, page, bad)
        evidence = self._begin()
        evidence.add_entry(start + bad, "served", page[bad], None)
        files = evidence.finish(found.reason, found.message, SERVED)
        raise LogFault(found.reason, found.message, files)

    def raise_signed(
        self, index: int, read: Sequence[bytes], error: Malformed | VerificationFailed
    ) -> None:
        """Tell what the log signed and may not: entry `index`, the last that was `read`.

        Raises:
            LogFault: one of `_NEVER_SIGNED`; nothing for another `error`.
        """
        reason = "BAD_ENTRY" if isinstance(error, Malformed) else error.reason
        if reason not in _NEVER_SIGNED:
            return
        evidence = self._begin()
        before = read[-2] if len(read) > 1 else self._index.line(index - 1)
        if before is not None:
            evidence.add_entry(index - 1, "logged", before, self._tree.proof(index - 1, before))
        evidence.add_entry(index, "logged", read[-1], self._tree.proof(index, read[-1]))
        raise LogFault(reason, error.message, evidence.finish(reason, error.message, SIGNED))

    def _what_is_it(self, start: int, page: Sequence[bytes], bad: int) -> VerificationFailed:
        index = start + bad
        if seq_of(page[bad]) not in (None, index):
            message = f"entry {index} is missing or out of place"
            return VerificationFailed("SEQ_GAP", message)
        others = [(start + i, line) for i, line in enumerate(page[bad + 1 :], bad + 1)]
        if index == 0 and not any(self._tree.proof(*other) for other in others[:1] + others[-1:]):
            message = "the entries do not make the tree that was signed"
            return VerificationFailed("TREE_MISMATCH", message)
        return VerificationFailed("ENTRY_CHANGED", f"entry {index} is not the one that was signed")


def _root(before: AuditState, lines: Sequence[bytes]) -> bytes:
    frontier = Frontier(before.position.size, before.peaks)
    for line in lines:
        frontier.append(leaf_hash(line))
    return frontier.root()


def seq_of(line: bytes) -> int | None:
    """The place that a line names; None for what is no entry."""
    try:
        return parse_entry(line).seq
    except Malformed:
        return None
