"""Unsealing: one auditor asks for a detail behind a log entry and says why, another one agrees.

Each signs a document of its own, so that others can check who asked, what for, and who approved.
Formats: `docs/PROTOCOL.md`, "Unsealing a detail".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from credproof.base import jws
from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import Signer
from credproof.base.limits import CLOCK_SKEW_S, UNSEAL_LIFE_MAX_S
from credproof.base.members import Members
from credproof.verification.details import is_detail_name
from credproof.verification.trust import Trust

ENTRY_ASKED: Final = "unseal.asked"
ENTRY_APPROVED: Final = "unseal.approved"
ENTRY_DECLINED: Final = "unseal.declined"
ENTRY_UNSEALED: Final = "detail.unsealed"


@dataclass(frozen=True, slots=True)
class UnsealRequest:
    """A parsed request; not verified.

    It is about one detail of the entry at `log_index`, whose line has the hash `entry` (SHA-256).
    `reason` is a salted digest, `until` the last second at which it counts.
    """

    jws: Jws
    auditor: str
    domain: str
    issued_at: int
    until: int
    log_index: int
    entry: bytes
    detail: str
    reason: bytes

    @property
    def id(self) -> bytes:
        """What a decision names, 32 bytes."""
        return self.jws.id


@dataclass(frozen=True, slots=True)
class UnsealDecision:
    """A parsed decision on the request with this id; not verified."""

    jws: Jws
    auditor: str
    domain: str
    issued_at: int
    request: bytes
    approves: bool


def sign_unseal_request(
    signer: Signer,
    *,
    auditor: str,
    domain: str,
    now: int,
    life_s: int,
    log_index: int,
    entry: bytes,
    detail: str,
    reason: bytes,
) -> str:
    """An auditor's request, open for `life_s` whole seconds."""
    claims: dict[str, Json] = {
        "aud": domain,
        "detail": detail,
        "entry": b64url(entry),
        "exp": now + life_s,
        "iat": now,
        "index": log_index,
        "iss": auditor,
        "reason": b64url(reason),
    }
    return jws.sign(signer, jws.UNSEAL, claims)


def parse_unseal_request(text: str) -> UnsealRequest:
    """A request, taken apart strictly.

    Raises:
        Malformed: `BAD_UNSEALING`, `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.UNSEAL)
    members = Members(parsed.claims, "request to unseal")
    request = UnsealRequest(
        jws=parsed,
        auditor=members.take("iss", str),
        domain=members.take("aud", str),
        issued_at=members.take("iat", int),
        until=members.take("exp", int),
        log_index=members.take("index", int),
        entry=members.bytes("entry", 32),
        detail=members.take("detail", str),
        reason=members.bytes("reason", 32),
    )
    members.finish()
    if not 0 < request.until - request.issued_at <= UNSEAL_LIFE_MAX_S:
        raise Malformed("BAD_UNSEALING", "it ends before it begins, or stays open for too long")
    if request.log_index < 0 or not is_detail_name(request.detail):
        raise Malformed("BAD_UNSEALING", "it names no entry, or no detail that exists")
    return request


def sign_unseal_decision(
    signer: Signer, *, auditor: str, domain: str, now: int, request: bytes, approves: bool
) -> str:
    """Another auditor's word on the request with this id."""
    claims: dict[str, Json] = {
        "approves": approves,
        "aud": domain,
        "iat": now,
        "iss": auditor,
        "request": b64url(request),
    }
    return jws.sign(signer, jws.UNSEAL_DECISION, claims)


def parse_unseal_decision(text: str) -> UnsealDecision:
    """A decision, taken apart strictly.

    Raises:
        Malformed: `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.UNSEAL_DECISION)
    members = Members(parsed.claims, "decision to unseal")
    decision = UnsealDecision(
        jws=parsed,
        auditor=members.take("iss", str),
        domain=members.take("aud", str),
        issued_at=members.take("iat", int),
        request=members.bytes("request", 32),
        approves=members.take("approves", bool),
    )
    members.finish()
    return decision


def require_reason(text: str) -> None:
    """Refuse a reason without a word in it: who decides, or looks into it later, must know why.

    Raises:
        Malformed: `NO_REASON`.
    """
    if not any(letter.isalnum() for letter in text):
        raise Malformed("NO_REASON", "it takes a reason, in words")


def verify_unsealing(document: UnsealRequest | UnsealDecision, trust: Trust) -> None:
    """Accept a document as the own word of an auditor who was not suspended when it was signed.

    Raises:
        VerificationFailed: `NOT_AN_AUDITOR`, `WRONG_SERVICE`, `UNKNOWN_KEY`, `BAD_SIGNATURE`,
            `WRONG_ALGORITHM`, `KEY_NOT_VALID`.
    """
    auditor = trust.participants.get(document.auditor)
    if auditor is None or auditor.role != "auditor" or auditor.is_suspended(document.issued_at):
        raise VerificationFailed("NOT_AN_AUDITOR", "it is signed by no active auditor")
    if document.domain != trust.bundle.domain:
        raise VerificationFailed("WRONG_SERVICE", "it is for another service")
    auditor.verify_signature(document.jws, document.issued_at)


def require_second(request: UnsealRequest, decision: UnsealDecision) -> None:
    """Accept a decision as one on this very request, by another auditor, in time.

    Raises:
        VerificationFailed: `OTHER_REQUEST`, `SAME_AUDITOR`, `UNSEAL_EXPIRED`.
    """
    if decision.request != request.id:
        raise VerificationFailed("OTHER_REQUEST", "the decision is on another request")
    same_key = decision.jws.kid == request.jws.kid
    if decision.auditor == request.auditor or same_key:
        raise VerificationFailed("SAME_AUDITOR", "it takes a second auditor to decide")
    if not request.issued_at - CLOCK_SKEW_S <= decision.issued_at <= request.until:
        raise VerificationFailed("UNSEAL_EXPIRED", "the request was not open when it was decided")


def require_fresh(document: UnsealRequest | UnsealDecision, now: int) -> None:
    """Refuse what was signed for another moment.

    Raises:
        VerificationFailed: `TOO_OLD`, `FROM_THE_FUTURE`.
    """
    if document.issued_at < now - CLOCK_SKEW_S:
        raise VerificationFailed("TOO_OLD", "it was signed too long ago: sign a new one")
    if document.issued_at > now + CLOCK_SKEW_S:
        raise VerificationFailed("FROM_THE_FUTURE", "it is issued in the future")
