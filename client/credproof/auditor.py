"""The auditor's SDK: follow the log, from its first entry or from where one last stood.

with Auditor.open(Path("my-office")) as auditor:
    report = auditor.verify()
    print(report.checkpoint.tree_size, "entries, nothing missing, nothing changed")
"""

from __future__ import annotations

import fcntl
import secrets
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path

from credproof.auditing.anew import read_moved, read_whole
from credproof.auditing.comparing import Comparing
from credproof.auditing.evidence import LogFault
from credproof.auditing.following import Following, Progress
from credproof.auditing.history import History
from credproof.auditing.index import INDEX_NAME, Index
from credproof.auditing.lost import Lost, lost_entries
from credproof.auditing.own import Seen, verified
from credproof.auditing.raised import RaisedAnomaly, raised
from credproof.auditing.reading import LogReader
from credproof.auditing.registry import put_in_force
from credproof.auditing.rejudging import require_judged
from credproof.auditing.replaying import ReplayReport, replayed
from credproof.auditing.rereading import Reread, Rewritten, reread
from credproof.auditing.showing import Showing
from credproof.auditing.signed import Source
from credproof.auditing.stamping import StampReport, fetch, judge
from credproof.auditing.stamps import Stamps
from credproof.auditing.trusted import Trusted, log_vkeys
from credproof.auditing.unsealing import Unsealings
from credproof.base.encoding import canonical_json
from credproof.base.errors import Conflict, DataLoss, Refused, VerificationFailed
from credproof.base.limits import ENTRIES_PAGE_MAX, EVIDENCE_FINDINGS_MAX
from credproof.channel import call
from credproof.files import append_private
from credproof.history import fetch_version
from credproof.home import Home
from credproof.log.audit import AuditReport, AuditState
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import Entry, parse_entry
from credproof.log.merkle import leaf_hash
from credproof.log.note import VerifierKey
from credproof.log.witnessed import Witnessed
from credproof.mirror import Mirror
from credproof.pseudonyms import Pseudonyms
from credproof.session import fetch_trust
from credproof.v1 import audit_service_pb2 as pb
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED, Anomaly
from credproof.verification.answer import SALT_BYTES, Reference
from credproof.verification.audit_token import sign_audit_token
from credproof.verification.log_rules import Finding
from credproof.verification.unsealing import require_reason
from credproof.witnessing import Witnessing

SEARCHES_NAME = "searches.jsonl"
"""Why this auditor looked for persons: what the log has digests of."""


def audit_token(home: Home, *, hours: int) -> str:
    """A token by which other tools read the log over HTTP, good for so many hours, at most 24.

    Raises:
        Refused: `NOT_PERMITTED` for a home that is no auditor's: no service takes its token.
    """
    settings, now = home.settings, int(time.time())
    if settings.role != "auditor":
        raise Refused("NOT_PERMITTED", "only an auditor's token lets anybody read the log")
    return sign_audit_token(
        home.signer, auditor=settings.id, domain=settings.domain, now=now, life_s=hours * 3600
    )


