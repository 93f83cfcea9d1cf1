"""Anomalies as the log holds them: what was written is read, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.auditor import RaisedAnomaly
from credproof.base.errors import CredproofError
from credproof.base.limits import ANOMALY_EVIDENCE_MAX
from credproof.log.entry import Entry
from credproof.verification.anomaly import ENTRY_LIFTED, Anomaly, parse_anomaly, parse_lifted
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
        ({"participants": ["lend"] * (ANOMALY_EVIDENCE_MAX + 1)}, "LIMIT_EXCEEDED"),
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
    names = [f"{number:040}" for number in range(ANOMALY_EVIDENCE_MAX)]
    most = parse_anomaly(entry(evidence=[1] * ANOMALY_EVIDENCE_MAX, participants=names))
    assert len(most.evidence) == len(most.participants) == ANOMALY_EVIDENCE_MAX


def lifting(time: int, **fields: object) -> Entry:
    return Entry(9, time, ENTRY_LIFTED, "operator-1", bytes(32), bytes(16), fields, bytes(32))


@pytest.mark.parametrize(
    ("time", "who", "lifted"),
    [(10, "lend", 9), (609, "lend", 9), (610, "lend", None), (10, "other", None)],
)
def test_a_throttle_is_lifted_by_an_entry_about_its_participant_while_it_lasts(time, who, lifted):
    item = RaisedAnomaly(7, 10, ANOMALY).after(lifting(time, participant=who))
    assert item.lifted_index == lifted
    assert lifted is None or item.after(lifting(11, participant=who)) == item


def test_what_only_tells_or_is_about_several_is_never_lifted():
    for changes in ({"throttle_s": 0}, {"participants": ("lend", "other")}):
        item = RaisedAnomaly(7, 10, replace(ANOMALY, **changes))
        assert item.after(lifting(10, participant="lend")) == item


def test_an_entry_that_lifts_nobodys_throttle_is_refused():
    for fields in ({}, {"participant": 1}, {"participant": "lend", "more": 1}):
        with pytest.raises(CredproofError) as caught:
            parse_lifted(lifting(10, **fields))
        assert caught.value.reason == "BAD_MEMBER"


def test_no_participant_is_called_as_the_service_is_in_the_log():
    assert not is_participant_id("service")
