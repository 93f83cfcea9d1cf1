"""`python -m tests.crash --kills 500 --seed 7`: as the test, as often as one likes."""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from pathlib import Path

from tests.crash.killing import torment


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="how often (default 200)")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)  # before anything can fail
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        ledger = torment(
            Path(folder),
            kills=options.kills,
            seed=options.seed,
            progress=lambda count: print(
                f"\rkilled {count} of {options.kills}", end="", flush=True
            ),
        )
    print(
        f"\n{options.kills} kills in {time.monotonic() - started:.0f} s;"
        f" {len(ledger.tokens)} attestations, {len(ledger.consents)} consents and"
        f" {len(ledger.answers)} answers acknowledged, each there once;"
        f" {ledger.broken} calls interrupted"
    )


if __name__ == "__main__":
    main()
