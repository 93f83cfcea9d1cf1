"""Answering lenders: consent, evaluation, proof, log, in that order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from credproof.base.encoding import b64url, date_of, frame, tagged_hash
from credproof.base.errors import Conflict, CredproofError, DataLoss, Refused
from credproof.base.jws import token_id
from credproof.log.entry import parse_entry
from credproof.verification.answer import (
    ENTRY_ANSWER,
    Answer,
    AnswerBundle,
    BindingEvidence,
    Logged,
    QuestionResult,
    TokenEvidence,
    answer_commitment,
    evidence_digest,
    sign_answer,
)
from credproof.verification.consent import VerifiedConsent, verify_consent
from credproof.verification.policy import Evaluation, Policy, PolicyRef, evaluate
from credproof.verification.proving import Holding, Proved, prove_tier
from credproof.wire import answer as wire
from credproof.wire.ask import Result
from sqlalchemy import Connection, Row

from credproof_server.log.sequencer import Committed
from credproof_server.log.state import Transaction
from credproof_server.service.consents import ROW as CONSENT_ROW
from credproof_server.service.consents import not_permitted
from credproof_server.service.core import REFUSAL_LATENCY_S, Core, fresh_salt
from credproof_server.service.holdings import (
    Holdings,
    jwk_disclosure,
    load_holdings,
    unchanged,
)
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ENTRY_REFUSED = "answer.refused"
ROW = "answer"
ITEM_LATENCY_S: Final = 0.01
"""What each further question adds to the bucket of a batch, in seconds: more than it costs."""


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


class Verify:
    """The use case of lenders."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def ask(self, lender: str, ask: Ask) -> AnswerBundle:
        """Answer a question; the same request again gives the same bytes.

        Raises:
            Refused: `NOT_PERMITTED` for every cause before a valid consent (padded to
                `REFUSAL_LATENCY_S`); `CONSENT_REVOKED`, `CONSENT_USED_UP`, `CAP_REACHED` after.
            Conflict: `REQUEST_ID_REUSED`, `SNAPSHOT_CHANGED`.
            DataLoss: a stored row is damaged.
        """
        result = (await self.ask_many(lender, [ask]))[0]
        if isinstance(result, CredproofError):
            raise result
        return result

    async def ask_many(self, lender: str, asks: Sequence[Ask]) -> list[Result]:
        """Answer questions, each by itself as `ask` would: results in order, errors among them.

        All are decided in one commit. A batch with a `NOT_PERMITTED` leaves at a whole multiple
        of `bucket_s` of its size, so its latency tells nothing about any one of its items.
        """
        started = time.monotonic()
        results = await self._answer(lender, asks)
        if any(_is_before_consent(result) for result in results):
            bucket = bucket_s(len(asks))
            await asyncio.sleep(bucket - (time.monotonic() - started) % bucket)
        return results

    async def _answer(self, lender: str, asks: Sequence[Ask]) -> list[Result]:
        core = self._core
        prepared = await core.in_thread(lambda: self._prepare(lender, asks))
        if not any(isinstance(item, Draft | Refused) for item in prepared):
            return [item for item in prepared if not isinstance(item, Draft)]
        committed = await core.commit(Settle(lender, asks, prepared))
        return await core.in_thread(lambda: self._publish(lender, prepared, committed))

    def _prepare(self, lender: str, asks: Sequence[Ask]) -> list[Draft | Result]:
        with self._core.engine.connect() as connection:
            return [self._prepare_one(connection, lender, ask) for ask in asks]

    def _prepare_one(self, connection: Connection, lender: str, ask: Ask) -> Draft | Result:
        """The answer that was given to this very request before, or a draft of a new one."""
        try:
            row = repository.answer(connection, lender, ask.request_id)
            return (
                self._again(connection, row, ask) if row else self._draft(connection, lender, ask)
            )
        except CredproofError as error:
            return error

    def _publish(
        self,
        lender: str,
        prepared: Sequence[Draft | Result],
        committed: Committed[tuple[Settled, ...]],
    ) -> list[Result]:
        size = committed.head.tree_size
        pairs = zip(prepared, committed.value, strict=True)
        with self._core.engine.connect() as connection:
            return [self._publish_one(connection, lender, *pair, size) for pair in pairs]

    def _publish_one(
        self, connection: Connection, lender: str, item: Draft | Result, settled: Settled, size: int
    ) -> Result:
        """The answer as it was just given, or as another call with the same id gave it first."""
        if isinstance(settled, Result):
            return settled
        assert isinstance(item, Draft), "all others are results already"
        try:
            if settled is not None:
                return self._published(connection, item.bundle, settled, size)
            row = repository.answer(connection, lender, item.ask.request_id)
            assert row is not None, "the commit found the answer"
            return self._again(connection, row, item.ask)
        except CredproofError as error:
            return error

    def _again(self, connection: Connection, row: Row[Any], ask: Ask) -> AnswerBundle:
        if row.request_digest != ask.digest:
            raise Conflict("REQUEST_ID_REUSED", "request id was used for another question")
        name = answer_name(row.lender, row.request_id)
        bundle = wire.parse(self._core.vault.key(row.sub).open(ROW, name, row.sealed))
        size = repository.commit_covering(connection, row.log_index)
        return self._published(connection, bundle, row.log_index, size)

    def _published(
        self, connection: Connection, bundle: AnswerBundle, log_index: int, size: int
    ) -> AnswerBundle:
        """An answer with entries and proofs under the checkpoint of its commit."""
        places = [item.logged for item in bundle.tokens]
        places += [item.logged for item in bundle.bindings]
        indexes = [log_index, *(place.log_index for place in places)]
        stored = repository.lines_at(connection, indexes)

        def logged(index: int) -> Logged:
            hashes = self._core.sequencer.state.tree.inclusion_proof(index, size)
            return Logged(stored[index], index, tuple(hashes))

        published = replace(
            bundle,
            tokens=tuple(replace(i, logged=logged(i.logged.log_index)) for i in bundle.tokens),
            bindings=tuple(replace(i, logged=logged(i.logged.log_index)) for i in bundle.bindings),
            logged=logged(log_index),
            checkpoint=self._core.sequencer.sign(size),
        )
        _require_logged(published)
        return published

    # -- a new answer

    def _draft(self, connection: Connection, lender: str, ask: Ask) -> Draft:
        now = self._core.clock()
        row = repository.consent(connection, ask.consent_id)
        if row is None or (row.lender, row.sub) != (lender, ask.sub):
            raise not_permitted()
        key = self._core.vault.key(ask.sub)
        token = key.open(CONSENT_ROW, row.consent_id, row.sealed).decode("ascii")
        consent, policy = self._permit(lender, ask, token, now)
        holdings = load_holdings(connection, key, ask.sub, self._core.trust, now)
        allowed = _under_consent(holdings, consent)
        evaluation = evaluate(policy, [h.statement for h in allowed], now=now)
        proved, results = _prove(policy, evaluation, allowed, now)
        bindings = _bindings(holdings, consent, proved)
        tokens = tuple(TokenEvidence(p.holding.token, p.proofs, _place(p.holding)) for p in proved)
        answer = self._sign(lender, ask, token, evaluation, policy, tokens, bindings, results, now)
        unlogged = Logged(b"", 0, ())
        return Draft(
            ask=ask,
            answer=answer,
            bundle=AnswerBundle(answer, token, tokens, bindings, unlogged, b""),
            policy=policy,
            once=consent.terms.mode == "once",
            evaluation=evaluation,
            token_ids=holdings.token_ids,
            key=key,
        )

    def _permit(
        self, lender: str, ask: Ask, token: str, now: int
    ) -> tuple[VerifiedConsent, Policy]:
        trust = self._core.trust
        try:
            consent = verify_consent(token)
            policy = trust.policy_in_force(ask.policy, now)
            consent.verify_scope(
                sub=ask.sub, lender=lender, via=trust.bundle.domain, policy=policy, at=now
            )
        except CredproofError as error:
            raise not_permitted() from error
        if not policy.allows(lender):
            raise not_permitted()
        return consent, policy

    def _sign(
        self,
        lender: str,
        ask: Ask,
        consent: str,
        evaluation: Evaluation,
        policy: Policy,
        tokens: tuple[TokenEvidence, ...],
        bindings: tuple[BindingEvidence, ...],
        results: tuple[QuestionResult, ...],
        now: int,
    ) -> str:
        tier = policy.tier(evaluation.outcome.tier or "")
        answer = Answer(
            domain=self._core.trust.bundle.domain,
            lender=lender,
            nonce=ask.nonce,
            issued_at=now,
            request_id=ask.request_id,
            case=ask.case_digest,
            staff=ask.staff_digest,
            policy=policy.ref,
            consent=ask.consent_id,
            sub=ask.sub,
            outcome=evaluation.outcome,
            offer=tier.offer if tier else {},
            results=results,
            evidence=evidence_digest(consent, tokens, bindings),
        )
        return sign_answer(self._core.keys.answer, answer)


