"""Following a log's timestamps: fetched, held against the log, and its entries against them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, Protocol

from credproof.auditing.evidence import Evidence
from credproof.auditing.index import Index
from credproof.auditing.lost import continued
from credproof.auditing.own import require_own_state
from credproof.auditing.stamps import KeptStamp, Stamps
from credproof.base.errors import Malformed, VerificationFailed
from credproof.log.checkpoint import (
    VerifiedCheckpoint,
    origin_of,
    parse_checkpoint,
    verify_checkpoint,
)
from credproof.log.merkle import Tree, leaf_hash, verify_consistency
from credproof.log.note import VerifierKey, parse_note
from credproof.log.proof import TlogProof
from credproof.log.stamped import (
    AHEAD,
    BACKDATED,
    Contradiction,
    Gap,
    Stamped,
    contradictions,
    gaps,
)
from credproof.log.timestamp import is_authority_name, require_of
from credproof.verification.log_rules import TIME_IN_FUTURE, Finding


class StampSource(Protocol):
    """Where timestamps are read. Nothing that it gives is believed."""

    def stamps(self, after: tuple[int, str]) -> Iterator[Sequence[KeptStamp]]:
        """Those that come after a size and an authority, in pages."""
        ...

    def consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """What is said to prove that the larger tree continues the smaller one."""
        ...


@dataclass(frozen=True, slots=True)
class StampReport:
    """What timestamps say of a log. `newest` is the one with the largest size, None before any.

    `verified` are those of authorities that are trusted here, `untrusted` all others; `gaps` is
    where entries waited too long.
    """

    verified: int = 0
    untrusted: int = 0
    newest: Stamped | None = None
    gaps: tuple[Gap, ...] = ()


NO_STAMPS: Final = StampReport()
"""Before any timestamp was looked at."""


def fetch(
    stamps: Stamps, source: StampSource, audited: VerifiedCheckpoint, keys: Sequence[VerifierKey]
) -> None:
    """Keep what is new up to a checkpoint, after it was held against the log.

    Raises:
        VerificationFailed: `TIMESTAMP_NOT_OF_LOG`: it is not of this log, or not of its checkpoint.
    """
    for page in source.stamps(stamps.last(audited.origin)):
        found = [stamp for stamp in page if stamp.tree_size <= audited.tree_size]
        for stamp in found:
            require_logged(stamp, source, audited, keys)
        stamps.add(found)
        if len(found) < len(page):
            return  # the rest is of what was logged since: the next audit takes it


def require_logged(
    stamp: KeptStamp,
    source: StampSource,
    audited: VerifiedCheckpoint,
    keys: Sequence[VerifierKey],
) -> None:
    """Accept that a timestamp is of a checkpoint that the audited log continues.

    Raises:
        VerificationFailed: `TIMESTAMP_NOT_OF_LOG`.
    """
    old, new = stamp.tree_size, audited.tree_size
    try:
        require_of(stamp.response, stamp.note)
        seen = verify_checkpoint(stamp.note, origin_of(stamp.note), keys)
        if seen.tree_size != old or old < 1 or not is_authority_name(stamp.authority):
            raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", "it is filed wrongly")
        proof = source.consistency(old, new) if old < new else ()
        verify_consistency(old, seen.root_hash, new, audited.root_hash, proof)
    except (Malformed, VerificationFailed) as error:
        message = "the service gives a timestamp that is not of this log"
        raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", message) from error


def judge(stamps: Stamps, index: Index, audited: VerifiedCheckpoint, now: int) -> StampReport:
    """Hold all verified timestamps against the entries; what contradicts them is a finding.

    Raises:
        DataLoss: `STAMPS_DAMAGED`, `INDEX_DAMAGED`: it speaks against nobody.
    """
    stamps.look()
    verified = stamps.verified(_lost(index))
    _note(stamps, index, list(contradictions(verified, index.time)))
    found = gaps(verified, audited.tree_size, index.time, now) if verified else []
    ends = {(gap.last + 1, gap.until) for gap in found}
    for stamped in verified:
        if stamped is verified[-1] or (stamped.tree_size, stamped.time) in ends:
            stamps.kept(stamped)
    return StampReport(
        verified=len(verified),
        untrusted=stamps.untrusted(),
        newest=verified[-1] if verified else None,
        gaps=tuple(found),
    )


def _note(stamps: Stamps, index: Index, found: Sequence[Contradiction]) -> None:
    """What is new of it is noted once both sides of it are known to be what was verified."""
    known = {(finding.log_index, finding.rule) for finding in index.findings()}
    new = [item for item in found if (item.log_index, item.rule) not in known]
    for item in new:
        stamps.kept(item.stamped)
    if new:
        require_own_state(index, index.state)
        index.require_columns()
    index.note(Finding(item.rule, item.log_index, item.message) for item in new)


def _lost(index: Index) -> dict[str, int]:
    """Older origins, and from which entry on theirs were lost."""
    return {item.origin: item.kept for item in continued(index)}


def add_evidence(
    evidence: Evidence, stamps: Stamps, index: Index, findings: Sequence[Finding]
) -> None:
    """The timestamps that findings rest on, as files."""
    after, verified = {BACKDATED: 0, AHEAD: 1}, stamps.verified(_lost(index))
    sizes = {f.log_index + after[f.rule] for f in findings if f.rule in after}
    for finding in findings:
        if finding.rule == TIME_IN_FUTURE:
            sizes |= _covering(verified, finding.log_index, index.time(finding.log_index) or 0)
    for stamped in verified:
        if stamped.tree_size in sizes:
            _add_stamp(evidence, stamped, stamps.kept(stamped))


def _covering(verified: Sequence[Stamped], log_index: int, before: int) -> set[int]:
    """The size of the first timestamp that covers an entry and is earlier than a time, if any."""
    found = (s.tree_size for s in verified if s.tree_size > log_index and s.time < before)
    return set(islice(found, 1))


def _add_stamp(evidence: Evidence, stamped: Stamped, kept: KeptStamp) -> None:
    name = f"timestamp-{stamped.tree_size}"
    what = f"The checkpoint of the first {stamped.tree_size} entries."
    evidence.add(f"{name}.checkpoint", kept.note, what)
    what = (
        f"Its timestamp (RFC 3161) by {stamped.authority}, of the text before the blank line:"
        f" openssl ts -verify -attime {stamped.time} checks it under the"
        " authority's certificates."
    )
    evidence.add(f"{name}.{stamped.authority}.tsr", kept.response, what)


@dataclass(frozen=True, slots=True)
class StampProof:
    """A timestamp that covers an entry, and the proof that its checkpoint does."""

    stamped: Stamped
    kept: KeptStamp
    proof: TlogProof


def stamp_of(stamps: Stamps, index: Index, log_index: int, line: bytes) -> StampProof | None:
    """The earliest verified timestamp that covers an entry; None where none is kept here.

    Raises:
        DataLoss: `STAMPS_DAMAGED`, `INDEX_DAMAGED`.
    """
    size = index.state.position.size
    found = [s for s in stamps.verified(_lost(index)) if log_index < s.tree_size <= size]
    if not found or index.line(log_index) != line:
        return None
    stamped = min(found, key=lambda item: item.time)
    tree, kept = Tree(), stamps.kept(stamped)
    tree.extend([leaf_hash(other) for other in islice(index.lines(), stamped.tree_size)])
    if tree.root() != parse_checkpoint(parse_note(kept.note).text).root_hash:
        raise index.damaged()  # its proof would show nothing
    hashes = tree.inclusion_proof(log_index, stamped.tree_size)
    return StampProof(stamped, kept, TlogProof(log_index, hashes, kept.note))
