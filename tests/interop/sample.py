"""A log of ours, as other people's verifiers get it."""

from __future__ import annotations

from tests.world import Log, World, seed_of

ENTRIES = 23


def sample_log() -> Log:
    """A log with entries of several kinds."""
    world = World()
    for i in range(ENTRIES):
        kind = ("attestation.accepted", "consent.granted", "answer.given")[i % 3]
        world.log.append(kind, "bank", seed_of(f"object {i}"))
    return world.log
