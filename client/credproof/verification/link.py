"""A consent request as a link: the request stands in the fragment, which no server gets to see.

Format: `docs/PROTOCOL.md`, "Consent request".
"""

from __future__ import annotations

from typing import Final

from credproof.base.encoding import parse_b64url
from credproof.base.errors import Malformed
from credproof.base.limits import TOKEN_BYTES_MAX, URL_CHARS_MAX, at_most
from credproof.base.url import require_url

_MARK: Final = "#request="


def link_to(page: str, request: str) -> str:
    """The link that opens a request on a consent page.

    Raises:
        Malformed: as `require_url`.
    """
    return f"{require_url(page)}{_MARK}{request}"


def is_link(text: str) -> bool:
    """Whether a text is meant as a link, and not as the name of a file."""
    return text.startswith(("https://", "http://"))


def request_of(link: str) -> str:
    """The request that a link carries, not looked into.

    Raises:
        Malformed: `NOT_A_LINK`, or as `require_url`.
    """
    at_most(len(link), URL_CHARS_MAX + len(_MARK) + TOKEN_BYTES_MAX, "link")
    page, mark, request = link.partition(_MARK)
    if not mark or not _is_token(request):
        raise Malformed("NOT_A_LINK", "the link carries no request: take all of it")
    require_url(page)
    return request


def _is_token(text: str) -> bool:
    try:
        parts = [parse_b64url(part) for part in text.split(".")]
    except Malformed:
        return False
    return len(parts) == 3 and all(parts)
