"""Copies of the stores: whole ones while the service runs, and what was logged after a place."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    MetaData,
    Row,
    String,
    Table,
    func,
    insert,
    inspect,
    or_,
    select,
    update,
)

from credproof_server.storage.evaluations import add_evaluations
from credproof_server.storage.tables import (
    activity,
    anomalies,
    answers,
    attestations,
    commits,
    conflicts,
    consents,
    data_keys,
    directory_roots,
    documents,
    ended_keys,
    entries,
    evaluations,
    metadata,
    pauses,
    refusals,
    signatures,
    timestamps,
    trust_bundles,
    unseal_decisions,
    unsealed_details,
    unsealings,
    withdrawals,
)

PAGE: Final = 500
_BY_LOG_INDEX: Final = (
    entries,
    trust_bundles,
    attestations,
    withdrawals,
    ended_keys,
    conflicts,
    consents,
    signatures,
    pauses,
    answers,
    refusals,
    anomalies,
    unsealings,
    unseal_decisions,
    unsealed_details,
    directory_roots,
)

_files: Final = Table(
    "files",
    MetaData(),
    Column("name", String, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
"""What an export holds beside rows: files by their place in a service's directory."""


def copy_database(engine: Engine, target: Path) -> None:
    """A consistent copy of a SQLite store, as of one moment; others may write meanwhile."""
    with (
        closing(engine.raw_connection()) as source,
        closing(sqlite3.connect(target)) as copy,
    ):
        connection = source.driver_connection
        assert isinstance(connection, sqlite3.Connection), "only SQLite is supported"
        connection.backup(copy)


def size_and_root(connection: Connection) -> tuple[int, bytes | None]:
    """The size of the log, and its root, as last committed."""
    query = select(commits).order_by(commits.c.tree_size.desc()).limit(1)
    head = connection.execute(query).first()
    return (head.tree_size, head.root) if head else (0, None)


# -- everything after a place in the log -----------------------------------------


def export_rows(source: Connection, target: Connection, since: int) -> None:
    """Copy what was logged from the entry `since` on, with its rows, into empty tables."""
    metadata.create_all(target)
    for table in _BY_LOG_INDEX:
        condition = table.c.log_index >= since
        if table is consents:
            condition = or_(condition, consents.c.revoked_index >= since)
        if table is anomalies:
            condition = or_(condition, anomalies.c.lifted_index >= since)
        _copy(source, target, table, condition)
    _copy(source, target, commits, commits.c.tree_size > since)
    _copy(source, target, timestamps, timestamps.c.tree_size >= since)
    _copy(source, target, documents)
    _copy(source, target, evaluations)
    _copy(source, target, activity)


def import_rows(source: Connection, target: Connection, size: int) -> None:
    """Add what an export holds from the entry `size` on, where the log of `target` ends."""
    known = set(target.execute(select(documents.c.digest)).scalars())
    for page in _pages(source, select(documents)):
        _insert(target, documents, [row for row in page if row.digest not in known])
    for table in _BY_LOG_INDEX:
        _copy(source, target, table, table.c.log_index >= size)
    _copy(source, target, commits, commits.c.tree_size > size)
    _apply_revocations(source, target, size)
    _apply_lifts(source, target, size)
    _apply_order(target, size)
    _apply_evaluations(source, target)
    _apply_activity(source, target)
    _apply_timestamps(source, target, size)


def export_files(target: Connection, files: Mapping[str, bytes]) -> None:
    """Put files, by name, into an export."""
    _files.create(target)
    if files:
        content = [{"name": name, "content": data} for name, data in files.items()]
        target.execute(insert(_files), content)


def exported_files(source: Connection) -> dict[str, bytes]:
    """The files of an export, by name; those of older versions hold none."""
    if not inspect(source).has_table(_files.name):
        return {}
    return {row.name: row.content for row in source.execute(select(_files))}


