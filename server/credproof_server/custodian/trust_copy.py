"""A custodian's own copy of the trust bundle: who may call, and which key counts.

It is read from the service, and believed only under the root that the custodian joined with. The
service cannot keep a suspended caller alive by silence: a copy that grows old answers nobody.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import Final

from credproof.base.errors import CredproofError, Unreachable
from credproof.channel import connect
from credproof.home import Home
from credproof.session import fetch_trust
from credproof.verification.trust import Trust

from credproof_server.log.state import Clock

REFRESH_S: Final = 20.0
"""How often the bundle is read again, in seconds: so long a suspended caller may go on."""
STALE_S: Final = 300.0
"""After how long without a word of the service nobody is answered any more, in seconds."""
LOOK_AGAIN_S: Final = 1.0
"""How often callers who are not known, or name another key, may make it read, in seconds."""
FETCH_TIMEOUT_S: Final = 10.0

_log = logging.getLogger("credproof.custodian")


class TrustCopy:
    """The newest bundle that was seen; `clock` gives the present time in whole seconds."""

    def __init__(self, home: Home, clock: Clock) -> None:
        self.clock = clock
        self._home = home
        self._channel = connect(home)
        self.trust: Trust = home.trust(at=0)
        self._heard: float | None = None  # when the service last gave a good bundle
        self._tried = float("-inf")
        self._one = asyncio.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether the service was heard lately, and the bundle has not expired."""
        heard = self._heard is not None and time.monotonic() - self._heard <= STALE_S
        return heard and self.clock() <= self.trust.bundle.expires_at

    def require_fresh(self) -> None:
        """Refuse to decide by an old copy.

        Raises:
            Unreachable: `TRUST_STALE`.
        """
        if not self.is_fresh:
            raise Unreachable("TRUST_STALE", "it has not heard from the service for too long")

    async def refresh(self) -> None:
        """Read the bundle again; what fails is logged, and leaves the copy as it was."""
        async with self._one:
            await self._read()

    async def hear(self) -> None:
        """Read the bundle if the copy is not fresh, at most once every `LOOK_AGAIN_S`."""
        async with self._one:
            if not self.is_fresh:
                await self._read_in_turn()

    async def look_again(self) -> None:
        """Wait for a bundle that was read after this call, at most once every `LOOK_AGAIN_S`."""
        arrived = time.monotonic()
        async with self._one:
            if self._tried < arrived:
                await self._read_in_turn()

    async def _read_in_turn(self) -> None:
        await asyncio.sleep(self._tried + LOOK_AGAIN_S - time.monotonic())
        await self._read()

    async def _read(self) -> None:
        self._tried = time.monotonic()
        try:
            self.trust = await asyncio.to_thread(self._fetch)
        except (CredproofError, OSError) as error:  # a full disk ends as well
            reason = getattr(error, "reason", "NOT_WRITTEN")
            _log.warning(json.dumps({"reason": reason, "trust": "not refreshed"}))
        else:
            self._heard = time.monotonic()

    def _fetch(self) -> Trust:
        return fetch_trust(self._home, self._channel, timeout_s=FETCH_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()
