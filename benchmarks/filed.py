"""Rows of the directory: proofs and updates over many leaves, and computing it anew from a log."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from credproof.base.encoding import b64url
from credproof.log.directory import Leaf, Top, subtree, verify_lookup
from credproof.log.entry import GENESIS_PREV, Entry
from credproof.log.merkle import leaf_hash
from credproof.verification.answer import ENTRY_ATTESTATION, Lookup
from credproof.verification.filing import ACTOR, ENTRY_ROOT, Change, Filed
from credproof.verification.replay import Replay
from credproof.wire import answer as answer_wire

from benchmarks.bench import Bench
from benchmarks.directory import Directory
from benchmarks.measure import Pair, Sample, cpu_us
from tests.world import NOW

LEVELS = 20
"""log2 of a million leaves: what a path costs at least."""
EPOCH = 1000
"""Changes under one root of the log that is replayed."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def looking_up(bench: Bench) -> Pair:
    """Random indexes that have a value and random ones that have none, in turn."""
    directory, count = bench.directory, bench.sizes.many

    def subject() -> float:
        indexes = _asked(directory, count)
        return cpu_us(lambda: directory.look_up(indexes), items=len(indexes))

    return Pair(subject, lambda: cpu_us(bench.floors.node, times=10 * count))


def proof_sizes(bench: Bench) -> Pair:
    """Bytes of a lookup as it is sent: schema, leaf, siblings, salt, one member or none."""
    directory, sizes = bench.directory, list[int]()

    def subject() -> float:
        indexes = _asked(directory, bench.sizes.many)
        for index, place in zip(indexes, directory.look_up(indexes), strict=True):
            value = verify_lookup(index, place.proof, directory.state.top.root)
            assert (value is None) == (not place.members)
            lookup = Lookup(bytes(32), place.proof, place.salt, place.members)
            sizes.append(answer_wire.lookup_to_proto(lookup).ByteSize())
        return statistics.mean(sizes)

    return Pair(subject, lambda: LEVELS * 32.0, lambda: {"bytes, largest": max(sizes)})


def _asked(directory: Directory, count: int) -> list[bytes]:
    there = random.choices(directory.known, k=count // 2)
    return [index for pair in ((i, os.urandom(32)) for i in there) for index in pair]


def updating(bench: Bench) -> Pair:
    """Changes in one commit, half of them to indexes with a value; CPU time, and wall beside."""
    directory, count = bench.directory, bench.sizes.updates
    walls: list[float] = []

    def subject() -> float:
        changes = _changes(directory, count)
        started = time.perf_counter()
        spent = cpu_us(lambda: directory.update(changes))
        walls.append((time.perf_counter() - started) * 1e3)
        return spent / 1e3

    def floor() -> float:
        return cpu_us(bench.floors.node, times=LEVELS * count) * LEVELS * count / 1e3

    return Pair(subject, floor, lambda: {"ms wall, median": statistics.median(walls)})


def _changes(directory: Directory, count: int) -> list[Change]:
    there = random.sample(directory.known, k=count // 2)
    places = dict(zip(there, directory.look_up(there), strict=True))
    fresh = [os.urandom(32) for _ in range(count - len(there))]
    changes = [_change(i, place.members[0]) for i, place in places.items()]
    return changes + [_change(i, None) for i in fresh]


def _change(index: bytes, leaves: bytes | None) -> Change:
    return Change(0, index, os.urandom(16), os.urandom(32), leaves)


def replaying(bench: Bench) -> Pair:
    """One replay of one log, timed in parts that are made just before."""
    replay, lines, part = Replay(), _log(), bench.sizes.audit_part
    chunk: list[bytes] = []

    def subject() -> float:
        chunk[:] = [next(lines) for _ in range(part)]
        return cpu_us(lambda: [replay.feed_line(line) for line in chunk], items=part)

    def floor() -> float:
        return cpu_us(lambda: [_least(line, bench.floors.node) for line in chunk], items=part)

    def also() -> dict[str, float]:
        return {"indexes replayed": len(replay.filed), "MB resident, all": _resident_mb()}

    return Pair(subject, floor, also)


def _least(line: bytes, node: Sample) -> None:
    leaf_hash(line)
    for _ in range(LEVELS):
        node()


def _log() -> Iterator[bytes]:
    """A log of accepted attestations without end, with a root after each `EPOCH` of them."""
    top, buckets, seq = Top(), defaultdict[int, list[Leaf]](list), 0
    while True:
        touched = set()
        for _ in range(EPOCH):
            index, salt, token = os.urandom(32), os.urandom(16), os.urandom(32)
            fields: dict[str, object] = {"index": b64url(index)}
            yield _line(seq, ENTRY_ATTESTATION, "bank", token, salt, fields)
            touched.add(number := top.bucket(index))
            buckets[number].append(Filed(salt, (token,)).leaf(index))
            seq += 1
        top.update({n: subtree(sorted(buckets[n]), top.bits) for n in touched})
        yield _line(seq, ENTRY_ROOT, ACTOR, top.root, bytes(16), {"covered": seq})
        seq += 1


def _line(
    seq: int, kind: str, actor: str, digest: bytes, salt: bytes, fields: dict[str, object]
) -> bytes:
    return Entry(seq, NOW, kind, actor, digest, salt, fields, GENESIS_PREV).to_line()


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * PAGE_BYTES / 1e6
