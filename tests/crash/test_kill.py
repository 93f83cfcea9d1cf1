"""Kill the service at any moment: what it acknowledged is there once, the rest not at all."""

from __future__ import annotations

import os
import random

from tests.crash.killing import torment

KILLS = int(os.environ.get("CREDPROOF_KILLS", "16"))


def test_what_was_acknowledged_survives_any_kill_and_nothing_is_half_there(tmp_path):
    seed = int(os.environ.get("CREDPROOF_SEED", random.SystemRandom().randrange(2**32)))
    print(f"seed {seed}")  # shown when it fails
    ledger = torment(tmp_path, kills=KILLS, seed=seed)
    assert len(ledger.tokens) > 5 * KILLS, "the service was idle when it was killed"
    assert len(ledger.answers) > KILLS // 2, "nobody asked when it was killed"
    assert ledger.broken > 0, "no call was ever interrupted: the kills came at idle moments"
