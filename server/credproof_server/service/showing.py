"""Showing a borrower what is held: what the directory names, and what the key opens of it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from credproof.base.errors import Conflict
from credproof.base.keys import PublicKey
from credproof.base.limits import HELD_PAGE_MAX
from credproof.verification.answer import DirectoryEvidence, Logged, TokenEvidence
from sqlalchemy import Connection, Row

from credproof_server.log.epochs import CloseEpoch
from credproof_server.log.sequencer import SignedHead
from credproof_server.service.consents import not_permitted
from credproof_server.service.core import Core, padded
from credproof_server.service.holdings import open_holdings, open_row
from credproof_server.service.lookups import Lookups, not_covered
from credproof_server.service.verify import EPOCHS_MAX
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey


@dataclass(frozen=True, slots=True)
class Shown:
    """A lookup and the tokens that the key opens, under a signed checkpoint."""

    directory: DirectoryEvidence
    tokens: tuple[TokenEvidence, ...]
    checkpoint: bytes


class Showing:
    """The use case of borrowers who check on the service."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def show(self, sub: bytes, schema: bytes, caller: PublicKey, start: int = 0) -> Shown:
        """What is current of one schema about a borrower whose key this is: a page of it, logged
        at `start` or later.

        Raises:
            Refused: `NOT_PERMITTED` when no provider binds the key for this borrower, whatever
                is known of it.
            Conflict: `SNAPSHOT_CHANGED` when attestations change all the time.
            DataLoss: what is stored is damaged, or lost.
        """
        work = partial(self._show, sub, schema, caller, start)
        async with padded():
            for _ in range(EPOCHS_MAX):
                with suppress(Conflict):
                    return await self._core.in_thread(work)
                await self._core.commit(CloseEpoch())
            return await self._core.in_thread(work)

    def _show(self, sub: bytes, schema: bytes, caller: PublicKey, start: int) -> Shown:
        core, now = self._core, self._core.clock()
        key = core.vault.existing([sub]).get(sub)
        if key is None:
            raise not_permitted()
        head = core.sequencer.head
        with core.engine.connect() as connection:
            rows = repository.current_attestations(connection, [sub])[sub]
            opened = self._opened(connection, rows, key, caller, sub)
            asked = [row for row in rows if row.schema_digest == schema]
            current = {schema: {row.token_id for row in asked}}
            evidence = Lookups(core, connection).evidence(sub, current, now)
            mine = [r for r in asked if r.provider in opened and r.log_index >= start]
            mine = mine[:HELD_PAGE_MAX]
            lines = repository.lines_at(connection, [row.log_index for row in mine])
        tokens = tuple(self._token(row, key, lines[row.log_index], head) for row in mine)
        root = self._logged(evidence.root.line, evidence.root.log_index, head)
        return Shown(replace(evidence, root=root), tokens, head.note)

    def _opened(
        self,
        connection: Connection,
        rows: Sequence[Row[Any]],
        key: DataKey,
        caller: PublicKey,
        sub: bytes,
    ) -> set[str]:
        """The providers for whom the caller's key counts: it opens no others.

        A provider that binds a key of its own for somebody else's customer sees no more.
        """
        trust = self._core.trust
        ended = repository.ended_keys_of(connection, [sub])[sub]
        holdings = open_holdings(rows, ended, key, trust, self._core.clock())
        if not holdings.is_bound([caller]):
            raise not_permitted()
        issuers = {row.provider for row in rows}
        return {name for name in issuers if holdings.binding(name, [caller], trust)}

    def _token(self, row: Row[Any], key: DataKey, line: bytes, head: SignedHead) -> TokenEvidence:
        token = open_row(row, key, self._core.trust).token
        return TokenEvidence(token, (), self._logged(line, row.log_index, head))

    def _logged(self, line: bytes, index: int, head: SignedHead) -> Logged:
        if index >= head.tree_size:
            raise not_covered()
        hashes = self._core.sequencer.state.tree.inclusion_proof(index, head.tree_size)
        return Logged(line, index, tuple(hashes))
