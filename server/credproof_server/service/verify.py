"""Answering lenders: consent, evaluation, proof, log, in that order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from credproof.base.errors import Conflict, CredproofError, Refused
from credproof.base.limits import ASK_ITEMS_MAX
from credproof.verification.answer import AnswerBundle
from credproof.wire import answer as wire
from credproof.wire.ask import Result
from sqlalchemy import Connection, Row

from credproof_server.log.epochs import CloseEpoch
from credproof_server.log.sequencer import Committed
from credproof_server.service.answering import ROW, Ask, Draft, Settle, Settled, answer_name
from credproof_server.service.core import REFUSAL_LATENCY_S, Core
from credproof_server.service.drafting import Drafting
from credproof_server.service.publishing import Given, Publishing
from credproof_server.service.raising import throttled
from credproof_server.service.together import Together
from credproof_server.storage import observations, repository

ITEM_LATENCY_S: Final = 0.01
"""What each further question adds to the bucket of a batch, in seconds: more than it costs."""

EPOCHS_MAX: Final = 3
"""How often an epoch is closed for a question whose borrower changes all the time."""

Prepared = Draft | Given | CredproofError
"""A new answer, the one that was given to this very request before, or why there is none."""
Decided = Given | CredproofError | None
"""None when another call with the same id was answered while this one was prepared."""


class Verify:
    """The use case of lenders."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._together = Together(self._answer, ASK_ITEMS_MAX)

    async def ask(self, ask: Ask) -> AnswerBundle:
        """Answer a question; the same request again gives the same bytes.

        Raises:
            Refused: `NOT_PERMITTED` for every cause before a valid consent (padded to
                `REFUSAL_LATENCY_S`); `CONSENT_EXPIRED`, `CONSENT_REVOKED`, `CONSENT_PAUSED`,
                `CONSENT_USED_UP`, `CAP_REACHED`, and as `require_room` and `require_wide`, after;
                `THROTTLED` for a lender whose conduct looked like misuse, whatever it asks.
            Conflict: `REQUEST_ID_REUSED`, `SNAPSHOT_CHANGED`.
            DataLoss: a stored row is damaged.
        """
        started = time.monotonic()
        result = await self._together.put(ask)
        await _pad([result], started)
        if isinstance(result, CredproofError):
            raise result
        return result

    async def ask_many(self, asks: Sequence[Ask]) -> list[Result]:
        """Answer questions, each by itself as `ask` would: results in order, errors among them.

        All are decided in one commit. A batch with a `NOT_PERMITTED` leaves at a whole multiple
        of `bucket_s` of its size, so its latency tells nothing about any one of its items.
        """
        started = time.monotonic()
        results = await self._answer(asks)
        await _pad(results, started)
        return results

    async def _answer(self, asks: Sequence[Ask]) -> list[Result]:
        core = self._core
        prepared = await self._prepare_covered(asks)
        undecided = [
            (ask, item)
            for ask, item in zip(asks, prepared, strict=True)
            if isinstance(item, Draft | Refused)
        ]
        decided: list[Decided] = [i for i in prepared if isinstance(i, Given | CredproofError)]
        if undecided:
            decided = _decided(prepared, await core.commit(Settle(core.rules, undecided)))
        return await core.in_thread(lambda: self._publish(asks, decided))

    async def _prepare_covered(self, asks: Sequence[Ask]) -> list[Prepared]:
        """As `_prepare`; what the directory does not cover yet is prepared again once it does."""
        core = self._core
        prepared = await core.in_thread(lambda: self._prepare(asks))
        for _ in range(EPOCHS_MAX):
            again = [i for i, item in enumerate(prepared) if _is_uncovered(item)]
            if not again:
                break
            await core.commit(CloseEpoch())
            some = [asks[i] for i in again]
            fresh = await core.in_thread(partial(self._prepare, some))
            for i, item in zip(again, fresh, strict=True):
                prepared[i] = item
        return prepared

    def _prepare(self, asks: Sequence[Ask]) -> list[Prepared]:
        with self._core.engine.connect() as connection:
            answered = repository.answers_to(connection, [ask.name for ask in asks])
            lenders = {ask.lender for ask in asks}
            held = observations.throttled(connection, lenders, self._core.clock())
            # Of whoever is throttled nothing is looked up: no borrower changes what it is told.
            free = [ask for ask in asks if ask.lender not in held]
            drafting = Drafting(self._core, connection, free)
            prepared: list[Prepared] = []
            for ask in asks:
                row = answered.get(ask.name)
                try:
                    again = row and self._again(connection, row, ask)
                    stopped = throttled() if ask.lender in held else None
                    prepared.append(again or stopped or drafting.draft(ask))
                except CredproofError as error:
                    prepared.append(error)
            return prepared

    def _again(self, connection: Connection, row: Row[Any], ask: Ask) -> Given:
        if row.request_digest != ask.digest:
            raise Conflict("REQUEST_ID_REUSED", "request id was used for another question")
        name = answer_name(row.lender, row.request_id)
        bundle = wire.parse(self._core.vault.key(row.sub).open(ROW, name, row.sealed))
        size = repository.commit_covering(connection, row.log_index)
        return Given(bundle, row.log_index, size)

    def _publish(self, asks: Sequence[Ask], decided: Sequence[Decided]) -> list[Result]:
        with self._core.engine.connect() as connection:
            pairs = zip(asks, decided, strict=True)
            found = [item or self._first(connection, ask) for ask, item in pairs]
            given = [item for item in found if isinstance(item, Given)]
            publishing = Publishing(self._core.sequencer, connection, given)
            return [_published(publishing, item) for item in found]

    def _first(self, connection: Connection, ask: Ask) -> Given | CredproofError:
        """What another call with the same id was given first."""
        row = repository.answers_to(connection, [ask.name])[ask.name]
        try:
            return self._again(connection, row, ask)
        except CredproofError as error:
            return error


def _is_uncovered(item: Prepared) -> bool:
    return isinstance(item, Conflict) and item.reason == "SNAPSHOT_CHANGED"


def _decided(
    prepared: Sequence[Prepared], committed: Committed[tuple[Settled, ...]]
) -> list[Decided]:
    """What the commit made of the drafts, in the places of the drafts."""
    settled = iter(committed.value)
    decided: list[Decided] = []
    for item in prepared:
        result = next(settled) if isinstance(item, Draft | Refused) else item
        if isinstance(item, Draft) and isinstance(result, int):
            result = Given(item.bundle, result, committed.head.tree_size)
        assert not isinstance(result, int | Draft), "only a draft gets an index"
        decided.append(result)
    return decided


def _published(publishing: Publishing, item: Given | CredproofError) -> Result:
    if isinstance(item, CredproofError):
        return item
    try:
        return publishing.publish(item)
    except CredproofError as error:
        return error


async def _pad(results: Sequence[Result], started: float) -> None:
    """Hold results with a refusal before consent back until their bucket is over."""
    if any(_is_before_consent(result) for result in results):
        bucket = bucket_s(len(results))
        await asyncio.sleep(bucket - (time.monotonic() - started) % bucket)


def bucket_s(count: int) -> float:
    """What the latency of a batch with a refusal before consent is a multiple of, in seconds."""
    return REFUSAL_LATENCY_S + (count - 1) * ITEM_LATENCY_S


def _is_before_consent(result: Result) -> bool:
    return isinstance(result, Refused) and result.reason == "NOT_PERMITTED"
