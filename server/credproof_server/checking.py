"""`credproof check`: is everything that is stored what it was when it was logged?"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from credproof.base.errors import CredproofError, DataLoss
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.verification.trust import Trust
from sqlalchemy import Connection, Row

from credproof_server import row_checks
from credproof_server.directory import HIGH_WATER, ServiceDirectory
from credproof_server.log.high_water import HighWater
from credproof_server.log.state import load_trust
from credproof_server.row_checks import Context, RowCheck, differs
from credproof_server.service.consents import ENTRY_REVOKED
from credproof_server.service.withdrawals import ENTRY_WITHDRAWN
from credproof_server.storage import engine as engines
from credproof_server.storage import repository
from credproof_server.storage.vault import Vault

PAGE: Final = 1000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong: which entry or row (by its log index), and why."""

    what: str
    log_index: int
    reason: str
    message: str

    @classmethod
    def of(cls, what: str, log_index: int, error: CredproofError) -> Damage:
        return cls(what, log_index, error.reason, error.message)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How much was checked (rows by what they are), and all damage found."""

    entries: int
    rows: Mapping[str, int]
    damage: tuple[Damage, ...]


def check(directory: ServiceDirectory, progress: Progress = lambda _count: None) -> CheckReport:
    """Check chain, tree and checkpoint, then every stored row against its entry.

    Only reads, so it may run beside the service.

    Raises:
        CredproofError: keys or databases cannot be opened at all.
    """
    engine = directory.engine(engines.MAIN)
    vault = Vault(directory.engine(engines.VAULT), directory.key_encryption)
    try:
        with engines.readable(), engine.connect() as connection:
            trust = load_trust(connection, directory.root())
            if trust is None:
                raise DataLoss("NO_TRUST", "the service has no trust bundle")
            index_key = directory.service_keys().index
            return _Check(connection, vault, trust, index_key, progress).run(directory)
    finally:
        engine.dispose()
        vault.close()


@dataclass
class _Check:
    connection: Connection
    vault: Vault
    trust: Trust
    index_key: bytes
    progress: Progress
    damage: list[Damage] = field(default_factory=list)
    covered: int | None = None
    """Rows beyond it are of entries that are signed only while we read."""

    def run(self, directory: ServiceDirectory) -> CheckReport:
        entries, indexes = self._log(directory)
        rows = {
            what: self._table(what, verify, indexes[kind])
            for what, (kind, verify) in row_checks.ROWS.items()
        }
        revoked, withdrawn = repository.ended(self.connection)
        self._missing("consent", set(indexes[ENTRY_REVOKED]) - revoked)
        self._missing("attestation", set(indexes[ENTRY_WITHDRAWN]) - withdrawn)
        for index in repository.wrongly_current(self.connection):
            self.damage.append(Damage.of("attestation", index, differs()))
        return CheckReport(entries, rows, tuple(self.damage))

    def _log(self, directory: ServiceDirectory) -> tuple[int, Mapping[str, array[int]]]:
        """How many entries are sound, and where the kinds stand among them."""
        audit, indexes = LogAudit(), defaultdict[str, "array[int]"](lambda: array("q"))
        try:
            signed = _high_water(directory)
            self.covered = signed.tree_size
            for line in _lines(self.connection):
                if audit.size == signed.tree_size:
                    break  # the service goes on while we read: what follows is signed next
                indexes[audit.feed(line)].append(audit.size - 1)
                self.progress(1)
            audit.finish(signed)
        except CredproofError as error:
            self.damage.append(Damage.of("entry", audit.size, error))
        return audit.size, indexes

    # -- rows

    def _table(self, what: str, verify: RowCheck, logged: Sequence[int]) -> int:
        """Check every row of a table; gives how many there are."""
        found = array("q")
        for page in repository.pages(self.connection, what):
            rows = [row for row in page if self.covered is None or row.log_index < self.covered]
            self._page(what, verify, rows)
            found.extend(row.log_index for row in rows)
            self.progress(len(rows))
        self._missing(what, set(logged) - set(found))
        return len(found)

    def _page(self, what: str, verify: RowCheck, rows: Sequence[Row[Any]]) -> None:
        context = self._context(rows)
        for row in rows:
            try:
                verify(row, context)
            except CredproofError as error:
                self.damage.append(Damage.of(what, row.log_index, error))

    def _context(self, rows: Sequence[Row[Any]]) -> Context:
        subs = {row.sub for row in rows if "sub" in row._fields}
        indexes = {row.log_index for row in rows}
        for name in ("withdrawn_index", "revoked_index"):
            indexes |= {getattr(row, name, None) for row in rows} - {None}
        lines = repository.lines_at(self.connection, sorted(indexes))
        return Context(self.trust, self.index_key, self.vault.existing(subs), lines)

    def _missing(self, what: str, indexes: set[int]) -> None:
        for index in sorted(indexes):
            error = DataLoss("ROW_MISSING", "what was logged is not stored")
            self.damage.append(Damage.of(what, index, error))


def _high_water(directory: ServiceDirectory) -> VerifiedCheckpoint:
    """The newest signed checkpoint."""
    note = HighWater(directory.folder / HIGH_WATER).read()
    if note is None:
        raise DataLoss("NO_CHECKPOINT", "the high-water checkpoint is missing")
    key = directory.log_signer().verifier_key
    return verify_checkpoint(note, key.name, [key])


def _lines(connection: Connection) -> Iterator[bytes]:
    start = 0
    while page := repository.lines(connection, start, PAGE):
        for line in page:
            if not isinstance(line, bytes):
                raise DataLoss("LOG_DAMAGED", "a stored entry is not even bytes")
            yield line
        start += len(page)
