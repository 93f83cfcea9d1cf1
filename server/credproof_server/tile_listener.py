"""The log over HTTP, read only (C2SP tlog-tiles): for witnesses, monitors, auditors' tools.

Checkpoint and hash tiles are for everybody: they hold hashes of salted entries. Entry bundles are
for auditors, who show an audit token.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from credproof import web
from credproof.base.errors import CredproofError, Malformed, Refused
from credproof.log.tiles import Tile, format_bundle, hash_tile, parse_path
from credproof.verification.audit_token import verify_audit_token
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from credproof_server.service.audit import Audit
from credproof_server.service.core import Core

BINARY: Final = "application/octet-stream"
_NEVER_CHANGES: Final = {"cache-control": "public, max-age=31536000, immutable"}
_FOR_ONE: Final = {"cache-control": "private, no-store"}
_JUST_NOW: Final = {"cache-control": "no-cache"}
_STATUS: Final = {"NO_SUCH_TILE": 404, "NOT_AUTHENTICATED": 401}

_log = logging.getLogger("credproof.tiles")


def application(core: Core) -> Starlette:
    """The application over a running service."""
    tiles = _Tiles(core)
    served = Starlette(
        routes=[
            Route("/checkpoint", _told(tiles.checkpoint)),
            Route("/tile/{path:path}", _told(tiles.tile)),
        ],
        exception_handlers=web.not_served(_record),
    )
    served.router.redirect_slashes = False
    return served


class _Tiles:
    def __init__(self, core: Core) -> None:
        self._core = core
        self._audit = Audit(core)

    async def checkpoint(self, request: Request) -> Response:
        return PlainTextResponse(self._audit.for_everybody(), headers=_JUST_NOW)

    async def tile(self, request: Request) -> Response:
        tile = parse_path(f"tile/{request.path_params['path']}")
        if not tile.is_of(self._core.sequencer.head.tree_size):
            raise Malformed("NO_SUCH_TILE", "the log has no such tile yet")
        if tile.level is None:
            return await self._bundle(request, tile)
        data = hash_tile(self._core.sequencer.state.tree, tile)
        return Response(data, media_type=BINARY, headers=_NEVER_CHANGES)

    async def _bundle(self, request: Request, tile: Tile) -> Response:
        header = request.headers.get("authorization", "")
        scheme, _, token = header.partition(" ")
        if scheme.lower() != "bearer":
            raise Refused("NOT_AUTHENTICATED", "the caller did not show who it is")
        verify_audit_token(token, self._core.trust, self._core.clock())
        lines = await self._audit.lines(tile.first, tile.width)
        return Response(format_bundle(lines), media_type=BINARY, headers=_FOR_ONE)


Handler = Callable[[Request], Awaitable[Response]]


def _told(handler: Handler) -> Handler:
    """Whatever fails is told by its reason alone; one line per request is logged."""

    async def handle(request: Request) -> Response:
        try:
            _require_one_spelling(request)
            response, reason = await handler(request), None
        except CredproofError as error:
            status, reason = _STATUS.get(error.reason, 503), error.reason
            headers = {"www-authenticate": "Bearer"} if status == 401 else {}
            response = web.told(status, reason, headers)
        _record(response.status_code, reason)
        return response

    return handle


def _record(status: int, reason: str | None) -> None:
    _log.info(json.dumps({"status": status, "reason": reason}))


def _require_one_spelling(request: Request) -> None:
    """One path for one file: else whoever caches them could be made to keep any number."""
    if request.url.query or request.scope["raw_path"] != request.scope["path"].encode():
        raise Malformed("NO_SUCH_TILE", "the path is spelled in another way")
