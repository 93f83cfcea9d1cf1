"""Consents that were verified before: a question comes soon after the consent that it is under.

What is remembered is what the signatures in a text prove, and that never changes. Whether the
consent counts (its row, its time, its keys, its scope) is looked at for every question, and its
text comes out of the encrypted row each time. Nothing of it is a figure.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from credproof.verification.bundle import RelyingParty
from credproof.verification.consent import VerifiedConsent, verify_consent

CONSENTS_KEPT: Final = 1024
"""Consents remembered at once, some kilobytes each: the oldest in use make room."""


@lru_cache(maxsize=CONSENTS_KEPT)
def verified_consent(text: str, parties: tuple[RelyingParty, ...]) -> VerifiedConsent:
    """As `verify_consent`, which raises the same each time."""
    return verify_consent(text, parties)
