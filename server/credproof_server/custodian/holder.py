"""What a custodian does: let in whom its trust bundle names, count, evaluate under its share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence

import grpc
from credproof.attestation.oprf_key import Evaluation
from credproof.base.encoding import date_of
from credproof.base.errors import Conflict, Refused
from credproof.base.oprf import evaluate_verifiable, public_key

from credproof_server.custodian.config import CustodianConfig
from credproof_server.custodian.quota import QuotaBook
from credproof_server.custodian.trust_copy import TrustCopy
from credproof_server.rpc.guard import Context, Guard
from credproof_server.service.pseudonyms import quota_of, require_key


class Holder:
    """A custodian's share at work. It sees who asks, and blinded elements."""

    def __init__(
        self, share: bytes, trust: TrustCopy, config: CustodianConfig, book: QuotaBook
    ) -> None:
        self._share = share
        self._public = public_key(share)
        self._copy = trust
        self._config = config
        self._book = book

    async def evaluate(
        self, participant: str, role: str, key_id: str, blinded: Sequence[bytes]
    ) -> Evaluation:
        """As `credproof_server.service.pseudonyms.Evaluator`."""
        try:
            self._require_key(key_id)
        except Conflict:
            await self._copy.look_again()
            self._require_key(key_id)
        day = date_of(self._copy.clock()).isoformat()
        quota, total = quota_of(self._config.quotas, role), self._config.all_evaluations_per_day

        def work() -> Evaluation:
            self._book.count(participant, day, len(blinded), quota=quota, total=total)
            return Evaluation(*evaluate_verifiable(self._share, blinded, os.urandom(64)))

        return await asyncio.to_thread(work)

    def _require_key(self, key_id: str) -> None:
        trust = self._copy.trust
        require_key(trust, key_id)
        if self._public not in [share.public for share in trust.oprf_key.shares]:
            raise Conflict("OTHER_OPRF_KEY", "its share is not part of the key")


class CustodianGuard(Guard):
    """The door: whoever is refused by an old copy of the bundle gets a look into a new one."""

    def __init__(self, trust: TrustCopy) -> None:
        super().__init__(trust, "custodian")
        self._copy = trust

    async def _admit(
        self,
        details: grpc.HandlerCallDetails,
        roles: frozenset[str],
        body: bytes,
        context: Context,
    ) -> None:
        if not self._copy.is_fresh:
            await self._copy.hear()
        self._copy.require_fresh()
        try:
            await super()._admit(details, roles, body, context)
        except Refused:
            await self._copy.look_again()
            await super()._admit(details, roles, body, context)
