"""One spelling per value: round trips, and every second spelling refused."""

from __future__ import annotations

import json

import pytest
from credproof.base.encoding import (
    TIME_MAX,
    b64,
    b64url,
    canonical_json,
    frame,
    parse_b64,
    parse_b64url,
    parse_date,
    parse_frame,
    parse_json,
    parse_loose_json,
    tagged,
    tagged_hash,
    time_text,
)
from credproof.base.errors import Malformed
from credproof.base.limits import INTEGER_MAX
from hypothesis import given
from hypothesis import strategies as st

KEYS = st.text(st.characters(max_codepoint=127), max_size=8)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=80))
def test_base64_comes_back(data):
    assert data == parse_b64url(b64url(data)) == parse_b64(b64(data))


@pytest.mark.parametrize("text", ["A", "AB=", "AB==", "A+B/", "AA A", "AAé", "AB\n", "Af", "AAB"])
def test_a_second_spelling_of_base64url_is_refused(text):
    with pytest.raises(Malformed):
        parse_b64url(text)


@pytest.mark.parametrize("text", ["AA", "AB==", "A===", "AA==\n", "AA-_", "AAB="])
def test_a_second_spelling_of_base64_is_refused(text):
    with pytest.raises(Malformed):
        parse_b64(text)


def test_a_wrong_number_of_bytes_is_refused():
    with pytest.raises(Malformed, match="expected 3 bytes, got 2"):
        parse_b64url(b64url(b"ab"), size=3)


@given(JSON)
def test_canonical_json_comes_back(value):
    assert value == parse_json(canonical_json(value))


@given(JSON)
def test_canonical_json_is_stable(value):
    once = canonical_json(value)
    assert once == canonical_json(parse_loose_json(once))


def test_canonical_json_is_that_of_rfc_8785():
    value = {"b": [1, True, None], "a": 'é\n"\\\x01/', "": {}}
    assert canonical_json(value) == b'{"":{},"a":"\xc3\xa9\\n\\"\\\\\\u0001/","b":[1,true,null]}'


@pytest.mark.parametrize(
    "data",
    [
        b'{"b":1,"a":2}',
        b'{"a": 1}',
        b'{"a":1,"a":1}',
        b'{"a":1.0}',
        b'{"a":1e2}',
        b'{"a":-0}',
        b'{"a":01}',
        b'{"a":9007199254740992}',
        b'{"a":18446744073709551616}',
        b'{"a":-18446744073709551617}',
        b'{"a":' + b"9" * 400 + b"}",
        b'{"a":1e400}',
        b'{"a":NaN}',
        b'{"a":"\\u0041"}',
        b'{"a":"\\ud800"}',
        b'{"\xc3\xa9":1}',
        b"{}\n",
        b" {}",
        b"{} {}",
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"a":' * 33 + b"1" + b"}" * 33,
    ],
)
def test_any_other_json_is_refused(data):
    with pytest.raises(Malformed):
        parse_json(data)


def plainly_canonical(data: bytes) -> bool:
    """The definition by the standard library, slowly: parse, and write again."""
    try:
        value = json.loads(data, parse_float=dict.fromkeys, parse_int=safe_integer)
        again = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return again.encode() == data
    except (ValueError, TypeError):
        return False


def safe_integer(text: str) -> int:
    if abs(int(text)) > INTEGER_MAX:
        raise ValueError
    return int(text)


@given(JSON, st.integers(0, 40), st.integers(0, 3), st.binary(max_size=3))
def test_no_bent_json_passes_that_the_standard_library_would_spell_otherwise(value, at, cut, put):
    data = canonical_json(value)
    data = data[:at] + put + data[at + cut :]
    try:
        parse_json(data)
    except Malformed:
        return
    assert plainly_canonical(data)


@pytest.mark.parametrize("value", [1.5, 2**53, {"a": object()}, {1: 2}, b"bytes", "\ud800"])
def test_what_has_no_canonical_form_is_not_written(value):
    with pytest.raises(Malformed):
        canonical_json(value)


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_frames_come_back(parts):
    assert parts == parse_frame(frame(parts))


@given(st.lists(st.binary(max_size=6), max_size=4), st.lists(st.binary(max_size=6), max_size=4))
def test_two_lists_never_make_one_frame(one, two):
    assert (one == two) == (frame(one) == frame(two))


@pytest.mark.parametrize(
    "data", [b"\x00", b"\x00\x00\x00\x05abcd", b"\x00\x00\x00\x01", b"\xff" * 4]
)
def test_a_frame_that_does_not_fit_is_refused(data):
    with pytest.raises(Malformed):
        parse_frame(data)


def test_tags_keep_uses_apart():
    assert tagged_hash("a", b"x") != tagged_hash("b", b"x")
    assert tagged("a", b"x", b"y") != tagged("a", b"xy")
    assert tagged("a", b"x").startswith(b"\x00\x00\x00\x0ecredproof/v1/a")


@pytest.mark.parametrize("text", ["2026-1-1", "2026-02-30", "20260101", "2026-01-01T", "", "二"])
def test_what_is_no_day_is_refused(text):
    with pytest.raises(Malformed):
        parse_date(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "1970-01-01 00:00:00 UTC"),
        (TIME_MAX, "9999-12-31 23:59:59 UTC"),
        (TIME_MAX + 1, "253402300800 s"),
        (-1, "-1 s"),
    ],
)
def test_a_time_that_no_calendar_has_is_told_in_seconds(seconds, text):
    assert time_text(seconds) == text
