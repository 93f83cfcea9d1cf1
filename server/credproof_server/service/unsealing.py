"""Unsealing: a detail behind an entry is given to two auditors who agreed, and it is logged first.

Who asks, who decides, and that something was given are decided in the commit that logs it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.encoding import b64url, frame, parse_frame
from credproof.base.errors import (
    Conflict,
    DataLoss,
    Malformed,
    Refused,
    VerificationFailed,
)
from credproof.base.limits import UNSEALINGS_PAGE_MAX, UNSEALINGS_PENDING_MAX, at_most
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.verification.answer import Reference
from credproof.verification.details import DETAILS, Opening, no_such_detail
from credproof.verification.trust import Trust
from credproof.verification.unsealing import (
    ENTRY_APPROVED,
    ENTRY_ASKED,
    ENTRY_DECLINED,
    ENTRY_UNSEALED,
    UnsealDecision,
    UnsealRequest,
    parse_unseal_decision,
    parse_unseal_request,
    require_fresh,
    require_reason,
    require_second,
    verify_unsealing,
)
from sqlalchemy import Connection, Row

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.service.opening import open_detail, require_kept
from credproof_server.storage import repository, unsealings
from credproof_server.storage.vault import DataKey

ROW: Final = "unsealing"


@dataclass(frozen=True, slots=True)
class Listed:
    """A request, what was decided on it, and where it was given. Without its reason when the
    borrower whom the entry is about was erased."""

    log_index: int
    request: str
    reason: Reference | None
    decision: str
    decided_index: int
    given: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """A detail, and the index of the entry that says that it was given."""

    opening: Opening
    log_index: int


def no_such_unsealing() -> Conflict:
    return Conflict("NO_SUCH_UNSEALING", "nobody asked so: see credproof audit unseals")


def expired() -> Refused:
    return Refused("UNSEAL_EXPIRED", "this request has ended: ask anew, credproof audit unseal")


def erased() -> Refused:
    """Told as it is: nothing can open the detail any more, for nobody."""
    return Refused("DETAIL_ERASED", "the borrower was erased, and this detail with them")


class Unsealing:
    """The use case of two auditors."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ask(self, auditor: str, text: str, reason: Reference) -> int:
        """Log and keep a request; gives its log index. The same one again gives the same.

        Raises:
            Malformed: the request does not parse; `NO_REASON`, `NO_SUCH_INDEX`, `NO_SUCH_DETAIL`.
            VerificationFailed: as `verify_unsealing`, `require_fresh`; `WRONG_ISSUER`,
                `OTHER_REASON`, `OTHER_ENTRY`.
            Refused: `DETAIL_ERASED`, `DETAIL_NOT_KEPT`.
            LimitExceeded: too many requests wait.
        """
        command = await self._core.in_thread(lambda: self._request(auditor, text, reason))
        return (await self._core.commit(command)).value

    def _request(self, auditor: str, text: str, reason: Reference) -> AskUnseal:
        request = parse_unseal_request(text)
        _require_own(request, auditor, self._core)
        require_reason(reason.text)
        if reason.digest != request.reason:
            raise VerificationFailed("OTHER_REASON", "the request has another reason's digest")
        with self._core.engine.connect() as connection:
            entry = self._entry(connection, request.log_index, request.entry)
            row, key = self._place(connection, entry, request.detail)
        return AskUnseal(request, row.sub, key, reason)

    def _entry(self, connection: Connection, log_index: int, digest: bytes | None) -> Entry:
        """A signed entry; with a digest, only the one whose line has it."""
        if log_index >= self._core.sequencer.head.tree_size:
            raise Malformed("NO_SUCH_INDEX", "the signed log has no entry of this index")
        line = repository.lines(connection, log_index, 1)[0]
        if digest is not None and entry_hash(line) != digest:
            raise VerificationFailed("OTHER_ENTRY", "the log has another entry at this index")
        return parse_entry(line)

    def _place(self, connection: Connection, entry: Entry, detail: str) -> tuple[Row[Any], DataKey]:
        """What is stored of an entry, and the key that opens it."""
        if detail not in DETAILS.get(entry.kind, ()):
            raise no_such_detail()
        row = unsealings.place(connection, entry.kind, entry.seq)
        if row is None:
            raise DataLoss("ROW_MISSING", "what was logged is not stored")
        key = self._core.vault.existing([row.sub]).get(row.sub)
        if key is None:
            raise erased()
        require_kept(row, detail)
        return row, key

    async def decide(self, auditor: str, text: str) -> int:
        """Log and keep what a second auditor says; gives its log index.

        Raises:
            Malformed: the decision does not parse.
            VerificationFailed: as `verify_unsealing`, `require_fresh`, `require_second`.
            Refused: `UNSEAL_EXPIRED`.
            Conflict: `NO_SUCH_UNSEALING`, `UNSEAL_DECIDED`.
        """
        decision = parse_unseal_decision(text)
        _require_own(decision, auditor, self._core)
        return (await self._core.commit(DecideUnseal(decision))).value

    async def open(self, auditor: str, request_id: bytes) -> Given:
        """The detail of an approved request, once that it is given is logged.

        Raises:
            Refused: `UNSEAL_NOT_APPROVED`, `UNSEAL_EXPIRED`, `OTHER_AUDITORS`,
                `AUDITOR_SUSPENDED`, `DETAIL_ERASED`.
            Conflict: `NO_SUCH_UNSEALING`.
            DataLoss: a stored row is damaged.
        """
        command, opening = await self._core.in_thread(lambda: self._open(auditor, request_id))
        return Given(opening, (await self._core.commit(command)).value)

    def _open(self, auditor: str, request_id: bytes) -> tuple[GiveDetail, Opening]:
        core = self._core
        with core.engine.connect() as connection:
            row = _approved(connection, request_id, auditor, core.trust, core.clock())
            entry = self._entry(connection, row.entry_index, None)
            place, key = self._place(connection, entry, row.detail)
        opening = open_detail(entry, row.detail, place, key)
        return GiveDetail(auditor, request_id, key), opening

    async def listed(self, start: int) -> Sequence[Listed]:
        """Requests from a log index on, a page of them."""
        return await self._core.in_thread(lambda: self._list(start))

    def _list(self, start: int) -> Sequence[Listed]:
        with self._core.engine.connect() as connection:
            rows = unsealings.requests(connection, start, UNSEALINGS_PAGE_MAX)
            ids = [row.request_id for row in rows]
            decided = unsealings.decisions(connection, ids)
            given = unsealings.given(connection, ids)
        keys = self._core.vault.existing(row.sub for row in rows)
        places = {name: tuple(g.log_index for g in given if g.request_id == name) for name in ids}
        return [_listed(row, keys, decided, places[row.request_id]) for row in rows]


