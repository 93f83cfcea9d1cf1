"""Pausing: borrowers let consents rest and take them up again, all decided in the commit."""

from __future__ import annotations

from credproof.base.encoding import b64url
from credproof.base.errors import Conflict, Refused
from credproof.base.keys import PublicKey
from credproof.verification.consent import verify_consent
from credproof.verification.document import PAUSE, Kind
from credproof.verification.participant import BORROWER
from credproof.verification.pausing import VerifiedPause, verify_pause
from sqlalchemy import Row

from credproof_server.log.state import Transaction
from credproof_server.service.consents import Granted, not_permitted, stored_consent
from credproof_server.service.core import Core, fresh_salt, padded
from credproof_server.service.holdings import load_holdings
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey

ENTRY_PAUSED = "consent.paused"
ENTRY_RESUMED = "consent.resumed"
ROW = "pause"


class Pausing:
    """The use case of borrowers who want to be asked about later, or never mind again."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def change(self, text: str, kind: Kind, caller: PublicKey) -> Granted:
        """Pause or resume a consent; no answer is given under a paused one once this returns.

        The same document again gives the same receipt, while none that is newer stands.

        Raises:
            Malformed, VerificationFailed: the document is bad, `TOO_OLD` or `FROM_THE_FUTURE`.
            Conflict: `SUPERSEDED`.
            Refused: `CONSENT_REVOKED`; else `NOT_PERMITTED`, whatever the cause.
        """
        async with padded():
            command = await self._core.in_thread(lambda: self._prepare(text, kind, caller))
            return (await self._core.commit(command)).value

    def _prepare(self, text: str, kind: Kind, caller: PublicKey) -> ChangeConsent:
        now = self._core.clock()
        pause = verify_pause(text, kind, self._core.trust.bundle.relying_parties_at(now))
        pause.require_fresh(now)
        if not pause.document.may_come_from(caller):
            raise not_permitted()
        with self._core.engine.connect() as connection:
            row = repository.consent(connection, pause.consent)
        if row is None:
            raise not_permitted()
        return ChangeConsent(pause, self._core.vault.key(row.sub))


class ChangeConsent:
    """Keeps a pause or resumption and logs it, if it is the newest of its consent."""

    def __init__(self, pause: VerifiedPause, key: DataKey) -> None:
        self._pause = pause
        self._key = key

    def apply(self, tx: Transaction) -> Granted:
        pause = self._pause
        row = repository.consent(tx.connection, pause.consent)
        assert row is not None, "consents are never deleted"
        self._require_key(tx, row)
        if row.revoked_index is not None:
            raise Refused("CONSENT_REVOKED", "this consent is revoked: nothing brings it back")
        newest = repository.newest_pause(tx.connection, pause.consent)
        if newest is not None and newest.document_id == pause.document.id:
            return Granted(pause.consent, newest.log_index)
        self._require_newer(tx, newest)
        return Granted(pause.consent, self._keep(tx, row.sub))

    def _require_key(self, tx: Transaction, row: Row[object]) -> None:
        """One of its keys signed the consent too, and counts at this moment."""
        assert tx.trust is not None
        consent = stored_consent(tx.connection, self._key, row.consent_id)
        assert consent is not None, "its row was just found"
        signers = verify_consent(consent, tx.trust.bundle.relying_parties).keys
        shared = set(signers) & set(self._pause.keys)
        holdings = load_holdings(tx.connection, self._key, row.sub, tx.trust, tx.time)
        if not holdings.is_bound(shared):
            raise not_permitted()

    def _require_newer(self, tx: Transaction, newest: Row[object] | None) -> None:
        older = newest is not None and self._pause.issued_at < newest.issued_at
        if older or repository.is_pause_known(tx.connection, self._pause.document.id):
            raise Conflict("SUPERSEDED", "a newer pause or resumption stands: sign a new one")

    def _keep(self, tx: Transaction, sub: bytes) -> int:
        document, salt = self._pause.document, fresh_salt()
        paused = document.kind == PAUSE
        fields = {"document": b64url(document.id), "tag": b64url(self._key.tag(salt))}
        kind = ENTRY_PAUSED if paused else ENTRY_RESUMED
        index = tx.append(kind, BORROWER, self._pause.consent, salt=salt, fields=fields)
        row = {
            "log_index": index,
            "document_id": document.id,
            "consent_id": self._pause.consent,
            "sub": sub,
            "paused": paused,
            "issued_at": self._pause.issued_at,
            "sealed": self._key.seal(ROW, document.id, document.text.encode("ascii")),
        }
        repository.add_pause(tx.connection, row)
        return index
