"""HTML of a page of evidence. Whatever came from somebody goes through `escaped`."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Iterable
from typing import Any, Final

HEAD: Final = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:16px sans-serif;max-width:60em;margin:2em auto;padding:0 1em}}
th{{text-align:left;vertical-align:top;padding-right:1em}}td{{overflow-wrap:anywhere}}
pre{{white-space:pre-wrap;overflow-wrap:anywhere;background:#eee;padding:.5em}}</style></head><body>
"""


def escaped(text: str) -> str:
    """A text that is nothing but text in the page; half a character becomes a question mark."""
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"), quote=True)


def heading(title: str) -> str:
    """The heading of a section."""
    return f"<h2>{escaped(title)}</h2>"


def paragraph(text: str) -> str:
    return f"<p>{escaped(text)}</p>"


def table(rows: Iterable[tuple[str, str]], mark: str = "") -> str:
    """Names and what they have; `mark` is the id of the table."""
    cells = (f"<tr><th>{escaped(name)}</th><td>{escaped(value)}</td></tr>" for name, value in rows)
    named = f' id="{mark}"' if mark else ""
    return f"<table{named}>{''.join(cells)}</table>"


def block(data: bytes | str) -> str:
    """Data verbatim."""
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    return f"<pre>{escaped(text)}</pre>"


def data_block(value: Any) -> str:
    """A value as JSON."""
    return block(json.dumps(value, ensure_ascii=False, indent=1))


def link(name: str, data: bytes) -> str:
    """A file inside the page: a click keeps it. `name` is ours, never somebody's."""
    address = base64.b64encode(data).decode("ascii")
    kind = "data:application/octet-stream;base64"
    return f'<a download="{name}" href="{kind},{address}">{name}</a>'
