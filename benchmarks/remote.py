"""Rows over real gRPC with mTLS: the CPU time is the server's, out of `/proc`."""

from __future__ import annotations

import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

from credproof.base import group
from credproof.base.limits import BATCH_ITEMS_MAX
from credproof.home import Home
from credproof.v1 import pseudonym_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
from credproof_server.demo.world import PROVIDER
from credproof_server.directory import now

from benchmarks.bench import Bench
from benchmarks.measure import Pair, Sample, cpu_us
from benchmarks.service import SCHEMA, Submitting

PAYLOAD = os.urandom(3000)
U_PER_ANSWER = 2.5


def ingesting(bench: Bench) -> Pair:
    """A stream of batches, durable when answered."""
    sizes = bench.sizes
    work = Submitting(bench.service, sizes.ingest_batches, sizes.batch)
    return Pair(work.run, accept_floor(bench), lambda: {"items per second, best": work.rate()})


def accept_floor(bench: Bench) -> Sample:
    """F_i."""
    floors = bench.floors
    return lambda: cpu_us(floors.accept_batch, items=floors.batch, times=bench.sizes.few)


def answer_floor(bench: Bench) -> Sample:
    """F_q."""
    return lambda: cpu_us(bench.floors.answer, times=bench.sizes.many)


def answering(bench: Bench, *, in_flight: int) -> Pair:
    """Unary answers; the floor is F_q and 2.5 times the bare echo at the same concurrency."""
    work, bare, least = bench.asking, echoing(bench, in_flight=in_flight), answer_floor(bench)
    work.milliseconds.clear()
    return Pair(
        lambda: work.one_by_one(bench.sizes.asks, in_flight),
        lambda: least() + U_PER_ANSWER * bare(),
        lambda: {"milliseconds of a call, median": statistics.median(work.milliseconds)},
    )


def echoing(bench: Bench, *, in_flight: int) -> Sample:
    """U: an empty unary call of 3 KB, server CPU."""
    (child, call), count = bench.echo, bench.sizes.echoes

    def run() -> float:
        spent = child.meter()
        with ThreadPoolExecutor(in_flight) as pool:
            list(pool.map(call, [PAYLOAD] * count))
        return spent() / count

    return run


def answering_in_batches(bench: Bench) -> Pair:
    """BatchAsk of 16."""
    work = bench.asking
    return Pair(lambda: work.in_batches(bench.sizes.ask_batches), answer_floor(bench))


def evaluating(bench: Bench) -> Pair:
    """Pseudonyms in full batches, per element."""
    sizes, stub = bench.sizes, PseudonymServiceStub(bench.service.channel(PROVIDER))
    request, child = _evaluation(bench), bench.service.child

    def run() -> float:
        spent = child.meter()
        for _ in range(sizes.pseudonym_batches):
            stub.EvaluatePseudonyms(request)
        return spent() / (sizes.pseudonym_batches * BATCH_ITEMS_MAX)

    return Pair(run, lambda: cpu_us(bench.floors.scalar_multiplication, times=sizes.many))


def _evaluation(bench: Bench) -> pb.EvaluatePseudonymsRequest:
    trust = Home(bench.service.world.home(PROVIDER)).trust(at=now())
    elements = [
        group.multiply_base(group.scalar_from(os.urandom(64))) for _ in range(BATCH_ITEMS_MAX)
    ]
    key_id = trust.oprf_key.id
    return pb.EvaluatePseudonymsRequest(key_id=key_id, blinded_elements=elements)


def remembering(bench: Bench) -> Pair:
    """Resident memory of a service with a long log, after it has worked on top of it."""
    service, sizes = bench.loaded_service, bench.sizes
    work = Submitting(service, sizes.few, sizes.batch)

    def run() -> float:
        work.run()
        return service.child.memory_mb()

    def also() -> dict[str, float]:
        return {
            "peak MB": service.child.memory_mb("VmHWM"),
            "seconds to start": service.child.start_s,
            "entries loaded": sizes.loaded,
        }

    # A tree of n leaves has 2n - 1 nodes of 32 bytes.
    return Pair(run, lambda: sizes.loaded * 64 / 1e6, also)


def submitting(bench: Bench, *, processes: int) -> Pair:
    """The provider's SDK from records to receipts, wall time; both sides share the processors."""
    rows, floors = bench.sizes.submitted, bench.floors
    rates: list[float] = []

    def run() -> float:
        records = bench.service.records(rows)
        with bench.service.world.provider() as provider:
            started = time.perf_counter()
            report = provider.submit(records, schema_id=SCHEMA, processes=processes)
            spent = time.perf_counter() - started
        assert report.accepted == rows, "a record was not accepted"
        rates.append(rows / spent)
        return spent / rows * 1e6

    def floor() -> float:
        return cpu_us(floors.attest, times=bench.sizes.some) + accept_floor(bench)()

    return Pair(run, floor, lambda: {"rows per second": statistics.median(rates)})
