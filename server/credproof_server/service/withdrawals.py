"""Withdrawals: a provider takes attestations back; no answer rests on one from then on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.attestation.withdrawal import KEY_LOST, Withdrawal, parse_withdrawal
from credproof.base.encoding import b64url, tagged_hash
from credproof.base.errors import (
    Conflict,
    CredproofError,
    Malformed,
    Refused,
    VerificationFailed,
)
from credproof.base.keys import PublicKey
from credproof.base.limits import BATCH_ITEMS_MAX, at_most
from credproof.verification.filing import ENTRY_WITHDRAWN
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust
from credproof.verification.verify import KEY_BINDING

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.service.directory_key import DirectoryKey
from credproof_server.service.holdings import bound_key, open_row
from credproof_server.service.ingest import active_provider
from credproof_server.storage import repository

ENTRY_KEY_ENDED = "key.ended"


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """The attestation `token_id` counts no more, by the entry at `log_index`."""

    token_id: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """A verified withdrawal, and the borrower's key that it reports lost, if it does."""

    withdrawal: Withdrawal
    lost: PublicKey | None


Result = Withdrawn | CredproofError


class Withdrawals:
    """The use case of providers who were wrong, or whose customer left."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def withdraw(self, provider: str, tokens: Sequence[str]) -> tuple[Result, ...]:
        """Take attestations back; once this returns, no answer is given that rests on them.

        Items succeed or fail each by itself. Withdrawing again gives the same receipt.

        Raises:
            Refused: `NOT_PERMITTED`.
            LimitExceeded: too many items.
        """
        at_most(len(tokens), BATCH_ITEMS_MAX, "withdrawals")
        caller = active_provider(self._core.trust, provider)
        read = await self._core.in_thread(lambda: [self._read(text, caller) for text in tokens])
        batch = WithdrawBatch(provider, read, self._core.keys.directory)
        return (await self._core.commit(batch)).value

    def _read(self, text: str, caller: Participant) -> Prepared | CredproofError:
        try:
            withdrawal = parse_withdrawal(text)
            _verify(withdrawal, caller, self._core.trust, self._core.clock())
            return Prepared(withdrawal, self._lost_key(withdrawal))
        except CredproofError as error:
            return error

    def _lost_key(self, withdrawal: Withdrawal) -> PublicKey | None:
        """The key that a report of loss is about; whose attestation it is, the commit decides."""
        if withdrawal.reason != KEY_LOST:
            return None
        with self._core.engine.connect() as connection:
            row = repository.attestation(connection, withdrawal.token)
        if row is None or row.provider != withdrawal.issuer:
            return None
        statement = open_row(row, self._core.vault.key(row.sub), self._core.trust).statement
        if statement.schema.name != KEY_BINDING:
            raise Malformed("BAD_REASON", "only the binding of a key is withdrawn as key-lost")
        return bound_key(statement)


def _verify(withdrawal: Withdrawal, caller: Participant, trust: Trust, now: int) -> None:
    key = caller.key(withdrawal.jws.kid)
    if key is None:
        raise VerificationFailed("UNKNOWN_KEY", "withdrawal is signed by an unregistered key")
    withdrawal.verify(key, caller=caller.id, service=trust.bundle.domain, now=now)


class WithdrawBatch:
    """Decides each withdrawal, marks the attestation, keeps the signature and logs it."""

    def __init__(
        self, provider: str, items: Sequence[Prepared | CredproofError], key: DirectoryKey
    ) -> None:
        self._provider = provider
        self._key = key
        self._items = items

    def apply(self, tx: Transaction) -> tuple[Result, ...]:
        """One result per item, in order."""
        assert tx.trust is not None
        caller = active_provider(tx.trust, self._provider)
        return tuple(
            self._decide(tx, caller, item) if isinstance(item, Prepared) else item
            for item in self._items
        )

    def _decide(self, tx: Transaction, caller: Participant, prepared: Prepared) -> Result:
        assert tx.trust is not None
        item = prepared.withdrawal
        row = repository.attestation(tx.connection, item.token)
        if row is None or row.provider != self._provider:
            return Refused("NO_SUCH_ATTESTATION", "the provider has no such attestation")
        if row.withdrawn_index is not None:
            return Withdrawn(item.token, row.withdrawn_index)
        if not row.current:
            return Conflict("SUPERSEDED", "a newer attestation stands in its place: withdraw that")
        try:
            _verify(item, caller, tx.trust, tx.time)
        except CredproofError as error:
            return error
        index = self._mark(tx, item, self._key.index(row.sub, row.schema_digest))
        if prepared.lost is not None:
            self._end_key(tx, row.sub, prepared.lost)
        return Withdrawn(item.token, index)

    def _mark(self, tx: Transaction, item: Withdrawal, place: bytes) -> int:
        told = {"reason": item.reason, "signed": item.jws.token, "token": b64url(item.token)}
        fields: dict[str, object] = {"index": b64url(place), **told}
        index = tx.append(
            ENTRY_WITHDRAWN, self._provider, item.jws.id, salt=fresh_salt(), fields=fields
        )
        repository.withdraw(tx.connection, item.token, item.jws.token, index)
        return index

    def _end_key(self, tx: Transaction, sub: bytes, key: PublicKey) -> None:
        salt = fresh_salt()
        digest = ended_key_digest(salt, sub, key.kid)
        index = tx.append(ENTRY_KEY_ENDED, self._provider, digest, salt=salt, fields={})
        repository.end_key(tx.connection, sub, key.kid, index)


def ended_key_digest(salt: bytes, sub: bytes, kid: str) -> bytes:
    """What the log says of an ended key: a digest that only who knows both can make."""
    return tagged_hash("key-ended", salt, sub, kid.encode())
