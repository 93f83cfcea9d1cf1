"""What a service raised as misuse, read from its log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from credproof.auditing.following import Progress
from credproof.auditing.reading import LogReader
from credproof.base.errors import VerificationFailed
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import Entry, parse_entry
from credproof.log.merkle import leaf_hash
from credproof.verification.anomaly import (
    ENTRY_LIFTED,
    ENTRY_RAISED,
    Anomaly,
    parse_anomaly,
    parse_lifted,
)

_KINDS = (ENTRY_RAISED, ENTRY_LIFTED)


@dataclass(frozen=True, slots=True)
class RaisedAnomaly:
    """An anomaly in the log: its index, when it was raised (whole seconds), and what it says.

    `lifted_index` is the entry by which its throttle was lifted, None where it ended by time.
    """

    log_index: int
    time: int
    anomaly: Anomaly
    lifted_index: int | None = None

    def after(self, lifting: Entry) -> RaisedAnomaly:
        """The same after an entry that lifts all throttles of somebody."""
        anomaly = self.anomaly
        is_over = self.lifted_index is not None or lifting.time >= self.time + anomaly.throttle_s
        if is_over or anomaly.participants != (parse_lifted(lifting),):
            return self
        return replace(self, lifted_index=lifting.seq)


def anomalies(reader: LogReader, since: int, progress: Progress) -> Sequence[RaisedAnomaly]:
    """As `Auditor.anomalies`."""
    found: list[RaisedAnomaly] = []
    for entry in _raised_and_lifted(reader, since, progress):
        if entry.kind == ENTRY_RAISED:
            found.append(RaisedAnomaly(entry.seq, entry.time, parse_anomaly(entry)))
        else:
            found = [item.after(entry) for item in found]
    return found


def evidence(reader: LogReader, anomaly: Anomaly) -> Iterator[Entry]:
    """As `Auditor.evidence`."""
    checkpoint = reader.checkpoint()
    for index in anomaly.evidence:
        line = next(reader.lines(index, index + 1))
        entry = parse_entry(line)
        _require_included(reader, entry, line, index, checkpoint)
        yield entry


def _raised_and_lifted(reader: LogReader, since: int, progress: Progress) -> Iterator[Entry]:
    """The entries that raise or lift, each verified to be in the log."""
    checkpoint = reader.checkpoint()
    for index, line in enumerate(reader.lines(since, checkpoint.tree_size), since):
        progress(1)
        if not any(kind.encode() in line for kind in _KINDS):
            continue  # a log has millions of others: they are not taken apart
        entry = parse_entry(line)
        if entry.kind in _KINDS:
            _require_included(reader, entry, line, index, checkpoint)
            yield entry


def _require_included(
    reader: LogReader, entry: Entry, line: bytes, index: int, checkpoint: VerifiedCheckpoint
) -> None:
    if entry.seq != index:
        raise VerificationFailed("OTHER_ENTRY", f"the service gives another entry for {index}")
    reader.verify_inclusion(leaf_hash(line), index, checkpoint)
