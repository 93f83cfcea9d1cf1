"""SQL about timestamps of checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, insert, or_, select

from credproof_server.storage.tables import timestamps

Place = tuple[int, str]
"""Size of the tree, and the authority's name: the order in which timestamps are read."""
FIRST: Place = (0, "")
_PAGE = 100


def add(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep a timestamp."""
    connection.execute(insert(timestamps), row)


def page(connection: Connection, after: Place, limit: int) -> Sequence[Row[Any]]:
    """Timestamps that come after a place, in order."""
    t = timestamps.c
    later = or_(t.tree_size > after[0], (t.tree_size == after[0]) & (t.authority > after[1]))
    query = select(timestamps).where(later).order_by(t.tree_size, t.authority).limit(limit)
    return connection.execute(query).all()


def all_stamps(connection: Connection) -> Iterator[Row[Any]]:
    """All timestamps in order, read page by page."""
    place = FIRST
    while rows := page(connection, place, _PAGE):
        yield from rows
        place = (rows[-1].tree_size, rows[-1].authority)


def newest(connection: Connection) -> Mapping[str, tuple[int, int]]:
    """Size of the tree and time of the newest timestamp of each authority, by its name."""
    t = timestamps.c
    query = select(t.authority, func.max(t.tree_size), func.max(t.time)).group_by(t.authority)
    return {name: (size, time) for name, size, time in connection.execute(query)}
