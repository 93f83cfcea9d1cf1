"""What is stored about one borrower, by the log indexes of its entries."""

from __future__ import annotations

from sqlalchemy import Connection, select, union_all

from credproof_server.storage.tables import (
    anomalies,
    answers,
    consents,
    pauses,
    signatures,
    unseal_decisions,
    unsealed_details,
    unsealings,
)

_ABOUT = (
    consents,
    signatures,
    pauses,
    answers,
    anomalies,
    unsealings,
    unseal_decisions,
    unsealed_details,
)


def entries_about(connection: Connection, sub: bytes, limit: int) -> list[int]:
    """The log indexes of consents, their changes, answers, anomalies about them, and what was
    unsealed: the newest, rising.

    Attestations are left out: their entries name the borrower's index in the directory, by which
    an auditor could follow the borrower ever after, and no search would be logged.
    """
    columns = [table.c.log_index for table in _ABOUT]
    places = [select(column.label("at")).where(column.table.c.sub == sub) for column in columns]
    revoked = select(consents.c.revoked_index.label("at"))
    revoked = revoked.where(consents.c.sub == sub, consents.c.revoked_index.is_not(None))
    found = union_all(*places, revoked).subquery()
    newest = select(found.c.at).order_by(found.c.at.desc()).limit(limit)
    return sorted(connection.execute(newest).scalars())
