"""No parser does anything but give a value or refuse, whatever the bytes."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import CORPUS, TARGETS, hold, seeds

EXAMPLES = 80
ROOT = Path(__file__).parent.parent.parent
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


def test_the_seeds_are_those_that_the_script_makes(tmp_path):
    """When this fails, a format has changed: python -m tests.fuzz.make_corpus."""
    made = tmp_path / "corpus"
    subprocess.run([sys.executable, "-m", "tests.fuzz.make_corpus", made], check=True, cwd=ROOT)
    assert files(made) == files(CORPUS)


def files(corpus: Path) -> dict[str, bytes]:
    return {str(p.relative_to(corpus)): p.read_bytes() for p in corpus.rglob("*") if p.is_file()}


def test_a_parser_that_fails_in_its_own_way_is_found(monkeypatch):
    from tests.fuzz import targets

    monkeypatch.setitem(TARGETS, "json", targets.Target(lambda data: data.decode("ascii")))
    with pytest.raises(UnicodeDecodeError):
        hold("json", b"\xff")
