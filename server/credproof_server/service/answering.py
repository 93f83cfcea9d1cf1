"""Giving answers: what depends on state is decided here, in the commit that logs and keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import b64url, date_of, frame, tagged_hash
from credproof.base.errors import Conflict, CredproofError, Refused, Unreachable
from credproof.base.jws import token_id
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.answer import ENTRY_ANSWER, AnswerBundle, answer_commitment
from credproof.verification.policy import Evaluation, Policy, PolicyRef
from credproof.wire import answer as wire
from credproof.wire.ask import Result

from credproof_server.log.state import Transaction
from credproof_server.service.core import fresh_salt
from credproof_server.service.holdings import unchanged
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ENTRY_REFUSED = "answer.refused"
ROW = "answer"


@dataclass(frozen=True, slots=True)
class Ask:
    """A lender's question. Digests and ids have 32 bytes, `request_id` 16."""

    request_id: bytes
    nonce: bytes
    sub: bytes
    policy: PolicyRef
    consent_id: bytes
    case_digest: bytes
    staff_digest: bytes

    @property
    def digest(self) -> bytes:
        """What must be the same when the same request id comes again."""
        policy = (self.policy.id.encode(), str(self.policy.version).encode(), self.policy.digest)
        parts = (self.nonce, self.sub, *policy, self.consent_id)
        return tagged_hash("ask", *parts, self.case_digest, self.staff_digest)


@dataclass(frozen=True, slots=True)
class Draft:
    """An answer before it is logged: signed, but without its places in the log."""

    ask: Ask
    issued_at: int
    trust_version: int
    answer: str
    bundle: AnswerBundle
    policy: Policy
    once: bool
    evaluation: Evaluation
    token_ids: tuple[bytes, ...]
    key: DataKey


Settled = int | None | Result
"""What the commit made of it: a draft became the log index of its answer, or None when the
request has an answer already."""


def answer_name(lender: str, request_id: bytes) -> bytes:
    """The name that a stored answer is sealed under."""
    return frame((lender.encode(), request_id))


class GiveAnswer:
    """Decides what depends on state, logs the answer and keeps it."""

    def __init__(self, lender: str, draft: Draft) -> None:
        self._lender = lender
        self._draft = draft

    def apply(self, tx: Transaction) -> int | None:
        """The log index of the answer; None when the request has an answer already."""
        draft, ask = self._draft, self._draft.ask
        if repository.answer(tx.connection, self._lender, ask.request_id) is not None:
            return None
        self._require_consent(tx)
        if abs(tx.time - draft.issued_at) > CLOCK_SKEW_S:
            # No verifier would take it, and the consent would be used up.
            raise Unreachable("CLOCK_BEHIND_LOG", "the service's clock is wrong: ask again later")
        assert tx.trust is not None
        if tx.trust.bundle.version != draft.trust_version:
            # Somebody may be suspended by it: who may ask, and whose word counts, is seen anew.
            raise Conflict("SNAPSHOT_CHANGED", "the registry changed meanwhile: ask again")
        if not unchanged(tx.connection, ask.sub, draft.token_ids):
            raise Conflict("SNAPSHOT_CHANGED", "attestations changed meanwhile: ask again")
        index = self._log(tx)
        repository.add_answer(tx.connection, self._row(tx, index))
        return index

    def _require_consent(self, tx: Transaction) -> None:
        draft, ask = self._draft, self._draft.ask
        row = repository.consent(tx.connection, ask.consent_id)
        if row is None or row.revoked_index is not None:
            raise Refused("CONSENT_REVOKED", "the borrower has revoked this consent")
        if draft.once and repository.has_answer(tx.connection, ask.consent_id):
            raise Refused("CONSENT_USED_UP", "this consent was for one answer, which was given")
        if self._used(tx) >= draft.policy.cap.count:
            raise Refused("CAP_REACHED", "the policy allows no more answers in this period")

    def _used(self, tx: Transaction) -> int:
        """How much of the policy's cap is used, whatever consents a borrower gave for a period."""
        ask, per = self._draft.ask, self._draft.policy.cap.per
        if per == "consent":
            return repository.count_under(tx.connection, ask.consent_id, ask.policy.digest)
        since = _period_start(per, tx.time)
        who = (self._lender, ask.sub)
        return repository.count_since(tx.connection, *who, ask.policy.digest, since)

    def _log(self, tx: Transaction) -> int:
        draft, salt = self._draft, fresh_salt()
        fields: dict[str, object] = {
            "tag": b64url(draft.key.tag(salt)),
            "verdicts": b64url(answer_commitment(draft.key.tag(salt), draft.evaluation.verdicts)),
        }
        answer_id = token_id(draft.answer)
        return tx.append(ENTRY_ANSWER, self._lender, answer_id, salt=salt, fields=fields)

    def _row(self, tx: Transaction, index: int) -> dict[str, object]:
        draft, ask = self._draft, self._draft.ask
        name = answer_name(self._lender, ask.request_id)
        return {
            "lender": self._lender,
            "request_id": ask.request_id,
            "request_digest": ask.digest,
            "consent_id": ask.consent_id,
            "policy_digest": ask.policy.digest,
            "sub": ask.sub,
            "time": tx.time,
            "log_index": index,
            "sealed": draft.key.seal(ROW, name, wire.to_bytes(draft.bundle)),
        }


def _period_start(per: str, now: int) -> int:
    """The start of the calendar day or month (UTC) that `now` lies in."""
    day = date_of(now)
    first = day if per == "day" else day.replace(day=1)
    return now - now % 86_400 - 86_400 * (day - first).days


class Settle:
    """Gives the answers of a batch, each by itself and in order, and logs its refusals."""

    def __init__(
        self, lender: str, asks: Sequence[Ask], prepared: Sequence[Draft | Result]
    ) -> None:
        self._lender = lender
        self._asks = asks
        self._prepared = prepared

    def apply(self, tx: Transaction) -> tuple[Settled, ...]:
        pairs = zip(self._asks, self._prepared, strict=True)
        return tuple(self._settle(tx, ask, item) for ask, item in pairs)

    def _settle(self, tx: Transaction, ask: Ask, item: Draft | Result) -> Settled:
        result = self._give(tx, item) if isinstance(item, Draft) else item
        if isinstance(result, Refused):
            LogRefusal(self._lender, ask, result).apply(tx)
        return result

    def _give(self, tx: Transaction, draft: Draft) -> Settled:
        try:
            return GiveAnswer(self._lender, draft).apply(tx)
        except CredproofError as error:
            return error  # it is raised before anything is written: nothing has to be taken back


class LogRefusal:
    """Logs that a question was refused: who asked, and a digest of what."""

    def __init__(self, lender: str, ask: Ask, error: Refused) -> None:
        self._lender = lender
        self._ask = ask
        self._reason = error.reason

    def apply(self, tx: Transaction) -> int:
        salt = fresh_salt()
        digest = tagged_hash("refusal", salt, self._ask.digest)
        fields: dict[str, object] = {"reason": self._reason}
        return tx.append(ENTRY_REFUSED, self._lender, digest, salt=salt, fields=fields)
