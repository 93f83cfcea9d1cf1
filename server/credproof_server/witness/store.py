"""What a witness keeps: its keys, the logs it knows, the largest tree of each that it cosigned."""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from credproof.base.encoding import b64url, parse_b64url
from credproof.base.errors import Conflict, DataLoss, Malformed, VerificationFailed
from credproof.base.sqlite import primary_code
from credproof.files import write_private
from credproof.log.checkpoint import origin_of, parse_checkpoint
from credproof.log.cosignature import Cosigner, Ed25519Cosigner, MlDsaCosigner, with_lines
from credproof.log.note import VerifierKey, parse_note
from credproof.log.vkey import require_name
from credproof.log.witness import AddCheckpoint, Seen, judge

EVIDENCE_MAX: Final = 1000
"""Forks of one log that are kept, the oldest; and unproved checkpoints of it, the newest."""
_DAMAGE: Final = (
    sqlite3.SQLITE_ERROR,  # a table is missing
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
)
_SCHEMA: Final = """
CREATE TABLE logs (origin TEXT PRIMARY KEY, vkey TEXT NOT NULL);
CREATE TABLE seen (
    origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note BLOB NOT NULL
);
CREATE TABLE evidence (
    id INTEGER PRIMARY KEY, origin TEXT NOT NULL, time INTEGER NOT NULL, body BLOB NOT NULL,
    size INTEGER NOT NULL, root BLOB NOT NULL, fork INTEGER NOT NULL, cosigned BLOB NOT NULL,
    UNIQUE (origin, size, root)
);
"""

_THIN: Final = """
DELETE FROM evidence WHERE origin = ? AND NOT fork AND id NOT IN
    (SELECT id FROM evidence WHERE origin = ? AND NOT fork ORDER BY id DESC LIMIT ?)
"""


def init(folder: Path, name: str, *, ml_dsa: bool = False) -> tuple[Cosigner, ...]:
    """Make a witness in a new directory; gives its keys, an ML-DSA-44 one too if wished.

    Raises:
        Malformed: `BAD_NOTE` for a name that no note can hold; `BAD_WITNESS_NAME`.
        Conflict: `NOT_EMPTY`.
    """
    require_name(name)
    if "://" in name:
        message = "a witness's name is a URL without its scheme: like witness.example/one"
        raise Malformed("BAD_WITNESS_NAME", message)
    if folder.exists() and any(folder.iterdir()):
        raise Conflict("NOT_EMPTY", "the directory is not empty: name a new one")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for kind in ("ed25519", "ml-dsa-44") if ml_dsa else ("ed25519",):
        write_private(folder / f"{kind}.key", b64url(secrets.token_bytes(32)).encode())
    with closing(_connect(folder / "witness.db", mode="rwc")) as database:
        database.executescript(_SCHEMA)
    (folder / "name").write_text(f"{name}\n", "utf-8")
    return _cosigners(folder, name)


def _opened(path: Path) -> sqlite3.Connection:
    """The memory of a witness that was made before: one that is lost is not made anew.

    Raises:
        DataLoss: `WITNESS_DAMAGED`.
    """
    with _damage_told():
        database = _connect(path, mode="rw")
        if database.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise _damaged()
        database.execute("SELECT cosigned FROM logs, seen, evidence LIMIT 1")  # each is there
    return database


