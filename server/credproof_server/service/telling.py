"""Telling a borrower which details about them auditors were given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from credproof.base.keys import PublicKey
from credproof.base.limits import UNSEALED_TOLD_MAX
from sqlalchemy import Row

from credproof_server.service.consents import not_permitted
from credproof_server.service.core import Core, padded
from credproof_server.service.holdings import load_holdings
from credproof_server.storage import unsealings


class Telling:
    """The use case of borrowers who want to know."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def unsealed(self, sub: bytes, caller: PublicKey) -> Sequence[Row[Any]]:
        """What was given about the borrower of this pseudonym: the newest, in the log's order.

        Raises:
            Refused: `NOT_PERMITTED` unless a provider binds the caller's key for the borrower.
        """
        async with padded():
            return await self._core.in_thread(lambda: self._find(sub, caller))

    def _find(self, sub: bytes, caller: PublicKey) -> Sequence[Row[Any]]:
        core = self._core
        key = core.vault.existing([sub]).get(sub)
        if key is None:
            raise not_permitted()
        with core.engine.connect() as connection:
            holdings = load_holdings(connection, key, sub, core.trust, core.clock())
            if not holdings.is_bound([caller]):
                raise not_permitted()
            return unsealings.given_about(connection, sub, UNSEALED_TOLD_MAX)
