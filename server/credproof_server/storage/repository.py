"""All SQL of the service: one short function per question, on a connection passed in.

What an answer or a batch needs is stated once, above its function: to build a statement costs
more than to run it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import (
    BindParameter,
    Connection,
    Row,
    Subquery,
    bindparam,
    func,
    insert,
    select,
    update,
)

from credproof_server.storage.tables import (
    anomalies,
    answers,
    attestations,
    commits,
    conflicts,
    consents,
    directory_roots,
    documents,
    ended_keys,
    entries,
    evaluations,
    pauses,
    signatures,
    trust_bundles,
    unseal_decisions,
    unsealed_details,
    unsealings,
    withdrawals,
)

T = TypeVar("T")


def _each(name: str) -> BindParameter[Any]:
    """A list of values that is passed in later, for `in_`."""
    return bindparam(name, expanding=True)


# -- the log ------------------------------------------------------------------


def lines(connection: Connection, start: int, limit: int) -> Sequence[bytes]:
    """Entries from `start` on, in order."""
    query = select(entries.c.line).where(entries.c.log_index >= start)
    return connection.execute(query.order_by(entries.c.log_index).limit(limit)).scalars().all()


def leaves(connection: Connection) -> Iterator[tuple[bytes, bytes]]:
    """Line and stored leaf hash of every entry, in order, read page by page."""
    start = 0
    while True:
        query = select(entries.c.line, entries.c.leaf).where(entries.c.log_index >= start)
        page = connection.execute(query.order_by(entries.c.log_index).limit(1000)).all()
        if not page:
            return
        yield from ((row.line, row.leaf) for row in page)
        start += len(page)


def roots(connection: Connection) -> Mapping[int, bytes]:
    """The root of each commit, by its tree size."""
    return {row.tree_size: row.root for row in connection.execute(select(commits))}


def all_lines(connection: Connection, size: int = 1000) -> Iterator[bytes]:
    """All entries in order, read page by page."""
    start = 0
    while page := lines(connection, start, size):
        yield from page
        start += len(page)


def first_index(connection: Connection) -> int | None:
    """The index of the first entry that is there."""
    return connection.execute(select(func.min(entries.c.log_index))).scalar()


_LINES_AT = select(entries.c.log_index, entries.c.line).where(
    entries.c.log_index.in_(_each("indexes"))
)


def lines_at(connection: Connection, indexes: Sequence[int]) -> Mapping[int, bytes]:
    """The entries at these indexes."""
    rows = connection.execute(_LINES_AT, {"indexes": indexes})
    return {row.log_index: row.line for row in rows}


def logged_after(connection: Connection, log_index: int, text: bytes) -> bool:
    """Whether a line after this one holds a text."""
    later = entries.c.log_index > log_index, func.instr(entries.c.line, text) > 0
    return (
        connection.execute(select(entries.c.log_index).where(*later).limit(1)).first() is not None
    )


_ADD_ENTRIES, _ADD_COMMIT = insert(entries), insert(commits)


def add_entries(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Keep entries of the log with their leaf hashes."""
    connection.execute(_ADD_ENTRIES, rows)


def add_commit(connection: Connection, tree_size: int, root: bytes) -> None:
    """Keep size and root of the tree after a commit."""
    connection.execute(_ADD_COMMIT, {"tree_size": tree_size, "root": root})


def commit_covering(connection: Connection, log_index: int) -> int:
    """The tree size of the commit that brought this entry."""
    query = select(func.min(commits.c.tree_size)).where(commits.c.tree_size > log_index)
    return int(connection.execute(query).scalar_one())


# -- attestations -------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Head:
    """The newest accepted token of a chain."""

    seq: int
    token_id: bytes
    sub: bytes
    withdrawn: bool = False


_ACCEPTED = select(
    attestations.c.token_id, attestations.c.sub, attestations.c.log_index, attestations.c.provider
).where(attestations.c.token_id.in_(_each("token_ids")))


def accepted(
    connection: Connection, token_ids: Sequence[bytes]
) -> Mapping[bytes, Row[bytes, bytes, int, str]]:
    """Of these tokens the accepted ones: rows of (token_id, sub, log_index, provider)."""
    rows = connection.execute(_ACCEPTED, {"token_ids": token_ids})
    return {row.token_id: row for row in rows}


_a = attestations.c
_CHAIN_HEADS = select(_a.chain_id, _a.seq, _a.token_id, _a.sub, _a.withdrawn_index).where(
    _a.chain_id.in_(_each("chain_ids")), _a.current.is_(True)
)


