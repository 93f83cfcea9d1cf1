"""The chain: nothing can be left out, put in, moved or changed unseen."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof.base.encoding import canonical_json
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.log.audit import AuditState, LogAudit, parse_state
from credproof.log.checkpoint import verify_checkpoint
from credproof.log.entry import Entry, parse_entry
from credproof.log.note import NoteSigner
from hypothesis import given
from hypothesis import strategies as st

from tests.world import NOW, Log, signer_of

SIGNER = NoteSigner("audited.example/log", signer_of("log"))


def made(count: int = 10) -> Log:
    log = Log(SIGNER)
    for i in range(count):
        log.append("attestation.accepted", "bank", bytes([i]) * 32, time=NOW + i)
    return log


def audit(log: Log, lines: list[bytes] | None = None, start: AuditState | None = None):
    found = LogAudit(start)
    for line in log.lines if lines is None else lines:
        found.feed(line)
    note = log.checkpoint()
    return found.finish(verify_checkpoint(note, SIGNER.name, [SIGNER.verifier_key]))


def refused(reason: str, log: Log, lines: list[bytes], start: AuditState | None = None) -> None:
    with pytest.raises(VerificationFailed) as caught:
        audit(log, lines, start)
    assert reason == caught.value.reason


def test_a_whole_log_is_found_whole():
    report = audit(made())
    assert (report.entries_read, dict(report.kinds)) == (10, {"attestation.accepted": 10})


def test_an_entry_left_out_is_found():
    log = made()
    refused("SEQ_GAP", log, log.lines[:4] + log.lines[5:])


def test_an_entry_put_in_is_found():
    log = made()
    refused("SEQ_GAP", log, [*log.lines[:4], log.lines[3], *log.lines[4:]])


def test_entries_that_change_places_are_found():
    log = made()
    lines = list(log.lines)
    lines[3], lines[4] = lines[4], lines[3]
    refused("SEQ_GAP", log, lines)


def test_a_changed_entry_is_found_at_the_next_one():
    log = made()
    lines = list(log.lines)
    lines[3] = replace(parse_entry(lines[3]), actor="other-bank").to_line()
    refused("CHAIN_BROKEN", log, lines)


def test_a_changed_last_entry_is_found_by_the_tree():
    log = made()
    changed = replace(parse_entry(log.lines[-1]), actor="other-bank").to_line()
    refused("TREE_MISMATCH", log, [*log.lines[:-1], changed])


def test_a_cut_tail_is_found_by_the_tree():
    log = made()
    refused("TREE_MISMATCH", log, log.lines[:-1])


def test_a_chain_rewritten_to_the_end_is_found_by_the_tree():
    """Whoever rewrites the whole chain still has to forge the signed root."""
    honest, rewritten = made(), Log(SIGNER)
    for line in honest.lines:
        entry = parse_entry(line)
        actor = "other-bank" if entry.seq == 3 else entry.actor
        rewritten.append(entry.kind, actor, entry.object, time=entry.time)
    refused("TREE_MISMATCH", honest, rewritten.lines)


def test_time_that_goes_back_is_found():
    log = made()
    log.append("attestation.accepted", "bank", bytes(32), time=NOW)
    refused("TIME_WENT_BACK", log, log.lines)


def test_an_audit_goes_on_where_the_last_one_ended():
    log = made()
    state = parse_state(audit(log).state.to_bytes())
    for i in range(7):
        log.append("consent.granted", "borrower", bytes([i]) * 32, time=NOW + 50)

    report = audit(log, log.lines[10:], state)
    assert (report.checkpoint.tree_size, report.entries_read) == (17, 7)


def test_a_log_whose_past_was_rewritten_does_not_continue_an_audit():
    log = made()
    state = audit(log).state
    other = Log(SIGNER)
    for line in log.lines:
        entry = parse_entry(line)
        other.append(entry.kind, "other-bank", entry.object, time=entry.time)
    other.append("consent.granted", "borrower", bytes(32), time=NOW + 50)

    refused("CHAIN_BROKEN", other, other.lines[10:], state)


# -- the codec

LINES = made(1).lines


@given(
    seq=st.integers(0, 2**53 - 1),
    time=st.integers(0, 2**40),
    actor=st.from_regex(r"[a-z0-9-]{3,40}", fullmatch=True),
    object_digest=st.binary(min_size=32, max_size=32),
    note=st.text(st.characters(codec="utf-8"), max_size=20),
)
def test_an_entry_comes_back_as_it_was_written(seq, time, actor, object_digest, note):
    entry = Entry(seq, time, "a.b", actor, object_digest, bytes(16), {"note": note}, bytes(32))
    assert entry == parse_entry(entry.to_line())


@pytest.mark.parametrize(
    "change",
    [
        {"seq": -1},
        {"seq": "1"},
        {"seq": True},
        {"time": 1.5},
        {"kind": "Attestation"},
        {"kind": "attestation"},
        {"actor": "Bank"},
        {"actor": "ab"},
        {"object": "AAAA"},
        {"salt": "A" * 22 + "="},
        {"fields": []},
        {"more": 1},
    ],
)
def test_an_entry_outside_the_format_is_refused(change):
    members = json.loads(LINES[0]) | change
    line = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(CredproofError):
        parse_entry(line)


def test_an_entry_in_a_second_spelling_is_refused():
    with pytest.raises(Malformed):
        parse_entry(LINES[0].replace(b":", b": ", 1))
    with pytest.raises(Malformed):
        parse_entry(LINES[0] + b"\n")


def test_an_entry_that_is_too_large_is_not_written():
    entry = replace(parse_entry(LINES[0]), fields={"x": "y" * 70_000})
    with pytest.raises(Malformed):
        entry.to_line()


def test_an_audit_state_with_too_few_peaks_is_refused():
    members = json.loads(audit(made()).state.to_bytes())
    members["peaks"].pop()
    with pytest.raises(Malformed):
        parse_state(canonical_json(members))
