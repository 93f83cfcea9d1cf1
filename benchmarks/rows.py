"""The rows: what is measured, against what, and which targets the design sets."""

from __future__ import annotations

from functools import partial

from benchmarks import against, filed, local, refusals, remote
from benchmarks.floors import N_HMAC, N_SHA
from benchmarks.measure import Row

F_I = f"F_i: Ed25519 verify + HPKE open / 64 + {N_SHA} SHA-256 + {N_HMAC} HMAC + leaf hash"
F_Q = "F_q: AES-GCM open + Ed25519 sign + hash"
F_U = "F_q + 2.5 U, U = empty unary echo of 3 KB"
PREDICATE = "AnonCreds: verify one predicate"
VERIFY = "one Ed25519 verify"
F_P = "blind, evaluate, unblind, hashes, sign + F_i"
SERVER = "µs server CPU"

ROWS = (
    Row(
        "accept: checks 1-6, batch of 64",
        "µs per item",
        F_I,
        local.accepting,
        target=1.6,
    ),
    Row(
        "ingest: stream of 64s, durable",
        f"{SERVER} per item",
        F_I,
        remote.ingesting,
        target=1.6,
    ),
    Row(
        "answer: unary, 32 in flight",
        f"{SERVER} per answer",
        F_U,
        partial(remote.answering, in_flight=32),
        target=1.0,
    ),
    Row(
        "answer: unary, one in flight",
        f"{SERVER} per answer",
        F_U,
        partial(remote.answering, in_flight=1),
        target=1.0,
    ),
    Row(
        "answer: batch of 16",
        f"{SERVER} per answer",
        F_Q,
        remote.answering_in_batches,
        target=3.0,
    ),
    Row(
        "verify an answer: against AnonCreds",
        "µs per answer",
        PREDICATE,
        local.verifying_against_peer,
        target=1 / 50,
    ),
    Row(
        "verify an answer: four questions",
        "µs per answer",
        "five Ed25519 verifies",
        local.verifying,
    ),
    Row(
        "inclusion proof: 10^6 entries, warm",
        "µs per proof",
        "one node hash",
        local.inclusion,
        target=35.0,
    ),
    Row(
        "audit: 10^6 entries, chain and tree",
        "µs per entry",
        "leaf hash + node hash",
        local.auditing,
        target=2.0,
        repeat=9,  # and one round before: ten parts of 10^5
    ),
    Row(
        "directory: lookup, 10^6 loaded",
        "µs per proof",
        "one node hash",
        filed.looking_up,
        limit=1000.0,
    ),
    Row(
        "directory: proof, 10^6 loaded",
        "bytes, mean",
        f"{filed.LEVELS} siblings",
        filed.proof_sizes,
        limit=1024.0,
        repeat=1,
    ),
    Row(
        "directory: 1,000 updates, 10^6 loaded",
        "ms",
        f"{filed.LEVELS} node hashes for each",
        filed.updating,
        limit=300.0,
    ),
    Row(
        "directory: replay of 10^6 changes",
        "µs per entry",
        f"leaf hash + {filed.LEVELS} node hashes",
        filed.replaying,
        repeat=9,  # and one round before: ten parts of 10^5
    ),
    Row(
        "pseudonym: evaluate, batch of 128",
        f"{SERVER} per element",
        "one ristretto255 multiplication",
        remote.evaluating,
    ),
    Row(
        "memory: 10^6 attestations",
        "MB resident",
        "two hashes of 32 bytes per entry",
        remote.remembering,
        limit=500.0,
        repeat=3,
    ),
    Row(
        "submit: SDK, one process",
        "µs wall per record",
        F_P,
        partial(remote.submitting, processes=1),
        repeat=3,
    ),
    Row(
        "submit: SDK, two processes",
        "µs wall per record",
        F_P,
        partial(remote.submitting, processes=2),
        repeat=3,
    ),
    Row(
        "refusals: told apart by latency",
        "AUC of the best classifier",
        "a coin",
        refusals.telling,
        limit=0.55,
        repeat=1,
    ),
    Row("peer anoncreds: verify a predicate", "µs", VERIFY, against.anoncreds_verify),
    Row("peer anoncreds: prove a predicate", "µs", VERIFY, against.anoncreds_prove),
    Row(
        "peer sd-jwt: token, disclosures",
        "µs, ours",
        "sd-jwt: verify the same presentation",
        against.sd_jwt,
    ),
    Row(
        "peer pymerkle: prove at 10^5",
        "µs, ours",
        "pymerkle: the same inclusion proof",
        against.pymerkle_prove,
    ),
    Row(
        "peer pymerkle: verify at 10^5",
        "µs, ours",
        "pymerkle: verify the same proof",
        against.pymerkle_verify,
    ),
)


def chosen(text: str | None) -> list[Row]:
    """The rows whose name holds the text; all without one."""
    return [row for row in ROWS if not text or text in row.name]