def chain_heads(connection: Connection, chain_ids: Sequence[bytes]) -> Mapping[bytes, Head]:
    """The heads of these chains, where they have one."""
    rows = connection.execute(_CHAIN_HEADS, {"chain_ids": chain_ids})
    return {r.chain_id: Head(r.seq, r.token_id, r.sub, r.withdrawn_index is not None) for r in rows}


_HELD_OF = (
    select(_a.sub, _a.schema_digest, func.count().label("held"))
    .where(_a.sub.in_(_each("subs")), _a.current.is_(True), _a.withdrawn_index.is_(None))
    .where(_a.provider == bindparam("provider"))
    .group_by(_a.sub, _a.schema_digest)
)


def held_of(
    connection: Connection, provider: str, subs: Collection[bytes]
) -> Counter[tuple[bytes, bytes]]:
    """How many attestations of a provider count, by borrower and schema digest."""
    rows = connection.execute(_HELD_OF, {"provider": provider, "subs": list(subs)})
    return Counter({(row.sub, row.schema_digest): row.held for row in rows})


def token_with_seq(connection: Connection, chain_id: bytes, seq: int) -> bytes | None:
    """The accepted token that has this place in a chain."""
    query = select(_a.token_id).where(_a.chain_id == chain_id, _a.seq == seq)
    return connection.execute(query).scalar()


_ADD_ATTESTATIONS = insert(attestations)


def add_attestations(
    connection: Connection, rows: Sequence[Mapping[str, Any]], superseded: Sequence[bytes]
) -> None:
    """Keep accepted attestations; those they supersede are no longer current."""
    if superseded:
        old = update(attestations).where(attestations.c.token_id.in_(superseded))
        connection.execute(old.values(current=False))
    if rows:
        connection.execute(_ADD_ATTESTATIONS, rows)


def add_conflict(connection: Connection, row: Mapping[str, Any]) -> None:
    """Keep the evidence of an equivocation."""
    connection.execute(insert(conflicts), [row])


def conflict_known(connection: Connection, token_id: bytes) -> bool:
    query = select(conflicts.c.token_id).where(conflicts.c.token_id == token_id)
    return connection.execute(query).first() is not None


def attestation(connection: Connection, token_id: bytes) -> Row[Any] | None:
    """The row of an accepted attestation."""
    query = select(attestations).where(attestations.c.token_id == token_id)
    return connection.execute(query).first()


def withdraw(connection: Connection, token_id: bytes, token: str, log_index: int) -> None:
    """Mark an attestation as withdrawn by the entry at `log_index`, and keep the signature."""
    change = update(attestations).where(attestations.c.token_id == token_id)
    connection.execute(change.values(withdrawn_index=log_index))
    row = {"token_id": token_id, "token": token.encode("ascii"), "log_index": log_index}
    connection.execute(insert(withdrawals), [row])


def end_key(connection: Connection, sub: bytes, kid: str, log_index: int) -> None:
    """End a borrower's key by the entry at `log_index`: no binding before it counts."""
    row = {"sub": sub, "kid": kid, "log_index": log_index}
    connection.execute(insert(ended_keys), [row])


_ENDED_KEYS = (
    select(ended_keys).where(ended_keys.c.sub.in_(_each("subs"))).order_by(ended_keys.c.log_index)
)


def ended_keys_of(
    connection: Connection, subs: Collection[bytes]
) -> Mapping[bytes, Mapping[str, int]]:
    """The log index by which each key of these borrowers was last ended, by fingerprint."""
    found: defaultdict[bytes, dict[str, int]] = defaultdict(dict)
    for row in connection.execute(_ENDED_KEYS, {"subs": list(subs)}):
        found[row.sub][row.kid] = row.log_index
    return found


_COUNTING = (
    attestations.c.sub.in_(_each("subs")),
    attestations.c.current.is_(True),
    attestations.c.withdrawn_index.is_(None),
)
_CURRENT = select(attestations).where(*_COUNTING).order_by(attestations.c.log_index)
_CURRENT_TOKENS = (
    select(attestations.c.sub, attestations.c.token_id)
    .where(*_COUNTING)
    .order_by(attestations.c.log_index)
)


def current_attestations(
    connection: Connection, subs: Collection[bytes]
) -> Mapping[bytes, list[Row[Any]]]:
    """All attestations of borrowers that count, in the order of the log."""
    rows = connection.execute(_CURRENT, {"subs": list(subs)})
    return _by_subject(rows, lambda row: row)


