"""The auditor's SDK: follow the log, from its first entry or from where one last stood.

with Auditor.open(Path("my-office")) as auditor:
    report = auditor.verify()
    print(report.checkpoint.tree_size, "entries, nothing missing, nothing changed")
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from credproof.base.errors import VerificationFailed
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.channel import call
from credproof.home import Home, replace_file
from credproof.log.audit import AuditReport, AuditState, LogAudit, parse_state
from credproof.log.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    parse_checkpoint,
    verify_checkpoint,
)
from credproof.log.entry import Entry, parse_entry
from credproof.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from credproof.log.note import parse_note
from credproof.mirror import Mirror
from credproof.session import Session
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.anomaly import ENTRY_RAISED, Anomaly, parse_anomaly
from credproof.verification.audit_token import sign_audit_token
from credproof.verification.replay import Replay

STATE_NAME = "audited.json"
CHECKPOINT_NAME = "newest.checkpoint"
"""The signed note of the last audit: what a service that lost everything must be measured by."""
Progress = Callable[[int], None]


def audit_token(home: Home, *, hours: int) -> str:
    """A token by which other tools read the log over HTTP, good for so many hours, at most 24."""
    settings, now = home.settings, int(time.time())
    return sign_audit_token(
        home.signer, auditor=settings.id, domain=settings.domain, now=now, life_s=hours * 3600
    )


@dataclass(frozen=True, slots=True)
class RaisedAnomaly:
    """An anomaly in the log: its index, when it was raised (whole seconds), and what it says."""

    log_index: int
    time: int
    anomaly: Anomaly


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


class Auditor(Session):
    """An auditor at work."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._stub = AuditServiceStub(self._channel)

    def checkpoint(self) -> VerifiedCheckpoint:
        """The newest checkpoint, signed by the log's pinned key.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`, `OTHER_LOG`, `NO_KNOWN_SIGNATURE`.
        """
        note = call(self._stub.GetCheckpoint, pb.GetCheckpointRequest()).checkpoint
        key = self.trust.log_key
        return verify_checkpoint(note, key.name, [key])

    def lines(self, start: int, end: int) -> Iterator[bytes]:
        """The entries start … end - 1.

        Raises:
            VerificationFailed: `ENTRIES_MISSING` when the service gives fewer.
        """
        for page in self._pages(start, end):
            yield from page

    def _pages(self, start: int, end: int) -> Iterator[Sequence[bytes]]:
        while start < end:
            request = pb.ListEntriesRequest(
                start_index=start, limit=min(end - start, ENTRIES_PAGE_MAX)
            )
            page = call(self._stub.ListEntries, request).lines
            if not page:
                raise VerificationFailed("ENTRIES_MISSING", f"the service holds back entry {start}")
            yield page
            start += len(page)

    def trusted(self) -> AuditState:
        """Where the last audit of this auditor ended; the start of the log before the first."""
        try:
            return parse_state((self._home.folder / STATE_NAME).read_bytes())
        except FileNotFoundError:
            return AuditState()

    def verify(
        self, *, whole: bool = False, progress: Progress = lambda _count: None
    ) -> AuditReport:
        """Audit the log up to its newest checkpoint, and keep how far it went.

        `whole` reads from the first entry, otherwise from where the last audit ended.

        Raises:
            Malformed, VerificationFailed: `LOG_SHRANK`, `LOG_FORKED`, `LOG_REPLACED`, or what
                is wrong with which entry.
        """
        checkpoint = self.checkpoint()
        seen = self._seen()
        if seen is not None and seen.origin != checkpoint.origin:
            report = self._verify_continued(seen, checkpoint, progress)
        else:
            trusted = self.trusted()
            audit = LogAudit(None if whole else trusted, trusted=trusted)
            report = self._read(audit, checkpoint, progress)
        replace_file(self._home.folder / STATE_NAME, report.state.to_bytes())
        replace_file(self._home.folder / CHECKPOINT_NAME, checkpoint.note)
        return report

    def replay(self, progress: Progress = lambda _count: None) -> ReplayReport:
        """Compute every root of the directory anew from the whole log, and audit the log itself.

        Raises:
            Malformed, VerificationFailed: `ROOT_DIFFERS`, `NOT_A_MEMBER` naming the entry, or as
                `verify`.
        """
        checkpoint = self.checkpoint()
        audit, replay = LogAudit(trusted=self._trusted_of(checkpoint)), Replay()
        for page in self._pages(0, checkpoint.tree_size):
            audit.feed_page(page)
            for line in page:
                replay.feed_line(line)
            progress(len(page))
        audit.finish(checkpoint)
        return ReplayReport(
            checkpoint, replay.roots, len(replay.filed), replay.root, replay.uncovered
        )

    def _trusted_of(self, checkpoint: VerifiedCheckpoint) -> AuditState:
        """Where the last audit ended, if it was of this very origin."""
        seen = self._seen()
        same = seen is not None and seen.origin == checkpoint.origin
        return self.trusted() if same else AuditState()

    def export(self, folder: Path, *, progress: Progress = lambda _count: None) -> Mirror:
        """Copy the log into static files (C2SP tlog-tiles), or bring a copy up to date.

        Raises:
            DataLoss: `MIRROR_DAMAGED` when the copy there is not whole.
            VerificationFailed: `TREE_MISMATCH`, `ENTRIES_MISSING`, `LOG_SHRANK`.
        """
        checkpoint = self.checkpoint()
        mirror = Mirror(folder, self.trust.log_key)
        if mirror.size > checkpoint.tree_size:
            raise VerificationFailed("LOG_SHRANK", "the log is shorter than its copy")
        lines = self.lines(mirror.size, checkpoint.tree_size)
        while page := list(islice(lines, ENTRIES_PAGE_MAX)):
            mirror.add(page)
            progress(len(page))
        mirror.finish(checkpoint)
        return mirror

    def _read(
        self, audit: LogAudit, checkpoint: VerifiedCheckpoint, progress: Progress
    ) -> AuditReport:
        for page in self._pages(audit.size, checkpoint.tree_size):
            audit.feed_page(page)
            progress(len(page))
        return audit.finish(checkpoint)

    def _seen(self) -> Checkpoint | None:
        """The checkpoint of the last audit, as it was verified then."""
        try:
            note = (self._home.folder / CHECKPOINT_NAME).read_bytes()
        except FileNotFoundError:
            return None
        return parse_checkpoint(parse_note(note).text)

    def _verify_continued(
        self, seen: Checkpoint, checkpoint: VerifiedCheckpoint, progress: Progress
    ) -> AuditReport:
        """The log has another origin than before: it must say so, and what it lost."""
        report = self._read(LogAudit(), checkpoint, progress)
        ends = [c for c in report.continued if c.origin == seen.origin]
        if not ends or ends[0].tree_size < seen.tree_size:
            raise VerificationFailed(
                "LOG_REPLACED", "the log has a new origin and does not say what became of the old"
            )
        if ends[0].log_index >= seen.tree_size:
            size = checkpoint.tree_size
            request = pb.GetConsistencyProofRequest(
                old_tree_size=seen.tree_size, new_tree_size=size
            )
            proof = tuple(call(self._stub.GetConsistencyProof, request).hashes)
            verify_consistency(seen.tree_size, seen.root_hash, size, checkpoint.root_hash, proof)
        return report

    def anomalies(
        self, since: int = 0, *, progress: Progress = lambda _count: None
    ) -> Iterator[RaisedAnomaly]:
        """What the service raised as misuse, from the entry `since` on, in the order of the log.

        Each entry's inclusion under the newest checkpoint is verified.

        Raises:
            Malformed: an entry raises no anomaly that can be read.
            VerificationFailed: `BAD_INCLUSION_PROOF`, `OTHER_ENTRY`, and as `checkpoint`.
        """
        checkpoint = self.checkpoint()
        for index, line in enumerate(self.lines(since, checkpoint.tree_size), since):
            progress(1)
            if ENTRY_RAISED.encode() not in line:
                continue
            entry = parse_entry(line)
            if entry.kind == ENTRY_RAISED:
                self._require_included(entry, line, index, checkpoint)
                yield RaisedAnomaly(index, entry.time, parse_anomaly(entry))

    def evidence(self, anomaly: Anomaly) -> Iterator[Entry]:
        """The entries that an anomaly names, each verified like it."""
        checkpoint = self.checkpoint()
        for index in anomaly.evidence:
            line = next(self.lines(index, index + 1))
            entry = parse_entry(line)
            self._require_included(entry, line, index, checkpoint)
            yield entry

    def _require_included(
        self, entry: Entry, line: bytes, index: int, checkpoint: VerifiedCheckpoint
    ) -> None:
        if entry.seq != index:
            raise VerificationFailed("OTHER_ENTRY", f"the service gives another entry for {index}")
        self.verify_inclusion(leaf_hash(line), index, checkpoint)

    def verify_inclusion(
        self, leaf: bytes, log_index: int, checkpoint: VerifiedCheckpoint
    ) -> tuple[bytes, ...]:
        """The proof, verified, that the leaf hash stands at this index under a checkpoint.

        Raises:
            VerificationFailed: `BAD_INCLUSION_PROOF`.
        """
        request = pb.GetInclusionProofRequest(log_index=log_index, tree_size=checkpoint.tree_size)
        proof = tuple(call(self._stub.GetInclusionProof, request).hashes)
        verify_inclusion(leaf, log_index, checkpoint.tree_size, proof, checkpoint.root_hash)
        return proof

    def verify_consistency(self, old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> None:
        """Accept that the log of `new` continues that of `old`.

        Raises:
            VerificationFailed: `BAD_CONSISTENCY_PROOF`.
        """
        request = pb.GetConsistencyProofRequest(
            old_tree_size=old.tree_size, new_tree_size=new.tree_size
        )
        proof = tuple(call(self._stub.GetConsistencyProof, request).hashes)
        verify_consistency(old.tree_size, old.root_hash, new.tree_size, new.root_hash, proof)
