"""Consents: granted and revoked by borrowers, under a key that a provider bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import b64url, frame
from credproof.base.errors import Conflict, CredproofError, Refused
from credproof.base.keys import PublicKey
from credproof.base.limits import DOCUMENT_SIGNATURES_MAX, at_most
from credproof.verification.consent import (
    VerifiedConsent,
    verify_revocation,
)
from credproof.verification.document import join_signatures, split_signatures
from credproof.verification.notice import is_genuine
from credproof.verification.participant import BORROWER
from credproof.verification.standing import require_standing, require_terms
from credproof.verification.trust import Trust
from sqlalchemy import Connection, Row

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt, padded
from credproof_server.service.holdings import load_holdings
from credproof_server.service.verified import verified_consent
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ENTRY_GRANTED = "consent.granted"
ENTRY_REVOKED = "consent.revoked"
ENTRY_SIGNED = "consent.signed"
ROW = "consent"
SIGNATURE_ROW = "signature"


def not_permitted() -> Refused:
    """The one refusal before a valid consent: nothing can be told from it."""
    return Refused("NOT_PERMITTED", "the service does not permit this")


def consent_expired() -> Refused:
    """Only to the lender whose consent it is, who holds it and can read its end."""
    return Refused("CONSENT_EXPIRED", "this consent has ended")


def consent_revoked() -> Refused:
    return Refused("CONSENT_REVOKED", "the borrower has revoked this consent")


def consent_paused() -> Refused:
    """The same whether the borrower wished it or lost the key: that is no lender's business."""
    return Refused("CONSENT_PAUSED", "this consent is paused: ask again later, or the borrower")


@dataclass(frozen=True, slots=True)
class Granted:
    """The receipt of a consent, or of what its borrower made of it since."""

    consent_id: bytes
    log_index: int


