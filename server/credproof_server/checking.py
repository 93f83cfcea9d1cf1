"""`credproof check`: is everything that is stored what it was when it was logged?"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from credproof.base.errors import CredproofError, DataLoss
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.merkle import Tree, leaf_hash
from credproof.verification.anomaly import ENTRY_LIFTED
from credproof.verification.filing import ENTRY_WITHDRAWN, NOTHING, Filed
from credproof.verification.replay import Replay
from credproof.verification.trust import Trust
from sqlalchemy import Connection, Row

from credproof_server import metadata_checks, row_checks
from credproof_server.directory import DISPROOF, HIGH_WATER, ServiceDirectory
from credproof_server.log.directory_state import load_top
from credproof_server.log.disproof import DisproofFile, require_covers
from credproof_server.log.high_water import HighWater
from credproof_server.log.state import load_trust
from credproof_server.row_checks import Context, RowCheck, differs
from credproof_server.service.consents import ENTRY_REVOKED
from credproof_server.storage import engine as engines
from credproof_server.storage import leaves, observations, repository, stamps
from credproof_server.storage.vault import DataKey, Vault

Progress = Callable[[int], None]
UNLOGGED: Final = -1
"""Instead of a log index: the row has none that could be one."""
WITNESSES: Final = "what witnesses saw"
"""What is wrong where the log does not cover a checkpoint that a witness showed."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One thing that is wrong: which entry or row (by its log index), and why."""

    what: str
    log_index: int
    reason: str
    message: str

    @property
    def is_logged(self) -> bool:
        """Whether it has a log index; what is wrong with the log as a whole, or rows of no entry,
        has none."""
        return self.log_index != UNLOGGED

    @classmethod
    def of(cls, what: str, log_index: int, error: CredproofError) -> Damage:
        return cls(what, log_index, error.reason, error.message)


@dataclass(frozen=True, slots=True)
class CheckReport:
    """How much was checked (rows by what they are), and all damage found.

    `entries` are sound from the first on; `signed` is how many there must be, None where the newest
    checkpoint cannot be read. Rows that cannot be checked while the log is damaged are None.
    """

    entries: int
    signed: int | None
    rows: Mapping[str, int | None]
    damage: tuple[Damage, ...]


