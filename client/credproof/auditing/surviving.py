"""A log that goes on under a new origin must be the old one, but for the tail that was lost.

The entry that begins the new origin says where the old log ends in it. All below is held against
what was verified here: the auditor's own lines, or without them the peaks of its tree, and each
checkpoint that covers no more than what survived.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from credproof.auditing.evidence import (
    MOVED_ENTRIES,
    MOVED_LONGER,
    MOVED_NAMED,
    MOVED_ROOTS,
    MOVED_WORD,
    Evidence,
    LogFault,
)
from credproof.auditing.index import Index
from credproof.auditing.own import Seen, own_tree
from credproof.auditing.signed import first_not
from credproof.auditing.trusted import Trusted
from credproof.base.errors import VerificationFailed
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint
from credproof.log.continued import Continued
from credproof.log.merkle import Frontier, Tree, leaf_hash


@dataclass(frozen=True, slots=True)
class _Past:
    """What the first entries of the old log make: `proof` leads to what was `seen`."""

    size: int
    root: bytes
    proof: tuple[bytes, ...]
    seen: Seen


class Surviving:
    """A log that was read into `fresh`, held against what this home has of the log of `seen`."""

    def __init__(
        self,
        own: Index,
        fresh: Index,
        trusted: Trusted,
        seen: Seen,
        checkpoint: VerifiedCheckpoint,
        vkeys: Sequence[str],
    ) -> None:
        self._own, self._fresh = own, fresh
        self._state, self._seen, self._checkpoint = trusted.state(), seen, checkpoint
        self._vkeys = vkeys
        witnessed = trusted.witnessed()
        is_of_it = witnessed is not None and witnessed.checkpoint.origin == seen.checkpoint.origin
        self._witnessed = witnessed if is_of_it else None
        self._own_tree = own_tree(own, seen.checkpoint.tree_size, seen.checkpoint.root_hash)
        self._tree = Tree()
        self._tree.extend([leaf_hash(line) for line in fresh.lines(0, checkpoint.tree_size)])

    @property
    def _signed(self) -> Sequence[Seen]:
        """What the old log had signed, as far as it is known here."""
        return [self._seen, *([self._witnessed] if self._witnessed else [])]

    def require_same(self, report: AuditReport) -> range:
        """Accept that only entries differ that were lost; gives those that nothing here tells of.

        Raises:
            VerificationFailed: `LOG_REPLACED`: it does not say what became of the old log.
            LogFault: `LOG_FORKED`: what it says to have kept, or the old log that it names, is not
                what was there. `LOG_REPLACED`: it names less than the old log had signed.
        """
        end = self._end(report)
        if end is None:
            raise VerificationFailed("LOG_REPLACED", _silent(report))
        self._require_named(end)
        compared = 0
        for past in self._pasts(end.kept):
            if self._tree.root(past.size) != past.root:
                self._raise_forked(end, past)
            compared = max(compared, past.size)
        self._require_all(end)
        return range(compared, min(end.kept, self._seen.checkpoint.tree_size))

    def is_cut(self, report: AuditReport) -> bool:
        """Whether lines that are kept are of entries that were lost."""
        end, tree = self._end(report), self._own_tree
        return end is not None and tree is not None and end.kept < tree.size

    def _end(self, report: AuditReport) -> Continued | None:
        """Where the log says that the old one ends in it."""
        origin = self._seen.checkpoint.origin
        return next((found for found in report.continued if found.origin == origin), None)

    def _require_named(self, end: Continued) -> None:
        """The last checkpoint of the old origin is no other than the one that was seen."""
        for seen in self._signed:
            old = seen.checkpoint
            if old.tree_size == end.tree_size and old.root_hash != end.root_hash:
                self._raise(_named(end), seen, self._evidence(seen, end), MOVED_WORD)
        for past in self._own_pasts(end.tree_size):
            if past.size == end.tree_size and past.root != end.root_hash:
                evidence = self._evidence(past.seen, end)
                _add_past(evidence, past)
                self._raise(_named(end), past.seen, evidence, MOVED_NAMED)

    def _require_all(self, end: Continued) -> None:
        """The last checkpoint of the old origin covers all that was seen."""
        seen = max(self._signed, key=lambda seen: seen.checkpoint.tree_size)
        if seen.checkpoint.tree_size > end.tree_size:
            says = "the log signed more under its old origin than its new one says"
            self._raise(says, seen, self._evidence(seen, end), MOVED_LONGER, "LOG_REPLACED")

    def _pasts(self, end: int) -> Iterator[_Past]:
        """What is known here of the first `end` entries of the old log, the most telling first."""
        yield from self._own_pasts(end)
        for signed in self._signed:
            old = signed.checkpoint
            if old.tree_size <= end:
                yield _Past(old.tree_size, old.root_hash, (), signed)

    def _own_pasts(self, end: int) -> Iterator[_Past]:
        """The same by own lines, or without them by peaks, as far as those go."""
        seen, size = self._seen, self._seen.checkpoint.tree_size
        if self._own_tree is not None:
            tree, count = self._own_tree, min(end, size)
            yield _Past(count, tree.root(count), tree.consistency_proof(count, size), seen)
        elif self._state.position.size == size:
            past, proof = Frontier(size, self._state.peaks).past(end)
            yield _Past(past.size, past.root(), proof, seen)

    def _raise_forked(self, end: Continued, past: _Past) -> NoReturn:
        evidence = self._evidence(past.seen, end)
        says = f"the log under its new origin has another past before entry {end.kept}"
        if past.seen.note is not None and self._add_entries(evidence, past):
            self._raise(says, past.seen, evidence, MOVED_ENTRIES)
        _add_past(evidence, past)
        new, size = self._checkpoint, past.size
        now = Checkpoint(new.origin, size, self._tree.root(size))
        evidence.add_now_past(now, self._tree.consistency_proof(size, new.tree_size), new.note)
        self._raise(says, past.seen, evidence, MOVED_ROOTS)

    def _add_entries(self, evidence: Evidence, past: _Past) -> bool:
        """The first entry that differs, as it was and as it is; whether its old line is known."""
        tree, old = self._own_tree, past.seen.checkpoint
        if tree is None or past.seen.note is None or old != self._seen.checkpoint:
            return False
        at = first_not(lambda size: tree.root(size) == self._tree.root(size), past.size)
        line = self._own.line(at)
        if line is None:
            return False
        evidence.add_proved(at, "seen", line, tree, past.seen.note)
        self._add_logged(evidence, at, "now")
        return True

    def _evidence(self, seen: Seen, end: Continued) -> Evidence:
        """Both checkpoints, and the entry by which the new log says what it kept."""
        evidence = Evidence()
        evidence.add_checkpoints(seen.note, self._checkpoint.note, self._vkeys)
        self._add_logged(evidence, end.log_index, "logged")
        return evidence

    def _add_logged(self, evidence: Evidence, at: int, word: str) -> None:
        line = self._fresh.line(at)
        assert line is not None, "the log was read to its end"
        evidence.add_proved(at, word, line, self._tree, self._checkpoint.note)

    def _raise(
        self, says: str, seen: Seen, evidence: Evidence, how: str, reason: str = "LOG_FORKED"
    ) -> NoReturn:
        if seen.note is None:
            raise VerificationFailed(reason, f"{says}, by what nobody signed alone")
        raise LogFault(reason, says, evidence.finish(reason, says, how))


def _silent(report: AuditReport) -> str:
    if not report.continued:
        return "the log has a new origin and does not say what became of the old"
    named = ", ".join(found.origin for found in report.continued)
    says = f"the log has a new origin and says what became of {named}, not of the one verified here"
    return f"{says}: whoever verified another in between can say how that one began"


def _named(end: Continued) -> str:
    return f"the old log that the new origin names in entry {end.log_index} is not the one verified"


def _add_past(evidence: Evidence, past: _Past) -> None:
    seen = past.seen
    if seen.note is not None:
        then = Checkpoint(seen.checkpoint.origin, past.size, past.root)
        evidence.add_past(then, past.proof, seen.note)
