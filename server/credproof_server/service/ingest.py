"""Accepting attestations: the numbered checks of `docs/PROTOCOL.md`.

     0  the caller is an active provider, allowed this schema
     1  the seal opens
     2  package and token parse strictly
     3  the signature verifies; the key is valid at `iat` and now
        (a token that was accepted before gets its receipt here, whatever its age)
     4  issuer, schema, dates
     5  the values fit the schema and each other
     6  every digest and anchor recomputes
     7  `seq` and `prev` continue the chain; the provider has not too many of the borrower
     8  encrypt under the borrower's key
     9  store and log in one commit
    10  the receipt, only when durable

Checks 1 to 6 and 8 need no state and run on a thread, a whole batch at once. Check 7 and the
status of caller and key are decided by the sequencer inside the commit.
"""

from __future__ import annotations

from asyncio import Task, create_task
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass

from credproof.attestation.package import (
    Package,
    parse_package,
    verify_commitments,
    verify_envelope,
    verify_signature,
    verify_values,
)
from credproof.attestation.sealing import Route
from credproof.base.encoding import b64url, parse_b64url
from credproof.base.errors import Conflict, CredproofError, Refused, VerificationFailed, step
from credproof.base.limits import PROVIDER_ATTESTATIONS_MAX
from credproof.verification.answer import ENTRY_ATTESTATION
from credproof.verification.participant import Participant
from credproof.verification.trust import Trust

from credproof_server.conduct.rules import Rules
from credproof_server.log.state import Transaction
from credproof_server.service.churn import watch_churn
from credproof_server.service.core import Core, fresh_salt
from credproof_server.storage import repository
from credproof_server.storage.repository import Head
from credproof_server.storage.vault import DataKey

ENTRY_CONFLICT = "attestation.conflict"
ROW = "attestation"
"""What rows of attestations are sealed as."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """An attestation is durable, filed under `sub`, and in the log at `log_index`."""

    token_id: bytes
    sub: bytes
    log_index: int


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item that passed all checks but those of state, ready to be written."""

    package: Package
    chain_id: bytes
    index: bytes
    sealed: bytes


Result = Receipt | CredproofError


@dataclass(frozen=True, slots=True)
class BatchResult:
    """One result per item, in order, and the checkpoint that covers the receipts."""

    results: tuple[Result, ...]
    checkpoint: bytes


class Ingest:
    """The use case of providers."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def submit(self, provider: str, sealed_batch: bytes) -> BatchResult:
        """Accept a sealed batch; items succeed or fail each by itself.

        Raises:
            CredproofError: when the batch as a whole is refused (checks 0 and 1).
        """
        return await self._commit(provider, await self._check(provider, sealed_batch))

    async def stream(
        self, provider: str, sealed_batches: AsyncIterator[bytes]
    ) -> AsyncIterator[BatchResult]:
        """As `submit`, batch after batch: the next one is checked while one is committed.

        Raises:
            CredproofError: as `submit`, after the results of the batches before.
        """
        committing: Task[BatchResult] | None = None
        while True:
            checking = create_task(self._check_next(provider, sealed_batches))
            try:
                if committing is not None:
                    yield await committing
                checked = await checking
            finally:
                checking.cancel()  # does nothing once it is done
            if checked is None:
                return
            committing = create_task(self._commit(provider, checked))

    async def _check_next(
        self, provider: str, sealed_batches: AsyncIterator[bytes]
    ) -> list[Prepared | Result] | None:
        """The next batch, checked; None after the last one."""
        sealed = await anext(sealed_batches, None)
        return None if sealed is None else await self._check(provider, sealed)

    async def _check(self, provider: str, sealed_batch: bytes) -> list[Prepared | Result]:
        return await self._core.in_thread(lambda: self._prepare(provider, sealed_batch))

    async def _commit(self, provider: str, prepared: list[Prepared | Result]) -> BatchResult:
        if not any(isinstance(item, Prepared) for item in prepared):
            head = self._core.sequencer.head
            return BatchResult(_settled(prepared), head.note)
        committed = await self._core.commit(AcceptBatch(provider, prepared, self._core.rules))
        return BatchResult(committed.value, committed.head.note)

    async def chain_heads(
        self, provider: str, schema_digest: bytes, accounts: Sequence[str]
    ) -> Mapping[str, Head]:
        """The heads of the provider's own chains, by account."""
        ids = {self._core.chain_id(provider, schema_digest, name): name for name in accounts}

        def read() -> Mapping[bytes, Head]:
            with self._core.engine.connect() as connection:
                return repository.chain_heads(connection, list(ids))

        heads = await self._core.in_thread(read)
        return {ids[chain_id]: head for chain_id, head in heads.items()}

    # -- on a thread: everything that needs no decision about state

    def _prepare(self, provider: str, sealed_batch: bytes) -> list[Prepared | Result]:
        core, now = self._core, self._core.clock()
        with step(0):
            caller = active_provider(core.trust, provider)
        with step(1):
            route = Route(core.trust.bundle.domain, provider)
            batch = core.keys.sealing.open(sealed_batch, route)
        items = [_parse(data, caller, now) for data in batch]
        known = self._receipts([item for item in items if isinstance(item, Package)])
        checked = [_check(item, caller, core.trust, now, known) for item in items]
        return self._seal(checked)

    def _receipts(self, packages: Sequence[Package]) -> Mapping[bytes, Receipt]:
        with self._core.engine.connect() as connection:
            rows = repository.accepted(connection, [package.token.id for package in packages])
        # What no checkpoint covers yet gets its receipt from the commit that signs, not here.
        covered = self._core.sequencer.head.tree_size
        return {
            key: Receipt(key, row.sub, row.log_index)
            for key, row in rows.items()
            if row.log_index < covered
        }

    def _seal(self, items: Sequence[Package | Result]) -> list[Prepared | Result]:
        subs = {item.token.sub for item in items if isinstance(item, Package)}
        with step(8):
            keys = self._core.vault.keys(subs) if subs else {}
        return [
            self._prepared(item, keys.get(item.token.sub)) if isinstance(item, Package) else item
            for item in items
        ]

    def _prepared(self, package: Package, key: DataKey | None) -> Prepared | CredproofError:
        token = package.token
        if key is None:
            message = "the borrower's data was erased: nothing more is kept about them"
            return Refused("SUBJECT_ERASED", message, step=8)
        chain_id = self._core.chain_id(token.issuer, token.schema_digest, package.account)
        index = self._core.keys.directory.index(token.sub, token.schema_digest)
        return Prepared(package, chain_id, index, key.seal(ROW, token.id, package.data))


