"""Signed calls: how a borrower, who has no account, shows who calls.

The metadata `credproof-call` carries a JWS by the borrower's key over method, digest of the
request's bytes as sent, service, time and nonce (`docs/PROTOCOL.md`, "Signed calls").
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from credproof.base import jws
from credproof.base.encoding import Json, b64url
from credproof.base.errors import VerificationFailed
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import CLOCK_SKEW_S
from credproof.base.members import Members

METADATA_KEY: Final = "credproof-call"
NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class VerifiedCall:
    """A call whose own key signed it."""

    key: PublicKey
    nonce: bytes
    issued_at: int


def sign_call(
    signer: Signer, *, service: str, method: str, body: bytes, now: int, nonce: bytes
) -> str:
    """The signature of a call; `method` is the full gRPC method name, `/package.Service/Rpc`."""
    claims: dict[str, Json] = {
        "aud": service,
        "body": b64url(hashlib.sha256(body).digest()),
        "iat": now,
        "method": method,
        "nonce": b64url(nonce),
    }
    return jws.sign(signer, jws.CALL, claims, carry_key=True)


def verify_call(token: str, *, service: str, method: str, body: bytes, now: int) -> VerifiedCall:
    """Accept a signature as made for exactly this call, about now.

    Whoever calls this must also refuse a nonce that was seen within twice the clock skew.

    Raises:
        Malformed: as `jws.parse`.
        VerificationFailed: `BAD_SIGNATURE`, `OTHER_CALL`, `CALL_TOO_OLD`.
    """
    parsed = jws.parse(token, jws.CALL)
    key = parsed.verify_own_key()
    members = Members(parsed.claims, "call")
    found = (members.take("aud", str), members.take("method", str), members.bytes("body", 32))
    call = VerifiedCall(key, members.bytes("nonce", NONCE_BYTES), members.take("iat", int))
    members.finish()
    if found != (service, method, hashlib.sha256(body).digest()):
        raise VerificationFailed("OTHER_CALL", "signature is for another call")
    if abs(call.issued_at - now) > CLOCK_SKEW_S:
        raise VerificationFailed("CALL_TOO_OLD", "call was signed too long ago: check the clock")
    return call
