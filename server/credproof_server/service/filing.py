"""Showing a provider where its attestations were filed; of others' it learns nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.errors import DataLoss, Refused
from credproof.base.limits import BATCH_ITEMS_MAX, at_most
from credproof.base.vrf import Output
from credproof.verification.answer import Logged

from credproof_server.log.sequencer import SignedHead
from credproof_server.service.core import Core
from credproof_server.service.ingest import active_provider
from credproof_server.storage import repository


@dataclass(frozen=True, slots=True)
class Filed:
    """The entry of an attestation, and the element of the borrower whom it is about."""

    logged: Logged
    output: Output


@dataclass(frozen=True, slots=True)
class Shown:
    """One for each token, in order, under a signed checkpoint."""

    items: tuple[Filed, ...]
    checkpoint: bytes


class Filing:
    """The use case of providers who check on the service."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def show(self, provider: str, token_ids: Sequence[bytes]) -> Shown:
        """Where the provider's own tokens are in the log.

        Raises:
            Refused: `NOT_PERMITTED`; `NO_SUCH_ATTESTATION` when one is not the provider's.
            LimitExceeded: too many tokens.
            DataLoss: `LOG_DAMAGED` when an entry is lost.
        """
        at_most(len(token_ids), BATCH_ITEMS_MAX, "tokens")
        active_provider(self._core.trust, provider)
        return await self._core.in_thread(lambda: self._show(provider, token_ids))

    def _show(self, provider: str, token_ids: Sequence[bytes]) -> Shown:
        head = self._core.sequencer.head
        with self._core.engine.connect() as connection:
            rows = repository.accepted(connection, token_ids)
            indexes = {row.log_index for row in rows.values() if row.log_index < head.tree_size}
            lines = repository.lines_at(connection, sorted(indexes))
        foreign = any(row.provider != provider for row in rows.values())
        if foreign or len(indexes) < len(set(token_ids)):
            raise Refused("NO_SUCH_ATTESTATION", "the provider has no such attestation")
        if len(lines) < len(indexes):
            raise DataLoss("LOG_DAMAGED", "an entry of the log is not stored")
        places = [(rows[token_id].sub, rows[token_id].log_index) for token_id in token_ids]
        items = (self._filed(sub, index, lines[index], head) for sub, index in places)
        return Shown(tuple(items), head.note)

    def _filed(self, sub: bytes, index: int, line: bytes, head: SignedHead) -> Filed:
        hashes = self._core.sequencer.state.tree.inclusion_proof(index, head.tree_size)
        return Filed(Logged(line, index, hashes), self._core.keys.directory.prove(sub))
