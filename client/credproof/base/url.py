"""Addresses of web pages that people are sent to: few spellings, nothing hidden in them.

A subset of RFC 3986: `https` with a host name, or `http` on the own machine, for trying things
out. No user, no fragment, no other alphabet: what is before the first slash is where one goes.
"""

from __future__ import annotations

import re
from typing import Final

from credproof.base.errors import Malformed
from credproof.base.limits import URL_CHARS_MAX, at_most

_ORIGIN: Final = re.compile(
    r"(?:https://[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|http://(?:localhost|127\.0\.0\.1))"
    r"(?::[1-9][0-9]{0,4})?"
)
_REST: Final = re.compile(r"(?:[/?][A-Za-z0-9/?%&=._~!$'()*+,;:@-]*)?")


def require_url(text: str) -> str:
    """The text, which must be such an address.

    Raises:
        Malformed: `BAD_URL`.
        LimitExceeded: longer than `URL_CHARS_MAX`.
    """
    at_most(len(text), URL_CHARS_MAX, "URL")
    found = _ORIGIN.match(text)
    if found is None or not _REST.fullmatch(text, found.end()):
        raise Malformed("BAD_URL", "not an https URL without user and fragment")
    return text


def origin_of(url: str) -> str:
    """Where an address leads: its scheme, host and port (RFC 6454).

    Raises:
        Malformed: as `require_url`.
    """
    found = _ORIGIN.match(require_url(url))
    assert found is not None, "it was just required"
    return found[0]
