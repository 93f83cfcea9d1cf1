"""The door of streams: a sender that falls silent is sent away."""

from __future__ import annotations

import asyncio

import pytest
from credproof.base.errors import Refused
from credproof_server.rpc import guard


async def test_a_stream_that_falls_silent_is_ended(monkeypatch):
    monkeypatch.setattr(guard, "STREAM_IDLE_S", 0.01)

    async def silent():
        await asyncio.sleep(10)
        yield b""

    with pytest.raises(Refused) as caught:
        await anext(guard._messages(None, silent(), lambda: None))
    assert caught.value.reason == "STREAM_IDLE"
