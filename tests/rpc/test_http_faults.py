"""A fault of ours over HTTP: the caller is told that there is one, and nothing of it."""

from __future__ import annotations

import asyncio

import pytest
from credproof import web
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route


def test_a_fault_is_told_by_its_reason_alone():
    async def broken(_request: Request) -> None:
        raise RuntimeError("a secret in a traceback")

    recorded, sent = [], []
    handlers = web.not_served(lambda *told: recorded.append(told))
    app = Starlette(routes=[Route("/", broken)], exception_handlers=handlers)

    async def receive() -> dict:
        return {"type": "http.request"}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    with pytest.raises(RuntimeError):  # for the service's own log
        asyncio.run(app(scope, receive, send))
    assert [message.get("status") or message["body"] for message in sent] == [500, b"INTERNAL\n"]
    assert recorded == [(500, "INTERNAL")]