def check(directory: ServiceDirectory, progress: Progress = lambda _count: None) -> CheckReport:
    """Check chain, tree and checkpoint, then every stored row against its entry.

    Only reads, so it may run beside the service.

    Raises:
        CredproofError: keys or databases cannot be opened at all.
    """
    disproof = _disproof(directory)
    signed = _high_water(directory)  # before the database, which is read as of a later moment
    engine = directory.engine(engines.MAIN)
    vault = Vault(directory.engine(engines.VAULT), directory.key_encryption)
    try:
        with engines.readable(), engine.connect() as connection:
            trust = load_trust(connection, directory.distribution().roots)
            if trust is None:
                raise DataLoss("NO_TRUST", "the service has no trust bundle")
            index_key = directory.service_keys().index
            checked = _Check(connection, vault, trust, index_key, progress, signed, disproof)
            return checked.run(directory)
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
    signed: VerifiedCheckpoint | CredproofError
    disproof: VerifiedCheckpoint | CredproofError | None
    damage: list[Damage] = field(default_factory=list)
    covered: int | None = None
    """Rows beyond it are of entries that are signed only while we read."""

    def run(self, directory: ServiceDirectory) -> CheckReport:
        self._metadata(directory)  # first: the service may publish while we read
        entries, indexes = self._log()
        self._witnessed()
        is_whole = not {damage.what for damage in self.damage} & {"entry", "log"}
        rows: dict[str, int | None] = {
            what: self._table(what, verify, indexes[kind])
            for what, (kind, verify) in row_checks.ROWS.items()
        }
        revoked, withdrawn = repository.ended(self.connection)
        self._missing("consent", set(indexes[ENTRY_REVOKED]) - revoked)
        self._missing("attestation", set(indexes[ENTRY_WITHDRAWN]) - withdrawn)
        lifted = observations.lifted(self.connection)
        self._missing("anomaly", set(indexes[ENTRY_LIFTED]) - lifted)
        for index in repository.wrongly_current(self.connection):
            self.damage.append(Damage.of("attestation", index, differs()))
        rows["directory leaf"] = self._directory() if is_whole else None
        self._unlogged()
        return CheckReport(entries, self.covered, rows, tuple(self.damage))

    def _log(self) -> tuple[int, Mapping[str, array[int]]]:
        """How many entries are sound, and where the kinds stand among them."""
        audit, indexes = LogAudit(), defaultdict[str, "array[int]"](lambda: array("q"))
        roots = repository.roots(self.connection)
        try:
            if isinstance(signed := self.signed, CredproofError):
                raise signed
            self.covered = signed.tree_size
            for line, leaf in repository.leaves(self.connection):
                if audit.size == signed.tree_size:
                    break  # the service goes on while we read: what follows is signed next
                _require_leaf(line, leaf)
                indexes[audit.feed(line)].append(audit.size - 1)
                if audit.size in roots and roots[audit.size] != audit.root():
                    raise DataLoss("LOG_DAMAGED", "a stored root is not that of its entries")
                self.progress(1)
            audit.finish(signed)
            if signed.tree_size not in roots:
                raise DataLoss("LOG_DAMAGED", "the root of what was signed is not stored")
        except CredproofError as error:
            is_entry = self.covered is not None and audit.size < self.covered
            place = ("entry", audit.size) if is_entry else ("log", UNLOGGED)
            self.damage.append(Damage.of(*place, error))
        return audit.size, indexes

    def _witnessed(self) -> None:
        """The log covers what a witness showed: else the service does not start."""
        try:
            if isinstance(self.disproof, CredproofError):
                raise self.disproof
            if self.disproof is not None:
                tree = Tree()
                tree.extend([leaf for _, leaf in repository.leaves(self.connection)])
                require_covers(tree, self.disproof)
        except CredproofError as error:
            self.damage.append(Damage.of(WITNESSES, UNLOGGED, error))

    # -- rows

    def _table(self, what: str, verify: RowCheck, logged: Sequence[int]) -> int:
        """Check every row of a table; gives how many there are."""
        found = array("q")
        for page in repository.pages(self.connection, what):
            rows = [row for row in page if self._is_signed(what, row.log_index)]
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
            except Exception:  # whatever a row makes of our code: it is not what we wrote
                self.damage.append(Damage.of(what, row.log_index, differs()))

    def _directory(self) -> int:
        """Compute the directory anew from the log; gives how many of its leaves are stored."""
        replay = Replay()
        try:
            for line in repository.all_lines(self.connection):
                replay.feed_line(line)
            if load_top(self.connection).root != replay.root:
                raise DataLoss("LOG_DAMAGED", "stored directory is not what the log makes of it")
        except CredproofError as error:
            self.damage.append(Damage.of("directory", UNLOGGED, error))
        return self._leaves(dict(replay.filed))

    def _leaves(self, filed: dict[bytes, Filed]) -> int:
        count = 0
        for page in leaves.all_leaves(self.connection):
            for row in page:
                self._one("directory leaf", row_checks.leaf, (row, filed.pop(row.place, NOTHING)))
            count += len(page)
        if filed:
            error = DataLoss("ROW_MISSING", "leaves of the directory are not stored")
            self.damage.append(Damage.of("directory", UNLOGGED, error))
        return count

    def _unlogged(self) -> None:
        """Rows that no entry of the log speaks of."""
        for document in repository.all_documents(self.connection):
            self._one("document", row_checks.document, document)
        for evaluation in repository.all_evaluations(self.connection):
            self._one("evaluation", row_checks.evaluation, evaluation)
        roots = repository.roots(self.connection)
        for row in stamps.all_stamps(self.connection):
            self._one("timestamp", row_checks.timestamp, (row, roots))

    def _metadata(self, directory: ServiceDirectory) -> None:
        """Clients must find the bundle in force by what is given out."""
        try:
            metadata_checks.metadata(directory.distribution(), self.trust)
        except CredproofError as error:
            self.damage.append(Damage.of("metadata", UNLOGGED, error))

    def _one(self, what: str, verify: Callable[..., None], row: Sequence[Any]) -> None:
        try:
            verify(*row)
        except CredproofError as error:
            self.damage.append(Damage.of(what, UNLOGGED, error))

    def _is_signed(self, what: str, log_index: object) -> bool:
        if not isinstance(log_index, int):
            self.damage.append(Damage.of(what, UNLOGGED, differs()))
            return False
        return self.covered is None or log_index < self.covered

    def _context(self, rows: Sequence[Row[Any]]) -> Context:
        subs = {row.sub for row in rows if isinstance(getattr(row, "sub", None), bytes)}
        indexes = {row.log_index for row in rows}
        for name in ("withdrawn_index", "revoked_index", "lifted_index"):
            indexes |= {getattr(row, name, None) for row in rows} - {None}
        lines = repository.lines_at(
            self.connection, [index for index in indexes if isinstance(index, int)]
        )
        return Context(self.trust, self.index_key, self._keys(subs), lines)

    def _keys(self, subs: set[bytes]) -> Mapping[bytes, DataKey]:
        """The data keys of a page; where one is damaged, all the others."""
        try:
            return self.vault.existing(subs)
        except CredproofError:
            found: dict[bytes, DataKey] = {}
            for sub in subs:
                with suppress(CredproofError):
                    found |= self.vault.existing([sub])
            return found

    def _missing(self, what: str, indexes: set[int]) -> None:
        for index in sorted(indexes):
            error = DataLoss("ROW_MISSING", "what was logged is not stored")
            self.damage.append(Damage.of(what, index, error))


def _high_water(directory: ServiceDirectory) -> VerifiedCheckpoint | CredproofError:
    """The newest signed checkpoint, or what is wrong with it."""
    key = directory.log_signer().verifier_key
    try:
        newest = HighWater(directory.folder / HIGH_WATER).newest(key)
    except CredproofError as error:
        return error
    return newest or DataLoss("NO_CHECKPOINT", "the high-water checkpoint is missing")


def _disproof(directory: ServiceDirectory) -> VerifiedCheckpoint | CredproofError | None:
    """What a witness showed against the log, or what is wrong with it; None without any."""
    key = directory.log_signer().verifier_key
    try:
        return DisproofFile(directory.folder / DISPROOF).newest(key)
    except CredproofError as error:
        return error


def _require_leaf(line: object, leaf: bytes) -> None:
    if not isinstance(line, bytes):
        raise DataLoss("LOG_DAMAGED", "a stored entry is not even bytes")
    if leaf_hash(line) != leaf:
        raise DataLoss("LOG_DAMAGED", "a stored leaf hash is not that of its entry")
