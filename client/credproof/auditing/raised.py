"""What a service raised as misuse, out of entries of its log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from credproof.log.entry import Entry
from credproof.verification.anomaly import ENTRY_RAISED, Anomaly, parse_anomaly, parse_lifted


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


def raised(entries: Iterable[Entry]) -> Sequence[RaisedAnomaly]:
    """What these entries raise, in their order, and which of it was lifted.

    Raises:
        Malformed: an entry raises no anomaly that can be read, or lifts nobody's.
    """
    found: list[RaisedAnomaly] = []
    for entry in entries:
        if entry.kind == ENTRY_RAISED:
            found.append(RaisedAnomaly(entry.seq, entry.time, parse_anomaly(entry)))
        else:
            found = [item.after(entry) for item in found]
    return found
