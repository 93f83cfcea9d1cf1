"""A service that is backed up, goes on, and is destroyed: what the tests of restores begin with."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError
from credproof_server.backups import making, reached, restoring
from credproof_server.directory import ServiceDirectory
from credproof_server.service.consents import RevokeConsent

from tests.deployment import Deployment, package, statement
from tests.service.asking import Asking
from tests.world import FAIR, POLICY


class Drill:
    """A service with a backup, things that happened since, and an export of them."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.folder = deployment.folder
        self.main, self.keys = self.folder / "backup", self.folder / "keys-backup"
        self.export, self.newest_keys = self.folder / "since.db", self.folder / "keys-since"

    @classmethod
    def played(cls, folder: Path) -> Drill:
        deployment = Deployment(folder)
        deployment.admit("provider", "bank")
        deployment.admit("lender", "lend")
        made = cls(deployment)
        asyncio.run(made.play())
        return made

    def copied(self, folder: Path) -> Drill:
        """The same in another folder."""
        other = Drill(self.deployment.copied(folder))
        other.note, other.backed_up, other.size = self.note, self.backed_up, self.size
        other.kept_consent, other.used_consent = self.kept_consent, self.used_consent
        return other

    @property
    def directory(self) -> ServiceDirectory:
        return self.deployment.directory

    async def play(self) -> None:
        core = self.directory.open_core()
        try:
            asking = Asking(self.deployment, core)
            await asking.attest()
            self.kept_consent = await asking.consent(POLICY)
            backed_up = making.back_up(self.directory, self.main, self.keys)
            await self.go_on(asking, core)
            self.note = core.sequencer.head.note
            making.export(self.directory, self.export, backed_up)
            making.copy_keys(self.directory, self.newest_keys)
            self.backed_up, self.size = backed_up, core.sequencer.head.tree_size
        finally:
            core.close()

    async def go_on(self, asking: Asking, core) -> None:
        await asking.attest(FAIR, seq=2)
        await asking.submit([package(statement(account="new", sub=b"\x05" * 32), asking.bank)])
        self.used_consent = await asking.consent(POLICY, mode="once")
        await asking.ask(asking.question(POLICY, self.used_consent))
        key = core.vault.key(asking.sub)
        await core.commit(RevokeConsent(self.kept_consent, key))

    def erase(self, sub: bytes) -> None:
        """As an erasure leaves the vault."""
        with closing(sqlite3.connect(self.directory.folder / "vault.db")) as vault, vault:
            vault.execute("UPDATE data_keys SET erased = 1, wrapped = x'' WHERE sub = ?", (sub,))

    def destroy(self) -> None:
        for name in ("log.db", "log.db-wal", "log.db-shm"):
            (self.directory.folder / name).unlink(missing_ok=True)

    def restore(self, keys: Path | None = None, **how) -> reached.Restored:
        folder = self.deployment.service
        return restoring.restore(folder, self.main, keys or self.newest_keys, how.get("checkpoint"))


def refused(reason: str, call: Callable[[], object]) -> CredproofError:
    with pytest.raises(CredproofError) as caught:
        call()
    assert reason == caught.value.reason
    return caught.value