def _listed(
    row: Row[Any],
    keys: Mapping[bytes, DataKey],
    decided: Mapping[bytes, Row[Any]],
    given: tuple[int, ...],
) -> Listed:
    key, decision = keys.get(row.sub), decided.get(row.request_id)
    return Listed(
        log_index=row.log_index,
        request=row.request.decode("ascii"),
        reason=None if key is None else reason_of(row, key),
        decision="" if decision is None else decision.decision.decode("ascii"),
        decided_index=0 if decision is None else decision.log_index,
        given=given,
    )


def reason_of(row: Row[Any], key: DataKey) -> Reference:
    """Why a request was made.

    Raises:
        DataLoss: `ROW_NOT_OPENED`.
    """
    salt, text = parse_frame(key.open(ROW, row.request_id, row.sealed))
    return Reference(text.decode(), salt)


def _require_own(document: UnsealRequest | UnsealDecision, auditor: str, core: Core) -> None:
    """The caller signed it, now, for this service."""
    if document.auditor != auditor:
        raise VerificationFailed("WRONG_ISSUER", "it is signed by another than the caller")
    verify_unsealing(document, core.trust)
    require_fresh(document, core.clock())


def _approved(
    connection: Connection, request_id: bytes, auditor: str, trust: Trust, now: int
) -> Row[Any]:
    """A request whose detail this auditor may have at this moment."""
    row = unsealings.request(connection, request_id)
    if row is None:
        raise no_such_unsealing()
    decision = unsealings.decisions(connection, [request_id]).get(request_id)
    if decision is None or not decision.approves:
        raise Refused("UNSEAL_NOT_APPROVED", "no second auditor has approved of this request")
    if auditor not in (row.auditor, decision.auditor):
        raise Refused("OTHER_AUDITORS", "two others agreed on it: ask for it yourself")
    if now > row.until:
        raise expired()
    for name in (row.auditor, decision.auditor):
        listed = trust.participants.get(name)
        if listed is None or listed.role != "auditor" or listed.status != "active":
            raise Refused("AUDITOR_SUSPENDED", "one of the two auditors is active no more")
    return row