def _apply_revocations(source: Connection, target: Connection, size: int) -> None:
    """Consents of before, revoked since. What an older export does not know is never undone."""
    c = consents.c
    query = select(c.consent_id, c.revoked_index)
    for row in source.execute(query.where(c.log_index < size, c.revoked_index >= size)):
        change = update(consents).where(c.consent_id == row.consent_id)
        target.execute(change.values(revoked_index=row.revoked_index))


def _apply_lifts(source: Connection, target: Connection, size: int) -> None:
    """Throttles of before, lifted since."""
    a = anomalies.c
    for row in source.execute(select(anomalies).where(a.log_index < size, a.lifted_index >= size)):
        change = update(anomalies).where(a.log_index == row.log_index)
        target.execute(change.values(until=row.until, lifted_index=row.lifted_index))


def _apply_order(target: Connection, size: int) -> None:
    """Attestations of before that are superseded or withdrawn since."""
    other = attestations.alias()
    newest = select(func.max(other.c.seq)).where(other.c.chain_id == attestations.c.chain_id)
    target.execute(
        update(attestations).values(current=attestations.c.seq == newest.scalar_subquery())
    )
    w = withdrawals.c
    for row in target.execute(select(w.token_id, w.log_index).where(w.log_index >= size)).all():
        change = update(attestations).where(attestations.c.token_id == row.token_id)
        target.execute(change.values(withdrawn_index=row.log_index))


def _apply_evaluations(source: Connection, target: Connection) -> None:
    """Quotas are never given back: the higher count of each day holds."""
    for row in source.execute(select(evaluations)).all():
        place = (row.participant, row.day)
        more = row._mapping["count"] - add_evaluations(target, *place, 0)
        add_evaluations(target, *place, max(0, more))


def _apply_activity(source: Connection, target: Connection) -> None:
    """The newer counts hold: counts only grow."""
    a = activity.c
    for row in source.execute(select(activity)).all():
        here = (a.lender == row.lender, a.span == row.span, a.start == row.start)
        known = target.execute(select(a.questions).where(*here)).scalar()
        if known is None:
            _insert(target, activity, [row])
        elif known < row.questions:
            counts = {"questions": row.questions, "answered": row.answered}
            target.execute(update(activity).where(*here).values(counts))


def _apply_timestamps(source: Connection, target: Connection, size: int) -> None:
    """What was stamped since, also of the size at which the log of `target` ends."""
    t = timestamps.c
    known = set(target.execute(select(t.authority).where(t.tree_size == size)).scalars())
    for page in _pages(source, select(timestamps).where(t.tree_size >= size)):
        fresh = [row for row in page if row.tree_size > size or row.authority not in known]
        _insert(target, timestamps, fresh)


def _copy(
    source: Connection, target: Connection, table: Table, *conditions: ColumnElement[bool]
) -> None:
    for page in _pages(source, select(table).where(*conditions)):
        _insert(target, table, page)


def _pages(source: Connection, query: Any) -> Iterator[Sequence[Row[Any]]]:
    result = source.execution_options(stream_results=True).execute(query)
    while page := result.fetchmany(PAGE):
        yield page


def _insert(target: Connection, table: Table, rows: Sequence[Row[Any]]) -> None:
    if rows:
        target.execute(insert(table), [dict(row._mapping) for row in rows])


# -- data keys -------------------------------------------------------------------


def merge_keys(older: Connection, target: Connection) -> None:
    """Give `target` the data keys of `older` that it lacks; whoever is erased in one stays erased.

    `older` is what stood there before a restore, `target` what was restored.
    """
    if not inspect(older).has_table(data_keys.name):
        return  # made by a service that found none, and did not start
    k = data_keys.c
    known = {row.sub: row.erased for row in target.execute(select(k.sub, k.erased))}
    for row in older.execute(select(data_keys)).all():
        if row.sub not in known:
            _insert(target, data_keys, [row])
        elif row.erased and not known[row.sub]:
            target.execute(
                update(data_keys).where(k.sub == row.sub).values(erased=True, wrapped=b"")
            )
