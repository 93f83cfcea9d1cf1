"""A month of the log in figures, out of the auditor's index alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from credproof.auditing.index import Index
from credproof.base.encoding import parse_json
from credproof.base.errors import Malformed
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED
from credproof.verification.unsealing import ENTRY_UNSEALED

Counts = Mapping[str, int]
_CONSENTS: Final = ("granted", "signed", "paused", "resumed", "revoked")


@dataclass(frozen=True, slots=True)
class Month:
    """A calendar month (UTC): `start` and `end` in whole seconds, the end not included."""

    name: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Report:
    """What a month came to. `began` and `until` are the times of the first and the last entry that
    the index has; an entry that was in the future when it was read does not count.

    `outside` says why nothing is known of the month: BEFORE_LOG, FUTURE, or NOT_VERIFIED, where the
    log was not read so far; None when something is.
    `questions` counts answers and refusals by lender and purpose ("?" where no policy was named);
    `findings` are broken rules by name, `beyond_cap` the log indexes of answers beyond a cap.
    """

    month: Month
    began: int | None
    until: int | None
    outside: str | None
    entries: int
    questions: Mapping[str, Mapping[str, Mapping[str, int]]]
    outcomes: Counts
    refusals: Counts
    consents: Counts
    attestations: Counts
    withdrawals: Counts
    anomalies: Counts
    lifted: int
    searches: Counts
    unsealed: Counts
    findings: Counts
    beyond_cap: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        """Whether the index goes beyond the month: what it has of the month is then all."""
        whole = self.until is not None and self.until >= self.month.end
        return whole and self.outside is None


def parse_month(text: str) -> Month:
    """A month written as 2026-11.

    Raises:
        Malformed: `BAD_MONTH`.
    """
    try:
        first = dt.datetime.strptime(text, "%Y-%m").replace(tzinfo=dt.UTC)
    except ValueError as error:
        raise Malformed("BAD_MONTH", "there is no such month") from error
    if f"{first:%Y-%m}" != text:
        raise Malformed("BAD_MONTH", "a month has four digits, a hyphen and two")
    try:
        after = (first + dt.timedelta(days=31)).replace(day=1)
    except OverflowError as error:
        raise Malformed("BAD_MONTH", "the calendar ends with this month") from error
    return Month(text, int(first.timestamp()), int(after.timestamp()))


def report(index: Index, month: Month, now: int) -> Report:
    """The figures of a month. `now` is in whole seconds."""
    counting = _Counting(index, month)
    first, last = index.time(0), index.until
    return Report(
        month=month,
        began=first,
        until=last,
        outside=_outside(month, first, last, now),
        entries=sum(counting.by("kind").values()),
        questions=counting.questions(),
        outcomes=counting.by("outcome", "answer.given"),
        refusals=counting.by("reason", "answer.refused"),
        consents={word: counting.by("kind").get(f"consent.{word}", 0) for word in _CONSENTS},
        attestations=counting.by("actor", "attestation.accepted"),
        withdrawals=counting.by("reason", "attestation.withdrawn"),
        anomalies=counting.anomalies(),
        lifted=counting.by("kind").get(ENTRY_LIFTED, 0),
        searches=counting.by("actor", "audit.searched"),
        unsealed=counting.unsealed(),
        findings=counting.findings(),
        beyond_cap=counting.places("ANSWER_BEYOND_CAP"),
    )


def _outside(month: Month, first: int | None, last: int | None, now: int) -> str | None:
    if month.start > now:
        return "FUTURE"
    if first is not None and month.end <= first:
        return "BEFORE_LOG"
    return "NOT_VERIFIED" if last is None or month.start > last else None


class _Counting:
    """Counts what the index has of a month."""

    def __init__(self, index: Index, month: Month) -> None:
        self._index = index
        self._span: dict[str, object] = {"start": month.start, "end": month.end}

    def _rows(self, select: str, **values: object) -> list[tuple[Any, ...]]:
        return self._index.select(select, self._span | values)

    def by(self, column: str, kind: str | None = None) -> dict[str, int]:
        """How many entries of a kind, or of all, have each value of a column."""
        only = "" if kind is None else "AND kind = :kind"
        select = (
            f"SELECT {column}, count(*) FROM entries"  # noqa: S608
            f" WHERE time >= :start AND time < :end {only} GROUP BY {column} ORDER BY {column}"
        )
        return dict(self._rows(select, kind=kind))

    def unsealed(self) -> dict[str, int]:
        """How often unsealing was asked for, approved, declined, and something given."""
        kinds, words = self.by("kind"), ("asked", "approved", "declined")
        counts = {word: kinds.get(f"unseal.{word}", 0) for word in words}
        return counts | {"given": kinds.get(ENTRY_UNSEALED, 0)}

    def questions(self) -> dict[str, dict[str, dict[str, int]]]:
        """Answers and refusals by lender and purpose."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        rows = self._rows(
            "SELECT actor, coalesce(purpose, '?'), kind, count(*) FROM entries"
            " WHERE time >= :start AND time < :end AND kind IN ('answer.given', 'answer.refused')"
            " GROUP BY 1, 2, 3 ORDER BY 1, 2"
        )
        for lender, purpose, kind, count in rows:
            counts = found.setdefault(lender, {}).setdefault(purpose, {"answered": 0, "refused": 0})
            counts["answered" if kind == "answer.given" else "refused"] = count
        return found

    def anomalies(self) -> dict[str, int]:
        """What was raised, by rule of misuse."""
        rows = self._rows(
            "SELECT line FROM entries WHERE time >= :start AND time < :end AND kind = :kind",
            kind=ENTRY_RAISED,
        )
        found: dict[str, int] = {}
        for (line,) in rows:
            rule = str(parse_json(self._index.blob(line))["fields"].get("rule"))
            found[rule] = found.get(rule, 0) + 1
        return dict(sorted(found.items()))

    _FINDINGS: Final = (
        "FROM findings JOIN entries USING (log_index) WHERE time >= :start AND time < :end"
    )

    def findings(self) -> dict[str, int]:
        """Broken rules between entries, by name."""
        return dict(
            self._rows(f"SELECT rule, count(*) {self._FINDINGS} GROUP BY rule ORDER BY rule")
        )

    def places(self, rule: str) -> tuple[int, ...]:
        """Where a rule was broken."""
        select = f"SELECT log_index {self._FINDINGS} AND rule = :rule ORDER BY log_index"
        return tuple(row[0] for row in self._rows(select, rule=rule))
