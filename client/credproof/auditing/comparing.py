"""Gossip: is a checkpoint that others were given of the log that was verified here?

An operator who shows two logs cannot let those who read them compare. All that is needed is here:
the lines that were verified make the root of each size up to now. Nobody is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NoReturn

from credproof.auditing.evidence import (
    COMPARED_ENTRIES,
    COMPARED_LONGER,
    COMPARED_NAMED,
    COMPARED_ROOTS,
    DISPROVED_LONGER,
    Evidence,
    LogFault,
)
from credproof.auditing.index import Index
from credproof.auditing.lost import continued
from credproof.auditing.own import require_own
from credproof.auditing.trusted import CHECKPOINT_NAME, Trusted, log_vkeys, verify_log_note
from credproof.base.errors import Conflict, CredproofError, Malformed, VerificationFailed
from credproof.home import Home
from credproof.log.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from credproof.log.continued import Continued
from credproof.log.merkle import leaf_hash, verify_inclusion
from credproof.log.proof import TlogProof
from credproof.log.witness import parse_add_checkpoint
from credproof.verification.answer import AnswerBundle, Logged
from credproof.wire import answer as answer_wire

_REQUEST: Final = b"old "
_FORKED: Final = "the log has signed another past than the one that was verified here"
_BEHIND: Final = "the log has signed more than the service still gives, as a witness showed it"
_NOTHING: Final = (
    "the service says that a witness showed it another log, and gives nothing by which"
)
_REPLACED: Final = "the log signed more under its old origin than its new one says"


class Comparing:
    """What an auditor's home has verified, to hold the checkpoints of others against."""

    def __init__(self, home: Home, index: Index) -> None:
        """Read it, without a network.

        Raises:
            Conflict: `NOTHING_VERIFIED`.
            DataLoss: `CHECKPOINT_DAMAGED`, `INDEX_DAMAGED`: a file of this home.
            Malformed, VerificationFailed: as `Home.trust`.
        """
        self._home, self._trust, self._index = home, home.trust(at=0), index
        trusted = Trusted(home, self._trust)
        damage, seen = trusted.damage(), trusted.seen()
        if CHECKPOINT_NAME in damage:
            raise damage[CHECKPOINT_NAME]
        if seen is None or seen.note is None:
            raise Conflict("NOTHING_VERIFIED", "nothing was verified in this home yet")
        self.verified, self._note = seen.checkpoint, seen.note
        self._tree = require_own(index, self.verified.tree_size, self.verified.root_hash)
        self._ends = continued(index)

    def require_same_past(self, data: bytes) -> VerifiedCheckpoint:
        """Accept a checkpoint, that of an answer, or of a request to a witness, and give it.

        Raises:
            Malformed, VerificationFailed: what no key of the log has signed.
            LogFault: `LOG_FORKED`; `LOG_REPLACED` where the old log went on after what the new one
                names.
            Conflict: `NOT_COMPARED` when it covers entries that are not here.
        """
        note, entries = _parts(data)
        other = verify_log_note(note, self._home, self._trust)
        end = next((found for found in self._ends if found.origin == other.origin), None)
        if end is None and other.origin != self.verified.origin:
            message = "it is of a newer origin: credproof audit verify, then compare again"
            raise Conflict("NOT_COMPARED", message)
        shared = self.verified.tree_size if end is None else end.kept
        if other.tree_size <= shared:
            self._require_root(other, end)
            return other
        self._require_entries(other, end, shared, entries)
        message = "it covers more than you verified: credproof audit follow, then compare again"
        if end is not None:
            self._require_named(other, end)
            message = "it covers entries that were lost: nothing is left to compare it with"
        raise Conflict("NOT_COMPARED", message)

    def require_undisproved(self, note: bytes, newest: VerifiedCheckpoint) -> None:
        """Judge what a service gives as shown against its own log, which is at `newest`.

        Nothing is said of one that covers what was not verified here, and the service has.

        Raises:
            LogFault: `LOG_FORKED`: the log signed another past; `LOG_BEHIND`: it signed more than
                it still has.
            VerificationFailed: `NOT_DISPROVED`: it shows no such thing.
        """
        try:
            shown = verify_checkpoint(note, newest.origin, [self._trust.log_key])
        except (Malformed, VerificationFailed) as error:
            raise VerificationFailed("NOT_DISPROVED", f"{_NOTHING}: {error.message}") from error
        if shown.tree_size > newest.tree_size:
            _raise("LOG_BEHIND", _BEHIND, self._evidence(shown, None), DISPROVED_LONGER)
        if shown.tree_size <= self.verified.tree_size:
            self._require_root(shown, None)
            raise VerificationFailed("NOT_DISPROVED", _NOTHING)

    def _require_root(self, other: VerifiedCheckpoint, end: Continued | None) -> None:
        size = other.tree_size
        if self._tree.root(size) == other.root_hash:
            return
        evidence = self._evidence(other, end)
        past = Checkpoint(self.verified.origin, size, self._tree.root(size))
        proof = self._tree.consistency_proof(size, self._tree.size)
        evidence.add_past(past, proof, self._note)
        _raise("LOG_FORKED", _FORKED, evidence, COMPARED_ROOTS)

    def _require_entries(
        self,
        other: VerifiedCheckpoint,
        end: Continued | None,
        shared: int,
        entries: Sequence[Logged],
    ) -> None:
        """A checkpoint that goes further tells by its entries alone; without proof they do not."""
        for logged in sorted(entries, key=lambda item: item.log_index):
            at = logged.log_index
            line = self._index.line(at) if at < shared else None
            if line in (None, logged.line) or not _is_proved(logged, other):
                continue
            evidence = self._evidence(other, end)
            self._add_own(evidence, at, "seen")
            proof = TlogProof(at, logged.hashes, other.note)
            evidence.add_entry(at, "other", logged.line, proof)
            _raise("LOG_FORKED", _FORKED, evidence, COMPARED_ENTRIES)

    def _require_named(self, other: VerifiedCheckpoint, end: Continued) -> None:
        """The last one of an old origin is no other than the new one names."""
        if other.tree_size > end.tree_size:
            _raise("LOG_REPLACED", _REPLACED, self._evidence(other, end), COMPARED_LONGER)
        if other.tree_size == end.tree_size and other.root_hash != end.root_hash:
            _raise("LOG_FORKED", _FORKED, self._evidence(other, end), COMPARED_NAMED)

    def _evidence(self, other: VerifiedCheckpoint, end: Continued | None) -> Evidence:
        evidence = Evidence()
        evidence.add_compared(self._note, other.note, log_vkeys(self._trust))
        if end is not None:
            self._add_own(evidence, end.log_index, "logged")
        return evidence

    def _add_own(self, evidence: Evidence, at: int, word: str) -> None:
        line = self._index.line(at)
        assert line is not None, "the tree is made of it"
        evidence.add_proved(at, word, line, self._tree, self._note)


def _parts(data: bytes) -> tuple[bytes, Sequence[Logged]]:
    """The signed note in a file, and the entries that an answer brings with it."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        bundle = answer_wire.parse(data)
        return bundle.checkpoint, _entries(bundle)
    return parse_add_checkpoint(data).note if data.startswith(_REQUEST) else data, ()


def _entries(bundle: AnswerBundle) -> Sequence[Logged]:
    tokens, bindings = bundle.tokens, bundle.bindings
    used = [*(item.logged for item in tokens), *(item.logged for item in bindings)]
    return [bundle.logged, *used, *([bundle.directory.root] if bundle.directory else [])]


def _is_proved(logged: Logged, other: VerifiedCheckpoint) -> bool:
    leaf, size = leaf_hash(logged.line), other.tree_size
    try:
        verify_inclusion(leaf, logged.log_index, size, logged.hashes, other.root_hash)
    except CredproofError:
        return False
    return True


def _raise(reason: str, says: str, evidence: Evidence, how: str) -> NoReturn:
    raise LogFault(reason, says, evidence.finish(reason, says, how))
