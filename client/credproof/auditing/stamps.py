"""The timestamps that an auditor keeps, and whom it believes them from.

They lie in a file of their own: it cannot be made anew once the service is gone. The authorities
are those that this auditor names itself, whatever the service says. What was verified once is only
remembered: before anybody is named by a timestamp, or its date told, it is verified anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from credproof.auditing.database import Database
from credproof.base.encoding import Json, canonical_json, parse_json
from credproof.base.errors import Conflict, CredproofError, DataLoss, Malformed
from credproof.base.limits import TIMESTAMP_AUTHORITIES_MAX, at_most
from credproof.base.members import Members
from credproof.files import replace_file
from credproof.home import bad_home, own_file
from credproof.log.checkpoint import origin_of
from credproof.log.stamped import Stamped
from credproof.log.timestamp import (
    TimestampAuthority,
    is_authority_name,
    is_policy,
    parse_certificates,
    require_root,
    time_of,
    verify_timestamp,
)

STAMPS_NAME: Final = "timestamps.db"
AUTHORITIES_NAME: Final = "timestamp-authorities.json"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS stamps (
    tree_size INTEGER NOT NULL,
    authority TEXT NOT NULL,
    origin TEXT NOT NULL,
    note BLOB NOT NULL,
    response BLOB NOT NULL,
    looked INTEGER NOT NULL DEFAULT 0,
    stamped_by TEXT,
    time INTEGER,
    PRIMARY KEY (tree_size, authority, origin)
);
CREATE TABLE IF NOT EXISTS trust (name INTEGER PRIMARY KEY CHECK (name = 0), digest BLOB NOT NULL);
"""


class Authorities:
    """Whom an auditor believes about time: a file in its home, name by name."""

    def __init__(self, home: Path) -> None:
        self._path = home / AUTHORITIES_NAME

    def all(self) -> Sequence[TimestampAuthority]:
        """Those that are trusted, by name.

        Raises:
            Malformed: `BAD_HOME`.
            LimitExceeded: too many of them.
        """
        with own_file(self._path):
            found = [_authority(name, item) for name, item in self._read().items()]
        at_most(len(found), TIMESTAMP_AUTHORITIES_MAX, "timestamp authorities")
        return found

    @property
    def digest(self) -> bytes:
        """Another one when anything about them is changed."""
        return hashlib.sha256(canonical_json(self._read())).digest()

    def add(self, name: str, pem: bytes, policy: str) -> None:
        """Believe an authority from now on, in place of one that had this name.

        Raises:
            Malformed: `BAD_AUTHORITY`, `BAD_CERTIFICATES`, `NO_ROOT_CERTIFICATE`.
            LimitExceeded: too many of them.
        """
        require_root(parse_certificates(pem))
        item: Json = {"certificates": pem.decode("ascii", "replace"), "policy": policy}
        _authority(name, item)
        changed = {**self._read(), name: item}
        at_most(len(changed), TIMESTAMP_AUTHORITIES_MAX, "timestamp authorities")
        replace_file(self._path, canonical_json(changed))

    def remove(self, name: str) -> None:
        """Believe an authority no more.

        Raises:
            Conflict: `NO_SUCH_AUTHORITY`.
        """
        known = self._read()
        if known.pop(name, None) is None:
            raise Conflict("NO_SUCH_AUTHORITY", "no timestamp authority of this name is trusted")
        replace_file(self._path, canonical_json(known))

    def _read(self) -> dict[str, Json]:
        if not self._path.exists():
            return {}
        with own_file(self._path):
            found = parse_json(self._path.read_bytes())
        if not isinstance(found, dict):
            raise bad_home(self._path)
        return found


def _authority(name: str, value: object) -> TimestampAuthority:
    members = Members(value, AUTHORITIES_NAME)
    pem, policy = members.take("certificates", str), members.take("policy", str)
    members.finish()
    if not is_authority_name(name):
        raise Malformed("BAD_AUTHORITY", "an authority's name has a-z, 0-9 and hyphens, at most 40")
    if not is_policy(policy):
        raise Malformed("BAD_AUTHORITY", "a policy is an OID like 1.2.3")
    return TimestampAuthority(name, parse_certificates(pem.encode()), policy)


@dataclass(frozen=True, slots=True)
class KeptStamp:
    """A timestamp as it came: its note is in the log and it is about that note.

    `authority` is the service's name for who stamped it.
    """

    tree_size: int
    authority: str
    note: bytes
    response: bytes


