"""Two auditors on a service without network: what it takes to unseal a detail."""

from __future__ import annotations

import os
import time

from credproof.base.keys import Ed25519Signer
from credproof.log.entry import Entry, entry_hash, parse_entry
from credproof.verification.answer import Reference
from credproof.verification.unsealing import (
    parse_unseal_request,
    sign_unseal_decision,
    sign_unseal_request,
)
from credproof_server.service.core import Core
from credproof_server.service.unsealing import Unsealing
from credproof_server.storage import repository

from tests.deployment import DOMAIN
from tests.world import seed_of

WHY = Reference("complaint 17", seed_of("why", 16))


def why() -> Reference:
    """A reason under a fresh salt: no two requests are the same."""
    return Reference("complaint 18", os.urandom(16))


def line_at(core: Core, index: int) -> bytes:
    with core.engine.connect() as connection:
        return repository.lines(connection, index, 1)[0]


def entry_at(core: Core, index: int) -> Entry:
    return parse_entry(line_at(core, index))


def newest(core: Core) -> Entry:
    return entry_at(core, core.sequencer.head.tree_size - 1)


class Office:
    """Auditors by name, each with a key; `core` may be changed between their steps."""

    def __init__(self, core: Core, signers: dict[str, Ed25519Signer]) -> None:
        self.core = core
        self.signers = signers

    def request(self, index: int, detail: str = "verdicts", by: str = "office", **changes) -> str:
        said = {
            "auditor": by,
            "domain": DOMAIN,
            "now": int(time.time()),
            "life_s": 3600,
            "log_index": index,
            "entry": entry_hash(line_at(self.core, index)),
            "detail": detail,
            "reason": WHY.digest,
        }
        return sign_unseal_request(self.signers[by], **{**said, **changes})

    async def ask(self, index: int, detail: str = "verdicts", by: str = "office", **said) -> bytes:
        """The id of a request that the service took."""
        reason = why()
        request = self.request(index, detail, by, **{"reason": reason.digest, **said})
        await Unsealing(self.core).ask(by, request, reason)
        return parse_unseal_request(request).id

    def decision(self, request: bytes, by: str = "second", *, approves: bool = True, **said) -> str:
        settings = {"auditor": by, "domain": DOMAIN, "now": int(time.time())}
        settings |= {"request": request, "approves": approves} | said
        return sign_unseal_decision(self.signers[by], **settings)

    async def decide(self, request: bytes, by: str = "second", *, approves: bool = True) -> int:
        return await Unsealing(self.core).decide(by, self.decision(request, by, approves=approves))

    async def approved(self, index: int, detail: str = "verdicts") -> bytes:
        request = await self.ask(index, detail)
        await self.decide(request)
        return request

    async def open(self, request: bytes, by: str = "office"):
        return await Unsealing(self.core).open(by, request)