def current_tokens(connection: Connection, subs: Collection[bytes]) -> Mapping[bytes, list[bytes]]:
    """The ids of all attestations of borrowers that count, in the order of the log."""
    rows = connection.execute(_CURRENT_TOKENS, {"subs": list(subs)})
    return _by_subject(rows, lambda row: row.token_id)


def _by_subject(rows: Iterable[Any], take: Callable[[Row[Any]], T]) -> Mapping[bytes, list[T]]:
    found: defaultdict[bytes, list[T]] = defaultdict(list)
    for row in rows:
        found[row.sub].append(take(row))
    return found


def wrongly_current(connection: Connection) -> Sequence[int]:
    """The log indexes of attestations that are marked as the newest of their chain and are not,
    or the other way round."""
    other = attestations.alias()
    newest = select(func.max(other.c.seq)).where(other.c.chain_id == _a.chain_id)
    query = select(_a.log_index).where(_a.current != (_a.seq == newest.scalar_subquery()))
    return connection.execute(query.order_by(_a.log_index)).scalars().all()


# -- whole tables, for checking -------------------------------------------------


def _decided(*, approves: bool) -> Subquery:
    decisions = select(unseal_decisions).where(unseal_decisions.c.approves.is_(approves))
    return decisions.subquery()


_TABLES = {
    "attestation": attestations,
    "withdrawal": withdrawals,
    "ended key": ended_keys,
    "conflict": conflicts,
    "consent": consents,
    "signature": signatures,
    "pause": select(pauses).where(pauses.c.paused.is_(True)).subquery(),
    "resumption": select(pauses).where(pauses.c.paused.is_(False)).subquery(),
    "answer": answers,
    "trust bundle": trust_bundles,
    "anomaly": anomalies,
    "unsealing": unsealings,
    "unseal approval": _decided(approves=True),
    "unseal refusal": _decided(approves=False),
    "unsealed detail": unsealed_details,
    "directory root": directory_roots,
}


def pages(connection: Connection, name: str, size: int = 500) -> Iterator[Sequence[Row[Any]]]:
    """Every row of a kind ("attestation", "answer", …) in the order of the log, page by page."""
    table, last = _TABLES[name], -1
    while True:
        query = select(table).where(table.c.log_index > last)
        rows = connection.execute(query.order_by(table.c.log_index).limit(size)).all()
        if not rows:
            return
        yield rows
        last = rows[-1].log_index


def all_documents(connection: Connection) -> Sequence[Row[bytes, bytes]]:
    """Digest and content of every document."""
    return connection.execute(select(documents.c.digest, documents.c.content)).all()


def all_evaluations(connection: Connection) -> Sequence[Row[str, str, int]]:
    """Participant, day and count of every row of the meter."""
    e = evaluations.c
    return connection.execute(select(e.participant, e.day, e.count)).all()


def logged_rows(connection: Connection, name: str) -> set[int]:
    """The log indexes of all rows of such a table, named as in `pages`."""
    return set(connection.execute(select(_TABLES[name].c.log_index)).scalars())


def ended(connection: Connection) -> tuple[set[int], set[int]]:
    """The log indexes by which consents are revoked, and attestations withdrawn."""
    columns = (consents.c.revoked_index, attestations.c.withdrawn_index)
    queries = (select(column).where(column.is_not(None)) for column in columns)
    revoked, withdrawn = (set(connection.execute(query).scalars()) for query in queries)
    return revoked, withdrawn


# -- consents and answers -----------------------------------------------------


def consent(connection: Connection, consent_id: bytes) -> Row[Any] | None:
    """The row of a consent."""
    query = select(consents).where(consents.c.consent_id == consent_id)
    return connection.execute(query).first()


def consent_to(connection: Connection, sub: bytes, request: bytes) -> Row[Any] | None:
    """The row of a borrower's consent to the request with this id."""
    c = consents.c
    query = select(consents).where(c.sub == sub, c.request == request)
    return connection.execute(query).first()


_SIGNATURES = (
    select(signatures)
    .where(signatures.c.consent_id.in_(_each("consent_ids")))
    .order_by(signatures.c.log_index)
)


def signatures_under(
    connection: Connection, consent_ids: Collection[bytes]
) -> Mapping[bytes, list[Row[Any]]]:
    """The rows of further signatures under consents, in the order of the log."""
    found: defaultdict[bytes, list[Row[Any]]] = defaultdict(list)
    for row in connection.execute(_SIGNATURES, {"consent_ids": list(consent_ids)}):
        found[row.consent_id].append(row)
    return found


