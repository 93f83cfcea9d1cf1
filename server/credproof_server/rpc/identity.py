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
    """A participant (`id`) or a borrower (`key`)."""

    role: Role | Literal["borrower"]
    id: str = ""
    key: PublicKey | None = None


_CALLER: ContextVar[Caller] = ContextVar("caller")


def caller() -> Caller:
    """The caller of the RPC that is running."""
    return _CALLER.get()


def set_caller(value: Caller) -> None:
    _CALLER.set(value)


def not_authenticated() -> Refused:
    return Refused("NOT_AUTHENTICATED", "the caller did not show who it is")


def participant(auth_context: Mapping[str, Iterable[bytes]], trust: Trust) -> Caller:
    """The active participant whose certificate carries exactly one SPIFFE id of this domain.

    Raises:
        Refused: `NOT_AUTHENTICATED`, `NOT_PERMITTED`.
    """
    names = [bytes(name).decode() for name in auth_context.get("x509_subject_alternative_name", ())]
    uris = [name for name in names if name.startswith("spiffe://")]
    prefix = f"spiffe://{trust.bundle.domain}/"
    if len(uris) != 1 or not uris[0].startswith(prefix):
        raise not_authenticated()
    role, _, participant_id = uris[0].removeprefix(prefix).partition("/")
    known = _active(participant_id, role, trust)
    return Caller(known.role, known.id)


def require_active(caller: Caller, trust: Trust) -> Participant:
    """The participant who called, still active under the bundle in force.

    Raises:
        Refused: `NOT_PERMITTED`.
    """
    return _active(caller.id, caller.role, trust)


def _active(participant_id: str, role: str, trust: Trust) -> Participant:
    known = trust.participants.get(participant_id)
    if known is None or known.role != role or known.status != "active":
        raise Refused("NOT_PERMITTED", NOT_ACTIVE)
    return known


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
