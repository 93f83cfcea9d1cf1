"""SQL of the trust bundles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from credproof_server.storage.tables import documents, trust_bundles


def add_trust(
    connection: Connection, version: int, token: str, log_index: int, docs: Mapping[bytes, bytes]
) -> None:
    """Keep a trust bundle, and those of its documents that are new."""
    row = {"version": version, "token": token.encode("ascii"), "log_index": log_index}
    connection.execute(insert(trust_bundles), [row])
    query = select(documents.c.digest)
    known = set(connection.execute(query.where(documents.c.digest.in_(list(docs)))).scalars())
    fresh = [{"digest": d, "content": c} for d, c in docs.items() if d not in known]
    if fresh:
        connection.execute(insert(documents), fresh)


def trust_version(connection: Connection, version: int) -> Row[Any] | None:
    """The row of this version of the trust bundle."""
    query = select(trust_bundles).where(trust_bundles.c.version == version)
    return connection.execute(query).first()
