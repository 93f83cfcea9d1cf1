"""A column holds another type than it is declared with: SQLite lets anybody write that."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from itertools import zip_longest

import pytest
from credproof.base.errors import DataLoss, VerificationFailed
from credproof_server.checking import check
from credproof_server.storage import tables
from credproof_server.storage.evaluations import add_evaluations
from sqlalchemy import Boolean, LargeBinary, String

from tests.service.asking import Asking
from tests.service.test_checking import peopled
from tests.service.test_keys import NEW, cosigned, lost
from tests.service.test_pausing import PAUSE, change
from tests.world import POLICY

__all__ = ["peopled"]


@pytest.fixture
async def everything(peopled: Asking) -> Asking:
    """A service with a row in every table."""
    await peopled.bind(NEW)
    consent_id = await peopled.consent(POLICY)
    await peopled.grant(cosigned(peopled.document, NEW), NEW)
    await change(peopled, PAUSE, consent_id)
    await lost(peopled)
    with peopled.core.engine.begin() as connection:
        add_evaluations(connection, "bank", "2026-01-31", 3)
    return peopled


def odd(column) -> str:
    """A value of a type that the column is not of."""
    if isinstance(column.type, LargeBinary):
        return "'text'"
    return "x'00ff'" if isinstance(column.type, String | Boolean) else "'many'"


NAMED = {
    "answer": tables.answers,
    "attestation": tables.attestations,
    "conflict": tables.conflicts,
    "consent": tables.consents,
    "document": tables.documents,
    "ended key": tables.ended_keys,
    "evaluation": tables.evaluations,
    "pause": tables.pauses,
    "signature": tables.signatures,
    "withdrawal": tables.withdrawals,
}
"""Tables whose damaged rows are named among others."""
ALONE = (tables.commits, tables.entries, tables.trust_bundles, tables.data_keys)
"""Tables whose damage shadows that of others."""
SHADOWS = {"documents.content"}


def found(directory) -> set[str]:
    """What is named; an error that refuses the whole check is named by its reason."""
    try:
        return {item.what for item in check(directory).damage}
    except (DataLoss, VerificationFailed) as error:
        return {error.reason}


@contextmanager
def opened(directory, store: str):
    """A database that is as it was when this ends."""
    database = sqlite3.connect(directory.folder / store)
    sound = sqlite3.connect(":memory:")
    with closing(database), closing(sound):
        database.backup(sound)
        yield database
        sound.backup(database)


async def test_every_such_row_is_named(everything):
    """One column of each table at a time, all tables at once."""
    directory = everything.core_directory
    assert found(directory) == set()
    for columns in zip_longest(*(table.columns for table in NAMED.values())):
        with opened(directory, "log.db") as database:
            changed = zip(NAMED, columns, strict=True)
            put = {what for what, c in changed if _is_told(c) and _put(database, c)}
            assert put <= found(directory), [str(column) for column in columns]


async def test_what_shadows_the_rest_is_named_too(everything):
    directory = everything.core_directory
    for column in (*(c for table in ALONE for c in table.columns), tables.documents.c.content):
        store = "vault.db" if column.table is tables.data_keys else "log.db"
        with opened(directory, store) as database:
            if _put(database, column):
                assert found(directory), str(column)


LOADED = (
    tables.commits,
    tables.entries,
    tables.trust_bundles,
    tables.documents,
    tables.directory_roots,
    tables.directory_buckets,
)
"""Tables that are read whole, or from the end, when a service starts."""


async def test_a_service_starts_on_such_a_row_or_tells_damage(everything):
    """It ended in a traceback."""
    directory, told = everything.core_directory, set()
    everything.core.close()
    for column in (c for table in LOADED for c in table.columns):
        with opened(directory, "log.db") as database:
            if _put(database, column):
                told |= {str(column) for reason in _refused(directory) if reason == "LOG_DAMAGED"}
    assert {"entries.line", "entries.leaf", "commits.root"} <= told


def _refused(directory) -> list[str]:
    """Why it does not start, if it does not."""
    try:
        directory.open_core().close()
    except DataLoss as error:
        return [error.reason]
    return []


def _is_told(column) -> bool:
    return column is not None and str(column) not in SHADOWS


def _put(database: sqlite3.Connection, column) -> bool:
    """Write an odd value into a row; false where SQLite itself refuses it, as in its keys."""
    table = column.table.name
    where = f"rowid = (SELECT max(rowid) FROM {table})"
    query = f"UPDATE {table} SET {column.name} = {odd(column)} WHERE {where}"
    try:
        with database:
            assert database.execute(query).rowcount == 1, f"{table} has no row"
    except sqlite3.IntegrityError:
        return False
    return True


@pytest.mark.parametrize(
    ("what", "query"),
    [
        ("document", "UPDATE documents SET digest = zeroblob(32) WHERE rowid = 1"),
        ("evaluation", "UPDATE evaluations SET count = -1"),
        ("evaluation", "UPDATE evaluations SET day = 'never'"),
        ("LOG_DAMAGED", "UPDATE trust_bundles SET token = x'00ff' WHERE version = 3"),
    ],
)
async def test_rows_without_an_entry_of_their_own_are_looked_at_too(everything, what, query):
    path = everything.core_directory.folder / "log.db"
    with closing(sqlite3.connect(path)) as database, database:
        assert database.execute(query).rowcount == 1
    assert found(everything.core_directory) == {what}
