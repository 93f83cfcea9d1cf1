"""Showing others what is wrong in a log that was verified: its entries, each with its proof.

Proofs are made of the auditor's own lines under the checkpoint that was verified last: whatever the
service gives out afterwards takes none of them away. Of what comes after it the service is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

from credproof.auditing.evidence import (
    DIRECTORY,
    FINDINGS,
    IN_FUTURE,
    RULE_BROKEN,
    RULES,
    Evidence,
    LogFault,
    findings_json,
)
from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.own import Seen, own_tree, require_own
from credproof.auditing.signed import Source
from credproof.auditing.stamping import add_evidence
from credproof.auditing.stamps import Stamps
from credproof.base.errors import VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import parse_entry
from credproof.log.merkle import Tree, leaf_hash, verify_inclusion
from credproof.log.proof import TlogProof
from credproof.verification.log_rules import TIME_IN_FUTURE, Finding
from credproof.verification.registry import ENTRY_CHANGED, parse_changed


class Showing:
    """Makes files that show findings; `newest` gives the newest checkpoint of the service."""

    def __init__(
        self,
        index: Index,
        source: Source,
        seen: Seen | None,
        newest: Callable[[], VerifiedCheckpoint],
        vkeys: Sequence[str],
        history: History,
    ) -> None:
        self._index = index
        self._source = source
        self._seen = seen
        self._newest = newest
        self._vkeys = vkeys
        self._history = history

    @cached_property
    def _tree(self) -> Tree:
        """What was verified last; empty where it is not all kept.

        Raises:
            DataLoss: `INDEX_DAMAGED`: what is kept shows nothing, and speaks against nobody.
        """
        state = self._index.state
        require_own(self._index, state.position.size, state.root())
        if self._seen is None:
            return Tree()
        checkpoint = self._seen.checkpoint
        return own_tree(self._index, checkpoint.tree_size, checkpoint.root_hash) or Tree()

    def finding(self, finding: Finding, stamps: Stamps) -> dict[str, bytes]:
        """Files that show one broken rule.

        Raises:
            DataLoss: `INDEX_DAMAGED`, `STAMPS_DAMAGED`, `REGISTRY_NOT_KEPT`.
            VerificationFailed: `BAD_INCLUSION_PROOF`, and as `newest`.
        """
        _ = self._tree  # before any line is read
        evidence = Evidence()
        evidence.add(FINDINGS, findings_json([finding]), "The rule that is broken.")
        changes = self._add_registry(evidence, finding.log_index)
        self._add_logged(evidence, {finding.log_index, *finding.shown_by, *changes})
        add_evidence(evidence, stamps, self._index, [finding])
        says = f"{finding.message} ({finding.rule})"
        how = RULES + (IN_FUTURE if finding.rule == TIME_IN_FUTURE else "")
        return dict(evidence.finish(RULE_BROKEN, says, how))

    def directory(self, error: VerificationFailed, log_index: int) -> LogFault:
        """A root of the directory that is wrong, or another entry about it, with its files."""
        evidence = Evidence()
        self._add_logged(evidence, {log_index})
        files = evidence.finish(error.reason, error.message, DIRECTORY)
        return LogFault(error.reason, error.message, files)

    def _add_registry(self, evidence: Evidence, log_index: int) -> Iterator[int]:
        """The registry that an entry was judged by, and which entries put it in force.

        What was replaced less than `CLOCK_SKEW_S` before is one too.
        """
        since = (self._index.time(log_index) or 0) - CLOCK_SKEW_S
        changes = list(self._index.lines_of([ENTRY_CHANGED], log_index + 1))
        for line in reversed(changes):
            change = parse_entry(line)
            package = self._history.file(change)
            if package is not None:
                evidence.add_registry(parse_changed(change), package)
            yield change.seq
            if change.time <= since:
                return

    def _add_logged(self, evidence: Evidence, indexes: set[int]) -> None:
        """Entries, each with its proof, all of them under one checkpoint."""
        seen, newest = self._seen, None
        if seen is None or seen.note is None or max(indexes) >= self._tree.size:
            newest = self._newest()
        note = newest.note if newest else seen.note if seen and seen.note else b""
        evidence.add_checkpoints(None, note, self._vkeys)
        for log_index in sorted(indexes):
            line = self._index.line(log_index)
            assert line is not None, "a finding names entries that were read"
            hashes = self._proof(log_index, line, newest)
            evidence.add_entry(log_index, "logged", line, TlogProof(log_index, hashes, note))

    def _proof(
        self, log_index: int, line: bytes, newest: VerifiedCheckpoint | None
    ) -> tuple[bytes, ...]:
        if newest is None:
            return self._tree.inclusion_proof(log_index, self._tree.size)
        size = newest.tree_size
        hashes = self._source.inclusion(log_index, size)
        verify_inclusion(leaf_hash(line), log_index, size, hashes, newest.root_hash)
        return hashes