@contextmanager
def _damage_told() -> Iterator[None]:
    """Tell damage apart from a disk that is full or a database that is busy."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if primary_code(error) in _DAMAGE:
            raise _damaged() from error
        raise


def _damaged() -> DataLoss:
    message = (
        "witness.db is missing or damaged, and with it what this witness saw: its key must cosign"
        " no more; make another witness (credproof witness init), and let logs name that one's key"
    )
    return DataLoss("WITNESS_DAMAGED", message)


def _connect(path: Path, *, mode: str) -> sqlite3.Connection:
    database = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=10,
    )
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA synchronous=FULL")
    return database


@dataclass(frozen=True, slots=True)
class Evidence:
    """A request with a checkpoint that the log at `origin` signed, and that did not verify.

    A `fork` has another root at a size that was cosigned. Of what is longer, a wrong proof may be
    somebody else's: whoever reads the log can post one. `time` and `size` are in seconds, entries.
    `cosigned` is the newest checkpoint of that log that was cosigned at the time: empty before any.
    """

    id: int
    origin: str
    time: int
    body: bytes
    size: int
    fork: bool
    cosigned: bytes


class Witness:
    """A witness in its directory. Safe to share between threads: one decision at a time."""

    def __init__(self, folder: Path) -> None:
        """Open a witness.

        Raises:
            Malformed: `NO_WITNESS`.
            DataLoss: `WITNESS_DAMAGED`.
        """
        try:
            name = (folder / "name").read_text("utf-8").strip()
            self.cosigners = _cosigners(folder, name)
        except FileNotFoundError as error:
            message = "no witness there: make one with credproof witness init"
            raise Malformed("NO_WITNESS", message) from error
        self.name = name
        self._database = _opened(folder / "witness.db")
        self._lock = threading.RLock()  # nobody reads what is not committed yet

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def add_log(self, vkey: VerifierKey) -> None:
        """Witness another log from now on.

        Raises:
            Conflict: `LOG_KNOWN` when its origin has a key already.
            DataLoss: `WITNESS_DAMAGED`.
        """
        try:
            with self._lock, _damage_told():
                self._database.execute("INSERT INTO logs VALUES (?, ?)", (vkey.name, str(vkey)))
        except sqlite3.IntegrityError as error:
            raise Conflict("LOG_KNOWN", "a log of this origin is witnessed already") from error

    def logs(self) -> Mapping[str, VerifierKey]:
        """The keys of the logs that it knows, by origin."""
        rows = self._rows("SELECT vkey FROM logs ORDER BY origin")
        keys = [VerifierKey.parse(vkey) for (vkey,) in rows]
        return {key.name: key for key in keys}

    def seen(self) -> Mapping[str, Seen]:
        """The largest tree of each log that it cosigned, by origin."""
        rows = self._rows("SELECT origin, size, root FROM seen")
        return {origin: Seen(size, root) for origin, size, root in rows}

    def newest(self, origin: str) -> bytes | None:
        """The newest checkpoint of a log that it cosigned, with the cosignatures."""
        notes = [note for (note,) in self._rows("SELECT note FROM seen WHERE origin = ?", origin)]
        return notes[0] if notes else None

    def evidence(self, origin: str | None = None) -> list[Evidence]:
        """What is kept against a log, or against all of them, the oldest first."""
        query = "SELECT id, origin, time, body, size, fork, cosigned FROM evidence"
        where, given = ("", ()) if origin is None else (" WHERE origin = ?", (origin,))
        rows = self._rows(f"{query}{where} ORDER BY id", *given)
        return [
            Evidence(number, log, time, body, size, bool(fork), cosigned)
            for number, log, time, body, size, fork, cosigned in rows
        ]

    def _forks(self, origin: str) -> int:
        """How many are kept of a log: their bodies are not read for that."""
        count = "SELECT count(*) FROM evidence WHERE origin = ? AND fork"
        return int(self._rows(count, origin)[0][0])

    def _rows(self, query: str, *arguments: str) -> list[tuple[Any, ...]]:
        with self._lock, _damage_told():
            return self._database.execute(query, arguments).fetchall()

    def add_checkpoint(self, request: AddCheckpoint, now: int) -> str:
        """Cosign a checkpoint that continues what was seen; gives the lines once it is durable.

        Raises:
            CredproofError: as `judge`.
            DataLoss: `WITNESS_DAMAGED`.
        """
        logs = {origin: [key] for origin, key in self.logs().items()}
        with self._lock, _damage_told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                new = judge(request, logs, self.seen())
                lines = [c.cosign(parse_note(request.note).text, now) for c in self.cosigners]
                self._keep(request, Seen(new.tree_size, new.root_hash), lines)
            except BaseException as error:
                self._database.execute("ROLLBACK")
                self._keep_evidence(request, error, now)
                raise
            self._database.execute("COMMIT")
        return "".join(lines)

    def _keep(self, request: AddCheckpoint, seen: Seen, lines: list[str]) -> None:
        note = with_lines(request.note, lines)
        row = (origin_of(note), seen.tree_size, seen.root_hash, note)
        self._database.execute("INSERT OR REPLACE INTO seen VALUES (?, ?, ?, ?)", row)
        proved = "DELETE FROM evidence WHERE origin = ? AND size = ? AND root = ?"
        self._database.execute(proved, row[:3])

    def _keep_evidence(self, request: AddCheckpoint, error: BaseException, now: int) -> None:
        """Only what the log itself signed, each checkpoint once, and only so many of them."""
        if not isinstance(error, VerificationFailed) or error.reason != "BAD_CONSISTENCY_PROOF":
            return
        new = parse_checkpoint(parse_note(request.note).text, extended=True)
        seen = self.seen().get(new.origin, Seen())
        if Seen(new.tree_size, new.root_hash) == seen:
            return  # a wrong proof of what was cosigned
        fork = new.tree_size == seen.tree_size
        if fork and self._forks(new.origin) >= EVIDENCE_MAX:
            return
        cosigned = self.newest(new.origin) or b""
        row = (new.origin, now, request.to_bytes(), new.tree_size, new.root_hash, fork, cosigned)
        query = "INSERT OR IGNORE INTO evidence (origin, time, body, size, root, fork, cosigned)"
        self._database.execute(f"{query} VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        self._database.execute(_THIN, (new.origin, new.origin, EVIDENCE_MAX))


def _cosigners(folder: Path, name: str) -> tuple[Cosigner, ...]:
    found: list[Cosigner] = [Ed25519Cosigner(name, _seed(folder / "ed25519.key"))]
    if (folder / "ml-dsa-44.key").exists():
        found.append(MlDsaCosigner(name, _seed(folder / "ml-dsa-44.key")))
    return tuple(found)


def _seed(path: Path) -> bytes:
    return parse_b64url(path.read_text("ascii").strip(), size=32)
