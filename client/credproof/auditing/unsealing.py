"""Unsealing, as auditors do it: ask, see what others ask, decide, open; all of it verified.

What the service shows must be signed by the auditors it names, and stand in the verified log.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import grpc

from credproof.auditing.index import Index
from credproof.base.errors import Conflict, CredproofError, Refused, VerificationFailed
from credproof.channel import call
from credproof.home import Home
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.answer import SALT_BYTES, Reference, parse_answer
from credproof.verification.details import ANSWER, DETAILS, Opening, no_such_detail, verify_detail
from credproof.verification.trust import Trust
from credproof.verification.unseal_rules import parse_asked, parse_decided
from credproof.verification.unsealing import (
    ENTRY_APPROVED,
    ENTRY_ASKED,
    ENTRY_DECLINED,
    ENTRY_UNSEALED,
    UnsealDecision,
    UnsealRequest,
    parse_unseal_decision,
    parse_unseal_request,
    require_reason,
    require_second,
    sign_unseal_decision,
    sign_unseal_request,
    verify_unsealing,
)

KINDS: Final = (ENTRY_ASKED, ENTRY_APPROVED, ENTRY_DECLINED, ENTRY_UNSEALED)


@dataclass(frozen=True, slots=True)
class Unsealed:
    """A detail that was given: `content` as JSON, of the entry that commits to it."""

    entry: Entry
    detail: str
    content: Mapping[str, Any]
    log_index: int


@dataclass(frozen=True, slots=True)
class UnsealingState:
    """A request in the log, and what became of it; `problem` says what does not verify.

    Its documents are None where the service does not show them, and so is its `reason`, which goes
    with the borrower whom the entry is about. `given` are log indexes and
    auditors to whom the detail was given.
    """

    log_index: int
    auditor: str
    request: UnsealRequest | None = None
    reason: str | None = None
    decision: UnsealDecision | None = None
    decided_index: int | None = None
    given: tuple[tuple[int, str], ...] = ()
    problem: str = ""

    def state(self, now: int) -> str:
        """In one word, for people: OPEN, EXPIRED, APPROVED, DECLINED, or UNVERIFIED."""
        if self.problem or self.request is None:
            return "UNVERIFIED"
        if self.decision is not None and not self.decision.approves:
            return "DECLINED"
        if now > self.request.until:
            return "EXPIRED"
        return "OPEN" if self.decision is None else "APPROVED"


class Unsealings:
    """What an auditor does about unsealing; `index` holds the log as it was verified last."""

    def __init__(self, home: Home, channel: grpc.Channel, trust: Trust, index: Index) -> None:
        self._home = home
        self._stub = AuditServiceStub(channel)
        self._trust = trust
        self._index = index

    def ask(self, log_index: int, detail: str, *, reason: str, life_s: int) -> int:
        """Ask for a detail of an entry, open for so many seconds; gives the request's log index.

        Raises:
            Conflict: `NO_SUCH_ENTRY` for an entry that this auditor has not verified.
            Malformed: `NO_SUCH_DETAIL`, `NO_REASON`; as `Reference.digest`.
            Refused: `DETAIL_ERASED`, `DETAIL_NOT_KEPT`.
            LimitExceeded: too many requests of this auditor wait.
        """
        require_reason(reason)
        line = self._line(log_index)
        if detail not in DETAILS.get(parse_entry(line).kind, ()):
            raise no_such_detail()
        why = Reference(reason, secrets.token_bytes(SALT_BYTES))
        settings = self._home.settings
        request = sign_unseal_request(
            self._home.signer,
            auditor=settings.id,
            domain=settings.domain,
            now=int(time.time()),
            life_s=life_s,
            log_index=log_index,
            entry=entry_hash(line),
            detail=detail,
            reason=why.digest,
        )
        message = pb.AskUnsealRequest(request=request, reason=reason, reason_salt=why.salt)
        return int(call(self._stub.AskUnseal, message).log_index)

    def decide(self, log_index: int, *, approves: bool) -> int:
        """Approve or decline the request at this log index; gives the decision's log index.

        Raises:
            Conflict: `NO_SUCH_UNSEALING`, `UNSEAL_DECIDED`.
            VerificationFailed: the request does not verify.
            Refused: `SAME_AUDITOR`, `UNSEAL_EXPIRED`.
        """
        request, _ = self._verified(log_index)
        settings = self._home.settings
        if request.auditor == settings.id:
            raise Refused("SAME_AUDITOR", "it takes a second auditor to decide")
        now = int(time.time())
        if now > request.until:
            ended = "this request has ended: its auditor asks anew, credproof audit unseal"
            raise Refused("UNSEAL_EXPIRED", ended)
        decision = sign_unseal_decision(
            self._home.signer,
            auditor=settings.id,
            domain=settings.domain,
            now=now,
            request=request.id,
            approves=approves,
        )
        require_second(request, parse_unseal_decision(decision))
        message = pb.DecideUnsealRequest(decision=decision)
        return int(call(self._stub.DecideUnseal, message).log_index)

    def open(self, log_index: int) -> Unsealed:
        """The detail that the request at this log index asked for, compared with its entry.

        Raises:
            Conflict: `NO_SUCH_UNSEALING`.
            Refused: `UNSEAL_DECLINED`, `UNSEAL_NOT_APPROVED`, `UNSEAL_EXPIRED`, `OTHER_AUDITORS`,
                `AUDITOR_SUSPENDED`, `DETAIL_ERASED`.
            VerificationFailed: `OTHER_DETAIL`: it is not what the entry commits to.
        """
        request, decision = self._verified(log_index)
        if decision is not None and not decision.approves:
            raise Refused("UNSEAL_DECLINED", "another auditor declined this request")
        reply = call(self._stub.OpenDetail, pb.OpenDetailRequest(request_id=request.id))
        entry = parse_entry(self._line(request.log_index))
        opening = Opening(reply.content, reply.salt)
        content = verify_detail(entry, request.detail, opening)
        if request.detail == ANSWER:
            self._require_signed(reply.content.decode("ascii"))
        return Unsealed(entry, request.detail, content, int(reply.log_index))

    def _require_signed(self, answer: str) -> None:
        """The entry commits to what was signed; that the service signed it is looked at here."""
        parsed, _ = parse_answer(answer)
        keys = [dated.public for dated in self._trust.bundle.answer_keys]
        key = next((key for key in keys if key.kid == parsed.kid), None)
        if key is None:
            raise VerificationFailed("UNKNOWN_KEY", "the answer is signed by an unknown key")
        parsed.verify(key)

    def _verified(self, log_index: int) -> tuple[UnsealRequest, UnsealDecision | None]:
        """The request at this log index, and what was decided; who signed both is verified."""
        found = next((item for item in self.states() if item.log_index == log_index), None)
        if found is None:
            raise Conflict("NO_SUCH_UNSEALING", "nobody asked so: see credproof audit unseals")
        if found.problem or found.request is None:
            raise VerificationFailed("UNSEALING_FORGED", f"do not act on it: {found.problem}")
        return found.request, found.decision

    def _line(self, log_index: int) -> bytes:
        line = self._index.line(log_index)
        if line is None:
            message = "the log has no entry of this number, as far as it was verified"
            raise Conflict("NO_SUCH_ENTRY", message)
        return line

    # -- what the log says, and whether the auditors said so

    def states(self) -> Sequence[UnsealingState]:
        """Every request of the verified log, with what became of it, in the order of the log."""
        entries = [parse_entry(line) for line in self._index.lines_of(KINDS)]
        shown = {item.log_index: item for item in self._shown()}
        asked = [entry for entry in entries if entry.kind == ENTRY_ASKED]
        return [self._state(entry, entries, shown.get(entry.seq)) for entry in asked]

    def _shown(self) -> Iterator[pb.Unsealing]:
        start = 0
        while True:
            request = pb.ListUnsealingsRequest(start_index=start)
            page = call(self._stub.ListUnsealings, request).unsealings
            if not page:
                return
            yield from page
            start = page[-1].log_index + 1

    def _state(
        self, asked: Entry, entries: Sequence[Entry], shown: pb.Unsealing | None
    ) -> UnsealingState:
        """One request; whatever its documents do not bear out is its problem."""
        given = [e for e in entries if e.kind == ENTRY_UNSEALED and e.object == asked.object]
        state = UnsealingState(
            asked.seq, asked.actor, given=tuple((entry.seq, entry.actor) for entry in given)
        )
        try:
            state = self._with_request(state, asked, shown)
            decided = [e for e in entries if _decides(e, asked.object)]
            return self._with_decision(state, decided, shown) if decided else state
        except CredproofError as error:
            return replace(state, problem=f"{error.message} ({error.reason})")

    def _with_request(
        self, state: UnsealingState, asked: Entry, shown: pb.Unsealing | None
    ) -> UnsealingState:
        if shown is None:
            raise VerificationFailed("UNSEALING_WITHHELD", "the service does not show who asked")
        request, said = parse_unseal_request(shown.request), parse_asked(asked)
        verify_unsealing(request, self._trust)
        told = (request.id, request.auditor, request.log_index, request.detail, request.until)
        logged = (asked.object, asked.actor, said.log_index, said.detail, said.until)
        line = self._index.line(request.log_index)
        if (
            told != logged
            or request.reason != said.reason
            or entry_hash(line or b"") != request.entry
        ):
            raise VerificationFailed("UNSEALING_FORGED", "the log says otherwise than the auditor")
        if not (shown.reason or shown.reason_salt):
            return replace(state, request=request)
        if Reference(shown.reason, shown.reason_salt).digest != said.reason:
            raise VerificationFailed("OTHER_REASON", "the reason is not the one that was signed")
        return replace(state, request=request, reason=shown.reason)

    def _with_decision(
        self, state: UnsealingState, decided: Sequence[Entry], shown: pb.Unsealing | None
    ) -> UnsealingState:
        assert shown is not None, "the request was looked at first"
        assert state.request is not None, "it was verified first"
        decision, entry = parse_unseal_decision(shown.decision), decided[0]
        verify_unsealing(decision, self._trust)
        require_second(state.request, decision)
        kind = ENTRY_APPROVED if decision.approves else ENTRY_DECLINED
        if (entry.object, entry.actor, entry.kind) != (decision.jws.id, decision.auditor, kind):
            raise VerificationFailed("UNSEALING_FORGED", "the log says otherwise than the auditor")
        return replace(state, decision=decision, decided_index=entry.seq)


def _decides(entry: Entry, request: bytes) -> bool:
    return entry.kind in (ENTRY_APPROVED, ENTRY_DECLINED) and parse_decided(entry) == request