def bucket_s(count: int) -> float:
    """What the latency of a batch with a refusal before consent is a multiple of, in seconds."""
    return REFUSAL_LATENCY_S + (count - 1) * ITEM_LATENCY_S


def _is_before_consent(result: Result) -> bool:
    return isinstance(result, Refused) and result.reason == "NOT_PERMITTED"


def answer_name(lender: str, request_id: bytes) -> bytes:
    """The name that a stored answer is sealed under."""
    return frame((lender.encode(), request_id))


def _under_consent(holdings: Holdings, consent: VerifiedConsent) -> list[Holding]:
    """Attestations of providers that bound the consent's key: the consent opens no others."""
    binders = set(holdings.bound_by(consent.key))
    if not binders:
        raise not_permitted()
    return [h for h in holdings.attestations if h.statement.issuer in binders]


def _prove(
    policy: Policy, evaluation: Evaluation, holdings: Sequence[Holding], now: int
) -> tuple[tuple[Proved, ...], tuple[QuestionResult, ...]]:
    tier = policy.tier(evaluation.outcome.tier or "")
    return prove_tier(policy, tier, holdings, now=now) if tier else ((), ())


def _bindings(
    holdings: Holdings, consent: VerifiedConsent, proved: Sequence[Proved]
) -> tuple[BindingEvidence, ...]:
    """One binding per provider used; when no proof is given, one that makes the key known."""
    used = {item.holding.statement.issuer for item in proved}
    issuers = sorted(used) or list(holdings.bound_by(consent.key))[:1]
    found = [holdings.binding(issuer, consent.key) for issuer in issuers]
    return tuple(
        BindingEvidence(h.token, jwk_disclosure(h).text, _place(h)) for h in found if h is not None
    )


def _place(holding: Holding) -> Logged:
    """The place in the log by its index alone; entry and proof are added when it is published."""
    return Logged(b"", holding.log_index, ())


def _require_logged(bundle: AnswerBundle) -> None:
    """Serving what differs from its logged digest is DATA_LOSS."""
    tokens = [(i.token, i.logged) for i in bundle.tokens]
    tokens += [(i.token, i.logged) for i in bundle.bindings]
    for token, logged in [*tokens, (bundle.answer, bundle.logged)]:
        if parse_entry(logged.line).object != token_id(token):
            raise DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest")


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
        given = repository.answers_under(tx.connection, ask.consent_id)
        if draft.once and given:
            raise Refused("CONSENT_USED_UP", "this consent was for one answer, which was given")
        cap = draft.policy.cap
        since = _period_start(cap.per, tx.time)
        used = [at for digest, at in given if digest == ask.policy.digest and at >= since]
        if len(used) >= cap.count:
            raise Refused("CAP_REACHED", "the policy allows no more answers in this period")

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
    """The start of the calendar period (UTC) that `now` lies in; 0 for a consent's whole life."""
    if per == "consent":
        return 0
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
