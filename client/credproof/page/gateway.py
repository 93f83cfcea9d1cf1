"""The page's way to the service: it speaks for no borrower, and keeps nothing of any.

What borrowers signed with passkeys may be brought by anybody, so the page signs its calls with a
key made for the occasion.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from credproof.base.errors import VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, Pass, parse_pass
from credproof.home import Home
from credproof.roots import roots_of
from credproof.verification.bundle import RelyingParty
from credproof.verification.trust import Trust

TRUST_S: Final = 2.0
"""For how long a trust bundle is used before it is asked for again, in seconds."""
_NOBODY: Final = bytes(32)


class Gateway:
    """One service, and the relying party that the page is; safe to share between threads."""

    def __init__(self, home: Home, party: RelyingParty) -> None:
        """Of `home` only what is public is read: settings, authority and trust bundle."""
        settings = home.settings
        found = Pass(
            sub=_NOBODY,
            provider="",
            domain=settings.domain,
            address=settings.borrowers_address,
            authority=home.authority(),
            root=settings.root,
        )
        self.party = party
        self._pass = found
        self._seen = TemporaryDirectory(prefix="credproof-page-")
        signer, seen = Ed25519Signer(os.urandom(32)), Path(self._seen.name)
        self._service = Borrower(signer, found, home=seen)
        self._lock = threading.Lock()
        self._trust, self._asked = home.trust(at=0), -TRUST_S

    @property
    def domain(self) -> str:
        """The name of the service."""
        return self._pass.domain

    def close(self) -> None:
        """Let go of the connection."""
        self._service.close()
        self._seen.cleanup()

    def trust(self) -> Trust:
        """The trust bundle in force, some seconds old at most.

        Raises:
            VerificationFailed: `TRUST_ROLLBACK`, or as `verify_trust`.
        """
        with self._lock:
            if time.monotonic() - self._asked >= TRUST_S:
                self._trust = self._newer(self._service.trust())
                self._asked = time.monotonic()
            return self._trust

    def _newer(self, found: Trust) -> Trust:
        if found.bundle.version < self._trust.bundle.version:
            raise VerificationFailed("TRUST_ROLLBACK", "the service gave an old trust bundle")
        return found

    def require_named(self) -> None:
        """The trust bundle must let passkeys be used on this page.

        Raises:
            VerificationFailed: `UNKNOWN_RELYING_PARTY`.
        """
        wanted = self.party
        for party in self.trust().bundle.relying_parties_at(int(time.time())):
            if party.id == wanted.id and set(wanted.origins) <= set(party.origins):
                return
        message = f"passkeys of {wanted.id} do not count on {wanted.origins[0]}"
        raise VerificationFailed("UNKNOWN_RELYING_PARTY", message)

    def sub_of(self, text: str) -> bytes:
        """Whom a pass is of, 32 bytes. Nothing else of it is used: no address, no authority.

        Raises:
            Malformed: as `parse_pass`.
            VerificationFailed: `WRONG_SERVICE`.
        """
        found = parse_pass(text.encode("utf-8"))
        roots = roots_of(Path(self._seen.name), self._pass.root)
        if found.domain != self._pass.domain or found.root not in roots:
            raise VerificationFailed("WRONG_SERVICE", "the pass is for another service")
        return found.sub

    def grant(self, consent: str) -> None:
        """As `Borrower.grant`."""
        self._service.grant(consent)

    def end(self, revocation: str) -> int:
        """As `Borrower.end`."""
        return self._service.end(revocation)
