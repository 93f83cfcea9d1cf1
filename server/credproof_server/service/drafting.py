"""Drafting an answer: consent, evaluation and proof, out of rows that were looked up at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from credproof.base.errors import CredproofError, DataLoss
from credproof.base.limits import DIRECTORY_MEMBERS_MAX, EVIDENCE_TOKENS_MAX
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
from credproof.verification.completeness import schemas_used
from credproof.verification.consent import VerifiedConsent
from credproof.verification.evaluation import Evaluation, evaluate
from credproof.verification.policy import Policy
from credproof.verification.proving import Holding, Proved, prove
from credproof.verification.trust import Trust
from sqlalchemy import Connection, Row

from credproof_server.service.answering import Ask, Draft
from credproof_server.service.consents import (
    consent_expired,
    consent_paused,
    consent_revoked,
    not_permitted,
    open_consent,
    too_many,
)
from credproof_server.service.core import Core
from credproof_server.service.fair_use import require_fair, require_open
from credproof_server.service.holdings import Holdings, jwk_disclosure, open_holdings
from credproof_server.service.lookups import Lookups
from credproof_server.service.verified import verified_consent
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey


class Drafting:
    """Makes the drafts of some questions; each kind of row is looked up once for all of them."""

    def __init__(self, core: Core, connection: Connection, asks: Sequence[Ask]) -> None:
        self._core = core
        self._consents = repository.consents_by_id(connection, [ask.consent_id for ask in asks])
        subs = {ask.sub for ask in asks if self._consent_row(ask) is not None}
        self._wrapped = core.vault.wrapped(subs)
        self._rows: Mapping[bytes, list[Row[Any]]] = repository.current_attestations(
            connection, subs
        )
        self._ended = repository.ended_keys_of(connection, subs)
        self._signatures = repository.signatures_under(connection, self._consents)
        self._lookups = Lookups(core, connection)

    def draft(self, ask: Ask) -> Draft:
        """The answer before it is logged.

        Raises:
            Refused: `NOT_PERMITTED` for every cause before a valid consent, but for what the
                registry says of the lender: as `require_open`. After it: `CONSENT_EXPIRED`,
                `CONSENT_REVOKED`, `CONSENT_PAUSED`, as `require_fair`, `TOO_MANY_ATTESTATIONS`.
            Conflict: `SNAPSHOT_CHANGED` until an epoch of the directory is closed.
            DataLoss: a stored row is damaged.
        """
        now, trust = self._core.clock(), self._core.trust
        template = require_open(trust, ask.lender, ask.policy, now)
        row = self._consent_row(ask)
        if row is None or template is None:
            raise not_permitted()
        key = self._key(ask.sub)
        token = open_consent(row, self._signatures[row.consent_id], key)
        consent, policy = _permit(trust, ask, token, now)
        if row.revoked_index is not None:
            raise consent_revoked()
        holdings = open_holdings(self._rows[ask.sub], self._ended[ask.sub], key, trust, now)
        current = _by_schema(self._rows[ask.sub])
        allowed = self._allowed(ask.sub, holdings, consent, current)
        require_fair(template, consent)
        _require_room(policy, allowed, current)
        hidden = _incomplete(current, allowed)
        statements = [holding.statement for holding in allowed]
        evaluation = evaluate(policy, statements, now=now, incomplete=hidden)
        proved, results = prove(policy, evaluation, allowed, now=now)
        used = schemas_used(policy, results) or tuple(sorted(evaluation.absent))
        directory = (
            self._lookups.evidence(ask.sub, {s: current[s] for s in used}, now) if used else None
        )
        bindings = _bindings(holdings, consent, proved, trust)
        tokens = tuple(TokenEvidence(p.holding.token, p.proofs, _place(p.holding)) for p in proved)
        digest = evidence_digest(token, tokens, bindings, directory)
        answer = self._sign(ask, evaluation, policy, results, digest, now)
        return Draft(
            ask=ask,
            issued_at=now,
            trust_version=trust.bundle.version,
            answer=answer,
            bundle=AnswerBundle(
                answer, token, tokens, bindings, Logged(b"", 0, ()), b"", directory=directory
            ),
            policy=policy,
            once=consent.terms.mode == "once",
            expires_at=consent.terms.expires_at,
            evaluation=evaluation,
            token_ids=holdings.token_ids,
            key=key,
        )

    def _consent_row(self, ask: Ask) -> Row[Any] | None:
        row = self._consents.get(ask.consent_id)
        return row if row and (row.lender, row.sub) == (ask.lender, ask.sub) else None

    def _allowed(
        self,
        sub: bytes,
        holdings: Holdings,
        consent: VerifiedConsent,
        current: Mapping[bytes, set[bytes]],
    ) -> list[Holding]:
        """The attestations that the consent opens.

        Raises:
            Refused: `CONSENT_PAUSED` when no provider binds a key of it.
            DataLoss: `ROW_DIFFERS` when a binding lacks that was logged.
        """
        bound = holdings.is_bound(consent.keys)
        allowed = _under_consent(holdings, consent, self._core.trust)
        if not bound or len(allowed) < len(holdings.attestations):
            self._lookups.require_bindings(sub, current)
        if not bound:
            raise consent_paused()
        return allowed

    def _key(self, sub: bytes) -> DataKey:
        if sub not in self._wrapped:
            raise DataLoss("KEY_MISSING", "a subject has no data key")
        return self._core.vault.unwrap(sub, self._wrapped[sub])

    def _sign(
        self,
        ask: Ask,
        evaluation: Evaluation,
        policy: Policy,
        results: tuple[QuestionResult, ...],
        evidence: bytes,
        now: int,
    ) -> str:
        tier = policy.tier(evaluation.outcome.tier or "")
        answer = Answer(
            domain=self._core.trust.bundle.domain,
            lender=ask.lender,
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
            evidence=evidence,
        )
        return sign_answer(self._core.keys.answer, answer)


def _permit(trust: Trust, ask: Ask, token: str, now: int) -> tuple[VerifiedConsent, Policy]:
    try:
        consent = verified_consent(token, trust.bundle.relying_parties)
        policy = trust.policy_in_force(ask.policy, now)
        via = trust.bundle.domain
        consent.verify_scope(sub=ask.sub, lender=ask.lender, via=via, policy=policy, at=now)
    except CredproofError as error:
        # It is looked at last: whoever gets here holds this very consent.
        told = consent_expired() if error.reason == "CONSENT_EXPIRED" else not_permitted()
        raise told from error
    return consent, policy


def _under_consent(holdings: Holdings, consent: VerifiedConsent, trust: Trust) -> list[Holding]:
    """Attestations of providers for whom a key of the consent is bound: it opens no others."""
    issuers = {holding.statement.issuer for holding in holdings.attestations}
    opened = {name for name in issuers if holdings.binding(name, consent.keys, trust)}
    return [h for h in holdings.attestations if h.statement.issuer in opened]


def _require_room(
    policy: Policy, allowed: Sequence[Holding], current: Mapping[bytes, set[bytes]]
) -> None:
    """An answer must have room for all that the policy asks about, whatever will be shown of it:
    the refusal would tell figures otherwise.

    Raises:
        Refused: `TOO_MANY_ATTESTATIONS`.
    """
    asked = {question.schema.digest for question in policy.questions.values()}
    tokens = sum(holding.statement.schema.digest in asked for holding in allowed)
    members = sum(len(current.get(schema, ())) for schema in asked)
    if tokens > EVIDENCE_TOKENS_MAX or members > DIRECTORY_MEMBERS_MAX:
        raise too_many()


def _by_schema(rows: Sequence[Row[Any]]) -> Mapping[bytes, set[bytes]]:
    """The ids of a borrower's current tokens by schema."""
    found = defaultdict[bytes, set[bytes]](set)
    for row in rows:
        found[row.schema_digest].add(row.token_id)
    return found


def _incomplete(
    current: Mapping[bytes, set[bytes]], allowed: Sequence[Holding]
) -> frozenset[bytes]:
    """The schemas of which there are current attestations that may not be looked at."""
    opened = {holding.token_id for holding in allowed}
    return frozenset(schema for schema, tokens in current.items() if not tokens <= opened)


def _bindings(
    holdings: Holdings, consent: VerifiedConsent, proved: Sequence[Proved], trust: Trust
) -> tuple[BindingEvidence, ...]:
    """A binding for each provider used; when no proof is given, one that makes the key known."""
    used = sorted({item.holding.statement.issuer for item in proved})
    issuers = used or [holding.statement.issuer for holding in holdings.bindings]
    found = [holdings.binding(issuer, consent.keys, trust) for issuer in issuers]
    bindings = {item.token_id: item for item in found if item is not None}
    needed = sorted(bindings.values(), key=lambda h: h.log_index)[: None if used else 1]
    return tuple(BindingEvidence(h.token, jwk_disclosure(h).text, _place(h)) for h in needed)


def _place(holding: Holding) -> Logged:
    """The place in the log by its index alone; entry and proof are added when it is published."""
    return Logged(b"", holding.log_index, ())
