"""Reading again what was verified before: does the service still give out the same?

An auditor's own copy is what was signed, so an entry that is rewritten later changes nothing in
it, and others are given something else. Each run compares one page of the copy with what the
service gives now, and the next run goes on after it: in time all is read again, and what differed
each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from credproof.auditing.evidence import REREAD, Evidence, LogFault
from credproof.auditing.following import Source, require_own, seq_of
from credproof.auditing.index import Index
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
    first = sorted(wrong)[:EVIDENCE_FINDINGS_MAX]
    audited = report.checkpoint
    tree = require_own(index, audited.tree_size, audited.root_hash) if first else Tree()
    faults = [_fault(index, tree, audited, vkeys, at, wrong[at]) for at in first]
    # Not on to what comes next: it is new.
    index.mark_reread(page.stop if page.stop < older else 0, differing=first)
    return Reread(page, faults)


def _differing(source: Source, index: Index, page: range) -> Iterator[tuple[int, bytes | None]]:
    """The entries that the service gives otherwise, or not at all, with what it gives."""
    kept, served = list(index.lines(page.start, page.stop)), _served(source, page)
    if len(kept) != len(page):
        raise _damaged(index)
    for log_index, line in zip(page, kept, strict=True):
        given = served.get(log_index)
        if given != line:
            yield log_index, given
            if _what_is_it(log_index, given)[0] != "ENTRY_CHANGED":
                return  # what follows is held back too, or out of place for that alone


def _served(source: Source, page: range) -> dict[int, bytes]:
    """What the service gives, by the place where it gives it."""
    lines: list[bytes] = []
    try:
        for some in source.pages(page.start, page.stop):
            lines += some
    except VerificationFailed:
        pass  # it holds back the rest
    return dict(zip(page, lines, strict=False))


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