def active_provider(trust: Trust, provider: str) -> Participant:
    """Check 0: the active provider of this id.

    Raises:
        Refused: `NOT_PERMITTED`.
    """
    try:
        return trust.active(provider, "provider")
    except VerificationFailed as error:
        raise Refused("NOT_PERMITTED", "the caller is not an active provider") from error


def _parse(data: bytes, caller: Participant, now: int) -> Package | CredproofError:
    try:
        with step(2):
            package = parse_package(data)
        with step(3):
            verify_signature(package, {key.public.kid: key for key in caller.keys}, now=now)
    except CredproofError as error:
        return error
    return package


def _check(
    item: Package | CredproofError,
    caller: Participant,
    trust: Trust,
    now: int,
    known: Mapping[bytes, Receipt],
) -> Package | Result:
    if isinstance(item, CredproofError):
        return item
    if item.token.id in known:
        return known[item.token.id]
    try:
        with step(4):
            schema = verify_envelope(item, caller=caller.id, schemas=trust.schemas, now=now)
        with step(0):
            _require_allowed(caller, schema.digest)
        with step(5):
            verify_values(item, schema)
        with step(6):
            verify_commitments(item, schema)
    except CredproofError as error:
        return error
    return item


def _require_allowed(caller: Participant, schema_digest: bytes) -> None:
    if schema_digest not in caller.schemas:
        raise Refused("SCHEMA_NOT_ALLOWED", "the provider may not attest this schema")


def _settled(items: Sequence[Prepared | Result]) -> tuple[Result, ...]:
    return tuple(item for item in items if not isinstance(item, Prepared))


class AcceptBatch:
    """Checks 7 and 9 for a prepared batch, inside the commit."""

    def __init__(self, provider: str, items: Sequence[Prepared | Result], rules: Rules) -> None:
        self._provider = provider
        self._items = items
        self._rules = rules

    def apply(self, tx: Transaction) -> tuple[Result, ...]:
        """One result per item; rows and entries of those accepted."""
        fresh = [item for item in self._items if isinstance(item, Prepared)]
        writing = _Writing(tx, self._provider, fresh)
        results = tuple(
            writing.accept(item) if isinstance(item, Prepared) else item for item in self._items
        )
        writing.flush()
        watch_churn(tx, self._rules, self._provider, writing.newest())
        return results


