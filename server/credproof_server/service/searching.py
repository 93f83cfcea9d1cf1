"""An auditor looks for one person: it is in the log before anything is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from credproof.base.encoding import b64url, tagged_hash
from credproof.base.limits import PERSON_ENTRIES_MAX
from credproof.verification.entry_rules import ENTRY_SEARCHED

from credproof_server.log.state import Transaction
from credproof_server.service.core import Core, fresh_salt
from credproof_server.storage import people
from credproof_server.storage.vault import DataKey


@dataclass(frozen=True, slots=True)
class Person:
    """What concerns a person in the log, and where the search itself stands."""

    log_indexes: Sequence[int]
    searched_index: int


class SearchPerson:
    """Logs who looked for whom, with the digest of why, and finds the entries."""

    def __init__(self, auditor: str, sub: bytes, reason: bytes, key: DataKey | None) -> None:
        self._auditor = auditor
        self._sub = sub
        self._reason = reason
        self._key = key

    def apply(self, tx: Transaction) -> Person:
        """The entries of the person, once the commit is durable."""
        salt = fresh_salt()
        tag = None if self._key is None else b64url(self._key.tag(salt))
        fields: dict[str, object] = {"reason": b64url(self._reason), "tag": tag}
        digest = tagged_hash("search", salt, self._sub)
        index = tx.append(ENTRY_SEARCHED, self._auditor, digest, salt=salt, fields=fields)
        return Person(people.entries_about(tx.connection, self._sub, PERSON_ENTRIES_MAX), index)


class Searching:
    """The use case of an auditor who follows a complaint."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def person(self, auditor: str, sub: bytes, reason: bytes) -> Person:
        """What concerns the borrower of this pseudonym; the search is logged first.

        `reason` is a salted digest: the text stays with the auditor.
        """
        core = self._core
        key = await core.in_thread(lambda: core.vault.existing([sub]).get(sub))
        return (await core.commit(SearchPerson(auditor, sub, reason, key))).value
