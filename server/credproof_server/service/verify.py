"""Answering lenders: consent, evaluation, proof, log, in that order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from credproof.base.errors import Conflict, CredproofError, DataLoss, Refused
from credproof.base.jws import token_id
from credproof.log.entry import parse_entry
from credproof.verification.answer import (
    Answer,
    AnswerBundle,
    BindingEvidence,
    Logged,
    QuestionResult,
    TokenEvidence,
    evidence_digest,
    sign_answer,
)
from credproof.verification.consent import VerifiedConsent, verify_consent
from credproof.verification.policy import Evaluation, Policy, evaluate
from credproof.verification.proving import Holding, Proved, prove_tier
from credproof.verification.trust import Trust
from credproof.wire import answer as wire
from credproof.wire.ask import Result
from sqlalchemy import Connection, Row

from credproof_server.log.sequencer import Committed
from credproof_server.service.answering import ROW, Ask, Draft, Settle, Settled, answer_name
from credproof_server.service.consents import ROW as CONSENT_ROW
from credproof_server.service.consents import not_permitted
from credproof_server.service.core import REFUSAL_LATENCY_S, Core
from credproof_server.service.holdings import (
    Holdings,
    jwk_disclosure,
    load_holdings,
)
from credproof_server.storage import repository

ITEM_LATENCY_S: Final = 0.01
"""What each further question adds to the bucket of a batch, in seconds: more than it costs."""


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
        trust = self._core.trust
        consent, policy = self._permit(trust, lender, ask, token, now)
        holdings = load_holdings(connection, key, ask.sub, trust, now)
        allowed = _under_consent(holdings, consent)
        evaluation = evaluate(policy, [h.statement for h in allowed], now=now)
        proved, results = _prove(policy, evaluation, allowed, now)
        bindings = _bindings(holdings, consent, proved)
        tokens = tuple(TokenEvidence(p.holding.token, p.proofs, _place(p.holding)) for p in proved)
        answer = self._sign(lender, ask, token, evaluation, policy, tokens, bindings, results, now)
        unlogged = Logged(b"", 0, ())
        return Draft(
            ask=ask,
            issued_at=now,
            trust_version=trust.bundle.version,
            answer=answer,
            bundle=AnswerBundle(answer, token, tokens, bindings, unlogged, b""),
            policy=policy,
            once=consent.terms.mode == "once",
            evaluation=evaluation,
            token_ids=holdings.token_ids,
            key=key,
        )

    def _permit(
        self, trust: Trust, lender: str, ask: Ask, token: str, now: int
    ) -> tuple[VerifiedConsent, Policy]:
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