def add_signature(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(signatures), [row])


def add_consent(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(consents), [row])


def revoke_consent(connection: Connection, consent_id: bytes, log_index: int) -> None:
    """Mark a consent as revoked by the entry at `log_index`."""
    change = update(consents).where(consents.c.consent_id == consent_id)
    connection.execute(change.values(revoked_index=log_index))


def newest_pause(connection: Connection, consent_id: bytes) -> Row[Any] | None:
    """The row of the newest pause or resumption of a consent."""
    query = select(pauses).where(pauses.c.consent_id == consent_id)
    return connection.execute(query.order_by(pauses.c.log_index.desc()).limit(1)).first()


def is_pause_known(connection: Connection, document_id: bytes) -> bool:
    """Whether this very pause or resumption was kept before."""
    query = select(pauses.c.log_index).where(pauses.c.document_id == document_id)
    return connection.execute(query).first() is not None


def add_pause(connection: Connection, row: Mapping[str, Any]) -> None:
    connection.execute(insert(pauses), [row])


_pause, _later = pauses.c, pauses.alias().c
_NEWEST_PAUSE = select(func.max(_later.log_index)).where(_later.consent_id == _pause.consent_id)
_PAUSED = select(_pause.consent_id).where(
    _pause.consent_id.in_(_each("consent_ids")),
    _pause.paused.is_(True),
    _pause.log_index == _NEWEST_PAUSE.scalar_subquery(),
)


def paused(connection: Connection, consent_ids: Collection[bytes]) -> Collection[bytes]:
    """Those of these consents that are paused."""
    return set(connection.execute(_PAUSED, {"consent_ids": list(consent_ids)}).scalars())


_CONSENTS = select(consents).where(consents.c.consent_id.in_(_each("consent_ids")))


def consents_by_id(
    connection: Connection, consent_ids: Collection[bytes]
) -> Mapping[bytes, Row[Any]]:
    """The rows of these consents, where they are known."""
    rows = connection.execute(_CONSENTS, {"consent_ids": list(consent_ids)})
    return {row.consent_id: row for row in rows}


_ANSWERS_TO = select(answers).where(
    answers.c.lender.in_(_each("lenders")), answers.c.request_id.in_(_each("request_ids"))
)


def answers_to(
    connection: Connection, requests: Collection[tuple[str, bytes]]
) -> Mapping[tuple[str, bytes], Row[Any]]:
    """The rows of the answers to these requests, each a lender and its request id."""
    lenders, ids = {lender for lender, _ in requests}, [request_id for _, request_id in requests]
    rows = connection.execute(_ANSWERS_TO, {"lenders": list(lenders), "request_ids": ids})
    return {(row.lender, row.request_id): row for row in rows}


_USES_UNDER = (
    select(answers.c.consent_id, answers.c.policy_digest, func.count())
    .where(answers.c.consent_id.in_(_each("consent_ids")))
    .group_by(answers.c.consent_id, answers.c.policy_digest)
)


def uses_under(
    connection: Connection, consent_ids: Collection[bytes]
) -> Counter[tuple[bytes, bytes]]:
    """How many answers were given under consents, by consent and digest of the policy."""
    rows = connection.execute(_USES_UNDER, {"consent_ids": list(consent_ids)})
    return Counter({(consent_id, digest): count for consent_id, digest, count in rows})


_USES_SINCE = (
    select(answers.c.lender, answers.c.sub, answers.c.policy_digest, func.count())
    .where(
        answers.c.lender.in_(_each("lenders")),
        answers.c.sub.in_(_each("subs")),
        answers.c.time >= bindparam("since"),
    )
    .group_by(answers.c.lender, answers.c.sub, answers.c.policy_digest)
)


def uses_since(
    connection: Connection, lenders: Collection[str], subs: Collection[bytes], since: int
) -> Counter[tuple[str, bytes, bytes]]:
    """How many answers were given since a time, by lender, borrower and digest of the policy."""
    given = {"lenders": list(lenders), "subs": list(subs), "since": since}
    rows = connection.execute(_USES_SINCE, given)
    return Counter({(lender, sub, digest): count for lender, sub, digest, count in rows})


_ADD_ANSWERS = insert(answers)


def add_answers(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(_ADD_ANSWERS, rows)
