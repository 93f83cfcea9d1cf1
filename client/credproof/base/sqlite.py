"""What SQLite says when a file is damaged, as opposed to busy or full."""

from __future__ import annotations

from typing import Final

_CORRUPT, _NOT_A_DATABASE = 11, 26
_NOT_TEXT: Final = "Could not decode to UTF-8"
"""What Python says of a text in it that is none; SQLite has no code for that."""
_PRIMARY: Final = 0xFF
"""The part of an extended code that the primary one is in (sqlite.org, "Result Codes")."""


def primary_code(error: BaseException | None) -> int:
    """The primary result code of an error of sqlite3; 0 for any other."""
    code: int = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY


def is_damage(error: BaseException | None) -> bool:
    """Whether an error of sqlite3 says that a file does not hold what SQLite wrote."""
    undecoded = str(error).startswith(_NOT_TEXT)
    return undecoded or primary_code(error) in (_CORRUPT, _NOT_A_DATABASE)
