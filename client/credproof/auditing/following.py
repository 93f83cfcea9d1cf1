"""Following a log: what is new is read, verified, put into the index, and judged by the rules.

Each page is proved to be a part of the signed tree before it is kept, so whoever is interrupted
goes on after the last page, and a service that lies once has spoilt nothing that was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, Protocol

from credproof.auditing.evidence import (
    FORK_ENTRIES,
    FORK_PAST,
    FORK_ROOTS,
    FORK_WORD,
    SERVED,
    SHRANK,
    SIGNED,
    WITHHELD,
    Evidence,
    LogFault,
)
from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Malformed,
    Unreachable,
    VerificationFailed,
)
from credproof.log.audit import AuditReport, AuditState, LogAudit
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    Tree,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from credproof.log.note import VerifierKey
from credproof.log.proof import TlogProof
from credproof.verification.log_rules import LogRules
from credproof.verification.trust import Trust

Progress = Callable[[int], None]
_NEVER_SIGNED: Final = ("BAD_ENTRY", "CHAIN_BROKEN", "SEQ_GAP", "TIME_WENT_BACK")
"""What is wrong with an entry whoever signed it."""
_SHORTER: Final = "the log is shorter than when last audited"
_FORKED: Final = "the log is not the one that was audited before: it has another past"
_NOT_GIVEN: Final = ("REGISTRY_WITHHELD", "OTHER_TRUST")
"""What becomes of a version of the registry that a log names."""


class Source(Protocol):
    """Where a log is read. Nothing that it gives is believed."""

    def pages(self, start: int, end: int) -> Iterator[Sequence[bytes]]:
        """The entries start … end - 1, in pages."""
        ...

    def consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """What is said to prove that the larger tree continues the smaller one."""
        ...

    def inclusion(self, log_index: int, tree_size: int) -> tuple[bytes, ...]:
        """What is said to prove that an entry is in a tree."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """The checkpoint that was trusted before, and its signed note, unless that is damaged."""

    checkpoint: Checkpoint
    note: bytes | None

    def is_newer(self, other: Seen | None, *, of: str) -> bool:
        """Whether it covers more than another one, and is of this origin."""
        size = 0 if other is None else other.checkpoint.tree_size
        return self.checkpoint.origin == of and self.checkpoint.tree_size > size


def verified(seen: Seen | None, vkeys: Sequence[str]) -> VerifiedCheckpoint:
    """The checkpoint that was trusted before, verified anew under the log's keys.

    Raises:
        Conflict: `NOTHING_VERIFIED`: there was none, or its note is no more.
        Malformed, VerificationFailed: as `verify_checkpoint`.
    """
    if seen is None or seen.note is None:
        raise Conflict("NOTHING_VERIFIED", "no checkpoint that was verified is kept in this home")
    keys = [VerifierKey.parse(vkey) for vkey in vkeys]
    return verify_checkpoint(seen.note, seen.checkpoint.origin, keys)


def own_tree(index: Index, size: int, root: bytes) -> Tree | None:
    """A tree made of the lines that are kept; None where they do not make this root."""
    tree = Tree()
    tree.extend([leaf_hash(line) for line in index.lines(0, size)])
    return tree if (tree.size, tree.root()) == (size, root) else None


def require_own(index: Index, size: int, root: bytes, last_hash: bytes | None = None) -> Tree:
    """The tree of the lines that are kept: it has this root, and the last line this hash.

    Raises:
        DataLoss: `INDEX_DAMAGED`: what is wrong is not the log's.
    """
    tree, last = own_tree(index, size, root), index.line(size - 1)
    if tree is None or (last_hash is not None and last and entry_hash(last) != last_hash):
        raise DataLoss("INDEX_DAMAGED", f"{index.path.name} is not what was verified")
    return tree


class Following:
    """Brings an index up to one checkpoint, which was read at `now` (whole seconds)."""

    def __init__(
        self,
        source: Source,
        index: Index,
        history: History,
        checkpoint: VerifiedCheckpoint,
        vkeys: Sequence[str],
        seen: Seen | None = None,
        *,
        now: int,
    ) -> None:
        self._source = source
        self._index = index
        self._history = history
        self._checkpoint = checkpoint
        self._vkeys = vkeys
        self._seen = seen
        self._now = now

    def run(self, trusted: AuditState, progress: Progress) -> AuditReport:
        """Read what is new, on from the lines that are kept; must pass `trusted`, which is where
        an audit before ended, and not before them.

        Raises:
            LogFault: what is wrong, with the files that show it; a line that the log signed and
                that is no entry is `BAD_ENTRY`, a version of the registry that it names and that
                is not given `REGISTRY_WITHHELD` or `OTHER_TRUST`.
            VerificationFailed: `LOG_FORKED` where `trusted` is not of the checkpoint seen.
            DataLoss: `INDEX_DAMAGED`.
        """
        start, size = self._index.state, self._checkpoint.tree_size
        audit = LogAudit(start, trusted=trusted)
        trust = self._history.kept(self._index.trust_version)
        rules = LogRules(self._index, self._in_force, trust)
        for page in self._source.pages(audit.size, size):
            self._take(audit, rules, page)
            progress(len(page))
        return audit.finish(self._checkpoint)

    def _take(self, audit: LogAudit, rules: LogRules, page: Sequence[bytes]) -> None:
        before = audit.state
        try:
            audit.feed_page(page)
            self._require_prefix(audit.size, audit.root())
        except (Malformed, VerificationFailed) as error:
            self._require_own(before)
            self._explain(before, page)
            self._explain_signed(audit.size, page[: audit.size + 1 - before.position.size], error)
            raise error from None
        entries = [parse_entry(line) for line in page]
        with self._index.transaction():
            findings = rules.feed_page(entries, self._now)
            version = self._history.version or self._index.trust_version
            self._index.add(page, entries, findings, audit.state, version, self._now)

    def _in_force(self, change: Entry) -> Trust:
        """The bundle that an entry puts in force.

        Raises:
            LogFault: `REGISTRY_WITHHELD`, `OTHER_TRUST`, with the entry that the log signed.
        """
        try:
            return self._history.in_force(change)
        except VerificationFailed as error:
            if error.reason not in _NOT_GIVEN:
                raise
            evidence, line = self._evidence(), change.to_line()
            evidence.add_entry(change.seq, "logged", line, self._proof(change.seq, line))
            files = evidence.finish(error.reason, error.message, WITHHELD)
            raise LogFault(error.reason, error.message, files, self._before()) from error

    def _before(self) -> VerifiedCheckpoint | None:
        """Where the last audit of this log ended."""
        seen, now = self._seen, self._checkpoint
        if seen is None or seen.note is None or seen.checkpoint.origin != now.origin:
            return None
        return verified(seen, self._vkeys)

    # -- is it the log that was seen before, by all that is kept here?

    def require_continued(self, kept: AuditState) -> AuditState:
        """The checkpoint continues the one that was seen before, the lines that are kept, and
        `kept`, where an audit before ended; gives where the newest of them ended.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`.
            VerificationFailed: the same where lines or `kept` alone tell it: no files show that.
            DataLoss: `INDEX_DAMAGED`, `AUDITED_DAMAGED`, `AUDITED_AHEAD`: nobody is accused.
        """
        if self._seen is not None and self._seen.note is not None:
            self.require_signed()
        start = self._index.state
        self._require_start(start)
        self._require_state(kept, start)
        return max(start, kept, key=lambda state: state.position.size)

    def require_signed(self) -> None:
        """The checkpoint continues the signed one that was seen before.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`.
        """
        seen, now = self._seen, self._checkpoint
        assert seen is not None, "there was one"
        if now.tree_size < seen.checkpoint.tree_size:
            self._raise_shrank(seen)
        proof = self._consistency(seen.checkpoint.tree_size)
        try:
            self._verify(seen.checkpoint.tree_size, seen.checkpoint.root_hash, proof)
        except VerificationFailed:
            self._raise_fork(seen.checkpoint.tree_size, proof)

    def _require_start(self, start: AuditState) -> None:
        """What is kept of lines is in the signed tree; else they must be sound to say so."""
        size, root, seen = start.position.size, start.root(), self._seen
        signed = seen is not None and seen.note is not None and seen.checkpoint
        if signed and (signed.tree_size, signed.root_hash) == (size, root):
            return
        if self._is_prefix(size, root):
            return
        tree, now = self._require_own(start), self._checkpoint
        if signed and size <= now.tree_size:
            self._raise_fork(size, self._consistency(size))
        is_cut = size > now.tree_size and tree.root(now.tree_size) == now.root_hash
        self._raise_unsigned(self._index.path.name, is_cut=is_cut)

    def _require_own(self, state: AuditState) -> Tree:
        """What follows on a damaged index speaks against nobody.

        Raises:
            DataLoss: `INDEX_DAMAGED`.
        """
        position = state.position
        last_hash = position.last_hash if position.size else None
        return require_own(self._index, position.size, state.root(), last_hash)

    def _require_state(self, kept: AuditState, start: AuditState) -> None:
        """Where an audit ended is in the signed tree; it is signed by nobody."""
        size, root = kept.position.size, kept.root()
        if (size, root) == (start.position.size, start.root()) or self._is_prefix(size, root):
            return
        if start.position.size >= size:
            if own_tree(self._index, size, root) is None:
                raise DataLoss("AUDITED_DAMAGED", "audited.json and audit.db do not fit each other")
            return
        if self._seen is not None and self._seen.note is not None:
            message = "audited.json goes further than newest.checkpoint and audit.db, and the log"
            raise DataLoss("AUDITED_AHEAD", f"{message} is not what it says")
        self._raise_unsigned("audited.json", is_cut=size > self._checkpoint.tree_size)

    def _raise_unsigned(self, name: str, *, is_cut: bool) -> NoReturn:
        """It is not what an own file says that nobody signed: no files show that to others."""
        reason, says = ("LOG_SHRANK", _SHORTER) if is_cut else ("LOG_FORKED", _FORKED)
        raise VerificationFailed(reason, f"{says}, by {name} alone")

    def _raise_shrank(self, seen: Seen) -> NoReturn:
        """It is shorter; our own lines tell whether it has another past as well."""
        assert seen.note is not None, "it was signed"
        size, evidence, tree = self._checkpoint.tree_size, self._evidence(), self._own_tree(seen)
        if tree is None or tree.root(size) == self._checkpoint.root_hash:
            files = evidence.finish("LOG_SHRANK", _SHORTER, SHRANK)
            raise LogFault("LOG_SHRANK", _SHORTER, files)
        past = Checkpoint(seen.checkpoint.origin, size, tree.root(size))
        evidence.add_past(past, tree.consistency_proof(size, tree.size), seen.note)
        shown = self._add_difference(evidence, seen, tree)
        self._fault_forked(evidence, FORK_ENTRIES if shown else FORK_PAST)

    def _raise_fork(self, old_size: int, proof: Sequence[bytes]) -> NoReturn:
        seen, evidence = self._seen, self._evidence()
        evidence.add_request(old_size, proof, self._checkpoint.note)
        tree = None if seen is None else self._own_tree(seen)
        if seen and tree and self._add_difference(evidence, seen, tree):
            self._fault_forked(evidence, FORK_ENTRIES)
        is_of_one_size = (
            seen and seen.checkpoint.tree_size == self._checkpoint.tree_size == old_size
        )
        self._fault_forked(evidence, FORK_ROOTS if is_of_one_size else FORK_WORD)

    def _fault_forked(self, evidence: Evidence, how: str) -> NoReturn:
        raise LogFault("LOG_FORKED", _FORKED, evidence.finish("LOG_FORKED", _FORKED, how))

    def _own_tree(self, seen: Seen) -> Tree | None:
        """None where the index was deleted, or is younger: checkpoints alone must do."""
        return own_tree(self._index, seen.checkpoint.tree_size, seen.checkpoint.root_hash)

    def _add_difference(self, evidence: Evidence, seen: Seen, tree: Tree) -> bool:
        """The first entry that differs; whether both lines are there, each with its proof."""
        index = first_not(lambda size: self._is_prefix(size, tree.root(size)), tree.size)
        ours, theirs = self._index.line(index), self._served(index)
        if ours is None or index == tree.size or seen.note is None:
            return False  # what was read is there: it was never what the old checkpoint covers
        evidence.add_proved(index, "seen", ours, tree, seen.note)
        if theirs is None or theirs == ours:
            return False
        proof = self._proof(index, theirs)
        evidence.add_entry(index, "now", theirs, proof)
        return proof is not None

    def _served(self, index: int) -> bytes | None:
        if index >= self._checkpoint.tree_size:
            return None
        try:
            return next(self._source.pages(index, index + 1))[0]
        except (CredproofError, StopIteration, IndexError):
            return None

    def _evidence(self) -> Evidence:
        evidence = Evidence()
        seen = None if self._seen is None else self._seen.note
        evidence.add_checkpoints(seen, self._checkpoint.note, self._vkeys)
        return evidence

    # -- is a page a part of the tree that was signed?

    def _require_prefix(self, size: int, root: bytes) -> None:
        if not self._is_prefix(size, root):
            raise VerificationFailed("TREE_MISMATCH", f"the first {size} entries are not signed")

    def _is_prefix(self, size: int, root: bytes) -> bool:
        """Whether the first `size` entries of the signed tree have this root."""
        if size > self._checkpoint.tree_size:
            return False
        try:
            self._verify(size, root, self._consistency(size))
        except VerificationFailed:
            return False
        return True

    def _verify(self, size: int, root: bytes, proof: Sequence[bytes]) -> None:
        new = self._checkpoint
        verify_consistency(size, root, new.tree_size, new.root_hash, proof)

    def _consistency(self, size: int) -> tuple[bytes, ...]:
        if size in (0, self._checkpoint.tree_size):
            return ()
        try:
            return self._source.consistency(size, self._checkpoint.tree_size)
        except Unreachable:
            raise
        except CredproofError:
            return ()  # it has none

    def _proof(self, index: int, line: bytes) -> TlogProof | None:
        """The proof that a line is in the signed tree, if the service has one."""
        new = self._checkpoint
        try:
            hashes = self._source.inclusion(index, new.tree_size)
            verify_inclusion(leaf_hash(line), index, new.tree_size, hashes, new.root_hash)
        except Unreachable:
            raise
        except CredproofError:
            return None
        return TlogProof(index, hashes, new.note)

    # -- what is wrong with a page?

    def _explain(self, before: AuditState, page: Sequence[bytes]) -> None:
        """Raise what a service did to a page; nothing when the log itself signed what is wrong."""
        start = before.position.size
        bad = first_not(
            lambda count: self._is_prefix(start + count, _root(before, page[:count])), len(page)
        )
        if bad == len(page):
            return
        found = self._what_is_it(start, page, bad)
        evidence = self._evidence()
        evidence.add_entry(start + bad, "served", page[bad], None)
        files = evidence.finish(found.reason, found.message, SERVED)
        raise LogFault(found.reason, found.message, files)

    def _explain_signed(
        self, index: int, read: Sequence[bytes], error: Malformed | VerificationFailed
    ) -> None:
        """Raise what the log signed and may not: entry `index`, the last that was `read`."""
        reason = "BAD_ENTRY" if isinstance(error, Malformed) else error.reason
        if reason not in _NEVER_SIGNED:
            return
        evidence = self._evidence()
        before = read[-2] if len(read) > 1 else self._index.line(index - 1)
        if before is not None:
            evidence.add_entry(index - 1, "logged", before, self._proof(index - 1, before))
        evidence.add_entry(index, "logged", read[-1], self._proof(index, read[-1]))
        raise LogFault(reason, error.message, evidence.finish(reason, error.message, SIGNED))

    def _what_is_it(self, start: int, page: Sequence[bytes], bad: int) -> VerificationFailed:
        index = start + bad
        if seq_of(page[bad]) not in (None, index):
            message = f"entry {index} is missing or out of place"
            return VerificationFailed("SEQ_GAP", message)
        others = [(start + i, line) for i, line in enumerate(page[bad + 1 :], bad + 1)]
        if index == 0 and not any(self._proof(*other) for other in others[:1] + others[-1:]):
            message = "the entries do not make the tree that was signed"
            return VerificationFailed("TREE_MISMATCH", message)
        return VerificationFailed("ENTRY_CHANGED", f"entry {index} is not the one that was signed")


def _root(before: AuditState, lines: Sequence[bytes]) -> bytes:
    frontier = Frontier(before.position.size, before.peaks)
    for line in lines:
        frontier.append(leaf_hash(line))
    return frontier.root() if frontier.size else EMPTY_ROOT


def first_not(holds: Callable[[int], bool], count: int) -> int:
    """The last number up to `count` for which it holds; it holds for 0 and then up to some one.

    So, of entries counted from 0, the index of the first one that spoils it.
    """
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(middle) else (low, middle - 1)
    return low


def seq_of(line: bytes) -> int | None:
    """The place that a line names; None for what is no entry."""
    try:
        return parse_entry(line).seq
    except Malformed:
        return None
