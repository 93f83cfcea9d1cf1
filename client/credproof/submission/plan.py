"""Which records must be attested: compared with the outbox, and with the rows before."""

from __future__ import annotations

import datetime as dt
import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from credproof.attestation.pseudonym import parse_subject_id
from credproof.attestation.schema import Schema
from credproof.base.encoding import frame
from credproof.base.errors import Malformed
from credproof.records.mapping import Record
from credproof.records.outbox import Item, Outbox
from credproof.records.reader import RejectedRow

Place = tuple[str, dt.date]
"""An account and a day: one record of a provider."""


@dataclass
class Tally:
    """What became of the records so far."""

    accepted: int = 0
    already: int = 0
    rejected: list[RejectedRow] = field(default_factory=list)

    def reject(self, record: Record, reason: str, message: str) -> None:
        self.rejected.append(RejectedRow(record.line, reason, message))


class Plan:
    """Decides, record by record; counts and rejects what need not or cannot be attested."""

    def __init__(self, outbox: Outbox, schema: Schema, tally: Tally) -> None:
        self._outbox = outbox
        self._schema = schema
        self._tally = tally
        self._said = _Said()
        self.resumed: frozenset[Place] = frozenset()

    def valid(self, records: Sequence[Record]) -> list[Record]:
        """The records that fit the schema, completed.

        Raises:
            Malformed: `UNKNOWN_CLAIM`: the mapping is wrong, not the record.
        """
        valid = []
        for record in records:
            try:
                valid.append(self._complete(record))
            except Malformed as error:
                if error.reason == "UNKNOWN_CLAIM":
                    raise
                self._tally.reject(record, error.reason, error.message)
        return valid

    def _complete(self, record: Record) -> Record:
        """The record with every claim of the schema; what the mapping leaves out is unknown."""
        if not set(record.values) <= set(self._schema.claims):
            raise Malformed(
                "UNKNOWN_CLAIM", f"schema {self._schema.id} lacks a claim of the mapping"
            )
        complete = replace(record, values=dict.fromkeys(self._schema.claims) | dict(record.values))
        self._schema.verify_values(complete.values)
        if self._schema.has_money == (record.currency is None):
            raise Malformed("BAD_CURRENCY", "a schema with money, and no other, has a currency")
        if parse_subject_id(record.subject).scheme not in self._schema.id_schemes:
            schemes = ", ".join(self._schema.id_schemes)
            raise Malformed("OTHER_ID_SCHEME", f"the schema is about ids of {schemes}")
        return complete

    def fresh(self, records: Sequence[Record]) -> list[tuple[Record, bytes]]:
        """What must be attested, with its basis."""
        places = [(record.account, record.as_of) for record in records]
        known = self._outbox.newest_of_days(self._schema.id, places)
        newest = self._outbox.newest(self._schema.id, [record.account for record in records])
        days = {account: item.as_of for account, item in newest.items()}
        fresh = []
        for record, place in zip(records, places, strict=True):
            basis = record.basis(self._schema.id)
            if self._is_settled(record, basis, known.get(place)):
                continue
            if record.as_of < days.get(record.account, record.as_of):
                message = "a newer record of the account was attested"
                self._tally.reject(record, "OUTDATED", message)
                continue
            days[record.account] = record.as_of
            fresh.append((record, basis))
        return fresh

    def _is_settled(self, record: Record, basis: bytes, known: Item | None) -> bool:
        """Whether this run or an earlier one knows what to say of the account and day."""
        place = (record.account, record.as_of)
        said = self._said.first(place, basis)
        if said is not None:
            if said == basis:
                self._tally.already += 1
            else:
                message = "a row before says otherwise of this day"
                self._tally.reject(record, "CONTRADICTION", message)
            return True
        if known is None or known.basis != basis:
            return False
        if known.state == "withdrawn":
            self._tally.reject(record, "WITHDRAWN", "it was withdrawn: correct the record first")
        else:
            self._tally.already += place not in self.resumed  # those are among the accepted
        return True


class _Said:
    """What the rows so far said of each place: a temporary file of SQLite, flat in memory."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.execute("CREATE TABLE said (place BLOB PRIMARY KEY, basis BLOB) WITHOUT ROWID")
        self._db.execute("BEGIN")  # never committed: nobody reads it again

    def first(self, place: Place, basis: bytes) -> bytes | None:
        """What was said first of a place; None when this is the first, which is then kept."""
        account, day = place
        name = hashlib.sha256(frame((account.encode(), day.isoformat().encode()))).digest()
        query = "SELECT basis FROM said WHERE place = ?"
        found = self._db.execute(query, (name,)).fetchone()
        if found is not None:
            return bytes(found[0])
        self._db.execute("INSERT INTO said VALUES (?, ?)", (name, basis))
        return None
