"""The auditor's index: what is not one is refused, a month is spelled in one way."""

from __future__ import annotations

import pytest
from credproof.auditing.index import Index
from credproof.auditing.monthly import parse_month, report
from credproof.base.encoding import b64url
from credproof.base.errors import DataLoss, Malformed
from credproof.log.audit import AuditState
from credproof.log.entry import parse_entry
from credproof.verification.log_rules import Finding

from tests.world import Log, NoteSigner, signer_of

NOVEMBER = 1_793_491_200
"""2026-11-01 00:00:00 UTC."""


def test_a_file_that_is_no_index_is_told_to_be_deleted(tmp_path):
    (tmp_path / "audit.db").write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(DataLoss) as caught:
        Index(tmp_path / "audit.db")
    assert caught.value.reason == "INDEX_DAMAGED"


def test_an_index_that_is_damaged_inside_is_told_to_be_deleted(tmp_path):
    """Found by whoever reads the spoilt page, not by opening the file."""
    path = tmp_path / "audit.db"
    with Index(path) as index, index.transaction():
        index.keep({f"consent:{i}": {"at": i} for i in range(2000)})
    data = bytearray(path.read_bytes())
    data[8192:] = bytes(len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(DataLoss) as caught, Index(path) as index:
        index.load([f"consent:{i}" for i in range(2000)])
    assert caught.value.reason == "INDEX_DAMAGED"


@pytest.mark.parametrize("text", ["2026-1", "2026-13", "november", "2026-11-01", "9999-12", ""])
def test_a_month_in_another_spelling_is_refused(text):
    with pytest.raises(Malformed) as caught:
        parse_month(text)
    assert caught.value.reason == "BAD_MONTH"


def refused_page(index: Index) -> None:
    with index.transaction():
        index.keep({"consent:x": {"at": 1}})
        raise Malformed("BAD_ENTRY", "the page is not accepted")


def test_a_page_is_taken_in_whole_or_not_at_all(tmp_path):
    with Index(tmp_path / "audit.db") as index:
        with pytest.raises(Malformed):
            refused_page(index)
        assert index.load(["consent:x"]) == {}
        assert index.state == AuditState()


def test_a_month_counts_what_happened_in_it_and_says_whether_that_is_all(tmp_path):
    log, times = Log(NoteSigner("log.example", signer_of("log"))), [-1, 0, 5, 30 * 86_400]
    for time in times:
        log.append("consent.revoked", "borrower", bytes(32), time=NOVEMBER + time)
    log.append("attestation.withdrawn", "bank", bytes(32), time=NOVEMBER + 30 * 86_400)
    entries = [parse_entry(line) for line in log.lines]
    beyond = [Finding("ANSWER_BEYOND_CAP", at, "too many") for at in (1, 3)]
    with Index(tmp_path / "audit.db") as index:
        with index.transaction():
            index.add(log.lines, entries, beyond, AuditState(), 1, NOVEMBER + 31 * 86_400)
        now = NOVEMBER + 31 * 86_400
        found = report(index, parse_month("2026-11"), now)
        december = report(index, parse_month("2026-12"), now)
        others = ("2026-09", "2026-10", "2027-01")
        outside = [report(index, parse_month(name), now).outside for name in others]
        unread = report(index, parse_month("2027-01"), now + 31 * 86_400)
    assert (found.entries, found.consents["revoked"], found.is_whole) == (2, 2, True)
    assert (found.beyond_cap, found.findings) == ((1,), {"ANSWER_BEYOND_CAP": 1})
    assert (december.entries, december.is_whole) == (2, False)
    assert (found.outside, december.outside) == (None, None)
    assert outside == ["BEFORE_LOG", None, "FUTURE"]
    assert unread.outside == "NOT_VERIFIED"
    assert b64url(bytes(32)) not in str(found)


def test_a_month_is_not_whole_by_an_entry_that_was_in_the_future_when_it_was_read(tmp_path):
    log, read = Log(NoteSigner("log.example", signer_of("log"))), NOVEMBER + 20 * 86_400
    for time in (NOVEMBER, read, NOVEMBER + 400 * 86_400):
        log.append("consent.revoked", "borrower", bytes(32), time=time)
    entries = [parse_entry(line) for line in log.lines]
    with Index(tmp_path / "audit.db") as index:
        with index.transaction():
            index.add(log.lines, entries, [], AuditState(), 1, read)
        found = report(index, parse_month("2026-11"), NOVEMBER + 60 * 86_400)
        december = report(index, parse_month("2026-12"), NOVEMBER + 60 * 86_400)
    assert (found.entries, found.until, found.is_whole) == (2, read, False)
    assert december.outside == "NOT_VERIFIED"
