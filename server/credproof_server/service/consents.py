"""Consents: granted and revoked by borrowers, under a key that a provider bound."""

from __future__ import annotations

from dataclasses import dataclass

from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, Refused
from credproof.base.keys import PublicKey
from credproof.verification.consent import (
    VerifiedConsent,
    verify_consent,
    verify_revocation,
)
from credproof.verification.notice import is_genuine
from credproof.verification.participant import BORROWER
from credproof.verification.standing import require_standing, require_terms
from credproof.verification.trust import Trust

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt, padded
from credproof_server.service.holdings import load_holdings
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ENTRY_GRANTED = "consent.granted"
ENTRY_REVOKED = "consent.revoked"
ROW = "consent"


def not_permitted() -> Refused:
    """The one refusal before a valid consent: nothing can be told from it."""
    return Refused("NOT_PERMITTED", "the service does not permit this")


@dataclass(frozen=True, slots=True)
class Granted:
    """The receipt of a consent or of its revocation."""

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
        consent = verify_consent(token)
        trust, now = self._core.trust, self._core.clock()
        if consent.key != caller or not _is_acceptable(consent, trust, now):
            raise not_permitted()
        sub = consent.terms.sub
        key = self._core.vault.existing([sub]).get(sub)
        if key is None:
            raise not_permitted()
        with self._core.engine.connect() as connection:
            holdings = load_holdings(connection, key, sub, trust, now)
        if not holdings.bound_by(consent.key):
            raise not_permitted()
        return GrantConsent(consent, key, key.seal(ROW, consent.id, token.encode("ascii")))

    def _prepare_revocation(self, token: str, caller: PublicKey) -> RevokeConsent:
        revocation = verify_revocation(token)
        if revocation.key != caller:
            raise not_permitted()
        with self._core.engine.connect() as connection:
            row = repository.consent(connection, revocation.consent)
        if row is None:
            raise not_permitted()
        key = self._core.vault.key(row.sub)
        consent = key.open(ROW, row.consent_id, row.sealed).decode("ascii")
        if verify_consent(consent).key != revocation.key:
            raise not_permitted()
        return RevokeConsent(revocation.consent, key)


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
    """Keeps a consent and logs it, once."""

    def __init__(self, consent: VerifiedConsent, key: DataKey, sealed: bytes) -> None:
        self._consent = consent
        self._key = key
        self._sealed = sealed

    def apply(self, tx: Transaction) -> Granted:
        consent = self._consent
        known = repository.consent(tx.connection, consent.id)
        if known is not None:
            return Granted(consent.id, known.log_index)
        index = _log(tx, ENTRY_GRANTED, consent.id, self._key)
        row = {
            "consent_id": consent.id,
            "sub": consent.terms.sub,
            "lender": consent.terms.aud,
            "log_index": index,
            "revoked_index": None,
            "sealed": self._sealed,
        }
        repository.add_consent(tx.connection, row)
        return Granted(consent.id, index)


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
