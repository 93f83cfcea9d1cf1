"""A SQLite file in an auditor's home, which only its owner reads."""

from __future__ import annotations

import os
import sqlite3
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from credproof.base.closing import Closing
from credproof.base.errors import CredproofError, DataLoss
from credproof.base.sqlite import is_damage, primary_code

T = TypeVar("T")
BUSY_S: Final = 10.0
"""How long one process waits while another writes, in seconds."""
_ERROR: Final = 1
"""A statement is wrong: it names a column that is not there, say (sqlite.org, "Result Codes")."""


class Database(Closing):
    """Whatever SQLite finds damaged in it, when it is opened or later, is told as this file's."""

    def __init__(self, path: Path, schema: str) -> None:
        """Open it, or begin one.

        Raises:
            DataLoss: as `damaged`.
        """
        self.path = path
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._database = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S)
        try:
            self._database.executescript(schema)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            self._database.close()
            if _is_damage(error) or isinstance(error, UnicodeDecodeError):
                raise self.damaged() from error  # SQLite names a spoilt schema in spoilt words
            raise

    def own(self, value: object, parse: Callable[[bytes], T]) -> T:
        """What stands in a column that takes bytes, which were written here.

        Raises:
            DataLoss: as `damaged`, where it is anything else.
        """
        try:
            return parse(self.blob(value))
        except (CredproofError, ValueError) as error:
            raise self.damaged() from error

    def blob(self, value: object) -> bytes:
        """The bytes of such a column; what is damaged can be of another type.

        Raises:
            DataLoss: as `damaged`.
        """
        if not isinstance(value, bytes):
            raise self.damaged()
        return value

    @abstractmethod
    def damaged(self) -> DataLoss:
        """What is told of it when it is damaged, and what to do then."""

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it.

        Raises:
            DataLoss: as `damaged`, where that is what SQLite found inside, or rows stand where the
                next ones belong.
        """
        super().__exit__(kind, error, trace)
        if _is_damage(error):
            raise self.damaged() from error

    def copy_over(self, other: Self) -> None:
        """Put all of it in the place of what the other file has, at once for whoever reads that.

        A file that took its place by name would be mixed with the write-ahead log of the old one
        as long as somebody else has that open.
        """
        self._database.backup(other._database)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Keep all that is written inside, or nothing of it."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _is_damage(error: BaseException | None) -> bool:
    """A statement of ours that SQLite finds wrong meets another schema than was written."""
    is_wrong = isinstance(error, sqlite3.IntegrityError) or primary_code(error) == _ERROR
    return is_wrong or is_damage(error)


def remove(path: Path) -> None:
    """Remove a file of SQLite that nobody has open, with what stands beside it after a crash."""
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
