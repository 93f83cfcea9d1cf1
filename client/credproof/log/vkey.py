"""Named public keys in text (C2SP signed-note v1.0.0): the vkey `name+hash+key`.

The key begins with the byte of its algorithm.
"""

from __future__ import annotations

import hashlib
import re

from credproof.base.encoding import b64, parse_b64
from credproof.base.errors import Malformed

_SPACE = re.compile(r"[\s\x00-\x1f]")
_NO_VKEY = "a vkey is wanted: NAME+HASH+KEY, in one piece"


def key_id(name: str, key: bytes) -> bytes:
    """The first 4 bytes of SHA-256(name ‖ 0x0A ‖ key)."""
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def format_vkey(name: str, key: bytes) -> str:
    """The text of a key of this name."""
    return f"{name}+{key_id(name, key).hex()}+{b64(key)}"


def parse_vkey(text: str) -> tuple[str, bytes]:
    """Name and key in a vkey text; whose key may have which algorithm is not looked at.

    Raises:
        Malformed: `BAD_VKEY`.
    """
    name, _, rest = text.partition("+")
    found_id, _, spelled = rest.partition("+")
    try:
        require_name(name)
        key = parse_b64(spelled)
    except Malformed as error:
        raise Malformed("BAD_VKEY", _NO_VKEY) from error
    if not key:
        raise Malformed("BAD_VKEY", _NO_VKEY)
    if key_id(name, key).hex() != found_id:
        raise Malformed("BAD_VKEY", "vkey's hash is not that of its name and key")
    return name, key


def require_name(name: str) -> None:
    """A signer's name as C2SP wants it.

    Raises:
        Malformed: `BAD_NOTE`.
    """
    if not name or "+" in name or _SPACE.search(name):
        raise Malformed("BAD_NOTE", "signer's name is empty, or has a space or a plus sign")
