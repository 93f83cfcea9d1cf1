"""Anomalies: raised in the commit that saw them, throttling whose conduct it is, and lifted."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import tagged_hash
from credproof.base.errors import Conflict, Refused
from credproof.verification.anomaly import ENTRY_LIFTED, ENTRY_RAISED, Anomaly
from credproof.verification.participant import SERVICE
from sqlalchemy import Row

from credproof_server.conduct.detector import Finding
from credproof_server.conduct.rules import Rule, Rules
from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.storage import observations
from credproof_server.storage.vault import DataKey


def throttled() -> Refused:
    """The refusal of whoever is throttled: the same, whatever was asked."""
    message = "this lender is refused for a while: what it did lately looked like misuse"
    return Refused("THROTTLED", message)


@dataclass(frozen=True, slots=True)
class Borrower:
    """The one whom an anomaly is about: the pseudonym, and the key that makes the entry's tag."""

    sub: bytes
    key: DataKey


_Place = tuple[str, str | None, bytes | None]
"""A rule, the participant (None for several together), the borrower where it is about one."""


class Raised:
    """What was raised lately about some participants, or with `None` about several together."""

    def __init__(self, tx: Transaction, rules: Rules, participants: Collection[str] | None) -> None:
        self._tx = tx
        self._rules = rules
        self._last: dict[_Place, _Last] = {}
        self._until: dict[tuple[str, bool], int] = {}
        since = tx.time - rules.longest_window_s
        rows = (
            observations.raised_together(tx.connection, since)
            if participants is None
            else observations.raised_of(tx.connection, participants, since)
        )
        for row in rows:
            self._add(_Last(row.log_index, row.time, row.until), _place(row), row.evaluations)

    def is_throttled(self, participant: str, *, evaluations: bool = False) -> bool:
        """Whether the participant's questions are refused now, or its evaluations."""
        return self._until.get((participant, evaluations), 0) > self._tx.time

    def is_quiet(self, rule: Rule, participant: str | None, sub: bytes | None = None) -> bool:
        """Whether it was just raised: while it throttles, or for a window where it only tells."""
        last = self._last.get((rule.name, participant, sub))
        if last is None:
            return False
        told = rule.throttle_s == 0 and self._tx.time < last.time + rule.window_s
        return told or self._tx.time < last.until

    def is_since(self, rule: Rule, participant: str, start: int) -> bool:
        """Whether it was raised since a time."""
        last = self._last.get((rule.name, participant, None))
        return last is not None and last.time >= start

    def last_index(self, rule: Rule, participant: str | None, sub: bytes | None = None) -> int:
        """The log index of when it was last raised, -1 if never: what came before was counted."""
        last = self._last.get((rule.name, participant, sub))
        return -1 if last is None else last.log_index

    def add(
        self, finding: Finding, participants: Sequence[str], about: Borrower | None = None
    ) -> None:
        """Log a finding, keep it, and throttle the one participant if its rule says so."""
        tx, rule, salt = self._tx, finding.rule, fresh_salt()
        anomaly = Anomaly(
            rule=rule.name,
            rules_version=self._rules.version,
            rules_digest=self._rules.digest,
            participants=tuple(participants),
            window_s=rule.window_s,
            counts=finding.counts,
            evidence=finding.evidence,
            throttle_s=rule.throttle_s,
            evaluations=rule.evaluations,
            tag=about.key.tag(salt) if about else None,
        )
        digest = self._rules.digest
        index = tx.append(ENTRY_RAISED, SERVICE, digest, salt=salt, fields=anomaly.fields())
        last = _Last(index, tx.time, tx.time + rule.throttle_s)
        alone = participants[0] if len(participants) == 1 else None
        place = (rule.name, alone, about.sub if about else None)
        observations.add_anomaly(tx.connection, _row(last, place, rule))
        self._add(last, place, rule.evaluations)

    def _add(self, last: _Last, place: _Place, evaluations: bool) -> None:
        self._last[place] = last
        participant = place[1]
        if participant is not None:
            for kind in (False, True) if evaluations else (False,):
                until = self._until.get((participant, kind), 0)
                self._until[participant, kind] = max(until, last.until)


@dataclass(frozen=True, slots=True)
class _Last:
    """When something was last raised, and until when it throttles, in seconds."""

    log_index: int
    time: int
    until: int


def _place(row: Row[Any]) -> _Place:
    return row.rule, row.participant, row.sub


def _row(last: _Last, place: _Place, rule: Rule) -> dict[str, object]:
    name, participant, sub = place
    return {
        "log_index": last.log_index,
        "rule": name,
        "participant": participant,
        "sub": sub,
        "time": last.time,
        "until": last.until,
        "evaluations": rule.evaluations,
        "lifted_index": None,
    }


class LiftThrottle:
    """Ends what throttles a participant, and logs who ended it."""

    def __init__(self, actor: str, participant: str) -> None:
        self._actor = actor
        self._participant = participant

    def apply(self, tx: Transaction) -> int:
        """The log index of the entry.

        Raises:
            Conflict: `NO_SUCH_PARTICIPANT`, `NOT_THROTTLED`.
        """
        name = self._participant
        assert tx.trust is not None
        if name not in tx.trust.participants:
            raise Conflict(
                "NO_SUCH_PARTICIPANT",
                "nobody of this id was admitted: see credproof participant list",
            )
        if name not in observations.throttled(tx.connection, [name], tx.time):
            raise Conflict("NOT_THROTTLED", "nothing throttles this participant now")
        salt = fresh_salt()
        digest = lifted_digest(salt, name)
        fields: dict[str, object] = {"participant": name}
        index = tx.append(ENTRY_LIFTED, self._actor, digest, salt=salt, fields=fields)
        observations.lift(tx.connection, name, tx.time, index)
        return index


def lifted_digest(salt: bytes, participant: str) -> bytes:
    """What the entry of a lifted throttle is about."""
    return tagged_hash("lifted", salt, participant.encode())


class Throttles:
    """The use case of the operator who ends a false alarm."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def lift(self, actor: str, participant: str) -> int:
        """End what throttles a participant; gives the log index.

        Raises:
            Conflict: `NO_SUCH_PARTICIPANT`, `NOT_THROTTLED`.
        """
        return (await self._core.commit(LiftThrottle(actor, participant))).value