class Stamps(Database):
    """Timestamps in a file, and which of them an authority that is trusted here has signed."""

    def __init__(self, home: Path) -> None:
        """Open the file, or begin one.

        Raises:
            DataLoss: `STAMPS_DAMAGED`, also where it says something else of a timestamp than the
                note and the response that are kept.
        """
        super().__init__(home / STAMPS_NAME, _SCHEMA)
        self._trusted = Authorities(home)
        self._database.text_factory = partial(str, encoding="utf-8", errors="replace")
        try:
            self._require_sound()
        except BaseException as error:
            self.__exit__(type(error), error, error.__traceback__)
            raise

    def _require_sound(self) -> None:
        query = "SELECT tree_size, origin, note, response, stamped_by, time FROM stamps"
        if not all(_is_sound(*row) for row in self._database.execute(query)):
            raise self.damaged()

    def damaged(self) -> DataLoss:
        """It cannot be made anew once the service is gone."""
        message = f"{STAMPS_NAME} is damaged: set it aside, and run this again"
        return DataLoss("STAMPS_DAMAGED", message)

    def last(self, origin: str) -> tuple[int, str]:
        """Size and authority of the last one of an origin; a service goes on after it."""
        query = (
            "SELECT tree_size, authority FROM stamps WHERE origin = ?"
            " ORDER BY tree_size DESC, authority DESC LIMIT 1"
        )
        row = self._database.execute(query, (origin,)).fetchone()
        return (0, "") if row is None else (int(row[0]), str(row[1]))

    def add(self, stamps: Iterable[KeptStamp]) -> None:
        """Keep more of them; on disk on return."""
        rows = [(s.tree_size, s.authority, origin_of(s.note), s.note, s.response) for s in stamps]
        add = (
            "INSERT OR IGNORE INTO stamps (tree_size, authority, origin, note, response)"
            " VALUES (?, ?, ?, ?, ?)"
        )
        with self.transaction():
            self._database.executemany(add, rows)

    def look(self) -> None:
        """Verify what was not looked at since the authorities that are trusted changed."""
        authorities, digest = self._trusted.all(), self._trusted.digest
        with self.transaction():
            known = self._database.execute("SELECT digest FROM trust").fetchone()
            if known != (digest,):
                again = "UPDATE stamps SET looked = 0, stamped_by = NULL, time = NULL"
                self._database.execute(again)
                self._database.execute("INSERT OR REPLACE INTO trust VALUES (0, ?)", (digest,))
            new = "SELECT rowid, note, response FROM stamps WHERE looked = 0"
            for rowid, note, response in self._database.execute(new).fetchall():
                found = _believed(response, note, authorities)
                change = "UPDATE stamps SET looked = 1, stamped_by = ?, time = ? WHERE rowid = ?"
                self._database.execute(change, (*found, rowid))

    def verified(self, lost: Mapping[str, int]) -> list[Stamped]:
        """Those of an authority that is trusted, in the order of their sizes, as they were verified
        once: what is told of one of them takes `kept` before.

        Of an older origin, by its name in `lost`, only what covers nothing that was lost with it.
        """
        query = (
            "SELECT tree_size, time, stamped_by, origin FROM stamps WHERE time IS NOT NULL"
            " ORDER BY tree_size, time"
        )
        rows = self._database.execute(query).fetchall()
        return [Stamped(size, t, by) for size, t, by, o in rows if size <= lost.get(o, size)]

    def untrusted(self) -> int:
        """How many are kept that no trusted authority signed."""
        query = "SELECT count(*) FROM stamps WHERE time IS NULL"
        return int(self._database.execute(query).fetchone()[0])

    def kept(self, stamped: Stamped) -> KeptStamp:
        """A verified timestamp as it came, verified anew.

        Raises:
            DataLoss: `STAMPS_DAMAGED`: the authority has signed no such time.
        """
        query = (
            "SELECT tree_size, authority, note, response FROM stamps"
            " WHERE tree_size = ? AND time = ? AND stamped_by = ?"
        )
        place = (stamped.tree_size, stamped.time, stamped.authority)
        row = self._database.execute(query, place).fetchone()
        if row is None:
            raise self.damaged()  # its rows and its indexes say different things
        found = KeptStamp(*row)
        origin, size = origin_of(found.note), stamped.tree_size
        is_sound = _is_sound(
            size, origin, found.note, found.response, stamped.authority, stamped.time
        )
        believed = _believed(found.response, found.note, self._trusted.all())
        if not is_sound or believed != (stamped.authority, stamped.time):
            raise self.damaged()
        return found


def _is_sound(
    size: object, origin: object, note: object, response: object, by: object, time: object
) -> bool:
    """Whether a row says what its note and its response say; who signed them is not looked at."""
    if not (isinstance(note, bytes) and isinstance(response, bytes)):
        return False
    if not note.startswith(f"{origin}\n{size}\n".encode()) or (by is None) != (time is None):
        return False
    try:
        return time is None or time_of(response) == time
    except CredproofError:
        return False


def _believed(
    response: bytes, note: bytes, authorities: Sequence[TimestampAuthority]
) -> tuple[str | None, int | None]:
    for authority in authorities:
        try:
            return authority.name, verify_timestamp(response, note, authority).time
        except CredproofError:
            continue
    return None, None
