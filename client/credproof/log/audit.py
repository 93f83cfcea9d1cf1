"""Auditing a log as it streams by: chain, times, tree, in O(log n) memory.

An audit starts at the first entry, or where an earlier one ended: its state holds the peaks
of the tree, so that nothing before it need be read again. One that starts at the first entry
again must still pass where the earlier one ended: otherwise a rewritten log would be believed
by whoever looks twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from credproof.base.encoding import b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.members import Members
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.continued import ENTRY_CONTINUED, Continued, ends, parse_continued
from credproof.log.entry import ChainPosition
from credproof.log.merkle import Frontier, leaf_hash


@dataclass(frozen=True, slots=True)
class AuditState:
    """How far a log was audited: the position of its chain and the peaks of its tree."""

    position: ChainPosition = field(default_factory=ChainPosition)
    peaks: tuple[bytes, ...] = ()

    def root(self) -> bytes:
        """The root of what was audited."""
        return Frontier(self.position.size, self.peaks).root()

    def to_bytes(self) -> bytes:
        """The state as an auditor keeps it."""
        position = self.position
        return canonical_json(
            {
                "last_hash": b64url(position.last_hash),
                "last_time": position.last_time,
                "peaks": [b64url(peak) for peak in self.peaks],
                "tree_size": position.size,
            }
        )


def parse_state(data: bytes) -> AuditState:
    """The state that an auditor kept.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_FRONTIER`, `BAD_AUDIT_STATE`, or as `parse_json`.
    """
    members = Members(parse_json(data), "audit state")
    position = ChainPosition(
        members.take("tree_size", int),
        members.bytes("last_hash", 32),
        members.take("last_time", int),
    )
    peaks = tuple(parse_b64url(text, size=32) for text in members.strings("peaks"))
    members.finish()
    Frontier(position.size, peaks)
    if position.last_time < 0 or (position.size == 0 and position != ChainPosition()):
        raise Malformed("BAD_AUDIT_STATE", "audit state has a position that no log can have")
    return AuditState(position, peaks)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """A log that was found whole up to a checkpoint. `kinds` counts the entries read.

    `continued` are the places where it goes on under a new origin, among the entries read;
    `uncompared` those of before which nothing that was kept here could be held against.
    """

    checkpoint: VerifiedCheckpoint
    entries_read: int
    kinds: Mapping[str, int]
    state: AuditState
    continued: tuple[Continued, ...] = ()
    uncompared: range = range(0)


class LogAudit:
    """One audit: `feed` every entry in order, or pages of them, then `finish` with the checkpoint.

    It begins after `start`, by default before the first entry, and must pass `trusted`, where
    an earlier audit ended; that lies at or after `start`.
    """

    def __init__(
        self, start: AuditState | None = None, *, trusted: AuditState | None = None
    ) -> None:
        start = start or AuditState()
        self._trusted = trusted or start
        self._position = start.position
        self._frontier = Frontier(start.position.size, start.peaks)
        self._first = start.position.size
        self._kinds: Counter[str] = Counter()
        self._continued: list[Continued] = []
        self._compare_with_trusted()

    @property
    def size(self) -> int:
        """How many entries are covered so far."""
        return self._position.size

    @property
    def state(self) -> AuditState:
        """How far it went."""
        return AuditState(self._position, self._frontier.peaks)

    def root(self) -> bytes:
        """The root of the entries so far."""
        return self._frontier.root()

    def feed(self, line: bytes) -> str:
        """Accept the next entry; gives its kind.

        Raises:
            Malformed, VerificationFailed: as `ChainPosition.verify_next`, and `LOG_FORKED`;
                the message names the entry's index.
        """
        try:
            position, kind = self._position.verify_next(line)
            if kind == ENTRY_CONTINUED:
                self._continued.append(parse_continued(line))
        except Malformed as error:
            raise type(error)(error.reason, f"entry {self.size}: {error.message}") from error
        self._position = position
        self._frontier.append(leaf_hash(line))
        self._kinds[kind] += 1
        if self._position.size == self._trusted.position.size:
            self._compare_with_trusted()
        return kind

    def feed_page(self, lines: Sequence[bytes]) -> None:
        """Accept the next entries: as `feed` for each of them, but faster.

        Raises:
            Malformed, VerificationFailed: as `feed`, which looks again at what is not accepted.
        """
        passes = self.size < self._trusted.position.size <= self.size + len(lines)
        page = None if passes else self._position.verify_page(lines)
        if page is None or ENTRY_CONTINUED in page[1]:
            for line in lines:
                self.feed(line)
            return
        self._position, kinds = page
        self._kinds.update(kinds)
        for line in lines:
            self._frontier.append(leaf_hash(line))

    def _compare_with_trusted(self) -> None:
        """By the tree alone: it says what the last line is."""
        trusted = self._trusted
        if self.size == trusted.position.size and self._frontier.peaks != trusted.peaks:
            raise VerificationFailed(
                "LOG_FORKED", f"the first {self.size} entries are not those of the last audit"
            )

    def finish(self, checkpoint: VerifiedCheckpoint) -> AuditReport:
        """The report, when what was fed is exactly what the checkpoint covers.

        Raises:
            VerificationFailed: `TREE_MISMATCH`; `LOG_SHRANK` when it does not reach `trusted`.
        """
        if min(self.size, checkpoint.tree_size) < self._trusted.position.size:
            raise VerificationFailed("LOG_SHRANK", "the log is shorter than when last audited")
        found = (self._frontier.size, self._frontier.root())
        if found != (checkpoint.tree_size, checkpoint.root_hash):
            raise VerificationFailed(
                "TREE_MISMATCH", f"the {self.size} entries do not make the checkpoint's tree"
            )
        read, kinds = self.size - self._first, dict(self._kinds)
        return AuditReport(checkpoint, read, kinds, self.state, tuple(ends(self._continued)))
