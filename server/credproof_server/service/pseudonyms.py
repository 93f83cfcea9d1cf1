"""Pseudonyms: the service's half of the OPRF, metered. It never sees an id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from credproof.attestation.pseudonym import oprf_key_id
from credproof.base.encoding import date_of
from credproof.base.errors import Conflict, Refused
from credproof.base.oprf import evaluate_verifiable, public_key

from credproof_server.conduct.rules import Rules
from credproof_server.log.state import Transaction
from credproof_server.service.core import Core
from credproof_server.service.monitoring import watch_evaluations
from credproof_server.service.raising import Raised, throttled
from credproof_server.storage import repository


@dataclass(frozen=True, slots=True)
class Evaluated:
    """Evaluated elements, 32 bytes each, and the batched DLEQ proof of 64 bytes."""

    elements: tuple[bytes, ...]
    proof: bytes


class Pseudonyms:
    """The use case of whoever turns ids into pseudonyms."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._key_id = oprf_key_id(public_key(core.keys.oprf))

    async def evaluate(
        self, participant: str, role: str, key_id: str, blinded: Sequence[bytes]
    ) -> Evaluated:
        """Evaluate blinded elements under the service's key; counted before the work is done.

        Raises:
            Conflict: `OTHER_OPRF_KEY` when another key was expected.
            Refused: `QUOTA_REACHED`, `THROTTLED`.
            Malformed: `BAD_ELEMENT`, or an empty or too large batch.
        """
        if key_id != self._key_id:
            raise Conflict("OTHER_OPRF_KEY", "the service evaluates under another key now")
        rules = self._core.rules if role == "lender" else None
        count = CountEvaluations(participant, len(blinded), self._quota(role), rules)
        await self._core.commit(count)
        elements, proof = await self._core.in_thread(
            lambda: evaluate_verifiable(self._core.keys.oprf, blinded, os.urandom(64))
        )
        return Evaluated(tuple(elements), proof)

    def _quota(self, role: str) -> int:
        quotas = self._core.quotas
        if role == "provider":
            return quotas.provider_evaluations_per_day
        return quotas.lender_evaluations_per_day


class CountEvaluations:
    """Counts evaluations, and refuses those beyond the day's quota.

    `rules` are those that a lender is watched under: others ask nothing that could follow.
    """

    def __init__(
        self, participant: str, count: int, quota: int, rules: Rules | None = None
    ) -> None:
        self._participant = participant
        self._count = count
        self._quota = quota
        self._rules = rules

    def apply(self, tx: Transaction) -> int:
        if self._rules is None:
            return self._add(tx)
        raised = Raised(tx, self._rules, {self._participant})
        if raised.is_throttled(self._participant, evaluations=True):
            raise throttled()
        total = self._add(tx)
        watch_evaluations(tx, self._rules, raised, self._participant, total)
        return total

    def _add(self, tx: Transaction) -> int:
        day = date_of(tx.time).isoformat()
        total = repository.add_evaluations(tx.connection, self._participant, day, self._count)
        if total > self._quota:
            raise Refused("QUOTA_REACHED", "no more pseudonyms today: ask the operator for more")
        return total
