"""The meter: how many OPRF evaluations each participant asked for on a day."""

from __future__ import annotations

from sqlalchemy import Connection, select
from sqlalchemy.dialects import postgresql, sqlite

from credproof_server.storage.tables import attestations, evaluations


def has_pseudonyms(connection: Connection) -> bool:
    """Whether anybody may know a pseudonym: one was made, or something was attested."""
    found = (select(table).limit(1) for table in (evaluations, attestations))
    return any(connection.execute(query).first() is not None for query in found)


def add_evaluations(connection: Connection, participant: str, day: str, count: int) -> int:
    """Count OPRF evaluations; gives the day's new total."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    row = {"participant": participant, "day": day, "count": count}
    change = dialect.insert(evaluations).values(row)
    change = change.on_conflict_do_update(
        index_elements=["participant", "day"],
        set_={"count": evaluations.c.count + count},
    )
    return int(connection.execute(change.returning(evaluations.c.count)).scalar_one())
