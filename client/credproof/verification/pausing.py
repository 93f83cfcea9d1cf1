"""Pauses and resumptions: the borrower lets a consent rest, and takes it up again.

The newest of a consent counts. Formats: `docs/PROTOCOL.md`, section 10.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import Json, b64url
from credproof.base.errors import VerificationFailed
from credproof.base.keys import PublicKey
from credproof.base.limits import CLOCK_SKEW_S, PAUSE_AGE_MAX_S
from credproof.base.members import Members
from credproof.verification.bundle import RelyingParty
from credproof.verification.consent import JTI_BYTES
from credproof.verification.document import (
    DocumentSigner,
    Kind,
    SignedDocument,
    sign_document,
    verify_document,
)


@dataclass(frozen=True, slots=True)
class VerifiedPause:
    """A pause or resumption (`document.kind`) signed by the keys it carries, one of which must be
    the consent's. `issued_at` is in whole seconds."""

    document: SignedDocument
    consent: bytes
    issued_at: int

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys that signed it."""
        return self.document.keys

    def require_fresh(self, now: int) -> None:
        """Refuse one that was held back: its borrower may have come to another mind.

        Raises:
            VerificationFailed: `TOO_OLD`, `FROM_THE_FUTURE`.
        """
        if self.issued_at < now - PAUSE_AGE_MAX_S:
            raise VerificationFailed("TOO_OLD", "it was signed too long ago: sign a new one")
        if self.issued_at > now + CLOCK_SKEW_S:
            raise VerificationFailed("FROM_THE_FUTURE", "it is issued in the future")


def sign_pause(signer: DocumentSigner, kind: Kind, consent: bytes, *, jti: bytes, now: int) -> str:
    """The borrower's pause or resumption of the consent with this id; `jti` are 16 random bytes."""
    claims: dict[str, Json] = {"consent": b64url(consent), "iat": now, "jti": b64url(jti)}
    return sign_document(signer, kind, claims)


def verify_pause(text: str, kind: Kind, parties: Sequence[RelyingParty] = ()) -> VerifiedPause:
    """A pause or resumption, verified under the keys it carries.

    Raises:
        Malformed, VerificationFailed: as `verify_document`; `BAD_MEMBER`.
    """
    document = verify_document(text, kind, parties)
    members = Members(document.claims, kind.name)
    consent, issued_at = members.bytes("consent", 32), members.take("iat", int)
    members.bytes("jti", JTI_BYTES)  # it only tells two of the same second apart
    members.finish()
    return VerifiedPause(document, consent, issued_at)
