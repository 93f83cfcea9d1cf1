"""Withdrawal: a provider takes an attestation back, in its own signature.

Format: `docs/PROTOCOL.md`, "Withdrawal". Whether the attestation is the provider's and still
current is decided by the service, inside the commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from credproof.base import jws
from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import DatedKey, Signer
from credproof.base.limits import ATTESTATION_AGE_MAX_S, CLOCK_SKEW_S
from credproof.base.members import Members

KEY_LOST: Final = "key-lost"
REASONS: Final = ("error", "wrong-person", "closed", "transferred", KEY_LOST)
"""Why an attestation is taken back. `key-lost` is for key bindings: it ends the key everywhere."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A parsed withdrawal of the token with the id `token` (32 bytes); not verified."""

    jws: Jws
    issuer: str
    service: str
    issued_at: int
    token: bytes
    reason: str

    def verify(self, key: DatedKey, *, caller: str, service: str, now: int) -> None:
        """Accept it as the caller's own, for this service, signed about now by a valid key.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`, `KEY_NOT_VALID`, `WRONG_ISSUER`,
                `WRONG_SERVICE`, `TOO_OLD`, `FROM_THE_FUTURE`.
        """
        self.jws.verify(key.public)
        key.verify_valid_at(self.issued_at)
        key.verify_valid_at(now)
        if self.issuer != caller:
            raise VerificationFailed("WRONG_ISSUER", "withdrawal is by another than the caller")
        if self.service != service:
            raise VerificationFailed("WRONG_SERVICE", "withdrawal is for another service")
        if self.issued_at < now - ATTESTATION_AGE_MAX_S:
            raise VerificationFailed("TOO_OLD", "withdrawal is too old: sign it anew")
        if self.issued_at > now + CLOCK_SKEW_S:
            raise VerificationFailed("FROM_THE_FUTURE", "withdrawal is issued in the future")


def sign_withdrawal(
    signer: Signer, *, issuer: str, service: str, token: bytes, reason: str, now: int
) -> str:
    """The signed withdrawal of the attestation whose token has the id `token`."""
    claims: dict[str, Json] = {
        "aud": service,
        "iat": now,
        "iss": issuer,
        "reason": reason,
        "token": b64url(token),
    }
    return jws.sign(signer, jws.WITHDRAWAL, claims)


def parse_withdrawal(text: str) -> Withdrawal:
    """A withdrawal, taken apart strictly; its signature is not looked at.

    Raises:
        Malformed: `BAD_REASON`, `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.WITHDRAWAL)
    members = Members(parsed.claims, "withdrawal")
    withdrawal = Withdrawal(
        jws=parsed,
        issuer=members.take("iss", str),
        service=members.take("aud", str),
        issued_at=members.take("iat", int),
        token=members.bytes("token", 32),
        reason=members.take("reason", str),
    )
    members.finish()
    if withdrawal.reason not in REASONS:
        raise Malformed("BAD_REASON", f"a reason is one of {', '.join(REASONS)}")
    return withdrawal
