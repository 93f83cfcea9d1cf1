"""Who calls: a participant by its certificate, a borrower by a signed call."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Literal

from credproof.base.errors import NOT_ACTIVE, CredproofError, Refused
from credproof.base.keys import PublicKey
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.participant import Participant, Role
from credproof.verification.trust import Trust
from credproof.wire.call import METADATA_KEY, VerifiedCall, verify_call

NONCES_MAX: Final = 1_000_000
"""Signed calls remembered at once: beyond it, calls are refused rather than let through."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A participant (`id`) or a borrower (`key`).

    `kid` is the fingerprint of the signing key that a participant's certificate was given with.
    """

    role: Role | Literal["borrower"]
    id: str = ""
    key: PublicKey | None = None
    kid: str = ""


_CALLER: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the RPC that is running."""
    return _CALLER.get()


def set_caller(value: Caller) -> None:
    _CALLER.set(value)


def not_authenticated() -> Refused:
    return Refused("NOT_AUTHENTICATED", "the caller did not show who it is")


def participant(auth_context: Mapping[str, Iterable[bytes]], trust: Trust, at: int) -> Caller:
    """The active participant whose certificate carries exactly one SPIFFE id of this domain.

    Raises:
        Refused: `NOT_AUTHENTICATED`, `NOT_PERMITTED`, `KEY_NOT_LISTED`, `KEY_ENDED`.
    """
    names = _texts(auth_context, "x509_subject_alternative_name")
    uris = [name for name in names if name.startswith("spiffe://")]
    prefix = f"spiffe://{trust.bundle.domain}/"
    if len(uris) != 1 or not uris[0].startswith(prefix):
        raise not_authenticated()
    role, _, participant_id = uris[0].removeprefix(prefix).partition("/")
    known = _active(participant_id, role, trust)
    kid = "".join(_texts(auth_context, "x509_common_name"))
    _require_listed(known, kid, at)
    return Caller(known.role, known.id, kid=kid)


def require_active(caller: Caller, trust: Trust, at: int) -> Participant:
    """The participant who called, still active under the bundle in force at time `at`.

    Raises:
        Refused: `NOT_PERMITTED`, `KEY_NOT_LISTED`, `KEY_ENDED`.
    """
    known = _active(caller.id, caller.role, trust)
    _require_listed(known, caller.kid, at)
    return known


def _texts(auth_context: Mapping[str, Iterable[bytes]], name: str) -> list[str]:
    return [bytes(text).decode() for text in auth_context.get(name, ())]


def _active(participant_id: str, role: str, trust: Trust) -> Participant:
    known = trust.participants.get(participant_id)
    if known is None or known.role != role or known.status != "active":
        raise Refused("NOT_PERMITTED", NOT_ACTIVE)
    return known


def _require_listed(known: Participant, kid: str, at: int) -> None:
    """A certificate ends with the signing key that it was given with: it may be stolen, too."""
    key = known.key(kid)
    if key is None:
        message = "the certificate was given with a key that the registry does not list"
        raise Refused("KEY_NOT_LISTED", message)
    if key.not_after <= at:
        raise Refused("KEY_ENDED", "the certificate was given with a key that counts no more")


class Borrowers:
    """Verifies signed calls, and refuses one that comes twice."""

    def __init__(self) -> None:
        self._seen: dict[bytes, int] = {}  # until when to remember, in the order of arrival

    def identify(
        self,
        metadata: Iterable[tuple[str, Any]],
        *,
        service: str,
        method: str,
        body: bytes,
        now: int,
    ) -> Caller:
        """The borrower whose key signed this call.

        Raises:
            Refused: `NOT_AUTHENTICATED`, `CALL_REPLAYED`, `TOO_MANY_CALLS`.
        """
        tokens = [value for key, value in metadata if key == METADATA_KEY]
        if len(tokens) != 1 or not isinstance(tokens[0], str):
            raise not_authenticated()
        try:
            call = verify_call(tokens[0], service=service, method=method, body=body, now=now)
        except CredproofError as error:
            raise not_authenticated() from error
        self._remember(call, now)
        return Caller("borrower", key=call.key)

    def _remember(self, call: VerifiedCall, now: int) -> None:
        name = call.key.data + call.nonce
        if name in self._seen:
            raise Refused("CALL_REPLAYED", "this call was made before")
        self._forget(now)
        if len(self._seen) >= NONCES_MAX:
            raise Refused("TOO_MANY_CALLS", "too many calls: try again in some minutes")
        # A call is fresh for as long after its own time as clocks may differ, and no longer.
        self._seen[name] = now + 2 * CLOCK_SKEW_S

    def _forget(self, now: int) -> None:
        """Drop what is no longer fresh, so that the table never fills with the past."""
        while self._seen:
            oldest = next(iter(self._seen))
            if self._seen[oldest] >= now:
                return
            del self._seen[oldest]
