"""The SQL of unsealing: one short function per question, on a connection passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from credproof.verification.answer import ENTRY_ANSWER
from credproof.verification.details import ENTRY_GRANTED
from sqlalchemy import Connection, Row, func, insert, select

from credproof_server.storage.tables import (
    answers,
    consents,
    unseal_decisions,
    unsealed_details,
    unsealings,
)

_PLACES = {ENTRY_ANSWER: answers, ENTRY_GRANTED: consents}


def place(connection: Connection, kind: str, log_index: int) -> Row[Any] | None:
    """What is stored about the entry of this kind at `log_index`."""
    table = _PLACES[kind]
    return connection.execute(select(table).where(table.c.log_index == log_index)).first()


def request(connection: Connection, request_id: bytes) -> Row[Any] | None:
    """A request to unseal."""
    query = select(unsealings).where(unsealings.c.request_id == request_id)
    return connection.execute(query).first()


def requests(connection: Connection, start: int, limit: int) -> Sequence[Row[Any]]:
    """Requests from a log index on, in order."""
    query = select(unsealings).where(unsealings.c.log_index >= start)
    return connection.execute(query.order_by(unsealings.c.log_index).limit(limit)).all()


def pending(connection: Connection, auditor: str, now: int) -> int:
    """How many requests of an auditor are open, and nobody has decided."""
    u, decided = unsealings.c, select(unseal_decisions.c.request_id)
    query = select(func.count()).where(
        u.auditor == auditor, u.until >= now, u.request_id.not_in(decided)
    )
    return int(connection.execute(query).scalar_one())


def decisions(connection: Connection, request_ids: Collection[bytes]) -> Mapping[bytes, Row[Any]]:
    """What was decided on requests, where it was, by their ids."""
    query = select(unseal_decisions).where(unseal_decisions.c.request_id.in_(request_ids))
    return {row.request_id: row for row in connection.execute(query)}


def given(connection: Connection, request_ids: Collection[bytes]) -> Sequence[Row[Any]]:
    """To whom the details of requests were given, in the order of the log."""
    query = select(unsealed_details).where(unsealed_details.c.request_id.in_(request_ids))
    return connection.execute(query.order_by(unsealed_details.c.log_index)).all()


def given_about(connection: Connection, sub: bytes, limit: int) -> Sequence[Row[Any]]:
    """What was given about a borrower, with what was asked for: the newest, in the order of the
    log."""
    d, u = unsealed_details.c, unsealings.c
    query = (
        select(d.log_index, d.time, d.auditor, u.entry_index, u.detail)
        .join(unsealings, u.request_id == d.request_id)
        .where(d.sub == sub)
        .order_by(d.log_index.desc())
        .limit(limit)
    )
    return list(reversed(connection.execute(query).all()))


def add_request(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep a request."""
    connection.execute(insert(unsealings), [row])


def add_decision(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep what a second auditor said."""
    connection.execute(insert(unseal_decisions), [row])


def add_given(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep to whom a detail was given."""
    connection.execute(insert(unsealed_details), [row])
