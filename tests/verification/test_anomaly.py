"""Anomalies as the log holds them: what was written is read, and nothing else."""

from __future__ import annotations

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import ANOMALY_EVIDENCE_MAX
from credproof.log.entry import Entry
from credproof.verification.anomaly import Anomaly, parse_anomaly
from credproof.verification.participant import is_participant_id

ANOMALY = Anomaly(
    rule="burst",
    rules_version=3,
    rules_digest=bytes(31) + b"r",
    participants=("lend",),
    window_s=60,
    counts={"answered": 0, "questions": 300},
    evidence=(5, 6),
    throttle_s=600,
    tag=bytes(31) + b"t",
)


def entry(kind: str = "anomaly.raised", **changes: object) -> Entry:
    fields = ANOMALY.fields() | changes
    return Entry(7, 0, kind, "service", ANOMALY.rules_digest, bytes(16), fields, bytes(32))


def test_what_is_written_is_read():
    assert parse_anomaly(entry()) == ANOMALY


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"participants": []}, "BAD_ANOMALY"),
        ({"kind": "answer.given"}, "BAD_ANOMALY"),
        ({"counts": {"questions": "300"}}, "BAD_ANOMALY"),
        ({"evidence": [7]}, "BAD_ANOMALY"),
        ({"evidence": [-1]}, "BAD_ANOMALY"),
        ({"evidence": ["1"]}, "BAD_ANOMALY"),
        ({"evidence": [1] * (ANOMALY_EVIDENCE_MAX + 1)}, "LIMIT_EXCEEDED"),
        ({"tag": "AA"}, "WRONG_LENGTH"),
        ({"window": "60"}, "BAD_MEMBER"),
        ({"figure": 1}, "BAD_MEMBER"),
    ],
)
def test_what_no_service_writes_is_refused(changes, reason):
    with pytest.raises(CredproofError) as caught:
        parse_anomaly(entry(**changes))
    assert caught.value.reason == reason


def test_as_much_evidence_as_is_allowed_is_read():
    most = parse_anomaly(entry(evidence=[1] * ANOMALY_EVIDENCE_MAX))
    assert len(most.evidence) == ANOMALY_EVIDENCE_MAX


def test_no_participant_is_called_as_the_service_is_in_the_log():
    assert not is_participant_id("service")
