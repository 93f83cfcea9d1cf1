"""Consents: granted and revoked by borrowers, under a key that a provider bound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from credproof.base.encoding import b64url, frame
from credproof.base.errors import Conflict, CredproofError, Refused
from credproof.base.keys import PublicKey
from credproof.base.limits import DOCUMENT_SIGNATURES_MAX, TOKEN_BYTES_MAX, at_most
from credproof.verification.consent import (
    VerifiedConsent,
    verify_revocation,
)
from credproof.verification.document import SEPARATOR, join_signatures
from credproof.verification.notice import is_genuine
from credproof.verification.participant import BORROWER
from credproof.verification.policy import PolicyRef
from credproof.verification.purpose import Template
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


def too_many() -> Refused:
    """Nobody could read an answer that shows them, and it would use the consent up."""
    return Refused(
        "TOO_MANY_ATTESTATIONS",
        "one answer cannot show all that is attested of this borrower: ask again once its"
        " providers have withdrawn the accounts that are closed",
    )


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
        if not consent.document.may_come_from(caller):
            raise not_permitted()
        sub = consent.terms.sub
        key = self._core.vault.existing([sub]).get(sub)
        if key is None:
            raise not_permitted()
        with self._core.engine.connect() as connection:
            known = repository.consent(connection, consent.id) is not None
            if not (_still_stands if known else _is_acceptable)(consent, trust, now):
                raise not_permitted()
            fresh = _fresh(connection, consent, key, trust, now)
        if fresh:  # what is signed anew is signed on a page of now
            verified_consent(fresh, trust.bundle.relying_parties_at(now))
        return GrantConsent(consent, key)

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


def _fresh(
    connection: Connection, consent: VerifiedConsent, key: DataKey, trust: Trust, now: int
) -> str:
    """The signatures that a consent brings and that are not stored yet; empty when all are.

    Whoever has signed may revoke, so a signature is stored only if its key is bound for this
    borrower now. What is stored already was; a key of it may have ended since.

    Raises:
        Refused: `NOT_PERMITTED` when one of them is by another key, or none of its keys counts.
        LimitExceeded: too many signatures, or too long to be read with them.
    """
    stored = stored_consent(connection, key, consent.id)
    known = verified_consent(stored, trust.bundle.relying_parties).keys if stored else ()
    fresh = [item for item in consent.document.signatures if item.key not in known]
    holdings = load_holdings(connection, key, consent.terms.sub, trust, now)
    all_bound = all(holdings.is_bound([item.key]) for item in fresh)
    if not all_bound or not holdings.is_bound(consent.keys):
        raise not_permitted()
    at_most(len(known) + len(fresh), DOCUMENT_SIGNATURES_MAX, "signatures")
    texts = [item.text for item in fresh]
    at_most(len(SEPARATOR.join([stored or "", *texts])), TOKEN_BYTES_MAX, "consent")
    return SEPARATOR.join(texts)


def _is_acceptable(consent: VerifiedConsent, trust: Trust, now: int) -> bool:
    """Whether lender, service, policies, terms and time of the consent are allowed now, and the
    borrower was shown what they come to."""
    terms = consent.terms
    try:
        for ref in terms.policies:
            require_terms(_standing(consent, ref, trust, now), terms, consent.not_before)
        return is_genuine(consent.notice, trust, terms)
    except CredproofError:
        return False  # the caller learns only that it is not permitted


def _still_stands(consent: VerifiedConsent, trust: Trust, now: int) -> bool:
    """Whether a consent that was taken before has not ended: under one of its policies at least,
    its lender may ask now.

    Its notice was looked at when it was taken: titles, licences and texts may have changed since.
    """
    for ref in consent.terms.policies:
        try:
            _standing(consent, ref, trust, now)
        except CredproofError:
            continue
        return True
    return False


def _standing(consent: VerifiedConsent, ref: PolicyRef, trust: Trust, now: int) -> Template:
    """The template that binds the consent's lender under one of its policies now.

    Raises:
        VerificationFailed: lender, service, policy or time of the consent are not allowed now.
    """
    terms = consent.terms
    trust.active(terms.aud, "lender")
    policy = trust.policy_in_force(ref, now)
    via = trust.bundle.domain
    consent.verify_scope(sub=terms.sub, lender=terms.aud, via=via, policy=policy, at=now)
    return require_standing(trust, terms.aud, policy, now)


class GrantConsent:
    """Keeps a consent, or further signatures under it, and logs it; what is there stays as it is.

    Whose keys count, and what is there, are looked at again: both may have changed.
    """

    def __init__(self, consent: VerifiedConsent, key: DataKey) -> None:
        self._consent = consent
        self._key = key

    def apply(self, tx: Transaction) -> Granted:
        assert tx.trust is not None
        consent = self._consent
        fresh = _fresh(tx.connection, consent, self._key, tx.trust, tx.time)
        known = repository.consent(tx.connection, consent.id)
        if known is None:
            return self._keep(tx, fresh)
        if fresh:
            self._keep_further(tx, fresh)
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
