"""Acceptance: a provider says whose key bindings count for its own attestations.

It is the provider's word, not the operator's: else an operator and one binder could open what
every provider attests. Format: `docs/PROTOCOL.md`, "Acceptance of binders".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base import jws
from credproof.base.encoding import Json
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import Signer
from credproof.base.limits import BINDERS_MAX, at_most
from credproof.base.members import Members
from credproof.verification.participant import Participant, is_participant_id


@dataclass(frozen=True, slots=True)
class Acceptance:
    """A parsed acceptance; not verified. `binders` are ids of providers, sorted."""

    jws: Jws
    provider: str
    domain: str
    issued_at: int
    binders: tuple[str, ...]

    def verify(self, provider: Participant, domain: str) -> None:
        """Accept it as this provider's own word for this service.

        Raises:
            VerificationFailed: `WRONG_ISSUER`, `WRONG_SERVICE`, `UNKNOWN_KEY`, `BAD_SIGNATURE`,
                `KEY_NOT_VALID`.
        """
        if (self.provider, provider.role) != (provider.id, "provider"):
            raise VerificationFailed("WRONG_ISSUER", "acceptance is by another than the provider")
        if self.domain != domain:
            raise VerificationFailed("WRONG_SERVICE", "acceptance is for another service")
        provider.verify_signature(self.jws, self.issued_at)


def sign_acceptance(
    signer: Signer, *, provider: str, domain: str, binders: Sequence[str], now: int
) -> str:
    """The provider's word that key bindings of these count for it, beside its own."""
    claims: dict[str, Json] = {
        "aud": domain,
        "binders": sorted(binders),
        "iat": now,
        "iss": provider,
    }
    return jws.sign(signer, jws.ACCEPTANCE, claims)


def parse_acceptance(text: str) -> Acceptance:
    """An acceptance, taken apart strictly.

    Raises:
        Malformed: `BAD_ACCEPTANCE`, `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(text, jws.ACCEPTANCE)
    members = Members(parsed.claims, "acceptance")
    acceptance = Acceptance(
        jws=parsed,
        provider=members.take("iss", str),
        domain=members.take("aud", str),
        issued_at=members.take("iat", int),
        binders=members.strings("binders"),
    )
    members.finish()
    binders = acceptance.binders
    at_most(len(binders), BINDERS_MAX, "binders")
    if list(binders) != sorted(set(binders)) or not all(map(is_participant_id, binders)):
        raise Malformed("BAD_ACCEPTANCE", "binders are ids of providers, each once, in order")
    return acceptance
