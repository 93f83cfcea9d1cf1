"""Withdrawals of attestations that are not the sender's, and questions in bulk."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base import jws
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1 import verification_service_pb2 as verification_pb

from tests.adversary import forge
from tests.adversary.attack import ITEM, Attack
from tests.adversary.attacks.batches import heads
from tests.adversary.attacks.items import STRANGER
from tests.adversary.attacks.questions import question
from tests.adversary.stage import DOMAIN, LENDER, PROVIDER, Stage

METHOD = "AttestationService/WithdrawAttestations"
BATCH = "VerificationService/BatchAsk"
BAD = "INVALID_ARGUMENT"


def token_of_ann(stage: Stage) -> bytes:
    return bytes(pb.ListChainHeadsResponse.FromString(heads(stage)).heads[0].token_id)


def signed(stage: Stage, *, signer: Any = None, shift: int = 0, **changes: Any) -> str:
    """The bank's withdrawal of ann's attestation, with members changed before signing."""
    start = {"issuer": PROVIDER, "service": DOMAIN, "token": token_of_ann(stage)}
    settings = {**start, "reason": "error", "now": int(time.time()) + shift, **changes}
    return sign_withdrawal(signer or stage.bank, **settings)


def send(stage: Stage, *tokens: str, who: str = PROVIDER) -> bytes:
    return stage.send(who, METHOD, pb.WithdrawAttestationsRequest(withdrawals=tokens))


def withdraw(stage: Stage, token: str, who: str = PROVIDER) -> Any:
    result = pb.WithdrawAttestationsResponse.FromString(send(stage, token, who=who)).results[0]
    return result.error if result.HasField("error") else result.receipt


def item(name: str, token: Callable[[Stage], str], reason: str, who: str = PROVIDER) -> Attack:
    return Attack(f"a withdrawal {name}", lambda s: withdraw(s, token(s), who), ITEM, reason)


def _by_another_provider(stage: Stage) -> str:
    return signed(stage, signer=stage.home("other-bank").signer, issuer="other-bank")


WITHDRAWALS = [
    item("of nothing", lambda s: signed(s, token=bytes(32)), "NO_SUCH_ATTESTATION"),
    item("of another provider's", _by_another_provider, "NO_SUCH_ATTESTATION", "other-bank"),
    item("captured from another provider", signed, "UNKNOWN_KEY", "other-bank"),
    item("in another's name", lambda s: signed(s, issuer="other-bank"), "WRONG_ISSUER"),
    item("for another service", lambda s: signed(s, service="x.example"), "WRONG_SERVICE"),
    item("of two days ago", lambda s: signed(s, shift=-2 * 86_400), "TOO_OLD"),
    item("from the future", lambda s: signed(s, shift=200), "FROM_THE_FUTURE"),
    item("for no known reason", lambda s: signed(s, reason="spite"), "BAD_REASON"),
    item("of 31 bytes", lambda s: signed(s, token=bytes(31)), "WRONG_LENGTH"),
    item("by a stranger", lambda s: signed(s, signer=STRANGER), "UNKNOWN_KEY"),
    item("that is empty", lambda s: "", "NOT_A_JWS"),
    item("that is a consent", lambda s: s.consents["ann"], "WRONG_TYPE"),
    *(
        item(f"with {name}", lambda s, f=f: f(signed(s)), reason)
        for name, (f, reason) in forge.SIGNATURES.items()
    ),
    *(
        item(
            f"with the type of a{'n' * (kind[0] in 'ae')} {kind}",
            lambda s, typ=typ: forge.reheaded(signed(s), s.bank, typ=typ),
            "WRONG_TYPE",
        )
        for kind, typ in forge.other_kinds(jws.WITHDRAWAL).items()
    ),
    Attack(
        "129 withdrawals",
        lambda s: send(s, *["x"] * 129),
        *(BAD, "LIMIT_EXCEEDED", None, ".withdrawals"),
    ),
    Attack(
        "a withdrawal over its limit",
        lambda s: send(s, "x" * 32_769),
        *(BAD, "LIMIT_EXCEEDED", None, ".withdrawals"),
    ),
]


def ask_batch(stage: Stage, *questions: verification_pb.AskRequest) -> Any:
    request = verification_pb.BatchAskRequest(requests=questions)
    reply = verification_pb.BatchAskResponse.FromString(stage.send(LENDER, BATCH, request))
    return reply.results[0].error


def in_batch(what: str, reason: str, **changes: Any) -> Attack:
    return Attack(
        f"in a batch, {what}", lambda s: ask_batch(s, question(s, **changes)), ITEM, reason
    )


BATCHES = [
    Attack("a batch of no questions", ask_batch, BAD, "EMPTY_BATCH"),
    Attack(
        "10,000 questions in a batch",
        lambda s: ask_batch(s, *[verification_pb.AskRequest()] * 10_000),
        *(BAD, "LIMIT_EXCEEDED", None, "BatchAskRequest.requests"),
    ),
    Attack(
        "in a batch, a nonce one byte long",
        lambda s: ask_batch(s, question(s, nonce=bytes(33))),
        *(BAD, "LIMIT_EXCEEDED", None, "AskRequest.nonce"),
    ),
    in_batch("a nonce one byte short", "WRONG_LENGTH", nonce=bytes(31)),
    in_batch("a question under no consent", "NOT_PERMITTED", consent_id=bytes(32)),
    in_batch("a question about somebody else", "NOT_PERMITTED", sub=bytes(32)),
    in_batch("a question under a revoked consent", "CONSENT_REVOKED", name="cid"),
    in_batch("a question under a used consent", "CONSENT_USED_UP", name="bob"),
]
ATTACKS = [*WITHDRAWALS, *BATCHES]
