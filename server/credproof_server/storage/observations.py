"""The SQL of misuse monitoring: one short function per question, on a connection passed in."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select, tuple_, union_all, update
from sqlalchemy.dialects import postgresql, sqlite

from credproof_server.storage.tables import activity, anomalies, answers, attestations, refusals
from credproof_server.storage.tables import entries as log_entries

# -- what was raised --------------------------------------------------------------


def add_anomaly(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(anomalies), [row])


def raised_of(
    connection: Connection, participants: Collection[str], since: int
) -> Sequence[Row[Any]]:
    """What was raised about participants since a time, or throttles them after it, oldest first."""
    a = anomalies.c
    lately = (a.time >= since) | (a.until >= since)
    query = select(anomalies).where(a.participant.in_(participants), lately)
    return connection.execute(query.order_by(a.log_index)).all()


def raised_together(connection: Connection, since: int) -> Sequence[Row[Any]]:
    """What was raised since a time about several participants together, oldest first."""
    a = anomalies.c
    query = select(anomalies).where(a.participant.is_(None), a.time >= since)
    return connection.execute(query.order_by(a.log_index)).all()


def throttled(connection: Connection, participants: Collection[str], now: int) -> set[str]:
    """Those of these participants whose questions are refused now."""
    a = anomalies.c
    query = select(a.participant).where(a.participant.in_(participants), a.until > now)
    return set(connection.execute(query).scalars())


def lift(connection: Connection, participant: str, now: int, log_index: int) -> None:
    """End all throttles of a participant by the entry at `log_index`."""
    a = anomalies.c
    change = update(anomalies).where(a.participant == participant, a.until > now)
    connection.execute(change.values(until=now, lifted_index=log_index))


def lifted(connection: Connection) -> set[int]:
    """The log indexes by which throttles were lifted."""
    query = select(anomalies.c.lifted_index).where(anomalies.c.lifted_index.is_not(None))
    return set(connection.execute(query).scalars())


# -- what lenders did -------------------------------------------------------------


def tallies_at(
    connection: Connection, lenders: Collection[str], span: int, start: int
) -> Mapping[str, tuple[int, int]]:
    """How many questions lenders put, and how many were answered, in the span that starts then."""
    a = activity.c
    query = select(a.lender, a.questions, a.answered).where(
        a.lender.in_(lenders), a.span == span, a.start == start
    )
    return {row.lender: (row.questions, row.answered) for row in connection.execute(query)}


def tally_since(connection: Connection, lender: str, span: int, start: int) -> tuple[int, int]:
    """The same of one lender, summed over the spans that start then or later."""
    a = activity.c
    sums = select(func.coalesce(func.sum(a.questions), 0), func.coalesce(func.sum(a.answered), 0))
    found = connection.execute(sums.where(a.lender == lender, a.span == span, a.start >= start))
    questions, answered = found.one()
    return int(questions), int(answered)


def add_activity(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add to the counts of lenders; one row per lender and span."""
    if not rows:
        return
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    change = dialect.insert(activity)
    more = {name: activity.c[name] + change.excluded[name] for name in ("questions", "answered")}
    change = change.on_conflict_do_update(index_elements=["lender", "span", "start"], set_=more)
    connection.execute(change, rows)


def refusals_of(connection: Connection, lender: str, since: int, limit: int) -> Sequence[Row[Any]]:
    """The refused questions of a lender since a time that are kept, oldest first."""
    r = refusals.c
    query = select(refusals).where(r.lender == lender, r.time >= since)
    return connection.execute(query.order_by(r.log_index).limit(limit)).all()


def add_refusals(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(refusals), rows)


def asked_about(
    connection: Connection, subs: Collection[bytes], since: int, *lenders: str
) -> Sequence[Any]:
    """The answers about borrowers since a time, of these lenders or of all, in the log's order:
    rows of (sub, lender, policy_digest, log_index, time)."""
    a = answers.c
    query = select(a.sub, a.lender, a.policy_digest, a.log_index, a.time)
    query = query.where(a.sub.in_(subs), a.time >= since)
    if lenders:
        query = query.where(a.lender.in_(lenders))
    return list(connection.execute(query.order_by(a.log_index)))


def asked_by_several(connection: Connection, since: int) -> Sequence[bytes]:
    """The borrowers about whom more than one lender was answered since a time."""
    a = answers.c
    several = func.count(a.lender.distinct()) > 1
    query = select(a.sub).where(a.time >= since).group_by(a.sub).having(several)
    return connection.execute(query).scalars().all()


def latest_of(connection: Connection, lender: str, since: int, limit: int) -> Sequence[int]:
    """The log indexes of a lender's newest answers and refusals since a time."""
    a, r = answers.c, refusals.c
    both = union_all(
        select(a.log_index).where(a.time >= since, a.lender == lender),
        select(r.log_index).where(r.time >= since, r.lender == lender),
    ).subquery()
    query = select(both.c.log_index).order_by(both.c.log_index.desc()).limit(limit)
    return connection.execute(query).scalars().all()


def forget(connection: Connection, before: int) -> None:
    """Delete refused questions and counts of before a time: no rule looks at them."""
    connection.execute(delete(refusals).where(refusals.c.time < before))
    connection.execute(delete(activity).where(activity.c.start < before))


# -- what providers did -----------------------------------------------------------


def chain_lines(
    connection: Connection, places: Collection[tuple[bytes, int]]
) -> Mapping[bytes, bytes]:
    """The entry's line of the attestation at each (chain, seq), by chain."""
    a = attestations.c
    joined = select(a.chain_id, log_entries.c.line).join(
        log_entries, log_entries.c.log_index == a.log_index
    )
    there = tuple_(a.chain_id, a.seq).in_(list(places))
    return {row.chain_id: row.line for row in connection.execute(joined.where(there))}


def chain_indexes(connection: Connection, chain_id: bytes, after: int) -> Sequence[int]:
    """The log indexes of a chain's attestations with a greater `seq`, in order."""
    a = attestations.c
    query = select(a.log_index).where(a.chain_id == chain_id, a.seq > after).order_by(a.seq)
    return connection.execute(query).scalars().all()
