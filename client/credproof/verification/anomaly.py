"""Anomalies: what the service raises when conduct looks like misuse. Written and read here alone.

Format: `docs/PROTOCOL.md`, "Log".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed
from credproof.base.limits import ANOMALY_EVIDENCE_MAX, at_most
from credproof.base.members import Members
from credproof.log.entry import Entry

ENTRY_RAISED: Final = "anomaly.raised"
ENTRY_LIFTED: Final = "anomaly.lifted"


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A rule that was broken.

    `participants` are whose conduct the evidence shows: one, or several together, never more than
    there is evidence; `counts` may count more. `window_s` and `throttle_s` are in seconds; a
    throttle of 0 only tells, `evaluations` says whether it refuses those too.
    `evidence` are log indexes. `tag` stands for the borrower, where it is about one (32 bytes).
    The rules are pinned by their version and digest (32 bytes).
    """

    rule: str
    rules_version: int
    rules_digest: bytes
    participants: tuple[str, ...]
    window_s: int
    counts: Mapping[str, int]
    evidence: tuple[int, ...]
    throttle_s: int = 0
    evaluations: bool = False
    tag: bytes | None = None

    def fields(self) -> dict[str, Json]:
        """The fields of its entry; the entry's object is the digest of the rules."""
        return {
            "counts": dict(self.counts),
            "evaluations": self.evaluations,
            "evidence": list(self.evidence),
            "participants": list(self.participants),
            "rule": self.rule,
            "tag": None if self.tag is None else b64url(self.tag),
            "throttle": self.throttle_s,
            "version": self.rules_version,
            "window": self.window_s,
        }


def parse_anomaly(entry: Entry) -> Anomaly:
    """The anomaly that an entry raises.

    Raises:
        Malformed: `BAD_MEMBER`, `BAD_ANOMALY`.
        LimitExceeded: more evidence, or more participants, than `ANOMALY_EVIDENCE_MAX`.
    """
    members = Members(entry.fields, "anomaly")
    found = Anomaly(
        rule=members.take("rule", str),
        rules_version=members.take("version", int),
        rules_digest=entry.object,
        participants=members.strings("participants"),
        window_s=members.take("window", int),
        counts=_counts(members.take("counts", dict)),
        evidence=_indexes(members.take("evidence", list), entry.seq),
        throttle_s=members.take("throttle", int),
        evaluations=members.take("evaluations", bool),
        tag=_tag(members),
    )
    members.finish()
    at_most(len(found.participants), ANOMALY_EVIDENCE_MAX, "participants")
    if entry.kind != ENTRY_RAISED or not found.participants:
        raise Malformed("BAD_ANOMALY", "the entry raises no anomaly, or nobody's")
    return found


def parse_lifted(entry: Entry) -> str:
    """The participant whose throttles an entry of kind `ENTRY_LIFTED` ends.

    Raises:
        Malformed: `BAD_MEMBER`.
    """
    members = Members(entry.fields, "lifted")
    participant = members.take("participant", str)
    members.finish()
    return participant


def _counts(value: Mapping[str, Any]) -> Mapping[str, int]:
    if not all(type(count) is int for count in value.values()):
        raise Malformed("BAD_ANOMALY", "an anomaly counts in whole numbers")
    return value


def _indexes(value: list[Any], before: int) -> tuple[int, ...]:
    at_most(len(value), ANOMALY_EVIDENCE_MAX, "evidence")
    if not all(type(index) is int and 0 <= index < before for index in value):
        raise Malformed("BAD_ANOMALY", "evidence stands in the log before what it shows")
    return tuple(value)


def _tag(members: Members) -> bytes | None:
    tag = members.nullable("tag", str)
    return None if tag is None else Members({"tag": tag}, "anomaly").bytes("tag", 32)
