"""Reading again what was verified before: does the service still give out the same?

An auditor's own copy is what was signed, so an entry that is rewritten later changes nothing in
it, and others are given something else. Each run compares one page of the copy with what the
service gives now, and the next run goes on after it: in time all is read again, and what differed
each time. Whoever reads all of the log again compares all of it at once (`Beside`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest

from credproof.auditing.evidence import REREAD, Evidence, LogFault
from credproof.auditing.explaining import seq_of
from credproof.auditing.index import Index
from credproof.auditing.own import require_own
from credproof.auditing.signed import Source
from credproof.base.errors import DataLoss, VerificationFailed
from credproof.base.limits import ENTRIES_PAGE_MAX, EVIDENCE_FINDINGS_MAX
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.merkle import Tree


@dataclass(frozen=True, slots=True)
class Reread:
    """Which entries were compared in turn; what is wrong with them, and still with those before."""

    page: range
    faults: Sequence[LogFault] = ()


class Rewritten(VerificationFailed):
    """What the service gives otherwise than it was verified, of all that is older.

    `faults` are about the first `EVIDENCE_FINDINGS_MAX` such entries, in the order of the log.
    `report` is of the log as it was signed: own lines stood in their place.
    """

    def __init__(self, faults: Sequence[LogFault], report: AuditReport) -> None:
        super().__init__(faults[0].reason, faults[0].message)
        self.faults = faults
        self.report = report


class Beside:
    """A service's log, with the own lines of the first `size` entries, which were verified.

    `wrong` is what the service gives otherwise, up to `EVIDENCE_FINDINGS_MAX` entries: after them
    it is not compared any more.
    """

    def __init__(self, source: Source, own: Index, size: int) -> None:
        self._source = source
        self._own = own
        self._size = size
        self.wrong: dict[int, bytes | None] = {}
        self.inclusion = source.inclusion
        self.consistency = source.consistency

    def pages(self, start: int, end: int) -> Iterator[Sequence[bytes]]:
        """The entries start … end - 1, in pages."""
        own = min(end, self._size)
        for at in range(start, own, ENTRIES_PAGE_MAX):
            page = range(at, min(at + ENTRIES_PAGE_MAX, own))
            more = EVIDENCE_FINDINGS_MAX - len(self.wrong)
            self.wrong.update(islice(_differing(self._source, self._own, page), more))
            yield list(self._own.lines(page.start, page.stop))
        yield from self._source.pages(max(start, own), end)


def reread(source: Source, index: Index, report: AuditReport, vkeys: Sequence[str]) -> Reread:
    """Compare the next page of what was verified before the audit of `report`, and what differed.

    An entry that differs is compared each time from then on, until it is right: it hides none of
    the others. Its fault is `ENTRY_CHANGED`, `SEQ_GAP` or `ENTRIES_MISSING`, with files that show
    it; `vkeys` are the log's keys, for them.

    Raises:
        DataLoss: `INDEX_DAMAGED` when it is the index that is not what was signed.
    """
    older = report.checkpoint.tree_size - report.entries_read
    start = min(index.reread, older)
    page = range(start, min(start + ENTRIES_PAGE_MAX, older))
    again = [range(at, at + 1) for at in index.differing if at not in page]
    wrong = dict(pair for part in (*again, page) for pair in _differing(source, index, part))
    # Not on to what comes next: it is new.
    after = page.stop if page.stop < older else 0
    return Reread(page, faults_of(wrong, index, report.checkpoint, vkeys, after))


def faults_of(
    wrong: Mapping[int, bytes | None],
    index: Index,
    audited: VerifiedCheckpoint,
    vkeys: Sequence[str],
    after: int,
) -> Sequence[LogFault]:
    """The faults of the first entries that are `wrong`, with files that show them.

    These are compared the next time, and what is `after` an entry.

    Raises:
        DataLoss: `INDEX_DAMAGED`.
    """
    first = sorted(wrong)[:EVIDENCE_FINDINGS_MAX]
    tree = require_own(index, audited.tree_size, audited.root_hash) if first else Tree()
    faults = [_fault(index, tree, audited, vkeys, at, wrong[at]) for at in first]
    index.mark_reread(after, differing=first)
    return faults


def _differing(source: Source, index: Index, page: range) -> Iterator[tuple[int, bytes | None]]:
    """The entries that the service gives otherwise, or not at all, with what it gives.

    One that is left out moves all after it: those are asked for anew.
    """
    while page:
        kept, given = list(index.lines(page.start, page.stop)), _given(source, page)
        if len(kept) != len(page):
            raise _damaged(index)
        for log_index, line, found in zip_longest(page, kept, given[: len(page)]):
            if found == line:
                continue
            yield log_index, found
            reason, _ = _what_is_it(log_index, found)
            if reason == "ENTRIES_MISSING":
                return  # what follows is held back too
            if reason == "SEQ_GAP":
                break
        else:
            return
        page = page[log_index + 1 - page.start :]


def _given(source: Source, page: range) -> list[bytes]:
    """What the service gives as these entries, in its order."""
    lines: list[bytes] = []
    try:
        for some in source.pages(page.start, page.stop):
            lines += some
    except VerificationFailed:
        pass  # it holds back the rest
    return lines


def _fault(
    index: Index,
    tree: Tree,
    audited: VerifiedCheckpoint,
    vkeys: Sequence[str],
    log_index: int,
    served: bytes | None,
) -> LogFault:
    """What the service did to an entry, with the proof of the one that was signed."""
    line = index.line(log_index)
    if line is None:
        raise _damaged(index)
    evidence = Evidence()
    evidence.add_checkpoints(None, audited.note, vkeys)
    evidence.add_proved(log_index, "seen", line, tree, audited.note)
    if served is not None:
        evidence.add_entry(log_index, "served", served, None)
    reason, says = _what_is_it(log_index, served)
    return LogFault(reason, says, evidence.finish(reason, says, REREAD))


def _damaged(index: Index) -> DataLoss:
    return DataLoss("INDEX_DAMAGED", f"{index.path.name} is not what was verified")


def _what_is_it(log_index: int, served: bytes | None) -> tuple[str, str]:
    if served is None:
        return "ENTRIES_MISSING", f"the service holds back entry {log_index}, given before"
    if seq_of(served) not in (None, log_index):
        return "SEQ_GAP", f"entry {log_index}, given before, is missing or out of place"
    return "ENTRY_CHANGED", f"entry {log_index} is not the one that was verified before"
