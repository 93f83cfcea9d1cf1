"""Whether refusals before a valid consent can be told apart by their latency.

A lender asks about strangers, about borrowers without figures, and about borrowers whose consent
it does not have; all that it may learn is that it is not permitted. What it could guess from the
time a refusal takes is told as AUC, the chance that a classifier ranks a pair rightly: a coin
has 0.5.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from typing import Final

import grpc
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof_server.demo.world import LENDER

from benchmarks.asking import Asking
from benchmarks.bench import Bench
from benchmarks.measure import Pair

Samples = Mapping[str, list[float]]
COIN: Final = 0.5


def telling(bench: Bench) -> Pair:
    """The AUC of the best of some simple classifiers, over all pairs of kinds of refusals."""
    work = Refusals(bench.asking, bench.sizes.refusals, bench.sizes.lanes)
    return Pair(lambda: best_auc(work.draw()), lambda: COIN, work.also)


class Refusals:
    """Draws refusals of every kind, interleaved at random over some connections' lanes."""

    def __init__(self, asking: Asking, count: int, lanes: int) -> None:
        self._stub = VerificationServiceStub(asking.service.channel(LENDER))
        self._kinds = _kinds(asking)
        self._count = count
        self._lanes = lanes
        self._samples: Samples = {}

    def draw(self) -> Samples:
        """The latencies of each kind, in seconds."""
        order = [kind for kind in self._kinds for _ in range(self._count)]
        random.shuffle(order)
        with ThreadPoolExecutor(self._lanes) as pool:
            drawn = list(zip(order, pool.map(self._time, order), strict=True))
        self._samples = {k: [s for kind, s in drawn if kind == k] for k in self._kinds}
        return self._samples

    def also(self) -> dict[str, float]:
        """How many were drawn, and their middles."""
        middles = {k: statistics.median(s) * 1000 for k, s in self._samples.items()}
        return {"samples of each kind": self._count} | {f"ms, {k}": m for k, m in middles.items()}

    def _time(self, kind: str) -> float:
        request = _changed(self._kinds[kind], request_id=os.urandom(16))
        started = time.perf_counter()
        code = _code_of(self._stub.Ask, request)
        spent = time.perf_counter() - started
        assert code is grpc.StatusCode.PERMISSION_DENIED, "a question had another fate"
        return spent


def _code_of(call: Callable[[pb.AskRequest], object], request: pb.AskRequest) -> grpc.StatusCode:
    try:
        call(request)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def _kinds(asking: Asking) -> Mapping[str, pb.AskRequest]:
    """One question of each kind that must look the same."""
    mine, other = asking.requests(2)
    bare = asking.bound_only()
    return {
        "unknown borrower": _changed(mine, sub=os.urandom(32), consent_id=os.urandom(32)),
        "no attestation": _changed(mine, sub=bare, consent_id=os.urandom(32)),
        "no consent": _changed(mine, consent_id=os.urandom(32)),
        "another's consent": _changed(mine, consent_id=other.consent_id),
        "another's ended consent": _changed(mine, consent_id=asking.ended().consent_id),
    }


def _changed(request: pb.AskRequest, **changes: bytes) -> pb.AskRequest:
    copy = pb.AskRequest()
    copy.CopyFrom(request)
    for name, value in changes.items():
        setattr(copy, name, value)
    return copy


# -- classifiers ---------------------------------------------------------------


def best_auc(samples: Samples) -> float:
    """The highest AUC of any classifier over any two kinds.

    A classifier says the slower one, the faster one, or the one farther from the middle or nearer.
    """
    found = []
    for one, other in combinations(samples.values(), 2):
        middle = statistics.median([*one, *other])
        spreads = [[abs(x - middle) for x in side] for side in (one, other)]
        found += [auc(one, other), auc(*spreads)]
    return max(max(area, 1 - area) for area in found)


def auc(one: Sequence[float], other: Sequence[float]) -> float:
    """The chance that a sample of `one` exceeds one of `other`, ties half (Mann and Whitney)."""
    ranked = sorted(other)
    wins = sum(bisect_left(ranked, x) + bisect_right(ranked, x) for x in one)
    return wins / (2 * len(one) * len(other))
