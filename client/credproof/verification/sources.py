"""The providers' keys that an answer ends in, and how the verifier knows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from credproof.attestation.token import Token
from credproof.base.errors import VerificationFailed
from credproof.base.keys import DatedKey
from credproof.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class Source:
    """A provider whose signature the answer ends in; `pinned` when the verifier knew its key."""

    provider: str
    kid: str
    pinned: bool


class Sources:
    """The providers' keys: pinned by the verifier where it can, else through the bundle."""

    def __init__(self, trust: Trust, pins: Mapping[str, frozenset[str]]) -> None:
        self._trust = trust
        self._pins = pins
        self._seen: dict[str, Source] = {}

    def key(self, token: Token) -> DatedKey:
        """The key of the token's issuer that it names."""
        provider = self._trust.participants.get(token.issuer)
        key = provider.key(token.jws.kid) if provider and provider.role == "provider" else None
        if key is None:
            raise VerificationFailed("UNKNOWN_KEY", "token is not signed by a provider's key")
        return key

    def verify(self, token: Token, at: int) -> None:
        """Accept a token as its provider's own word, which counted at time `at`."""
        key, provider = self.key(token), self._trust.participants[token.issuer]
        pinned = self._pins.get(provider.id)
        if pinned is not None and token.jws.kid not in pinned:
            raise VerificationFailed(
                "NOT_THE_PINNED_KEY",
                "token is signed by another key than the provider's pinned one",
            )
        if provider.is_suspended(at):
            raise VerificationFailed("PROVIDER_SUSPENDED", "provider was suspended by then")
        if token.schema_digest not in provider.schemas:
            raise VerificationFailed("SCHEMA_NOT_ALLOWED", "provider may not attest this schema")
        token.verify_signature(key)
        self._seen[provider.id] = Source(provider.id, token.jws.kid, pinned is not None)

    def seen(self) -> tuple[Source, ...]:
        return tuple(self._seen[name] for name in sorted(self._seen))
