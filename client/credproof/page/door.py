"""The door of the page: it answers to its own origin only, and says so to every browser."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "publickey-credentials-get=(self), publickey-credentials-create=(self),"
    " camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response, whatever it is."""
_ONE_YEAR: Final = "max-age=31536000"


class Door:
    """Refuses what another host or page asks for, before anything of it is read."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._origin = origin
        self._host = origin.partition("://")[2]
        self._headers = dict(HEADERS)
        if origin.startswith("https://"):
            self._headers["Strict-Transport-Security"] = _ONE_YEAR

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        app = self._app if self._is_own(scope) else _foreign()
        await app(scope, receive, marked)

    def _is_own(self, scope: Scope) -> bool:
        """Whether the call is for this host and, if it can do anything, from this very page."""
        headers = Headers(scope=scope)
        if headers.getlist("host") != [self._host]:
            return False
        if scope["method"] in ("GET", "HEAD"):
            return True
        said = (headers.get("origin"), headers.get("content-type"))
        return said == (self._origin, "application/json")


def _foreign() -> ASGIApp:
    message = "this page answers to its own origin only: open it at its own address"
    return JSONResponse({"message": message, "reason": "WRONG_ORIGIN"}, status_code=403)
