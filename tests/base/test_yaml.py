"""YAML without its surprises."""

from __future__ import annotations

import pytest
from credproof.base.errors import LimitExceeded, Malformed
from credproof.base.yaml import parse_document, parse_yaml


def test_plain_values_are_read():
    text = b"a: 1\nb: [true, null, text]\nc: {d: 'x'}\n"
    assert parse_yaml(text) == {"a": 1, "b": [True, None, "text"], "c": {"d": "x"}}


@pytest.mark.parametrize(
    "text",
    [
        b"a: 1\na: 2\n",
        b"a: &x [1]\nb: *x\n",
        b"a: 1.5\n",
        b"a: 2026-01-01\n",
        b"a: !!python/object:os.system x\n",
        b"a: !!binary AAAA\n",
        b"1: a\n",
        b"a: [1\n",
        b"a: 1\n---\nb: 2\n",
        b"\xff\xfe",
        b"<<: {a: 1}\n",
        b"a: &x 1\n",
        b"a: &x [*x]\n",
        b"a: NO\n",
        b"a: [on]\n",
        b"a: True\n",
        b"a: 010\n",
        b"a: 0x1F\n",
        b"a: 1_000\n",
        b"a: 1:30\n",
        b"a: +1\n",
        b"a: NULL\n",
        b"a: !!int '010'\n",
        b"a: !!int [1]\n",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(Malformed) as caught:
        parse_yaml(text)
    assert caught.value.reason == "NOT_YAML"


def test_quotes_make_a_text_of_what_looks_like_something_else():
    assert parse_yaml(b"a: 'NO'\nb: '010'\nc: \"1.5\"\n") == {"a": "NO", "b": "010", "c": "1.5"}
    assert parse_yaml(b"a: -5\nb: 0\nc:\nd: ~\n") == {"a": -5, "b": 0, "c": None, "d": None}


def test_a_bomb_of_aliases_is_refused():
    lines = [b"a0: &a0 [x, x]"]
    lines += [b"a%d: &a%d [*a%d, *a%d]" % (i, i, i - 1, i - 1) for i in range(1, 30)]
    with pytest.raises(Malformed):
        parse_yaml(b"\n".join(lines))


def test_a_document_over_its_limit_is_refused():
    with pytest.raises(LimitExceeded):
        parse_yaml(b"a: '" + b"x" * 300_000 + b"'")
    with pytest.raises(LimitExceeded):
        parse_document(b'{"a":"' + b"x" * 300_000 + b'"}')


def test_what_starts_as_json_must_be_canonical_json():
    assert parse_document(b'{"a":1}') == {"a": 1}
    with pytest.raises(Malformed):
        parse_document(b"{a: 1}")
