"""SQL of the trust bundles."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, insert, select

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


def trust_index(connection: Connection, version: int) -> int:
    """The log index at which this version of the trust bundle was put in force."""
    query = select(trust_bundles.c.log_index).where(trust_bundles.c.version == version)
    return int(connection.execute(query).scalar_one())