class Auditor(LogReader):
    """An auditor at work; by `trust` instead of the newest bundle, if it is given."""

    def require_undisproved(self) -> None:
        """Hold what a witness showed to the service against the log that `verify` has just audited.

        Raises:
            LogFault: `LOG_FORKED`, `LOG_BEHIND`, with files that show it.
            VerificationFailed: `NOT_DISPROVED`: what the service gives shows neither.
            DataLoss: `INDEX_DAMAGED`, `CHECKPOINT_DAMAGED`.
        """
        if note := self.disproof():
            with self.index() as index:
                Comparing(self._home, index).require_undisproved(note, self.checkpoint())

    def trusted(self) -> AuditState:
        """Where the last audit of this auditor ended; the start of the log before the first."""
        return self._kept.state()

    def damage(self) -> Sequence[DataLoss]:
        """Which files of the last audit are damaged: `CHECKPOINT_DAMAGED`, `AUDITED_DAMAGED`.

        `verify` goes by the others, and moves them aside.
        """
        return list(self._kept.damage().values())

    def verify(
        self, *, whole: bool = False, progress: Progress = lambda _count: None
    ) -> AuditReport:
        """Audit the log up to its newest checkpoint, and keep how far it went.

        `whole` reads from the first entry, otherwise from where the last audit ended. What is wrong
        between entries is no error: `findings` has it.

        Raises:
            LogFault: `LOG_SHRANK`, `LOG_FORKED`, `SEQ_GAP`, `ENTRY_CHANGED`, `TREE_MISMATCH`,
                `REGISTRY_WITHHELD`, with files that show it.
            Rewritten: `whole`, and entries that were verified before are given otherwise now; all
                else was verified, and is kept.
            Malformed, VerificationFailed: `LOG_REPLACED`, or what is wrong with which entry under
                the log's own signature; as `History.require_given`.
            DataLoss: `INDEX_DAMAGED`, `AUDITED_DAMAGED`, `AUDITED_AHEAD`: a file of this home.
            Conflict: `AUDIT_BUSY`.
        """
        with self._locked():
            checkpoint, seen = self.checkpoint(), self._kept.seen()
            report, faults = self._read(checkpoint, seen, whole, progress)
            self._kept.keep(report.state, checkpoint.note)
            with self.index() as index:
                again = partial(fetch_trust, self._home, self._channel)
                self.history().require_given(index.trust_version, self.trust, again)
        if faults:
            raise Rewritten(faults, report)
        return report

    def _read(
        self, checkpoint: VerifiedCheckpoint, seen: Seen | None, whole: bool, progress: Progress
    ) -> tuple[AuditReport, Sequence[LogFault]]:
        """Read what is new, or all of it; gives what the service gives otherwise than before too.

        Raises:
            CredproofError: as `verify`.
        """
        path, vkeys = self._home.folder / INDEX_NAME, self._vkeys
        follow = partial(self._follow, checkpoint, progress)
        if seen is not None and seen.checkpoint.origin != checkpoint.origin:
            anew = partial(follow, seen, AuditState())
            return read_moved(self, path, self._kept, seen, checkpoint, vkeys, anew), ()
        with self.index() as index:
            index.require_whole()
            trusted = self._continued(index, checkpoint, seen)
            if not whole:
                return follow(seen, trusted, index, self), ()
        return read_whole(self, path, vkeys, partial(follow, None, trusted))

    def _continued(
        self, index: Index, checkpoint: VerifiedCheckpoint, seen: Seen | None
    ) -> AuditState:
        """Where the newest of all that is kept here ended, which the checkpoint must continue.

        Raises:
            CredproofError: as `Following.require_continued`.
        """
        witnessed = self._kept.witnessed()
        if witnessed is not None and witnessed.is_newer(seen, of=checkpoint.origin):
            self._following(index, checkpoint, witnessed).require_signed()
        try:
            return self._following(index, checkpoint, seen).require_continued(self.trusted())
        except DataLoss as error:
            if error.reason == "AUDITED_DAMAGED":
                self._kept.set_aside()
            raise

    def _follow(
        self,
        checkpoint: VerifiedCheckpoint,
        progress: Progress,
        seen: Seen | None,
        trusted: AuditState,
        index: Index,
        source: Source,
    ) -> AuditReport:
        return self._following(index, checkpoint, seen, source).run(trusted, progress)

    def witnessed(self, audited: VerifiedCheckpoint) -> tuple[VerifiedCheckpoint, Witnessed] | None:
        """The newest checkpoint that reached the quorum, once it is kept; None before the first.

        Raises:
            VerificationFailed: `BAD_CONSISTENCY_PROOF`: it is not of the log that was audited;
                as `Witnessing.newest`.
            DataLoss: `LOG_FORKED`, `LOG_BEHIND`: a witness showed the service another log.
        """
        found = Witnessing(self._channel, self.trust).newest()
        if found is not None:
            old, new = sorted((audited, found[0]), key=lambda item: item.tree_size)
            self.verify_consistency(old, new)
            self._kept.keep_witnessed(found[0].note)
        return found

    def timestamps(self, audited: VerifiedCheckpoint) -> StampReport:
        """Keep the timestamps of the log that `verify` has just audited, and judge them.

        Only those of authorities that this home trusts count. What contradicts the times of entries
        is no error: `findings` has it.

        Raises:
            VerificationFailed: `TIMESTAMP_NOT_OF_LOG`.
            DataLoss: `STAMPS_DAMAGED`, `INDEX_DAMAGED`.
        """
        folder = self._home.folder
        keys = [VerifierKey.parse(vkey) for vkey in self._vkeys]
        with Stamps(folder) as stamps, self.index() as index:
            fetch(stamps, self, audited, keys)
            return judge(stamps, index, audited, int(time.time()))

    def require_continued(self) -> VerifiedCheckpoint:
        """The newest checkpoint, which continues the one of the last audit.

        Raises:
            CredproofError: as `Following.require_continued`.
            Conflict: `NOT_VERIFIED_YET`: it has a new origin, which takes an audit.
        """
        checkpoint, seen = self.checkpoint(), self._kept.seen()
        if seen is not None and seen.checkpoint.origin != checkpoint.origin:
            message = "the log has a new origin: run credproof audit verify first"
            raise Conflict("NOT_VERIFIED_YET", message)
        with self.index() as index:
            self._continued(index, checkpoint, seen)
        return checkpoint

    def _following(
        self,
        index: Index,
        checkpoint: VerifiedCheckpoint,
        seen: Seen | None,
        source: Source | None = None,
    ) -> Following:
        now, vkeys = int(time.time()), self._vkeys
        return Following(source or self, index, self.history(), checkpoint, vkeys, seen, now=now)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._home.folder / "audit.lock").open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                message = "another audit is at work in this home"
                raise Conflict("AUDIT_BUSY", message) from error
            yield

    def index(self) -> Index:
        """What was verified so far, to search in; close it after use."""
        return Index(self._home.folder / INDEX_NAME)

    @contextmanager
    def unsealings(self) -> Iterator[Unsealings]:
        """What auditors asked to unseal, as the log that was verified last says."""
        with self.index() as index:
            yield Unsealings(self._home, self._channel, self.trust, index)

    def lost(self) -> Sequence[Lost]:
        """What this home verified of entries that were lost under a new origin, and still has."""
        with self.index() as index:
            return lost_entries(self._home.folder, index)

    def history(self) -> History:
        """The history of the registry, of which what is new is fetched."""
        root = self._home.roots
        fetch = partial(fetch_version, self._channel, root=root)
        return History(self._home.folder, root, fetch)

    def search_person(self, subject_id: str, *, reason: str) -> frozenset[int]:
        """The log indexes of what concerns one person (`scheme:value`): the id is never sent.

        The search is logged before it is answered; the reason and its salt are kept here.

        Raises:
            Malformed: `NO_REASON`, `BAD_SUBJECT_ID`, `BAD_REFERENCE`, `LIMIT_EXCEEDED`.
            CredproofError: as `Pseudonyms.identify`.
        """
        require_reason(reason)
        why = Reference(reason, secrets.token_bytes(SALT_BYTES))
        digest = why.digest  # a reason that cannot be kept costs no evaluation
        with Pseudonyms(self._home, self._channel, self.trust) as pseudonyms:
            sub = pseudonyms.identify(subject_id).sub
        request = pb.SearchPersonRequest(sub=sub, reason_digest=digest)
        reply = call(self._stub.SearchPerson, request)
        kept = {
            "log_index": reply.searched_index,
            "reason": why.text,
            "salt": why.salt.hex(),
            "time": int(time.time()),
        }
        append_private(self._home.folder / SEARCHES_NAME, canonical_json(kept) + b"\n")
        return frozenset(reply.log_indexes)

    def reread(self, index: Index, report: AuditReport) -> Reread:
        """As `rereading.reread`, of the service."""
        return reread(self, index, report, self._vkeys)

    def require_judged(self, index: Index) -> None:
        """As `rejudging.require_judged`: before anybody is named for a broken rule."""
        require_judged(index, self.history())

    def require_registry(self, index: Index, among: range) -> None:
        """Each version of the registry that these entries put in force must still be kept here.

        Raises:
            DataLoss: `REGISTRY_NOT_KEPT`.
        """
        for _ in put_in_force(self.history(), index, among):
            pass

    def finding_evidence(self, findings: Sequence[Finding]) -> list[dict[str, bytes]]:
        """Files that show each of the first `EVIDENCE_FINDINGS_MAX` of these broken rules.

        Raises:
            DataLoss, VerificationFailed: as `Showing.finding`; `STAMPS_DAMAGED`.
        """
        with self.index() as index, Stamps(self._home.folder) as stamps:
            showing = self._showing(index)
            return [showing.finding(found, stamps) for found in findings[:EVIDENCE_FINDINGS_MAX]]

    def _showing(self, index: Index) -> Showing:
        seen, history = self._kept.seen(), self.history()
        return Showing(index, self, seen, self.checkpoint, self._vkeys, history)

    @property
    def _vkeys(self) -> Sequence[str]:
        return log_vkeys(self.trust)

    @property
    def _kept(self) -> Trusted:
        return Trusted(self._home, self.trust)

    def replay(
        self, audited: VerifiedCheckpoint | None = None, progress: Progress = lambda _count: None
    ) -> ReplayReport:
        """Compute every root of the directory anew from the log that `verify` has just audited, or
        else from what the last audit verified: the service is not asked then.

        Raises:
            Conflict: `NOTHING_VERIFIED`.
            LogFault: `ROOT_DIFFERS`, `NOT_A_MEMBER` naming the entry, with files that show it.
            DataLoss: `INDEX_DAMAGED`: the index is not what was verified.
            Malformed, VerificationFailed: an entry that changes the directory and cannot be read.
        """
        audited = audited or verified(self._kept.seen(), self._vkeys)
        with self.index() as index:
            return replayed(index, audited, self._showing(index), progress)

    def export(self, folder: Path, *, progress: Progress = lambda _count: None) -> Mirror:
        """Copy the log into static files (C2SP tlog-tiles), or bring a copy up to date.

        Timestamps are copied too, each held against the copied log and its checkpoint; whoever
        reads them verifies who signed them.

        Raises:
            Conflict: `NOT_EMPTY` when the folder holds something else, and as `Mirror`.
            DataLoss: `MIRROR_DAMAGED`, naming the file, when the copy there is not whole, or has
                another timestamp than the service gives.
            LogFault: as `require_continued`.
            VerificationFailed: `BAD_CONSISTENCY_PROOF`, `TREE_MISMATCH`, `ENTRIES_MISSING`,
                `LOG_SHRANK`, `TIMESTAMP_NOT_OF_LOG`.
        """
        mirror = Mirror(folder, self.trust.log_key)
        checkpoint = self._to_copy(mirror.size)
        if mirror.size > checkpoint.tree_size:
            raise VerificationFailed("LOG_SHRANK", "the log is shorter than its copy")
        lines = self.lines(mirror.size, checkpoint.tree_size)
        while page := list(islice(lines, ENTRIES_PAGE_MAX)):
            mirror.add(page)
            progress(len(page))
        mirror.finish(checkpoint)
        for stamps in self.stamps((0, "")):
            for stamp in stamps:
                if stamp.tree_size <= checkpoint.tree_size:
                    mirror.add_timestamp(stamp.authority, stamp.note, stamp.response)
        return mirror

    def _to_copy(self, size: int) -> VerifiedCheckpoint:
        """The newest checkpoint that witnesses cosigned; the log's own where there is none, or
        where a copy of this size goes further. Both are of the log that was audited before."""
        newest = self.require_continued()
        found = Witnessing(self._channel, self.trust).newest()
        if found is None or found[0].tree_size < size:
            return newest
        old, new = sorted((newest, found[0]), key=lambda item: item.tree_size)
        self.verify_consistency(old, new)
        return found[0]

    def anomalies(
        self, since: int = 0, *, progress: Progress = lambda _count: None
    ) -> Sequence[RaisedAnomaly]:
        """What the service raised as misuse, from the entry `since` on, in the order of the log,
        and which throttles were lifted.

        Each entry's inclusion under the newest checkpoint is verified, which continues the one of
        the last audit; so is what differs from the lines that this home has.

        Raises:
            Malformed: an entry raises no anomaly that can be read, or lifts nobody's.
            VerificationFailed: `BAD_INCLUSION_PROOF`, `OTHER_ENTRY`.
            DataLoss: `INDEX_DAMAGED`.
            LogFault, Conflict: as `require_continued`.
        """
        return raised(self._of_kinds({ENTRY_RAISED, ENTRY_LIFTED}, since, progress))

    def _of_kinds(self, kinds: Collection[str], since: int, progress: Progress) -> Iterator[Entry]:
        """The entries of some kinds, each verified to be in the log."""
        checkpoint = self.require_continued()
        with self.index() as own:
            for index, line in enumerate(self.lines(since, checkpoint.tree_size), since):
                progress(1)
                differs = own.line(index) not in (None, line)
                if not differs and not any(kind.encode() in line for kind in kinds):
                    continue
                entry = parse_entry(line)
                if differs or entry.kind in kinds:
                    self._require_included(entry, line, index, checkpoint)
                if differs:
                    raise own.damaged()  # what the service gives is what was signed
                if entry.kind in kinds:
                    yield entry

    def evidence(self, anomaly: Anomaly) -> Iterator[Entry]:
        """The entries that an anomaly names, each verified like it."""
        checkpoint = self.require_continued()
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
