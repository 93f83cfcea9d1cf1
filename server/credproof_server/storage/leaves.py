"""All SQL of the directory: leaves, buckets, roots."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final

from credproof.log.directory import Leaf
from credproof.verification.filing import Filed
from sqlalchemy import Connection, Executable, Row, Table, bindparam, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from credproof_server.storage.tables import directory_buckets, directory_leaves, directory_roots

ID_BYTES: Final = 32
_leaves, _roots = directory_leaves.c, directory_roots.c
_IN_BUCKETS = (
    select(directory_leaves)
    .where(_leaves.bucket.in_(bindparam("buckets", expanding=True)))
    .order_by(_leaves.bucket, _leaves.place)
)
_BETWEEN = (
    select(directory_leaves)
    .where(_leaves.bucket.between(bindparam("first"), bindparam("last")))
    .order_by(_leaves.bucket, _leaves.place)
)
_NEWEST_ROOT = select(directory_roots).order_by(_roots.log_index.desc()).limit(1)
_REMOVE = delete(directory_leaves).where(
    _leaves.bucket == bindparam("of_bucket"), _leaves.place == bindparam("at_place")
)


def in_buckets(connection: Connection, buckets: Collection[int]) -> Sequence[Row[Any]]:
    """The leaves of these buckets, in the order of their indexes."""
    return connection.execute(_IN_BUCKETS, {"buckets": sorted(buckets)}).all()


def between(connection: Connection, first: int, last: int) -> Sequence[Row[Any]]:
    """The leaves of the buckets from `first` to `last`, in the order of their indexes."""
    return connection.execute(_BETWEEN, {"first": first, "last": last}).all()


def put(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put leaves in place, new or changed."""
    _upsert(connection, directory_leaves, rows)


def remove(connection: Connection, leaves: Sequence[tuple[int, bytes]]) -> None:
    """Take leaves out, each by its bucket and its index."""
    if leaves:
        rows = [{"of_bucket": bucket, "at_place": place} for bucket, place in leaves]
        connection.execute(_REMOVE, rows)


def put_buckets(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put hashes of buckets in place."""
    _upsert(connection, directory_buckets, rows)


def buckets(connection: Connection) -> Sequence[Row[Any]]:
    """All buckets: number, hash, whether it is one leaf."""
    return connection.execute(select(directory_buckets)).all()


def all_leaves(connection: Connection, size: int = 5000) -> Iterator[Sequence[Row[Any]]]:
    """All leaves in the order of their indexes, page by page."""
    place = tuple_(_leaves.bucket, _leaves.place)
    query = select(directory_leaves).order_by(_leaves.bucket, _leaves.place).limit(size)
    rows = connection.execute(query).all()
    while rows:
        yield rows
        last = (rows[-1].bucket, rows[-1].place)
        rows = connection.execute(query.where(place > last)).all()


def leaf_row(bucket: int, leaf: Leaf, filed: Filed) -> dict[str, object]:
    """The row of a leaf, and of what it shows."""
    place = {"bucket": bucket, "place": leaf.index, "value": leaf.value}
    return {**place, "salt": filed.salt, "members": b"".join(filed.members)}


def members_of(joined: bytes) -> tuple[bytes, ...]:
    """The token ids of a row."""
    return tuple(joined[i : i + ID_BYTES] for i in range(0, len(joined), ID_BYTES))


def add_root(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep a logged root."""
    connection.execute(directory_roots.insert(), [row])


def newest_root(connection: Connection) -> Row[Any] | None:
    """The newest logged root: log index, root, how many entries it covers."""
    return connection.execute(_NEWEST_ROOT).first()


def _upsert(connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(_put_into(table, connection.dialect.name), rows)


@cache
def _put_into(table: Table, dialect: str) -> Executable:
    """To build a statement costs more than to run it."""
    maker = postgresql if dialect == "postgresql" else sqlite
    statement: postgresql.Insert | sqlite.Insert = maker.insert(table)
    keys = [column.name for column in table.primary_key]
    fresh = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=fresh)
