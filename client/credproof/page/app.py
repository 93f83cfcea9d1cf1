"""The page over HTTP: static files, a few JSON endpoints, and a door before all of them."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from importlib.resources import files
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from credproof import web
from credproof.base.encoding import parse_loose_json
from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Internal,
    LimitExceeded,
    Malformed,
    Refused,
    Unreachable,
    VerificationFailed,
)
from credproof.base.limits import PAGE_BODY_BYTES_MAX
from credproof.base.members import Members
from credproof.page import endpoints
from credproof.page.door import Door
from credproof.page.gateway import Gateway

_STATUS: Final[Mapping[type[CredproofError], int]] = {
    LimitExceeded: 413,
    Malformed: 400,
    VerificationFailed: 422,
    Refused: 403,
    Conflict: 409,
    Unreachable: 503,
    DataLoss: 500,
    Internal: 500,
}
"""The first that an error is one of counts."""
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
}

Endpoint = Callable[[Request], Awaitable[Response]]
_log = logging.getLogger("credproof.page")


def make_app(gateway: Gateway) -> Starlette:
    """The page of a gateway's relying party, at its first origin."""

    async def settings(_request: Request) -> Any:
        return await run_in_threadpool(endpoints.settings, gateway)

    routes = [Route(path, endpoint) for path, endpoint in _static().items()]
    routes.append(Route("/api/settings", _telling(settings), methods=["GET"]))
    for name, work in endpoints.ENDPOINTS.items():
        endpoint = _telling(_working(gateway, work))
        routes.append(Route(f"/api/{name}", endpoint, methods=["POST"]))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Door, origin=gateway.party.origins[0])],
        exception_handlers={HTTPException: _not_served},
    )


def _static() -> dict[str, Endpoint]:
    """Every static file by its path, read once: no path of a caller reaches the disk."""
    found: dict[str, Endpoint] = {}
    for item in (files("credproof.page") / "static").iterdir():
        kind = _TYPES[item.name.rpartition(".")[2]]
        path = "/" if item.name == "index.html" else f"/{item.name}"
        found[path] = _file(item.read_bytes(), kind)
    return found


def _file(content: bytes, kind: str) -> Endpoint:
    async def endpoint(_request: Request) -> Response:
        return Response(content, media_type=kind)

    return endpoint


def _working(gateway: Gateway, work: endpoints.Work) -> Callable[[Request], Awaitable[Any]]:
    async def endpoint(request: Request) -> Any:
        body = await web.body_of(request, PAGE_BODY_BYTES_MAX)
        return await run_in_threadpool(work, gateway, Members(parse_loose_json(body), "request"))

    return endpoint


def _telling(work: Callable[[Request], Awaitable[Any]]) -> Endpoint:
    """Whatever fails is told by its reason; one line is logged in any case."""

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        error: CredproofError | None = None
        try:
            response: Response = JSONResponse(await work(request))
        except CredproofError as found:
            error = found
        except Exception:
            _log.exception("fault in %s", request.url.path)
            error = Internal("INTERNAL", "the page failed: nothing was changed")
        if error is not None:
            response = refusal(error)
        _record(request.url.path, response.status_code, error, time.perf_counter() - started)
        return response

    return endpoint


def refusal(error: CredproofError) -> Response:
    """An error as the browser gets it: its reason, and its message."""
    value = {"message": error.message, "reason": error.reason}
    status = next(status for kind, status in _STATUS.items() if isinstance(error, kind))
    return JSONResponse(value, status_code=status)


async def _not_served(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "registered for no other"
    value = {"message": "there is no such page", "reason": "NO_SUCH_PAGE"}
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        value = {"message": "the method is not allowed here", "reason": "METHOD_NOT_ALLOWED"}
    return JSONResponse(value, status_code=error.status_code, headers=error.headers)


def _record(path: str, status: int, error: CredproofError | None, seconds: float) -> None:
    """One JSON line per call: no borrower, no lender, no figure."""
    reason = None if error is None else error.reason
    record = {
        "path": path,
        "status": status,
        "reason": reason,
        "milliseconds": round(seconds * 1000, 1),
    }
    _log.info(json.dumps(record))