class AskUnseal:
    """Logs a request and keeps it, with its reason under the borrower's key."""

    def __init__(self, request: UnsealRequest, sub: bytes, key: DataKey, why: Reference) -> None:
        self._request = request
        self._sub = sub
        self._key = key
        self._why = why

    def apply(self, tx: Transaction) -> int:
        """The log index of the request."""
        request, salt = self._request, fresh_salt()
        known = unsealings.request(tx.connection, request.id)
        if known is not None:
            return int(known.log_index)
        _require_auditor(tx, request)
        count = unsealings.pending(tx.connection, request.auditor, tx.time) + 1
        at_most(count, UNSEALINGS_PENDING_MAX, "the number of an auditor's undecided requests")
        fields: dict[str, object] = {
            "detail": request.detail,
            "entry": request.log_index,
            "reason": b64url(request.reason),
            "tag": b64url(self._key.tag(salt)),
            "until": request.until,
        }
        index = tx.append(ENTRY_ASKED, request.auditor, request.id, salt=salt, fields=fields)
        unsealings.add_request(tx.connection, self._row(index))
        return index

    def _row(self, index: int) -> dict[str, object]:
        request = self._request
        why = frame((self._why.salt, self._why.text.encode()))
        return {
            "log_index": index,
            "request_id": request.id,
            "auditor": request.auditor,
            "entry_index": request.log_index,
            "detail": request.detail,
            "until": request.until,
            "sub": self._sub,
            "request": request.jws.token.encode("ascii"),
            "sealed": self._key.seal(ROW, request.id, why),
        }


class DecideUnseal:
    """Logs what a second auditor says to a request, once."""

    def __init__(self, decision: UnsealDecision) -> None:
        self._decision = decision

    def apply(self, tx: Transaction) -> int:
        """The log index of the decision; the same one again changes nothing."""
        decision = self._decision
        row = unsealings.request(tx.connection, decision.request)
        if row is None:
            raise no_such_unsealing()
        known = unsealings.decisions(tx.connection, [decision.request]).get(decision.request)
        if known is not None and known.decision == decision.jws.token.encode("ascii"):
            return int(known.log_index)
        if known is not None:
            raise Conflict("UNSEAL_DECIDED", "this request was decided before")
        if tx.time > row.until:
            raise expired()
        _require_auditor(tx, decision)
        require_second(parse_unseal_request(row.request.decode("ascii")), decision)
        return self._keep(tx, row.sub)

    def _keep(self, tx: Transaction, sub: bytes) -> int:
        decision = self._decision
        kind = ENTRY_APPROVED if decision.approves else ENTRY_DECLINED
        fields: dict[str, object] = {"request": b64url(decision.request)}
        index = tx.append(kind, decision.auditor, decision.jws.id, salt=fresh_salt(), fields=fields)
        row = {
            "log_index": index,
            "request_id": decision.request,
            "auditor": decision.auditor,
            "approves": decision.approves,
            "sub": sub,
            "decision": decision.jws.token.encode("ascii"),
        }
        unsealings.add_decision(tx.connection, row)
        return index


class GiveDetail:
    """Logs that a detail is given to an auditor, once for each of the two."""

    def __init__(self, auditor: str, request_id: bytes, key: DataKey) -> None:
        self._auditor = auditor
        self._request_id = request_id
        self._key = key

    def apply(self, tx: Transaction) -> int:
        """The log index of the entry that says so."""
        assert tx.trust is not None
        name, auditor, salt = self._request_id, self._auditor, fresh_salt()
        row = _approved(tx.connection, name, auditor, tx.trust, tx.time)
        for given in unsealings.given(tx.connection, [name]):
            if given.auditor == auditor:
                return int(given.log_index)
        tag = b64url(self._key.tag(salt))
        fields: dict[str, object] = {"detail": row.detail, "entry": row.entry_index, "tag": tag}
        index = tx.append(ENTRY_UNSEALED, auditor, name, salt=salt, fields=fields)
        kept = {"log_index": index, "request_id": name, "auditor": auditor, "time": tx.time}
        unsealings.add_given(tx.connection, kept | {"sub": row.sub})
        return index


def _require_auditor(tx: Transaction, document: UnsealRequest | UnsealDecision) -> None:
    """Who signed it is an auditor at the moment of the commit, too."""
    assert tx.trust is not None
    tx.trust.active(document.auditor, "auditor")
    verify_unsealing(document, tx.trust)
