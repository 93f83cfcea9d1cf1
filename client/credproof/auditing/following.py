"""Following a log: what is new is read, verified, put into the index, and judged by the rules.

Each page is proved to be a part of the signed tree before it is kept, so whoever is interrupted
goes on after the last page, and a service that lies once has spoilt nothing that was kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from credproof.auditing.continuing import Continuing
from credproof.auditing.evidence import WITHHELD, LogFault
from credproof.auditing.explaining import Explaining
from credproof.auditing.history import History
from credproof.auditing.index import Index
from credproof.auditing.own import Seen, begin_evidence, require_own_state, verified
from credproof.auditing.signed import SignedTree, Source
from credproof.base.errors import Malformed, VerificationFailed
from credproof.log.audit import AuditReport, AuditState, LogAudit
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import Entry, parse_entry
from credproof.verification.log_rules import LogRules
from credproof.verification.trust import Trust

Progress = Callable[[int], None]
_NOT_GIVEN: Final = ("REGISTRY_WITHHELD", "OTHER_TRUST")
"""What becomes of a version of the registry that a log names."""


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
        self._begin = partial(begin_evidence, seen, checkpoint, vkeys)
        self._tree = SignedTree(source, checkpoint)
        self._continuing = Continuing(self._tree, index, seen, self._begin)
        self._explaining = Explaining(self._tree, index, self._begin)

    def require_continued(self, kept: AuditState) -> AuditState:
        """As `Continuing.require_continued`."""
        return self._continuing.require_continued(kept)

    def require_signed(self) -> None:
        """As `Continuing.require_signed`."""
        self._continuing.require_signed()

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
            require_own_state(self._index, before)
            self._explaining.raise_served(before, page)
            read = page[: audit.size + 1 - before.position.size]
            self._explaining.raise_signed(audit.size, read, error)
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
            evidence, line = self._begin(), change.to_line()
            evidence.add_entry(change.seq, "logged", line, self._tree.proof(change.seq, line))
            files = evidence.finish(error.reason, error.message, WITHHELD)
            raise LogFault(error.reason, error.message, files, self._before()) from error

    def _before(self) -> VerifiedCheckpoint | None:
        """Where the last audit of this log ended."""
        seen, now = self._seen, self._checkpoint
        if seen is None or seen.note is None or seen.checkpoint.origin != now.origin:
            return None
        return verified(seen, self._vkeys)

    def _require_prefix(self, size: int, root: bytes) -> None:
        if not self._tree.is_prefix(size, root):
            raise VerificationFailed("TREE_MISMATCH", f"the first {size} entries are not signed")
