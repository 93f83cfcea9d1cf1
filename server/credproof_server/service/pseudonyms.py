"""Pseudonyms: the service's share of the OPRF, metered. It never sees an id."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from credproof.attestation.oprf_key import Evaluation
from credproof.base.encoding import date_of
from credproof.base.errors import Conflict, Refused
from credproof.base.oprf import evaluate_verifiable
from credproof.verification.trust import Trust

from credproof_server.conduct.rules import Rules
from credproof_server.config import Quotas
from credproof_server.log.state import Transaction
from credproof_server.service.core import Core
from credproof_server.service.monitoring import watch_evaluations
from credproof_server.service.raising import Raised, throttled
from credproof_server.storage.evaluations import add_evaluations


class Evaluator(Protocol):
    """A holder of a share, who answers callers: the service or a custodian."""

    async def evaluate(
        self, participant: str, role: str, key_id: str, blinded: Sequence[bytes]
    ) -> Evaluation:
        """Evaluate blinded elements under the holder's share; counted before the work is done.

        Raises:
            Conflict: `OTHER_OPRF_KEY` when another key was expected.
            Refused: `QUOTA_REACHED`, `THROTTLED`.
            Malformed: `BAD_ELEMENT`, or an empty or too large batch.
        """
        ...


class Pseudonyms:
    """The service's share."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def evaluate(
        self, participant: str, role: str, key_id: str, blinded: Sequence[bytes]
    ) -> Evaluation:
        """As `Evaluator`."""
        quota = quota_of(self._core.quotas, role)
        rules = self._core.rules if role == "lender" else None
        await self._core.commit(CountEvaluations(participant, key_id, len(blinded), quota, rules))
        return await self._core.in_thread(
            lambda: Evaluation(*evaluate_verifiable(self._core.keys.oprf, blinded, os.urandom(64)))
        )


def quota_of(quotas: Quotas, role: str) -> int:
    """Evaluations per day for a caller of this role."""
    if role == "provider":
        return quotas.provider_evaluations_per_day
    return quotas.lender_evaluations_per_day


def require_key(trust: Trust | None, key_id: str) -> None:
    """Refuse to evaluate for a caller who expects another key than the newest.

    Raises:
        Conflict: `OTHER_OPRF_KEY`.
    """
    if trust is None or key_id != trust.oprf_key.id:
        raise Conflict("OTHER_OPRF_KEY", "pseudonyms are made under another key now: begin again")


def require_quota(total: int, quota: int) -> None:
    """Refuse evaluations beyond the day's quota.

    Raises:
        Refused: `QUOTA_REACHED`.
    """
    if total > quota:
        raise Refused("QUOTA_REACHED", "no more pseudonyms today: ask for a larger quota")


class CountEvaluations:
    """Counts evaluations under the key in force, and refuses those beyond the day's quota.

    The key is looked at in the commit: no pseudonym is made under one that is replaced. `rules`
    are those that a lender is watched under: others ask nothing that could follow.
    """

    def __init__(
        self, participant: str, key_id: str, count: int, quota: int, rules: Rules | None = None
    ) -> None:
        self._participant = participant
        self._key_id = key_id
        self._count = count
        self._quota = quota
        self._rules = rules

    def apply(self, tx: Transaction) -> int:
        require_key(tx.trust, self._key_id)
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
        total = add_evaluations(tx.connection, self._participant, day, self._count)
        require_quota(total, self._quota)
        return total
