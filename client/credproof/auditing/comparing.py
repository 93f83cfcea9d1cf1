"""Holding a checkpoint that somebody else was shown against what this auditor verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from credproof.auditing.evidence import FORK_PAST, FORK_ROOTS, Evidence, LogFault
from credproof.auditing.following import Seen, own_tree
from credproof.auditing.index import Index
from credproof.base.errors import Conflict, DataLoss, Malformed, VerificationFailed
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, origin_of, verify_checkpoint
from credproof.log.continued import ENTRY_CONTINUED, Continued, parse_continued
from credproof.log.merkle import Tree
from credproof.log.note import VerifierKey, parse_note
from credproof.log.witness import parse_add_checkpoint
from credproof.wire import answer as answer_wire

_OTHER: Final = "The checkpoint that somebody else was shown."
_SAYS: Final = "the log signed another past than the one that was verified here"


def note_in(data: bytes) -> bytes:
    """The signed note in a checkpoint, in what a witness was asked, or in a kept answer.

    Raises:
        Malformed: it is none of them.
    """
    if data.startswith(b"old "):
        return parse_add_checkpoint(data).note
    try:
        parse_note(data)
    except Malformed:
        return answer_wire.parse(data).checkpoint
    return data


@dataclass(frozen=True)
class Comparing:
    """What an auditor verified: lines up to a checkpoint; and the log's vkeys, newest first."""

    index: Index
    seen: Seen
    vkeys: Sequence[str]

    def require_same_past(self, note: bytes) -> VerifiedCheckpoint:
        """Accept a note of the log that covers a beginning of what was verified.

        Raises:
            LogFault: `LOG_FORKED`, with files that show it.
            VerificationFailed: `LOG_REPLACED` where a new origin hides it; as `verify_checkpoint`.
            Conflict: `NOT_COMPARED` when it covers entries that are not here.
            DataLoss: `INDEX_DAMAGED`.
        """
        keys = {key.name: key for key in map(VerifierKey.parse, reversed(self.vkeys))}
        newest = self.seen.checkpoint
        key = keys.get(origin_of(note), VerifierKey.parse(self.vkeys[0]))
        other = verify_checkpoint(note, key.name, [key])
        tree = own_tree(self.index, newest.tree_size, newest.root_hash)
        if tree is None:
            message = "the lines in audit.db are not those of newest.checkpoint"
            raise DataLoss("INDEX_DAMAGED", message)
        if other.origin != newest.origin:
            self._require_survived(other)
        if other.tree_size > tree.size:
            message = "it covers more than you verified: credproof audit follow, then compare again"
            raise Conflict("NOT_COMPARED", message)
        if tree.root(other.tree_size) != other.root_hash:
            self._raise_fork(tree, other)
        return other

    def _require_survived(self, other: VerifiedCheckpoint) -> None:
        """Of an older origin, only what is left of it can be compared."""
        end = next((c for c in self._continued() if c.origin == other.origin), None)
        if end is None:
            message = "it is of a newer origin: credproof audit follow, then compare again"
            raise Conflict("NOT_COMPARED", message)
        is_last = other.tree_size == end.tree_size
        if other.tree_size > end.tree_size or (is_last and other.root_hash != end.root_hash):
            message = "the log's new origin hides what was signed under the old one"
            raise VerificationFailed("LOG_REPLACED", message)
        if other.tree_size > end.log_index:
            message = "it covers entries that were lost: nothing is left to compare it with"
            raise Conflict("NOT_COMPARED", message)

    def _continued(self) -> list[Continued]:
        query = "SELECT line FROM entries WHERE kind = :kind ORDER BY log_index"
        rows = self.index.select(query, {"kind": ENTRY_CONTINUED})
        return [parse_continued(bytes(line)) for (line,) in rows]

    def _raise_fork(self, tree: Tree, other: VerifiedCheckpoint) -> NoReturn:
        evidence, size = Evidence(), other.tree_size
        evidence.add_checkpoints(self.seen.note, other.note, self.vkeys, _OTHER)
        how = FORK_ROOTS
        if size < tree.size:
            past, how = Checkpoint(other.origin, size, tree.root(size)), FORK_PAST
            evidence.add_past(past, tree.consistency_proof(size, tree.size), self.seen.note)
        raise LogFault("LOG_FORKED", _SAYS, evidence.finish("LOG_FORKED", _SAYS, how))
