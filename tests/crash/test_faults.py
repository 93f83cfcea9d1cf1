"""A disk that fails now and then: what was acknowledged is there, the rest is not by half."""

from __future__ import annotations

import os
import random

import pytest

from tests.crash.faults import break_calls, cannot_trace

INJECTIONS = int(os.environ.get("CREDPROOF_INJECTIONS", "30"))


def test_no_failing_call_on_its_files_makes_the_service_lose_or_fork_anything(tmp_path):
    if why := cannot_trace():
        pytest.skip(why)
    seed = int(os.environ.get("CREDPROOF_SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed}")  # shown when it fails
    found = break_calls(tmp_path, injections=INJECTIONS, seed=seed)
    assert found.felt, "only some of its files were tried, or no call was ever hit"
    assert len(found.ledger.tokens) > INJECTIONS, "the service was idle"
