"""What became of a lender's request for consent: the lender asks by the request's id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from credproof.verification.consent import verify_consent
from sqlalchemy import Connection, Row

from credproof_server.service.consents import stored_consent
from credproof_server.service.core import Core
from credproof_server.service.holdings import load_holdings
from credproof_server.storage import repository

State = Literal["ACTIVE", "PAUSED", "REVOKED"]


@dataclass(frozen=True, slots=True)
class Consented:
    """A registered consent with all its signatures, and whether it counts now."""

    consent: str
    state: State


class Requests:
    """The use case of a lender that waits."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def consent(self, lender: str, sub: bytes, request: bytes) -> Consented | None:
        """The consent of this borrower, to this request, for this lender; None when there is none.

        One look-up decides, in which only a consent of the caller's own is found: what is known
        of the borrower makes no difference, neither in the reply nor in its time.

        Raises:
            DataLoss: a stored row is damaged.
        """
        return await self._core.in_thread(lambda: self._find(lender, sub, request))

    def _find(self, lender: str, sub: bytes, request: bytes) -> Consented | None:
        with self._core.engine.connect() as connection:
            row = repository.consent_to(connection, sub, request)
            if row is None or row.lender != lender:
                return None
            return self._open(connection, row)

    def _open(self, connection: Connection, row: Row[Any]) -> Consented | None:
        key = self._core.vault.existing([row.sub]).get(row.sub)
        if key is None:
            return None  # erased
        consent = stored_consent(connection, key, row.consent_id)
        assert consent is not None, "its row was just found"
        if row.revoked_index is not None:
            return Consented(consent, "REVOKED")
        if repository.paused(connection, [row.consent_id]):
            return Consented(consent, "PAUSED")
        trust, now = self._core.trust, self._core.clock()
        keys = verify_consent(consent, trust.bundle.relying_parties).keys
        bound = load_holdings(connection, key, row.sub, trust, now).is_bound(keys)
        return Consented(consent, "ACTIVE" if bound else "PAUSED")
