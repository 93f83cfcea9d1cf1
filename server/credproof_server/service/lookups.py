"""What the directory shows about a borrower, as of one moment of the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass

from credproof.base.errors import Conflict, CredproofError, DataLoss, VerificationFailed
from credproof.log.directory import Leaf, LookupProof, bounds, prove, value_of, verify_lookup
from credproof.verification.answer import DirectoryEvidence, Logged, Lookup
from credproof.verification.filing import index_of
from credproof.verification.verify import KEY_BINDING
from sqlalchemy import Connection

from credproof_server.log.directory_state import DirectoryState, changes_from
from credproof_server.log.epochs import REFRESH_S
from credproof_server.service.core import Core
from credproof_server.storage import leaves


@dataclass(frozen=True, slots=True)
class Place:
    """What stands at an index, and its proof; salt and members are empty when nothing does."""

    proof: LookupProof
    salt: bytes
    members: tuple[bytes, ...]


def look_up(
    connection: Connection, state: DirectoryState, index: bytes, root_index: int
) -> Place | None:
    """What stands at an index under the root logged at `root_index`; None under another root."""
    path = state.path(index, root_index)
    if path is None:
        return None
    first, last = (state.top.bucket(bound) for bound in bounds(index, len(path)))
    rows = leaves.between(connection, first, last)
    below = prove([Leaf(row.place, row.value) for row in rows], index, len(path))
    proof = LookupProof(below.leaf, path + below.siblings)
    for row in rows:
        if row.place == index:
            return Place(proof, row.salt, leaves.members_of(row.members))
    return Place(proof, b"", ())


class Lookups:
    """Proves what stands in the directory under its newest root."""

    def __init__(self, core: Core, connection: Connection) -> None:
        self._key = core.keys.directory
        self._trust = core.trust
        self._connection = connection
        self._state = core.sequencer.state.directory
        self._newest = leaves.newest_root(connection)

    def evidence(
        self, sub: bytes, current: Mapping[bytes, Collection[bytes]], now: int
    ) -> DirectoryEvidence:
        """The lookups of a borrower; `current` are the token ids that count now, by schema.

        Raises:
            Conflict: `SNAPSHOT_CHANGED` when the newest root is too old or does not cover them:
                an epoch must be closed.
            DataLoss: `ROW_DIFFERS` when it does, and yet names others, or a leaf was altered.
        """
        epoch, newest = self._state.epoch, self._newest
        if epoch is None or newest is None or epoch.root.log_index != newest.log_index:
            raise not_covered()
        if epoch.root.time < now - REFRESH_S:
            raise not_covered()
        root, output = Logged(epoch.line, epoch.root.log_index, ()), self._key.prove(sub)
        found = (self._lookup(output.element, name, current[name]) for name in sorted(current))
        return DirectoryEvidence(root, output, tuple(found))

    def _lookup(self, element: bytes, schema: bytes, current: Collection[bytes]) -> Lookup:
        """One lookup, whose members must be what counts now."""
        index, newest = index_of(element, schema), self._newest
        shown = newest and look_up(self._connection, self._state, index, newest.log_index)
        if newest is None or shown is None:
            raise not_covered()
        if set(shown.members) != set(current):
            raise self._differs(index, newest.covered)
        _require_proved(index, shown, newest.root)
        return Lookup(schema, shown.proof, shown.salt, tuple(sorted(shown.members)))

    def _differs(self, index: bytes, covered: int) -> CredproofError:
        """What was logged since is not covered yet; without that, a row or a leaf is lost."""
        if any(change.index == index for change in changes_from(self._connection, covered)):
            return not_covered()
        return differs()

    def require_bindings(self, sub: bytes, rows: Mapping[bytes, Collection[bytes]]) -> None:
        """Key bindings may be missing only where none was logged; `rows` are what is stored.

        What no root covers yet may be news, and is not judged.

        Raises:
            DataLoss: `ROW_DIFFERS`: the borrower would be sent to a provider for nothing.
        """
        element = self._key.prove(sub).element
        for schema in self._trust.schemas.values():
            if schema.name == KEY_BINDING:
                with suppress(Conflict):
                    self._lookup(element, schema.digest, rows.get(schema.digest, ()))


def _require_proved(index: bytes, place: Place, root: bytes) -> None:
    """A leaf that was altered: no lender takes what it proves, and its consent would be used."""
    value = value_of(place.salt, place.members) if place.members else None
    try:
        found = verify_lookup(index, place.proof, root)
    except VerificationFailed as error:
        raise differs() from error
    if found != value:
        raise differs()


def differs() -> DataLoss:
    return DataLoss("ROW_DIFFERS", "stored rows are not those that the directory names")


def not_covered() -> Conflict:
    return Conflict("SNAPSHOT_CHANGED", "attestations changed meanwhile: ask again")
