"""How a secret could stand in a text, and the search for it."""

from __future__ import annotations

import base64
import json
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from credproof.base.encoding import b64url, parse_b64url
from credproof_server.directory import ServiceDirectory

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{20,}")
"""How every signed token of ours begins, since every header is a JSON object."""
KEYS = ("sealing", "answer", "oprf", "index", "log")
FIGURE_DIGITS = 6
"""Shorter figures stand in any log by chance: as times, sizes, milliseconds."""
_NUMBER = re.compile(r"\d+")


def spellings(secret: bytes) -> set[str]:
    """How a secret of bytes could stand in a text."""
    return {
        secret.hex(),
        b64url(secret),
        base64.b64encode(secret).decode(),
        repr(secret)[2:-1],
    }


def leaked(secrets: set[str], text: str) -> set[str]:
    """Those of these secrets that stand in a text, anywhere in it."""
    return {secret for secret in secrets if secret in text}


def shown(figures: Iterable[int], text: str) -> set[int]:
    """Those of these figures that stand in a text as whole numbers."""
    numbers = set(_NUMBER.findall(text))
    return {figure for figure in figures if str(figure) in numbers}


def service_keys(service: Path) -> set[str]:
    """The private keys of a service."""
    directory = ServiceDirectory(service)
    return set().union(*(spellings(directory.keys.read(name)) for name in KEYS))


def home_keys(homes: Iterable[Path]) -> set[str]:
    """The signing keys of participants or borrowers."""
    texts = [(home / "signing.key").read_text("ascii").strip() for home in homes]
    return set().union(*(spellings(parse_b64url(text)) for text in texts))


def packages(provider: Path) -> list[dict]:
    """What a provider attested, opened: whoever has the seed opens the whole token."""
    path = next(provider.glob("outbox*.db"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as outbox:
        rows = outbox.execute("SELECT package FROM items").fetchall()
    return [json.loads(package) for (package,) in rows]
