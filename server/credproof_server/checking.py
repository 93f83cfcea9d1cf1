"""`credproof check`: is everything that is stored what it was when it was logged?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from credproof.attestation.package import verify_commitments
from credproof.base.errors import CredproofError, DataLoss
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.entry import parse_entry
from credproof.verification.trust import Trust
from sqlalchemy import Connection, Row

from credproof_server.directory import HIGH_WATER, ServiceDirectory
from credproof_server.log.high_water import HighWater
from credproof_server.log.state import load_trust
from credproof_server.service.holdings import open_package
from credproof_server.storage import engine as engines
from credproof_server.storage import repository
from credproof_server.storage.vault import DataKey, Vault

PAGE = 1000
Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong: which entry or row (by its log index), and why."""

    what: str
    log_index: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How much was checked, and all damage found."""

    entries: int
    attestations: int
    damage: tuple[Damage, ...]


def check(directory: ServiceDirectory, progress: Progress = lambda _count: None) -> CheckReport:
    """Check chain, tree and checkpoint, then every stored attestation against its entry.

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
            entries, damage = _check_log(connection, directory, progress)
            rows = 0
            for page in repository.attestation_pages(connection):
                damage += _check_page(connection, vault, page, trust)
                rows += len(page)
                progress(len(page))
    finally:
        engine.dispose()
        vault.close()
    return CheckReport(entries, rows, tuple(damage))


def _check_log(
    connection: Connection, directory: ServiceDirectory, progress: Progress
) -> tuple[int, list[Damage]]:
    audit = LogAudit()
    try:
        signed = _high_water(directory)
        for line in _lines(connection):
            if audit.size == signed.tree_size:
                break  # the service goes on while we read: what follows is signed next
            audit.feed(line)
            progress(1)
        audit.finish(signed)
    except CredproofError as error:
        return audit.size, [Damage("entry", audit.size, error.reason, error.message)]
    return audit.size, []


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


def _check_page(
    connection: Connection, vault: Vault, page: Sequence[Row[Any]], trust: Trust
) -> list[Damage]:
    keys = vault.existing({row.sub for row in page})
    lines = repository.lines_at(connection, [row.log_index for row in page])
    damage = []
    for row in page:
        try:
            _check_row(row, keys.get(row.sub), lines.get(row.log_index), trust)
        except CredproofError as error:
            damage.append(Damage("attestation", row.log_index, error.reason, error.message))
    return damage


def _check_row(row: Row[Any], key: DataKey | None, line: bytes | None, trust: Trust) -> None:
    if key is None:
        raise DataLoss("KEY_MISSING", "a subject has no data key")
    package = open_package(row, key)
    verify_commitments(package, trust.schemas[package.token.schema_digest])
    if line is None or parse_entry(line).object != package.token.id:
        raise DataLoss("ROW_DIFFERS", "a stored row differs from its logged digest")
