"""No parser does anything but give a value or refuse, whatever the bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.make_corpus import every_seed
from tests.fuzz.mutate import mutated
from tests.fuzz.targets import CORPUS, TARGETS, hold, seeds

EXAMPLES = 80
SEEDS = {name: seeds(name) for name in TARGETS}


@pytest.mark.parametrize("name", TARGETS)
def test_every_honest_seed_parses_and_comes_back_as_it_was(name):
    assert all(hold(name, data) for data in SEEDS[name])


@pytest.mark.parametrize("name", TARGETS)
def test_bent_input_is_parsed_or_refused(name):
    @settings(max_examples=EXAMPLES, deadline=None, database=None, derandomize=True)
    @given(st.sampled_from(SEEDS[name]), st.integers(0, 2**32))
    def bent(data: bytes, number: int) -> None:
        hold(name, mutated(random.Random(number), data, SEEDS[name]))

    bent()


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes_are_parsed_or_refused(name):
    @settings(max_examples=EXAMPLES // 2, deadline=None, database=None, derandomize=True)
    @given(st.binary(max_size=300))
    def anything(data: bytes) -> None:
        hold(name, data)

    anything()


def test_the_seeds_are_those_that_the_script_makes():
    """When this fails, a format has changed: python -m tests.fuzz.make_corpus."""
    made = {(target, name): data for target, name, data in every_seed()}
    kept = {(p.parent.name, p.name): p.read_bytes() for p in CORPUS.rglob("*") if p.is_file()}
    assert made == kept


def test_a_parser_that_fails_in_its_own_way_is_found(monkeypatch):
    from tests.fuzz import targets

    monkeypatch.setitem(TARGETS, "json", targets.Target(lambda data: data.decode("ascii")))
    with pytest.raises(UnicodeDecodeError):
        hold("json", b"\xff")
