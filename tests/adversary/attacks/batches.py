"""Batches of attestations that are refused as a whole, and questions about chains."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from credproof.attestation.sealing import SECRET_BYTES, Route, SealingKey
from credproof.base import limits
from credproof.base.encoding import frame
from credproof.v1 import attestation_service_pb2 as pb
from cryptography.hazmat.primitives import hpke

from tests.adversary.attack import Attack
from tests.adversary.stage import DOMAIN, PROVIDER, Stage

SUBMIT = "AttestationService/SubmitAttestations"
HEADS = "AttestationService/ListChainHeads"
SUITE = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
BAD = "INVALID_ARGUMENT"
UNKNOWN_FIELD = bytes([0x9A, 0x06, 0x01, 0x41])
"""Field 99, one byte: no message of ours has it."""


def submit(stage: Stage, sealed: bytes, who: str = PROVIDER) -> bytes:
    return stage.send(who, SUBMIT, pb.SubmitAttestationsRequest(sealed_batch=sealed))


def sealed_plain(stage: Stage, plain: bytes) -> bytes:
    """Any plaintext, sealed as it should be: what only a provider's own tool would not do."""
    key = stage.trust.sealing_key
    return SUITE.encrypt(plain, key._key, info=Route(DOMAIN, PROVIDER).info(key.kid))


def honest(stage: Stage, **settings: Any) -> bytes:
    return bytes(stage.sealed([stage.package()], **settings).sealed_batch)


def sealed_for(service: str, provider: str) -> Callable[[Stage], bytes]:
    return lambda stage: submit(
        stage, stage.trust.sealing_key.seal([stage.package()], Route(service, provider))
    )


def unopened(name: str, sealed: Callable[[Stage], bytes]) -> Attack:
    return Attack(name, lambda s: submit(s, sealed(s)), BAD, "SEAL_NOT_OPENED", 1)


def plain(name: str, data: Callable[[Stage], bytes], reason: str) -> Attack:
    return Attack(name, lambda s: submit(s, sealed_plain(s, data(s))), BAD, reason, 1)


def _other_key(stage: Stage) -> bytes:
    key = SealingKey(os.urandom(SECRET_BYTES)).public
    return key.seal([stage.package()], Route(DOMAIN, PROVIDER))


def _captured(stage: Stage) -> bytes:
    """Another provider submits a batch that it saw on its way."""
    return submit(stage, honest(stage), "other-bank")


BATCHES = [
    unopened("an empty submission", lambda s: b""),
    unopened("random bytes instead of a seal", lambda s: os.urandom(3000)),
    unopened("a seal of one byte", lambda s: b"\x00"),
    unopened("a package that is not sealed", lambda s: s.package()),
    unopened("a truncated seal", lambda s: honest(s)[:-1]),
    unopened("half a seal", lambda s: honest(s)[: len(honest(s)) // 2]),
    unopened("an extended seal", lambda s: honest(s) + b"\x00"),
    unopened("a seal with a flipped key share", lambda s: b"\x01" + honest(s)[1:]),
    unopened("a seal with a flipped tag", lambda s: honest(s)[:-1] + bytes([honest(s)[-1] ^ 1])),
    unopened("a seal to another key", _other_key),
    Attack(
        "a batch sealed for another service",
        sealed_for("other.example", PROVIDER),
        *(BAD, "SEAL_NOT_OPENED", 1),
    ),
    Attack(
        "a batch sealed by another provider",
        sealed_for(DOMAIN, "other-bank"),
        *(BAD, "SEAL_NOT_OPENED", 1),
    ),
    Attack("a captured batch of another provider", _captured, BAD, "SEAL_NOT_OPENED", 1),
    plain("a sealed batch of nothing", lambda s: b"", "EMPTY_BATCH"),
    plain("a frame that ends too early", lambda s: frame([s.package()])[:-1], "BAD_FRAME"),
    plain("a frame with bytes left over", lambda s: frame([s.package()]) + b"x", "BAD_FRAME"),
    plain("a frame of 4 GiB by its own word", lambda s: b"\xff" * 4 + b"x", "BAD_FRAME"),
    plain("129 packages", lambda s: frame([b"x"] * 129), "LIMIT_EXCEEDED"),
    plain("500,000 empty packages", lambda s: bytes(2_000_000), "LIMIT_EXCEEDED"),
    Attack(
        "a sealed batch over its limit",
        lambda s: submit(s, bytes(limits.SEALED_BATCH_BYTES_MAX + 1)),
        *(BAD, "LIMIT_EXCEEDED", None, "SubmitAttestationsRequest.sealed_batch"),
    ),
    Attack(
        "a message over 4 MiB",
        lambda s: submit(s, bytes(limits.MESSAGE_BYTES_MAX + 1)),
        *("RESOURCE_EXHAUSTED", None),
    ),
    Attack(
        "a submission that is not a message",
        lambda s: s.send(PROVIDER, SUBMIT, b"\xff\xff"),
        *(BAD, "NOT_A_MESSAGE"),
    ),
]


def heads(stage: Stage, **changes: Any) -> bytes:
    digest = stage.trust.schema("consumer-revolving/1").digest
    asked = {"schema_digest": digest, "accounts": ["account-of-ann"], **changes}
    return stage.send(PROVIDER, HEADS, pb.ListChainHeadsRequest(**asked))


def asked(name: str, reason: str, says: str, **changes: Any) -> Attack:
    return Attack(name, lambda s: heads(s, **changes), BAD, reason, None, says)


CHAINS = [
    asked("a short schema digest", "WRONG_LENGTH", "schema_digest", schema_digest=bytes(31)),
    asked(
        "a long schema digest",
        *("LIMIT_EXCEEDED", "ListChainHeadsRequest.schema_digest"),
        schema_digest=bytes(33),
    ),
    asked("1001 accounts", *("LIMIT_EXCEEDED", ".accounts"), accounts=["a"] * 1001),
    asked("an account of 65 letters", *("LIMIT_EXCEEDED", ".accounts"), accounts=["a" * 65]),
    Attack(
        "an empty question for chain heads",
        lambda s: s.send(PROVIDER, HEADS, b""),
        *(BAD, "WRONG_LENGTH", None, "schema_digest"),
    ),
    Attack(
        "an account that is not UTF-8",
        lambda s: s.send(PROVIDER, HEADS, b"\x12\x01\xff"),
        *(BAD, "NOT_A_MESSAGE"),
    ),
    Attack(
        "a question for chain heads with an unknown field",
        lambda s: s.send(
            PROVIDER,
            HEADS,
            pb.ListChainHeadsRequest(schema_digest=bytes(32)).SerializeToString() + UNKNOWN_FIELD,
        ),
        *(BAD, "NOT_A_MESSAGE"),
    ),
]
ATTACKS = [*BATCHES, *CHAINS]
