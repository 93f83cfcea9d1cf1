"""The witness's HTTP interface (C2SP tlog-witness), over the witness in its directory."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable

from credproof import web
from credproof.base.errors import CredproofError, LimitExceeded
from credproof.base.limits import WITNESS_BODY_BYTES_MAX
from credproof.log.checkpoint import origin_of
from credproof.log.witness import SIZE_TYPE, STATUS, Seen, parse_add_checkpoint
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from credproof_server.witness.store import Witness

_log = logging.getLogger("credproof.witness")


def application(witness: Witness, clock: Callable[[], float] = time.time) -> Starlette:
    """The application that serves a witness."""

    async def add_checkpoint(request: Request) -> Response:
        try:
            data = await web.body_of(request, WITNESS_BODY_BYTES_MAX)
        except CredproofError as error:
            return _told(413 if isinstance(error, LimitExceeded) else 408, error.reason)
        return await asyncio.to_thread(_add, witness, data, int(clock()))

    async def checkpoint(request: Request) -> Response:
        return await asyncio.to_thread(_newest, witness, request.path_params["origin"])

    served = Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin}/checkpoint", checkpoint),
        ],
        exception_handlers=web.not_served(_record),
    )
    served.router.redirect_slashes = False
    return served


def _add(witness: Witness, data: bytes, now: int) -> Response:
    origin = ""
    try:
        request = parse_add_checkpoint(data)
        origin = origin_of(request.note)
        lines = witness.add_checkpoint(request, now)
    except CredproofError as error:
        status = STATUS.get(error.reason, 400)
        if status == 409:
            size = witness.seen().get(origin, Seen()).tree_size
            _record(status, error.reason)
            return Response(f"{size}\n", status, media_type=SIZE_TYPE)
        return _told(status, error.reason)
    _record(200, None)
    return PlainTextResponse(lines)


def _newest(witness: Witness, wanted: str) -> Response:
    for origin in witness.seen():
        if hashlib.sha256(origin.encode()).hexdigest() == wanted:
            return PlainTextResponse(witness.newest(origin))
    return _told(404, "UNKNOWN_LOG")


def _told(status: int, reason: str) -> Response:
    _record(status, reason)
    return web.told(status, reason)


def _record(status: int, reason: str | None) -> None:
    _log.info(json.dumps({"status": status, "reason": reason}))
