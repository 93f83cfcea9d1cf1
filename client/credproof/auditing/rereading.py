"""Reading again what was verified before: does the service still give out the same?

An auditor's own copy is what was signed, so an entry that is rewritten later changes nothing in
it, and others are given something else. Each run compares one page of the copy with what the
service gives now, and the next run goes on after it: in time all is read again.
"""

from __future__ import annotations

from collections.abc import Sequence

from credproof.auditing.evidence import REREAD, Evidence, LogFault
from credproof.auditing.following import Source, own_tree, seq_of
from credproof.auditing.index import Index
from credproof.base.errors import DataLoss, VerificationFailed
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.log.audit import AuditReport
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.proof import TlogProof


def reread(source: Source, index: Index, report: AuditReport, vkeys: Sequence[str]) -> range:
    """Compare the next page of what was verified before the audit of `report`; gives which entries.

    `vkeys` are the log's keys, for evidence.

    Raises:
        LogFault: `ENTRY_CHANGED`, `SEQ_GAP`, `ENTRIES_MISSING`, with files that show it; the next
            run compares the same page.
        DataLoss: `INDEX_DAMAGED` when it is the index that is not what was signed.
    """
    audited = report.checkpoint
    older = audited.tree_size - report.entries_read
    start = min(index.reread, older)
    page = range(start, min(start + ENTRIES_PAGE_MAX, older))
    kept, served = list(index.lines(page.start, page.stop)), _served(source, page)
    if len(kept) != len(page):
        raise _damaged(index)
    for log_index, line in zip(page, kept, strict=True):
        if served.get(log_index) != line:
            raise _fault(index, audited, vkeys, log_index, served.get(log_index))
    index.mark_reread(page.stop if page.stop < older else 0)  # not on to what comes next: it is new
    return page


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
    audited: VerifiedCheckpoint,
    vkeys: Sequence[str],
    log_index: int,
    served: bytes | None,
) -> LogFault:
    """What the service did to an entry, with the proof of the one that was signed."""
    tree = own_tree(index, audited.tree_size, audited.root_hash)
    line = index.line(log_index)
    if line is None or tree is None:
        raise _damaged(index)
    hashes = tree.inclusion_proof(log_index, tree.size)
    evidence = Evidence()
    evidence.add_checkpoints(None, audited.note, vkeys)
    evidence.add_entry(log_index, "seen", line, TlogProof(log_index, hashes, audited.note))
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
