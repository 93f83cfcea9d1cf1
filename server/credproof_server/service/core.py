"""What every use case shares: stores, keys, the sequencer, the clock."""

from __future__ import annotations

import asyncio
import hmac
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeVar

from credproof.attestation.sealing import SealingKey
from credproof.base.encoding import tagged
from credproof.base.errors import Refused
from credproof.base.keys import Signer
from credproof.verification.trust import Trust
from sqlalchemy import Engine

from credproof_server.conduct.rules import Rules
from credproof_server.config import Quotas
from credproof_server.log.published import Published
from credproof_server.log.sequencer import Command, Committed, Sequencer
from credproof_server.log.state import Clock
from credproof_server.log.timestamps import Timestamping
from credproof_server.service.damage import DamageMet
from credproof_server.service.directory_key import DirectoryKey
from credproof_server.service.distribution import Distribution
from credproof_server.storage.engine import usable
from credproof_server.storage.vault import Vault

T = TypeVar("T")
SALT_BYTES = 16
REFUSAL_LATENCY_S: Final = 0.1
"""The bucket that every refusal before a valid consent is padded to, in seconds."""


@dataclass(frozen=True)
class ServiceKeys:
    """The private keys of the running service. `oprf` and `index` have 32 bytes."""

    sealing: SealingKey
    answer: Signer
    oprf: bytes
    index: bytes
    directory: DirectoryKey


@dataclass(frozen=True)
class Core:
    """The running service without its network."""

    engine: Engine
    vault: Vault
    sequencer: Sequencer
    published: Published
    timestamping: Timestamping
    keys: ServiceKeys
    distribution: Distribution
    quotas: Quotas
    rules: Rules
    clock: Clock
    damage: DamageMet = field(default_factory=DamageMet)
    pool: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(4, thread_name_prefix="checks")
    )

    @property
    def trust(self) -> Trust:
        """The newest trust bundle."""
        return self.sequencer.state.trust

    def close(self) -> None:
        """Finish what waits, then let go of the databases."""
        self.sequencer.close()
        self.pool.shutdown()
        self.vault.close()
        self.engine.dispose()

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run blocking or heavy work off the event loop: one hop for a whole batch.

        Raises:
            Unreachable, DataLoss: as `usable`, when a database fails.
        """

        def told() -> T:
            with usable():
                return work()

        return await asyncio.get_running_loop().run_in_executor(self.pool, told)

    async def commit(self, command: Command[T]) -> Committed[T]:
        """Have the sequencer decide and write; returns once it is durable."""
        return await asyncio.wrap_future(self.sequencer.submit(command))

    def chain_id(self, provider: str, schema_digest: bytes, account: str) -> bytes:
        """The keyed digest under which a provider's chain for an account is filed."""
        return chain_id(self.keys.index, provider, schema_digest, account)


def chain_id(index_key: bytes, provider: str, schema_digest: bytes, account: str) -> bytes:
    """MAC of what names a chain, 32 bytes: the database shows no account."""
    parts = (provider.encode(), schema_digest, account.encode())
    return hmac.digest(index_key, tagged("chain", *parts), "sha256")


@asynccontextmanager
async def padded() -> AsyncIterator[None]:
    """Refusals with the reason `NOT_PERMITTED` leave at a whole multiple of their bucket."""
    started = time.monotonic()
    try:
        yield
    except Refused as error:
        if error.reason == "NOT_PERMITTED":
            spent = time.monotonic() - started
            await asyncio.sleep(REFUSAL_LATENCY_S - spent % REFUSAL_LATENCY_S)
        raise


def fresh_salt() -> bytes:
    """The salt of a log entry."""
    return os.urandom(SALT_BYTES)
