"""How often consents and caps are used up: counted in the commit that uses them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, Protocol

from credproof.base.encoding import date_of
from credproof.base.limits import METER_DAYS
from credproof.verification.policy import Cap, PolicyRef

from credproof_server.log.state import Transaction
from credproof_server.storage import repository

DAY_S: Final = 86_400
METER: Final = "meter"
"""The period of the answers that count in the meter."""


class Question(Protocol):
    """What counts of a question: who asks, about whom, under what."""

    @property
    def lender(self) -> str: ...
    @property
    def sub(self) -> bytes: ...
    @property
    def policy(self) -> PolicyRef: ...
    @property
    def consent_id(self) -> bytes: ...


class Uses:
    """The uses that some questions depend on, looked up at once; `add` keeps them current."""

    def __init__(self, tx: Transaction, asked: Sequence[tuple[Question, Cap]]) -> None:
        uses = [use for use, _ in asked]
        periods = {cap.per for _, cap in asked} - {"consent"} | {"month", METER}
        self._under = repository.uses_under(tx.connection, [use.consent_id for use in uses])
        self._since = {
            per: repository.uses_since(
                tx.connection,
                {use.lender for use in uses},
                {use.sub for use in uses},
                period_start(per, tx.time),
            )
            for per in periods
        }

    def of(self, use: Question, cap: Cap) -> int:
        """How much of the cap is used, whatever consents a borrower gave for a period."""
        if cap.per == "consent":
            return self._under[use.consent_id, use.policy.digest]
        return self._since[cap.per][use.lender, use.sub, use.policy.digest]

    def this_month(self, use: Question, except_policies: Collection[bytes]) -> int:
        """The lender's answers about the borrower this month, but under these policies' digests."""
        return sum(
            count
            for (lender, sub, digest), count in self._since["month"].items()
            if (lender, sub) == (use.lender, use.sub) and digest not in except_policies
        )

    def answered(self, use: Question) -> set[bytes]:
        """The digests of the policies that were answered, as long as the meter counts them."""
        return {
            digest
            for lender, sub, digest in self._since[METER]
            if (lender, sub) == (use.lender, use.sub)
        }

    def any_under(self, consent_id: bytes) -> bool:
        """Whether any answer was given under a consent."""
        return any(count for (consent, _), count in self._under.items() if consent == consent_id)

    def add(self, use: Question) -> None:
        """Count one more answer."""
        self._under[use.consent_id, use.policy.digest] += 1
        for counts in self._since.values():
            counts[use.lender, use.sub, use.policy.digest] += 1


def period_start(per: str, now: int) -> int:
    """The start of the calendar day or month (UTC) that `now` lies in, or of the meter's days."""
    if per == METER:
        return now - METER_DAYS * DAY_S
    day = date_of(now)
    first = day if per == "day" else day.replace(day=1)
    return now - now % DAY_S - DAY_S * (day - first).days
