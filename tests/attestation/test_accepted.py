"""Reading an accepted package again: the same statement, and no crash on what is none."""

from __future__ import annotations

import contextlib
import json

import pytest
from credproof import standard
from credproof.attestation.accepted import read_accepted
from credproof.attestation.package import parse_package
from credproof.base.errors import Malformed
from hypothesis import given
from hypothesis import strategies as st

from tests.attestation import samples

DATA = samples.package_bytes(samples.opening())


@pytest.mark.parametrize("changes", [{}, {"values": samples.NOTHING, "basis": None}])
def test_it_is_the_statement_that_strict_reading_gives(changes):
    data = samples.package_bytes(samples.opening(**changes))
    strict, again = parse_package(data), read_accepted(data, samples.REVOLVING)
    assert again.token == strict.token.jws.token
    assert again.opening == strict.opening(samples.REVOLVING)


def test_a_package_of_another_schema_is_refused():
    with pytest.raises(Malformed) as caught:
        read_accepted(DATA, standard.schemas()["key-binding/1"])
    assert caught.value.reason == "BAD_PACKAGE"


@pytest.mark.parametrize("data", [b"", b"[]", b"7", b'"text"', b"{}", b"\xff", b'{"token":7}'])
def test_what_is_no_package_is_told(data):
    with pytest.raises(Malformed):
        read_accepted(data, samples.REVOLVING)


@given(st.data())
def test_a_member_of_another_type_is_told_or_read_but_never_a_crash(data):
    package = json.loads(DATA)
    members = data.draw(st.sampled_from([package, package["hidden"]]))
    name = data.draw(st.sampled_from(sorted(members)))
    members[name] = data.draw(st.sampled_from([None, 7, "text", [], {}]))
    with contextlib.suppress(Malformed):
        read_accepted(json.dumps(package).encode(), samples.REVOLVING)
