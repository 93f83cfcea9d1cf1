"""Rows without a network: the pure work, on samples made once."""

from __future__ import annotations

from collections.abc import Iterator

from credproof.attestation.package import (
    parse_package,
    verify_commitments,
    verify_envelope,
    verify_signature,
    verify_values,
)
from credproof.base.keys import DatedKey
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.log.audit import LogAudit
from credproof.log.entry import GENESIS_PREV, Entry, entry_hash
from credproof.log.merkle import leaf_hash, node_hash
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.participant import NEVER
from credproof.verification.verify import Expectations, verify_answer
from credproof.wire import answer as answer_wire

from benchmarks.bench import Bench
from benchmarks.measure import Pair, cpu_us
from tests.world import NOW, REVOLVING, seed_of


def accepting(bench: Bench) -> Pair:
    """Checks 1 to 6 of a batch, as the service does them."""
    floors, world = bench.floors, bench.world
    keys = {world.bank.public.kid: DatedKey(world.bank.public, 0, NEVER)}
    schemas = {REVOLVING.digest: REVOLVING}

    def accept() -> None:
        for data in world.sealing.open(floors.sealed, floors.route):
            package = parse_package(data)
            verify_signature(package, keys, now=NOW)
            schema = verify_envelope(package, caller="bank", schemas=schemas, now=NOW)
            verify_values(package, schema)
            verify_commitments(package, schema)

    return Pair(
        lambda: cpu_us(accept, items=floors.batch, times=bench.sizes.few),
        lambda: cpu_us(floors.accept_batch, items=floors.batch, times=bench.sizes.few),
    )


def verifying(bench: Bench) -> Pair:
    """All checks of an answer, from the bytes of its file; its signatures are its floor."""
    verify, floors, times = _verifier(bench), bench.floors, bench.sizes.some

    def signatures() -> None:
        for _ in range(5):  # answer, consent, token, binding, checkpoint
            floors.verify()

    return Pair(lambda: cpu_us(verify, times=times), lambda: cpu_us(signatures, times=times))


def verifying_against_peer(bench: Bench) -> Pair:
    """The same, against one predicate verified by AnonCreds."""
    peer, verify = bench.anoncreds, _verifier(bench)
    return Pair(
        lambda: cpu_us(verify, times=bench.sizes.some),
        lambda: cpu_us(peer.verify, times=bench.sizes.few),
    )


def _verifier(bench: Bench):
    """A function that verifies an answer which stands in the long log."""
    world = bench.long_world
    kept = answer_wire.to_bytes(world.finish(world.case()))
    pins = {"bank": frozenset({world.bank.public.kid})}
    expected = Expectations(lender="lend", now=NOW + 5, mode="as-of-answer", pins=pins)
    trust = world.trust()
    return lambda: verify_answer(answer_wire.parse(kept), trust, expected)


def inclusion(bench: Bench) -> Pair:
    """A proof out of the long log's tree."""
    tree, floors, times = bench.long_world.log.tree, bench.floors, bench.sizes.many
    size = tree.size
    return Pair(
        lambda: cpu_us(lambda: tree.inclusion_proof(size // 3, size), times=times),
        lambda: cpu_us(floors.node, times=10 * times),
    )


def auditing(bench: Bench) -> Pair:
    """One audit of one log, timed in parts that are made just before: it never has to be in memory.

    Each floor is over the very lines that were just audited.
    """
    audit, lines, part = LogAudit(), _log(), bench.sizes.audit_part
    chunk: list[bytes] = []

    def subject() -> float:
        chunk[:] = [next(lines) for _ in range(part)]
        pages = [chunk[i : i + ENTRIES_PAGE_MAX] for i in range(0, part, ENTRIES_PAGE_MAX)]
        return cpu_us(lambda: [audit.feed_page(page) for page in pages], items=part)

    def floor() -> float:
        key = bytes(32)
        return cpu_us(lambda: [(leaf_hash(x), node_hash(key, key)) for x in chunk], items=part)

    return Pair(subject, floor, lambda: {"entries audited": audit.size})


def _log() -> Iterator[bytes]:
    """A log of accepted attestations without end."""
    seq, prev, digest = 0, GENESIS_PREV, seed_of("token")
    while True:
        entry = Entry(
            seq=seq,
            time=NOW,
            kind=ENTRY_ATTESTATION,
            actor="bank",
            object=digest,
            salt=digest[:16],
            fields={},
            prev=prev,
        )
        line = entry.to_line()
        yield line
        seq, prev = seq + 1, entry_hash(line)
