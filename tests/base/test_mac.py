"""HMAC-SHA256 with a key that is hashed once."""

from __future__ import annotations

import hmac

import pytest
from credproof.base.mac import Mac
from hypothesis import given
from hypothesis import strategies as st


@given(st.binary(max_size=64), st.lists(st.binary(max_size=200), max_size=4))
def test_it_gives_what_the_standard_library_gives_for_each_message(key, messages):
    mac = Mac(key)
    assert [mac.digest(m) for m in messages] == [hmac.digest(key, m, "sha256") for m in messages]


def test_the_first_case_of_rfc_4231_comes_out():
    expected = "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    assert Mac(b"\x0b" * 20).digest(b"Hi There").hex() == expected


def test_a_key_that_would_be_hashed_first_is_refused():
    with pytest.raises(ValueError, match="longer key"):
        Mac(bytes(65))
