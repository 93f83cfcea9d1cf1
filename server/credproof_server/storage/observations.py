"""The SQL of misuse monitoring: one short function per question, on a connection passed in.

What runs in every commit of questions is built once: building a statement costs more than it does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import ModuleType
from typing import Any

from sqlalchemy import (
    Connection,
    Executable,
    Row,
    bindparam,
    delete,
    func,
    insert,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from credproof_server.storage.tables import activity, anomalies, answers, attestations, refusals
from credproof_server.storage.tables import entries as log_entries

# -- what was raised --------------------------------------------------------------


def add_anomaly(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(anomalies), [row])


_LATELY = (anomalies.c.time >= bindparam("since")) | (anomalies.c.until >= bindparam("since"))
_RAISED_OF = (
    select(anomalies)
    .where(anomalies.c.participant.in_(bindparam("participants", expanding=True)), _LATELY)
    .order_by(anomalies.c.log_index)
)


def raised_of(
    connection: Connection, participants: Collection[str], since: int
) -> Sequence[Row[Any]]:
    """What was raised about participants since a time, or throttles them after it, oldest first."""
    wanted = {"participants": list(participants), "since": since}
    return connection.execute(_RAISED_OF, wanted).all()


def raised_together(connection: Connection, since: int) -> Sequence[Row[Any]]:
    """What was raised since a time about several participants together, oldest first."""
    a = anomalies.c
    query = select(anomalies).where(a.participant.is_(None), a.time >= since)
    return connection.execute(query.order_by(a.log_index)).all()


_THROTTLED = select(anomalies.c.participant).where(
    anomalies.c.participant.in_(bindparam("participants", expanding=True)),
    anomalies.c.until > bindparam("now"),
)


def throttled(connection: Connection, participants: Collection[str], now: int) -> set[str]:
    """Those of these participants whose questions are refused now."""
    wanted = {"participants": list(participants), "now": now}
    return set(connection.execute(_THROTTLED, wanted).scalars())


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


_TALLIES_AT = select(activity.c.lender, activity.c.questions, activity.c.answered).where(
    activity.c.lender.in_(bindparam("lenders", expanding=True)),
    activity.c.span == bindparam("span"),
    activity.c.start == bindparam("start"),
)


def tallies_at(
    connection: Connection, lenders: Collection[str], span: int, start: int
) -> Mapping[str, tuple[int, int]]:
    """How many questions lenders put, and how many were answered, in the span that starts then."""
    rows = connection.execute(_TALLIES_AT, {"lenders": list(lenders), "span": span, "start": start})
    return {row.lender: (row.questions, row.answered) for row in rows}


def tally_since(connection: Connection, lender: str, span: int, start: int) -> tuple[int, int]:
    """The same of one lender, summed over the spans that start then or later."""
    a = activity.c
    sums = select(func.coalesce(func.sum(a.questions), 0), func.coalesce(func.sum(a.answered), 0))
    found = connection.execute(sums.where(a.lender == lender, a.span == span, a.start >= start))
    questions, answered = found.one()
    return int(questions), int(answered)


def _adding(dialect: ModuleType) -> Executable:
    change = dialect.insert(activity)
    more = {name: activity.c[name] + change.excluded[name] for name in ("questions", "answered")}
    found: Executable = change.on_conflict_do_update(
        index_elements=["lender", "span", "start"], set_=more
    )
    return found


_ADD_ACTIVITY = {"postgresql": _adding(postgresql), "sqlite": _adding(sqlite)}


def add_activity(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add to the counts of lenders; one row per lender and span."""
    if rows:
        connection.execute(_ADD_ACTIVITY[connection.dialect.name], rows)


def refusals_of(
    connection: Connection, lender: str, reasons: Collection[str], since: int, limit: int
) -> Sequence[Row[Any]]:
    """A lender's newest questions refused since a time for these reasons, oldest first."""
    r = refusals.c
    query = select(refusals).where(r.lender == lender, r.reason.in_(reasons), r.time >= since)
    newest = connection.execute(query.order_by(r.log_index.desc()).limit(limit)).all()
    return newest[::-1]


def refused_under(
    connection: Connection,
    lender: str,
    reasons: Collection[str],
    since: int,
    consents: Collection[bytes],
) -> set[bytes]:
    """Those of these consents under which a lender was refused for these reasons since a time."""
    r = refusals.c
    query = select(r.consent_id).where(r.lender == lender, r.time >= since, r.reason.in_(reasons))
    return set(connection.execute(query.where(r.consent_id.in_(consents))).scalars())


def count_consents(
    connection: Connection, lender: str, reasons: Collection[str], since: int
) -> int:
    """Under how many consents a lender was refused for these reasons since a time."""
    r = refusals.c
    query = select(func.count(r.consent_id.distinct()))
    query = query.where(r.lender == lender, r.time >= since, r.reason.in_(reasons))
    return connection.execute(query).scalar_one()


def add_refusals(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(insert(refusals), rows)


def trim_refusals(
    connection: Connection, lender: str, reasons: Collection[str], most: int, before: int
) -> None:
    """Keep the newest of a lender's questions that were refused for these reasons, `most` of them,
    and for any other reason only those since the time `before`."""
    r = refusals.c
    counted = (r.lender == lender, r.reason.in_(reasons))
    newest_first = select(r.log_index).where(*counted).order_by(r.log_index.desc())
    oldest = newest_first.offset(most).limit(1).scalar_subquery()
    connection.execute(delete(refusals).where(*counted, r.log_index <= oldest))
    others = (r.lender == lender, r.reason.not_in(reasons))
    connection.execute(delete(refusals).where(*others, r.time < before))


_FIRST = func.min(answers.c.log_index).label("log_index")
_FIRST_ASKED = (
    select(answers.c.sub, answers.c.lender, answers.c.policy_digest, _FIRST)
    .where(
        answers.c.sub.in_(bindparam("subs", expanding=True)),
        answers.c.lender.in_(bindparam("lenders", expanding=True)),
        answers.c.time >= bindparam("since"),
        answers.c.log_index > bindparam("after"),
    )
    .group_by(answers.c.sub, answers.c.lender, answers.c.policy_digest)
    .order_by(_FIRST)
)


def first_asked(
    connection: Connection,
    lenders: Collection[str],
    subs: Collection[bytes],
    since: int,
    after: int,
) -> Sequence[Row[Any]]:
    """When lenders were first answered about borrowers under each policy, since a time and after
    the entry `after`, in the log's order: rows of (sub, lender, policy_digest, log_index)."""
    wanted = {"lenders": list(lenders), "subs": list(subs), "since": since, "after": after}
    return list(connection.execute(_FIRST_ASKED, wanted))


def asked_about(connection: Connection, subs: Collection[bytes], since: int) -> Sequence[Any]:
    """The answers about borrowers since a time, in the log's order: rows of (sub, lender,
    policy_digest, log_index, time)."""
    a = answers.c
    query = select(a.sub, a.lender, a.policy_digest, a.log_index, a.time)
    query = query.where(a.sub.in_(subs), a.time >= since)
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


def forget_refusals(connection: Connection, before: int) -> None:
    """Delete refused questions of before a time: no rule looks at them."""
    connection.execute(delete(refusals).where(refusals.c.time < before))


def forget_activity(connection: Connection, before: int) -> None:
    """Delete counts of before a time: no rule looks at them."""
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
