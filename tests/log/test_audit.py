"""An auditor who looked once cannot be shown another past, however they look again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import CredproofError, Malformed, VerificationFailed
from credproof.base.limits import ENTRY_BYTES_MAX, INTEGER_MAX
from credproof.log.audit import AuditState, LogAudit, parse_state
from credproof.log.checkpoint import Checkpoint, sign_checkpoint, verify_checkpoint
from credproof.log.continued import ENTRY_CONTINUED
from credproof.log.entry import ChainPosition, entry_hash, parse_entry
from hypothesis import given
from hypothesis import strategies as st

from tests.log.test_entry import SIGNER, audit, made
from tests.world import NOW, Log

LINE = made(1).lines[0]


def rewritten(log: Log) -> Log:
    """A log with another past, whole in itself and signed by the same key."""
    other = Log(SIGNER)
    for line in log.lines:
        entry = parse_entry(line)
        other.append(entry.kind, "other-bank", entry.object, time=entry.time)
    return other


def audit_again(log: Log, trusted: AuditState):
    """Read the whole log again, having trusted it up to a point."""
    found = LogAudit(trusted=trusted)
    for line in log.lines:
        found.feed(line)
    return found.finish(verify_checkpoint(log.checkpoint(), SIGNER.name, [SIGNER.verifier_key]))


def refused(reason: str, log: Log, trusted: AuditState) -> None:
    with pytest.raises(VerificationFailed) as caught:
        audit_again(log, trusted)
    assert reason == caught.value.reason


def test_a_log_read_again_from_its_start_passes_where_the_last_audit_ended():
    log = made()
    trusted = audit(log).state
    log.append("consent.granted", "borrower", bytes(32), time=NOW + 50)
    assert audit_again(log, trusted).entries_read == 11


@pytest.mark.parametrize("more", [0, 3])
def test_a_rewritten_log_is_found_when_it_is_read_again_from_its_start(more):
    log = made()
    trusted = audit(log).state
    other = rewritten(log)
    for _ in range(more):
        other.append("consent.granted", "borrower", bytes(32), time=NOW + 50)
    refused("LOG_FORKED", other, trusted)


def test_a_shorter_log_is_found_when_it_is_read_again_from_its_start():
    refused("LOG_SHRANK", made(9), audit(made(10)).state)


def test_a_log_that_lost_everything_is_found():
    refused("LOG_SHRANK", made(0), audit(made(1)).state)


def test_a_log_that_did_not_grow_continues_an_audit():
    log = made()
    assert audit(log, [], audit(log).state).entries_read == 0


def test_an_audit_of_an_empty_log_ends_where_it_began():
    assert audit(made(0)).state == AuditState()


def outcome(lines: list[bytes], size: int, trusted: AuditState) -> object:
    """Where an audit ends that is fed pages of this size (0: lines), or what it says is wrong."""
    found = LogAudit(trusted=trusted)
    try:
        for start in range(0, len(lines), size or 1):
            if size:
                found.feed_page(lines[start : start + size])
            else:
                found.feed(lines[start])
    except CredproofError as error:
        return type(error), error.reason, error.message, found.size
    return found.state, found._kinds, found._continued


CHANGES = {
    "nothing": lambda lines, at: None,
    "left out": lambda lines, at: lines.pop(at),
    "twice": lambda lines, at: lines.insert(at, lines[at]),
    "last first": lambda lines, at: lines.insert(at, lines.pop()),
    "other byte": lambda lines, at: lines.__setitem__(at, lines[at].replace(b"bank", b"bonk")),
    "no entry": lambda lines, at: lines.__setitem__(at, b"{}"),
    "bad fields": lambda lines, at: lines.__setitem__(at, lines[at].replace(b"{}", b"{ }")),
    "too late": lambda lines, at: lines.__setitem__(
        at, lines[at].replace(b'"time":1', b'"time":9')
    ),
    "beyond": lambda lines, at: lines.__setitem__(
        at, lines[at].replace(b'"time":', b'"time":999999')
    ),
    "too long": lambda lines, at: lines.__setitem__(
        at, lines[at].replace(b"{}", b'{"note":"' + b"a" * ENTRY_BYTES_MAX + b'"}')
    ),
}


@pytest.mark.parametrize("change", CHANGES)
@given(size=st.integers(1, 12), at=st.integers(0, 9), seen=st.integers(0, 10))
def test_pages_are_accepted_and_refused_as_their_lines_are(change, size, at, seen):
    trusted = audit(made(seen)).state
    lines = list(made(10).lines)
    CHANGES[change](lines, at)
    assert outcome(lines, size, trusted) == outcome(lines, 0, trusted)


def test_a_page_in_which_the_log_is_continued_is_read_line_by_line():
    log = made(3)
    fields = {"origin": "old.example/log", "root": b64url(bytes(32)), "tree_size": 3}
    entry = replace(
        parse_entry(log.lines[2]),
        seq=3,
        kind=ENTRY_CONTINUED,
        fields=fields,
        prev=entry_hash(log.lines[2]),
    )
    lines = [*log.lines, entry.to_line()]
    assert len(outcome(lines, 0, AuditState())[2]) == 1
    assert outcome(lines, 4, AuditState()) == outcome(lines, 0, AuditState())


@pytest.mark.parametrize("bad", [b"{}", b"", LINE + b" ", LINE[:-1], LINE.replace(b"bank", b"B")])
def test_the_first_bad_entry_is_named_by_its_index(bad):
    found = LogAudit()
    for line in made(4).lines:
        found.feed(line)
    with pytest.raises(Malformed, match=r"^entry 4: "):
        found.feed(bad)


@pytest.mark.parametrize(
    "change",
    [
        {"tree_size": -1, "peaks": ["A" * 43]},
        {"tree_size": 0, "peaks": []},
        {"last_time": -1},
        {"last_time": "0"},
        {"more": 1},
    ],
)
def test_an_audit_state_that_no_audit_left_is_refused(change):
    members = json.loads(audit(made(1)).state.to_bytes()) | change
    with pytest.raises(Malformed):
        parse_state(canonical_json(members))


def test_an_audit_state_of_before_any_time_is_refused():
    members = json.loads(audit(made(1)).state.to_bytes()) | {"last_time": -1}
    with pytest.raises(Malformed) as caught:
        parse_state(canonical_json(members))
    assert caught.value.reason == "BAD_AUDIT_STATE"


def test_a_checkpoint_that_would_not_parse_is_never_signed():
    root = bytes(32)
    for checkpoint in (
        Checkpoint("log.example\n5", 1, root),
        Checkpoint("", 1, root),
        Checkpoint("log.example", -1, root),
        Checkpoint("log.example", 2**63, root),
        Checkpoint("log.example", 1, root[:-1]),
    ):
        with pytest.raises(Malformed):
            sign_checkpoint(checkpoint, [SIGNER])


# -- a line is matched as a whole: nothing may pass that slow and plain reading would refuse


def is_entry(line: bytes) -> bool:
    """The definition, by the standard library alone and without a pattern."""
    names = ["actor", "fields", "kind", "object", "prev", "salt", "seq", "time"]
    try:
        value = json.loads(line)
        spelled = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        if spelled.encode() != line or sorted(value) != names or type(value["fields"]) is not dict:
            return False
    except (ValueError, TypeError):
        return False
    return all(type(value[n]) is int and 0 <= value[n] <= INTEGER_MAX for n in ("seq", "time"))


def accepted(line: bytes) -> bool:
    try:
        parse_entry(line)
    except CredproofError:
        return False
    return True


@given(
    at=st.integers(0, len(LINE)),
    cut=st.integers(0, 30),
    put=st.one_of(
        st.binary(max_size=3),
        st.sampled_from(
            [
                b'{"a":1}',
                b'{"a":1,"a":1}',
                b'{"b":1,"a":1}',
                b'{"a":1.0}',
                b'{"a":9007199254740992}',
                b'},"gap":{',
                b'"x":{},',
                b'"x":"},\\"kind\\":\\"a.b\\",",',
                b'{"a":"\\u0041"}',
                b'{"a":"\xff"}',
                b"00",
                b"9" * 16,
                b"-",
            ]
        ),
    ),
)
def test_no_bent_line_passes_that_plain_reading_refuses(at, cut, put):
    line = LINE[:at] + put + LINE[at + cut :]
    if accepted(line):
        assert is_entry(line)


@pytest.mark.parametrize(
    "fields",
    [
        b'{"a":1,"a":1}',
        b'{"b":1,"a":1}',
        b'{"a":1.0}',
        b'{"a": 1}',
        b'{"a":9007199254740992}',
        b'{"a":"\\u0041"}',
        b'{"a":"\xff"}',
        b'{},"gap":{}',
        b"{}}",
        b'{"a":NaN}',
        b"{ }",
    ],
)
def test_fields_in_a_second_spelling_are_refused(fields):
    line = LINE.replace(b'"fields":{}', b'"fields":' + fields)
    with pytest.raises(Malformed):
        parse_entry(line)
    with pytest.raises(Malformed):
        ChainPosition().verify_next(line)


@pytest.mark.parametrize("name", ["seq", "time"])
def test_a_number_that_json_readers_round_is_refused(name):
    members = json.loads(LINE) | {name: INTEGER_MAX + 1}
    line = json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    with pytest.raises(Malformed):
        parse_entry(line)


def test_a_tail_inside_a_text_is_not_taken_for_the_entrys_own():
    tail = LINE[LINE.index(b',"kind"') :].decode()
    entry = parse_entry(LINE)
    fields = {"note": "}" + tail}
    line = LINE.replace(b"{}", canonical_json(fields))
    assert (fields, entry.kind) == (parse_entry(line).fields, parse_entry(line).kind)


@pytest.mark.parametrize("piece", [b'},"kind":"a.b', b"{", b"a.", b'},"kind":"a.b","object":"'])
def test_a_long_bad_line_is_refused_without_trying_every_way_to_split_it(piece):
    start = LINE[: LINE.index(b"{}")]
    line = (start + b"{" + piece * 65_000)[:65_535]
    with pytest.raises(Malformed):
        parse_entry(line)
