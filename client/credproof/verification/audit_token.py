"""Audit tokens: an auditor's own signature, for tools that read the log over HTTP.

It goes into a request's header, `Authorization: Bearer TOKEN`, for at most a day. Format:
`docs/PROTOCOL.md`, "Static files of the log".
"""

from __future__ import annotations

from credproof.base import jws
from credproof.base.encoding import Json
from credproof.base.errors import CredproofError, Refused
from credproof.base.keys import Signer
from credproof.base.limits import AUDIT_TOKEN_LIFE_MAX_S, CLOCK_SKEW_S
from credproof.base.members import Members
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust


def sign_audit_token(signer: Signer, *, auditor: str, domain: str, now: int, life_s: int) -> str:
    """A token that lets its bearer read the log until `now + life_s`, in whole seconds."""
    claims: dict[str, Json] = {"aud": domain, "exp": now + life_s, "iat": now, "iss": auditor}
    return jws.sign(signer, jws.AUDIT, claims)


def verify_audit_token(text: str, trust: Trust, now: int) -> Participant:
    """The active auditor whose token this is.

    Raises:
        Refused: `NOT_AUTHENTICATED`, whatever is wrong with it.
    """
    try:
        return _verify(text, trust, now)
    except CredproofError as error:
        raise Refused("NOT_AUTHENTICATED", "the caller did not show who it is") from error


def _verify(text: str, trust: Trust, now: int) -> Participant:
    parsed = jws.parse(text, jws.AUDIT)
    members = Members(parsed.claims, "audit token")
    named = members.take("iss", str), members.take("aud", str)
    issued_at, expires_at = members.take("iat", int), members.take("exp", int)
    members.finish()
    auditor = trust.active(named[0], "auditor")
    key = auditor.key(parsed.kid)
    fresh = issued_at - CLOCK_SKEW_S <= now <= expires_at
    short = 0 < expires_at - issued_at <= AUDIT_TOKEN_LIFE_MAX_S
    if key is None or named[1] != trust.bundle.domain or not fresh or not short:
        raise Refused("NOT_AUTHENTICATED", "the caller did not show who it is")
    parsed.verify(key.public)
    key.verify_valid_at(now)
    return auditor
