"""Rows about peers: ours against theirs, or theirs against a primitive."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.measure import Pair, cpu_us
from benchmarks.peers import PEER_LEAVES, Pymerkle, SdJwt
from tests.world import seed_of


def anoncreds_verify(bench: Bench) -> Pair:
    """One predicate of theirs, in Ed25519 verifies."""
    peer, sizes = bench.anoncreds, bench.sizes
    return Pair(
        lambda: cpu_us(peer.verify, times=sizes.few),
        lambda: cpu_us(bench.floors.verify, times=sizes.some),
    )


def anoncreds_prove(bench: Bench) -> Pair:
    """Making that proof."""
    peer, sizes = bench.anoncreds, bench.sizes
    return Pair(
        lambda: cpu_us(peer.prove, times=sizes.few),
        lambda: cpu_us(bench.floors.verify, times=sizes.some),
    )


def sd_jwt(bench: Bench) -> Pair:
    """The same presentation, verified by both."""
    world, times = bench.world, bench.sizes.some
    statement = world.statement(jti=seed_of("jti0", 16))
    both = SdJwt(bench.floors.packages[0], statement, world.bank.public)
    return Pair(lambda: cpu_us(both.ours, times=times), lambda: cpu_us(both.theirs, times=times))


def pymerkle_prove(bench: Bench) -> Pair:
    """The same inclusion proof, made by both."""
    both, times = _trees(bench), bench.sizes.some
    return Pair(lambda: cpu_us(both.ours, times=times), lambda: cpu_us(both.theirs, times=times))


def pymerkle_verify(bench: Bench) -> Pair:
    """The same inclusion proof, verified by both."""
    both, times = _trees(bench), bench.sizes.some
    return Pair(
        lambda: cpu_us(both.verify_ours, times=times),
        lambda: cpu_us(both.verify_theirs, times=times),
    )


def _trees(bench: Bench) -> Pymerkle:
    return Pymerkle(min(PEER_LEAVES, bench.sizes.leaves))
