"""Fuzz for as long as you like; what crashes a parser is written to a folder.

python -m tests.fuzz --minutes N [--target NAME] [--crashers DIR] [--seed N]
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
import traceback
from itertools import cycle
from pathlib import Path

from tests.fuzz.mutate import mutated
from tests.fuzz.targets import TARGETS, hold, seeds

ROUND = 200
"""Inputs of one target before the next has its turn."""
SLOW_S = 1.0
"""An input that takes longer is a crasher too."""
POOL_MAX = 300
"""Inputs that parsed and are bent further, per target."""


class Campaign:
    """One run over some targets; inputs that parse are bent further."""

    def __init__(self, names: list[str], crashers: Path, seed: int) -> None:
        self.names = names
        self.crashers = crashers
        self.chance = random.Random(seed)
        self.pools = {name: seeds(name) for name in names}
        self.found: dict[str, str] = {}
        self.count = 0

    def round(self, name: str) -> None:
        pool = self.pools[name]
        for _ in range(ROUND):
            data = mutated(self.chance, self.chance.choice(pool), pool)
            self.count += 1
            if self.try_one(name, data) and len(pool) < POOL_MAX:
                pool.append(data)

    def try_one(self, name: str, data: bytes) -> bool:
        started = time.perf_counter()
        try:
            parsed = hold(name, data)
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            self.keep(name, data, f"{type(error).__name__} at {where.filename}:{where.lineno}")
            return False
        if time.perf_counter() - started > SLOW_S:
            self.keep(name, data, "slow")
        return parsed

    def keep(self, name: str, data: bytes, what: str) -> None:
        """One input per target and place where it fails."""
        if f"{name}: {what}" in self.found:
            return
        folder = self.crashers / name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(data).hexdigest()[:16]
        path.write_bytes(data)
        self.found[f"{name}: {what}"] = str(path)
        print(f"\n{name}: {what}: {path}", file=sys.stderr)


def main() -> int:
    """Fuzz; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument("--crashers", type=Path, default=Path("crashers"))
    parser.add_argument("--seed", type=int, default=int(time.time()))
    given = parser.parse_args()
    names = [given.target] if given.target else list(TARGETS)
    campaign = Campaign(names, given.crashers, given.seed)
    end = time.monotonic() + 60 * given.minutes
    for name in cycle(names):
        if time.monotonic() > end:
            break
        campaign.round(name)
        print(f"\r{campaign.count:>10} inputs, {len(campaign.found)} found, {name:<16}", end="")
    print(f"\nseed {given.seed}")
    return 1 if campaign.found else 0


if __name__ == "__main__":
    sys.exit(main())
