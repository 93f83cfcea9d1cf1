"""Database engines: SQLite embedded, durable before it answers; the URL decides."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from credproof.base.errors import Conflict, DataLoss, Unreachable
from credproof.base.sqlite import primary_code
from sqlalchemy import (
    Connection,
    Engine,
    PoolProxiedConnection,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.exc import DatabaseError, OperationalError

MAIN = "main"
VAULT = "vault"
"""The two stores: all that may be backed up for long, and the data keys that may not."""
_NO_DAMAGE: Final = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_READONLY)


def connect(url: str) -> Engine:
    """An engine on `url`. SQLite runs in WAL mode, synchronous=FULL, secure_delete.

    A commit returns only when the data is on disk; deleted rows are overwritten with zeros.
    """
    engine = create_engine(url, pool_pre_ping=not url.startswith("sqlite"))
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        # A hook of the dialect: with one listener to its own events, an engine would ask for
        # listeners around every statement, for a fifth of what a statement costs.
        engine.dialect.do_begin = _begin_sqlite  # type: ignore[method-assign]
    return engine


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, which is created readable by its owner alone."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    return f"sqlite:///{path}"


def require_there(url: str) -> None:
    """Refuse a SQLite file that is not there: to connect to it would make an empty one.

    Raises:
        DataLoss: `DATABASE_MISSING`.
    """
    path = Path(make_url(url).database or "")
    if not path.is_file():
        raise DataLoss("DATABASE_MISSING", f"{path.name} is not there")


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # so that BEGIN and SAVEPOINT are ours
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
        "busy_timeout=10000",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(dbapi_connection: PoolProxiedConnection) -> None:
    _on_driver(dbapi_connection, "BEGIN")


@contextmanager
def savepoint(connection: Connection) -> Iterator[None]:
    """What fails inside leaves nothing behind, and its neighbours in the transaction unhurt.

    As `begin_nested`, at a fraction of its cost: there is one for every command.
    """
    driver = connection.connection
    _on_driver(driver, "SAVEPOINT command")
    try:
        yield
    except BaseException:
        _on_driver(driver, "ROLLBACK TO SAVEPOINT command")
        raise
    finally:
        _on_driver(driver, "RELEASE SAVEPOINT command")


def _on_driver(connection: PoolProxiedConnection, statement: str) -> None:
    """Run what takes no values and gives no rows."""
    cursor = connection.cursor()
    cursor.execute(statement)
    cursor.close()


@contextmanager
def readable() -> Iterator[None]:
    """What the database refuses to read inside is told as damage.

    Raises:
        DataLoss: `DATABASE_DAMAGED`.
        sqlite3.Error: what is no damage, as SQLite tells it: a full disk, a busy file.
    """
    try:
        yield
    except DatabaseError as error:
        if isinstance(error.orig, sqlite3.Error) and primary_code(error.orig) in _NO_DAMAGE:
            raise error.orig from None
        raise DataLoss("DATABASE_DAMAGED", "a database cannot be read") from error


@contextmanager
def usable() -> Iterator[None]:
    """What the database cannot do just now (full disk, locked file) is told as such.

    Raises:
        Unreachable: `STORAGE_FAILED`.
        DataLoss: `DATABASE_DAMAGED`.
    """
    try:
        yield
    except OperationalError as error:
        message = "the database cannot be used now: ask again with the same request"
        raise Unreachable("STORAGE_FAILED", message) from error
    except DatabaseError as error:
        raise DataLoss("DATABASE_DAMAGED", "a database cannot be read") from error


def migrate(engine: Engine, store: str) -> None:
    """Bring a store to the newest migration; does nothing when it is there already."""
    with engine.begin() as connection:
        config = _config(store)
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def require_current(engine: Engine, store: str) -> None:
    """Refuse a store that lacks a migration: `serve` never migrates.

    Raises:
        Conflict: `UPGRADE_NEEDED`.
        DataLoss: as `require_made`.
    """
    head = ScriptDirectory.from_config(_config(store)).get_current_head()
    if require_made(engine) != head:
        raise Conflict(
            "UPGRADE_NEEDED", "the database is of another version: run credproof upgrade"
        )


def require_made(engine: Engine) -> str:
    """The migration that a store has; one that never had any is an empty file in its place.

    Raises:
        DataLoss: `DATABASE_MISSING`.
    """
    with engine.connect() as connection:
        found = MigrationContext.configure(connection).get_current_revision()
    if found is None:
        name = Path(engine.url.database or "").name
        raise DataLoss("DATABASE_MISSING", f"{name} is empty")
    return found


def _config(store: str) -> Config:
    config = Config()
    folder = Path(__file__).parent / "migrations" / store
    config.set_main_option("script_location", str(folder))
    return config