class Consents:
    """The use cases of borrowers."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def grant(self, token: str, caller: PublicKey) -> Granted:
        """Register a consent; granting it again gives the same receipt.

        Raises:
            Malformed, VerificationFailed: the consent itself is bad.
            Refused: `NOT_PERMITTED`, whatever the cause.
            Conflict: `REQUEST_USED` when the borrower has given another consent to its request.
        """
        async with padded():
            command = await self._core.in_thread(lambda: self._prepare(token, caller))
        return (await self._core.commit(command)).value

    async def revoke(self, token: str, caller: PublicKey) -> Granted:
        """Revoke a consent; no answer is given under it once this returns.

        Raises:
            Malformed, VerificationFailed, Refused: as `grant`.
        """
        async with padded():
            command = await self._core.in_thread(lambda: self._prepare_revocation(token, caller))
        return (await self._core.commit(command)).value

    def _prepare(self, token: str, caller: PublicKey) -> GrantConsent:
        trust, now = self._core.trust, self._core.clock()
        consent = verified_consent(token, trust.bundle.relying_parties)
        if not consent.document.may_come_from(caller) or not _is_acceptable(consent, trust, now):
            raise not_permitted()
        sub = consent.terms.sub
        key = self._core.vault.existing([sub]).get(sub)
        if key is None:
            raise not_permitted()
        with self._core.engine.connect() as connection:
            holdings = load_holdings(connection, key, sub, trust, now)
            there = stored_consent(connection, key, consent.id)
        if not holdings.is_bound(consent.keys):
            raise not_permitted()
        further = _further(consent, there, trust)
        if further is not None:
            verified_consent(further, trust.bundle.relying_parties_at(now))
        return GrantConsent(consent, key, further)

    def _prepare_revocation(self, token: str, caller: PublicKey) -> RevokeConsent:
        bundle = self._core.trust.bundle
        revocation = verify_revocation(token, bundle.relying_parties_at(self._core.clock()))
        if not revocation.document.may_come_from(caller):
            raise not_permitted()
        with self._core.engine.connect() as connection:
            row = repository.consent(connection, revocation.consent)
            if row is None:
                raise not_permitted()
            key = self._core.vault.key(row.sub)
            consent = stored_consent(connection, key, row.consent_id)
        assert consent is not None, "its row was just found"
        if not set(verified_consent(consent, bundle.relying_parties).keys) & set(revocation.keys):
            raise not_permitted()
        return RevokeConsent(revocation.consent, key)


def stored_consent(connection: Connection, key: DataKey, consent_id: bytes) -> str | None:
    """A consent with all signatures that were registered; None when it is not known.

    Raises:
        DataLoss: `ROW_NOT_OPENED`.
    """
    row = repository.consent(connection, consent_id)
    if row is None:
        return None
    further = repository.signatures_under(connection, [consent_id])[consent_id]
    return open_consent(row, further, key)


def open_consent(row: Row[Any], further: Sequence[Row[Any]], key: DataKey) -> str:
    """A consent out of its row and those of its further signatures.

    Raises:
        DataLoss: `ROW_NOT_OPENED`.
    """
    texts = [key.open(ROW, row.consent_id, row.sealed).decode("ascii")]
    for signature in further:
        name = signature_name(row.consent_id, signature.log_index)
        texts.append(key.open(SIGNATURE_ROW, name, signature.sealed).decode("ascii"))
    return join_signatures(texts) if further else texts[0]


def signature_name(consent_id: bytes, log_index: int) -> bytes:
    """The name that a further signature is sealed under."""
    return frame((consent_id, str(log_index).encode()))


def _further(consent: VerifiedConsent, there: str | None, trust: Trust) -> str | None:
    """What this consent brings that is not stored yet: all of it, some signatures, or nothing."""
    if there is None:
        return consent.document.text
    known = verified_consent(there, trust.bundle.relying_parties).keys
    fresh = [item.text for item in consent.document.signatures if item.key not in known]
    return join_signatures(fresh) if fresh else None


def _is_acceptable(consent: VerifiedConsent, trust: Trust, now: int) -> bool:
    """Whether lender, service, policies, terms and time of the consent are allowed now, and the
    borrower was shown what they come to."""
    terms = consent.terms
    try:
        trust.active(terms.aud, "lender")
        policies = [trust.policy_in_force(ref, now) for ref in terms.policies]
        for policy in policies:
            consent.verify_scope(
                sub=terms.sub,
                lender=terms.aud,
                via=trust.bundle.domain,
                policy=policy,
                at=now,
            )
            template = require_standing(trust, terms.aud, policy, now)
            require_terms(template, terms, consent.not_before)
        return is_genuine(consent.notice, trust, terms)
    except CredproofError:
        return False  # the caller learns only that it is not permitted


class GrantConsent:
    """Keeps a consent, or further signatures under it, and logs it; what is there stays as it is.

    `text` is what was not stored when it was prepared.
    """

    def __init__(self, consent: VerifiedConsent, key: DataKey, text: str | None) -> None:
        self._consent = consent
        self._key = key
        self._text = text

    def apply(self, tx: Transaction) -> Granted:
        consent = self._consent
        known = repository.consent(tx.connection, consent.id)
        if known is None:
            assert self._text is not None, "consents are never deleted"
            return self._keep(tx, self._text)
        if self._text is not None:
            self._keep_further(tx, self._text)
        return Granted(consent.id, known.log_index)

    def _keep(self, tx: Transaction, text: str) -> Granted:
        consent = self._consent
        if repository.consent_to(tx.connection, consent.terms.sub, consent.request) is not None:
            # Told in clear: a key that is bound for this very borrower has signed the consent.
            raise Conflict(
                "REQUEST_USED", "there is a consent to this request: a request is good for one"
            )
        index = _log(tx, ENTRY_GRANTED, consent.id, self._key)
        row = {
            "consent_id": consent.id,
            "sub": consent.terms.sub,
            "lender": consent.terms.aud,
            "log_index": index,
            "revoked_index": None,
            "sealed": self._key.seal(ROW, consent.id, text.encode("ascii")),
            "request": consent.request,
        }
        repository.add_consent(tx.connection, row)
        return Granted(consent.id, index)

    def _keep_further(self, tx: Transaction, text: str) -> None:
        consent = self._consent
        stored = stored_consent(tx.connection, self._key, consent.id)
        assert stored is not None, "its row was just found"
        if set(split_signatures(text)) <= set(split_signatures(stored)):
            return  # another call brought them meanwhile
        at_most(len(split_signatures(f"{stored}~{text}")), DOCUMENT_SIGNATURES_MAX, "signatures")
        index = _log(tx, ENTRY_SIGNED, consent.id, self._key)
        name = signature_name(consent.id, index)
        row = {
            "log_index": index,
            "consent_id": consent.id,
            "sub": consent.terms.sub,
            "sealed": self._key.seal(SIGNATURE_ROW, name, text.encode("ascii")),
        }
        repository.add_signature(tx.connection, row)


class RevokeConsent:
    """Ends a consent and logs it, once."""

    def __init__(self, consent_id: bytes, key: DataKey) -> None:
        self._consent_id = consent_id
        self._key = key

    def apply(self, tx: Transaction) -> Granted:
        row = repository.consent(tx.connection, self._consent_id)
        assert row is not None, "consents are never deleted"
        if row.revoked_index is not None:
            return Granted(self._consent_id, row.revoked_index)
        index = _log(tx, ENTRY_REVOKED, self._consent_id, self._key)
        repository.revoke_consent(tx.connection, self._consent_id, index)
        return Granted(self._consent_id, index)


def _log(tx: Transaction, kind: str, consent_id: bytes, key: DataKey) -> int:
    salt = fresh_salt()
    return tx.append(kind, BORROWER, consent_id, salt=salt, fields={"tag": b64url(key.tag(salt))})