class _Writing:
    """The state that a batch meets and changes."""

    def __init__(self, tx: Transaction, provider: str, items: Sequence[Prepared]) -> None:
        self._tx = tx
        self._provider = provider
        ids = [item.package.token.id for item in items]
        rows = repository.accepted(tx.connection, ids)
        self._known = {key: Receipt(key, row.sub, row.log_index) for key, row in rows.items()}
        chains = [item.chain_id for item in items]
        self._heads = dict(repository.chain_heads(tx.connection, chains))
        opening = {item.package.token.sub for item in items if self._opens(item)}
        self._held = repository.held_of(tx.connection, provider, opening) if opening else Counter()
        self._rows: dict[bytes, dict[str, object]] = {}
        self._superseded: list[bytes] = []

    def accept(self, item: Prepared) -> Result:
        token_id = item.package.token.id
        if token_id in self._known:
            return self._known[token_id]
        try:
            self._require_allowed(item)
            with step(7):
                self._require_next(item)
                self._require_replaced(item)
                self._require_room(item)
        except CredproofError as error:
            return error
        return self._add(item)

    def _require_allowed(self, item: Prepared) -> None:
        """Provider, schema and key count still: the bundle may have changed meanwhile."""
        assert self._tx.trust is not None
        with step(0):
            caller = active_provider(self._tx.trust, self._provider)
            _require_allowed(caller, item.package.token.schema_digest)
        with step(3):
            keys = {key.public.kid: key for key in caller.keys}
            key = keys.get(item.package.token.jws.kid)
            if key is None:
                raise VerificationFailed("UNKNOWN_KEY", "the key is no longer registered")
            key.verify_valid_at(self._tx.time)

    def _require_next(self, item: Prepared) -> None:
        package, head = item.package, self._heads.get(item.chain_id)
        seq, prev = (head.seq + 1, head.token_id) if head else (1, bytes(32))
        if head is not None and package.seq <= head.seq:
            self._keep_conflict(item)
            raise Conflict("EQUIVOCATION", "another token was accepted with this seq")
        if (package.seq, package.prev) != (seq, prev):
            raise Conflict("CHAIN_BROKEN", "token does not continue the account's chain")
        if head is not None and head.sub != package.token.sub:
            raise Conflict("SUBJECT_CHANGED", "account was attested for another borrower before")

    def _require_replaced(self, item: Prepared) -> None:
        """A binding may name the one that it replaces only once that key has ended."""
        replaced = item.package.values.get("replaces")
        if not isinstance(replaced, str):
            return
        row = repository.attestation(self._tx.connection, parse_b64url(replaced, size=32))
        own = row is not None and (row.provider, row.sub) == (
            self._provider,
            item.package.token.sub,
        )
        if row is None or not own or row.withdrawn_index is None:
            raise Conflict("NOT_REPLACED", "the binding it replaces is not an ended one of yours")

    def _opens(self, item: Prepared) -> bool:
        """Whether one more attestation is current with it than before."""
        head = self._heads.get(item.chain_id)
        return head is None or head.withdrawn

    def _require_room(self, item: Prepared) -> None:
        token = item.package.token
        held = self._held[token.sub, token.schema_digest]
        if self._opens(item) and held >= PROVIDER_ATTESTATIONS_MAX:
            raise Conflict(
                "TOO_MANY_ACCOUNTS",
                f"{PROVIDER_ATTESTATIONS_MAX} accounts of this borrower are current under this"
                " schema: withdraw those that are closed, then attest this one anew",
            )

    def _keep_conflict(self, item: Prepared) -> None:
        token, tx = item.package.token, self._tx
        if repository.conflict_known(tx.connection, token.id):
            return
        other = self._token_with_seq(item)
        fields = {"accepted": b64url(other)}
        salt = fresh_salt()
        index = tx.append(ENTRY_CONFLICT, self._provider, token.id, salt=salt, fields=fields)
        row = {"token_id": token.id, "accepted_id": other, "sub": token.sub}
        repository.add_conflict(tx.connection, {**row, "log_index": index, "sealed": item.sealed})

    def _token_with_seq(self, item: Prepared) -> bytes:
        for key, row in self._rows.items():
            if (row["chain_id"], row["seq"]) == (item.chain_id, item.package.seq):
                return key
        found = repository.token_with_seq(self._tx.connection, item.chain_id, item.package.seq)
        assert found is not None, "every seq up to the head is taken"
        return found

    def _add(self, item: Prepared) -> Receipt:
        token, head = item.package.token, self._heads.get(item.chain_id)
        fields: dict[str, object] = {"index": b64url(item.index)}
        if head is not None and not head.withdrawn:
            fields["replaces"] = b64url(head.token_id)
        index = self._tx.append(
            ENTRY_ATTESTATION, self._provider, token.id, salt=fresh_salt(), fields=fields
        )
        self._held[token.sub, token.schema_digest] += self._opens(item)
        self._supersede(item.chain_id)
        self._heads[item.chain_id] = Head(item.package.seq, token.id, token.sub)
        self._rows[token.id] = {
            "token_id": token.id,
            "chain_id": item.chain_id,
            "seq": item.package.seq,
            "provider": self._provider,
            "schema_digest": token.schema_digest,
            "sub": token.sub,
            "current": True,
            "log_index": index,
            "sealed": item.sealed,
        }
        receipt = self._known[token.id] = Receipt(token.id, token.sub, index)
        return receipt

    def _supersede(self, chain_id: bytes) -> None:
        head = self._heads.get(chain_id)
        if head is None:
            return
        if head.token_id in self._rows:
            self._rows[head.token_id]["current"] = False
        else:
            self._superseded.append(head.token_id)

    def newest(self) -> Mapping[bytes, int]:
        """The `seq` of each chain that was continued."""
        return {
            chain: head.seq for chain, head in self._heads.items() if head.token_id in self._rows
        }

    def flush(self) -> None:
        with step(9):
            rows = list(self._rows.values())
            repository.add_attestations(self._tx.connection, rows, self._superseded)
