"""Working off together what waits at the same time, as the sequencer does with commits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")

ROUNDS_MAX: Final = 2
"""Rounds at once: while one waits for its commit, the next is prepared."""


class Together(Generic[T, R]):
    """Hands `work` whatever waits, at most `limit` items a round; results come in order.

    One item alone does not wait for others. For the event loop's thread only.
    """

    def __init__(self, work: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int) -> None:
        self._work = work
        self._limit = limit
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._rounds: set[asyncio.Task[None]] = set()

    async def put(self, item: T) -> R:
        """The result of one item; what a whole round fails with, each of its items does."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if len(self._rounds) < ROUNDS_MAX:
            task = asyncio.create_task(self._run())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        return await future

    async def _run(self) -> None:
        while self._waiting:
            taken, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
            try:
                results = await self._work([item for item, _ in taken])
            except Exception as error:  # whatever it is, nobody may wait for ever
                for _, future in taken:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), result in zip(taken, results, strict=True):
                if not future.done():  # its caller may have gone away
                    future.set_result(result)
