"""Where the directory files an attestation, and what log entries change in it.

The directory is a function of the log: whoever reads the entries can compute each root anew.
Format: `docs/PROTOCOL.md`, "Directory".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from credproof.base.encoding import tagged, tagged_hash
from credproof.base.errors import VerificationFailed
from credproof.base.members import Members
from credproof.base.vrf import Output, evaluate, prove, verify
from credproof.log.directory import Leaf, value_of
from credproof.log.entry import Entry
from credproof.verification.answer import ENTRY_ATTESTATION

ENTRY_WITHDRAWN: Final = "attestation.withdrawn"
ENTRY_ROOT: Final = "directory.root"
ACTOR: Final = "service"
"""Who logs a root of the directory."""


# -- indexes ------------------------------------------------------------------


def element_of(secret: bytes, sub: bytes) -> bytes:
    """The element that stands for a borrower, 32 bytes."""
    return evaluate(secret, tagged("directory", sub))


def prove_element(secret: bytes, sub: bytes, entropy: bytes) -> Output:
    """The borrower's element, proved; `entropy` is 64 fresh random bytes."""
    return prove(secret, tagged("directory", sub), entropy)


def verify_element(public: bytes, sub: bytes, output: Output) -> None:
    """Accept that this is the borrower's element under the pinned key.

    Raises:
        Malformed: `BAD_ELEMENT`.
        VerificationFailed: `BAD_DLEQ_PROOF`.
    """
    verify(public, tagged("directory", sub), output)


def index_of(element: bytes, schema_digest: bytes) -> bytes:
    """The index of a borrower's attestations of one schema, 32 bytes."""
    return tagged_hash("directory-index", element, schema_digest)


# -- sets ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Filed:
    """What stands at one index: token ids, and the salt of the newest entry that changed them."""

    salt: bytes
    members: tuple[bytes, ...]

    @property
    def value(self) -> bytes:
        """The value that the index has in the directory, 32 bytes."""
        return value_of(self.salt, self.members)

    def leaf(self, index: bytes) -> Leaf:
        """The leaf that shows this."""
        return Leaf(index, self.value)


NOTHING: Final = Filed(b"", ())
"""What stands at an index without attestations: it has no leaf."""


@dataclass(frozen=True, slots=True)
class Change:
    """What the entry at `log_index` changes: one token joins the set of an index, or leaves it."""

    log_index: int
    index: bytes
    salt: bytes
    joins: bytes | None
    leaves: bytes | None

    def apply(self, filed: Filed) -> Filed:
        """The set afterwards.

        Raises:
            VerificationFailed: `NOT_A_MEMBER`.
        """
        members = list(filed.members)
        if self.joins in members or (self.leaves is not None and self.leaves not in members):
            raise VerificationFailed(
                "NOT_A_MEMBER", f"entry {self.log_index} does not fit what the directory holds"
            )
        if self.leaves is not None:
            members.remove(self.leaves)
        if self.joins is not None:
            members.append(self.joins)
        return Filed(self.salt, tuple(members)) if members else NOTHING


def change_of(entry: Entry) -> Change | None:
    """What an entry changes in the directory; None for the kinds that change nothing.

    Raises:
        Malformed: `BAD_MEMBER` when it does not say where.
    """
    if entry.kind not in (ENTRY_ATTESTATION, ENTRY_WITHDRAWN):
        return None
    members = Members(entry.fields, "log entry")
    index = members.bytes("index", 32)
    if entry.kind == ENTRY_WITHDRAWN:
        return Change(entry.seq, index, entry.salt, None, members.bytes("token", 32))
    replaced = members.bytes("replaces", 32) if "replaces" in entry.fields else None
    return Change(entry.seq, index, entry.salt, entry.object, replaced)


def apply_all(changes: Iterable[Change], filed: dict[bytes, Filed]) -> None:
    """Apply changes in order to what stands at each index.

    Raises:
        VerificationFailed: `NOT_A_MEMBER`.
    """
    for change in changes:
        filed[change.index] = change.apply(filed.get(change.index, NOTHING))


# -- roots --------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LoggedRoot:
    """A root of the directory in the log: what the first `covered` entries make of it."""

    log_index: int
    time: int
    root: bytes
    covered: int


def parse_root(entry: Entry) -> LoggedRoot:
    """The root that an entry logs.

    Raises:
        Malformed: `BAD_MEMBER`.
        VerificationFailed: `OTHER_ENTRY` for an entry of another kind, or one that covers more
            than there is.
    """
    members = Members(entry.fields, "log entry")
    covered = members.take("covered", int)
    members.finish()
    if (entry.kind, entry.actor) != (ENTRY_ROOT, ACTOR) or not 0 <= covered <= entry.seq:
        raise VerificationFailed("OTHER_ENTRY", "log entry is no root of the directory")
    return LoggedRoot(entry.seq, entry.time, entry.object, covered)
