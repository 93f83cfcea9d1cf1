"""What an auditor trusts: how far the last audit went, and what the log had signed by then.

A log is measured by these files. One that is damaged speaks against nobody: it is told as what it
is, what else is kept is gone by, and the next audit moves it aside.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from credproof.auditing.database import remove
from credproof.auditing.history import History
from credproof.auditing.index import INDEX_NAME, Index
from credproof.auditing.own import Seen
from credproof.base.errors import Conflict, CredproofError, DataLoss, VerificationFailed
from credproof.files import replace_file
from credproof.home import Home
from credproof.log.audit import AuditState, parse_state
from credproof.log.checkpoint import (
    Checkpoint,
    VerifiedCheckpoint,
    origin_of,
    parse_checkpoint,
    verify_checkpoint,
)
from credproof.log.note import VerifierKey, parse_note
from credproof.verification.trust import Trust

STATE_NAME: Final = "audited.json"
CHECKPOINT_NAME: Final = "newest.checkpoint"
"""The signed note of the last audit: what a service that lost everything must be measured by."""
WITNESSED_NAME: Final = "witnessed.checkpoint"
"""The newest note that enough witnesses have cosigned: others can hold it against the operator."""


def log_vkeys(trust: Trust) -> Sequence[str]:
    """The keys of the log that a trust bundle lists, those of earlier origins last."""
    return [trust.bundle.log_vkey, *trust.bundle.old_logs]


def verify_log_note(note: bytes, home: Home, trust: Trust) -> VerifiedCheckpoint:
    """A checkpoint that the log has signed, under this origin or an earlier one.

    Raises:
        CredproofError: as `verify_checkpoint`.
    """
    origin = origin_of(note)
    try:
        return verify_checkpoint(note, origin, _keys(origin, [trust]))
    except VerificationFailed as error:
        if error.reason != "NO_KNOWN_SIGNATURE":
            raise
        return verify_checkpoint(
            note, origin, _keys(origin, History(home.folder, home.roots).all())
        )


def _keys(origin: str, known: Iterable[Trust]) -> Sequence[VerifierKey]:
    keys = [VerifierKey.parse(vkey) for trust in known for vkey in log_vkeys(trust)]
    return [key for key in dict.fromkeys(keys) if key.name == origin]


class Trusted:
    """The files in an auditor's home, under the log's keys as `trust` lists them.

    What a bundle of before listed counts too: no operator makes a checkpoint void by leaving its
    key out later.
    """

    def __init__(self, home: Home, trust: Trust) -> None:
        self._home = home
        self._folder = home.folder
        self._trust = trust

    def seen(self) -> Seen | None:
        """The checkpoint of the last audit; without a note where `audited.json` alone tells it.

        None before the first audit, and where nothing is left of it.
        """
        found = self._verified(CHECKPOINT_NAME)
        if found is not None:
            return found
        state, origin = self._state(), self._origin()
        if state is None or state.position.size == 0 or origin is None:
            return None
        return Seen(Checkpoint(origin, state.position.size, state.root()), None)

    def witnessed(self) -> Seen | None:
        """The newest checkpoint that is kept as witnessed."""
        return self._verified(WITNESSED_NAME)

    def state(self) -> AuditState:
        """Where the last audit ended; the start of the log where that does not fit what was signed,
        or ends before it. Before the first audit it is the start too.
        """
        state, seen = self._state(), self._verified(CHECKPOINT_NAME)
        if state is None or not (_fits(state, seen) or _goes_on(state, seen)):
            return AuditState()
        return state

    def damage(self) -> Mapping[str, DataLoss]:
        """What is damaged, by the name of the file."""
        seen = self._verified(CHECKPOINT_NAME)
        found: dict[str, DataLoss] = {}
        for name, checkpoint in ((CHECKPOINT_NAME, seen), (WITNESSED_NAME, self.witnessed())):
            if checkpoint is None and self._read(name) is not None:
                message = f"{name} in this home is damaged: no key of the log has signed it"
                found[name] = DataLoss("CHECKPOINT_DAMAGED", message)
        if self._read(STATE_NAME) is not None and not _is_sound(self._state(), seen):
            message = f"{STATE_NAME} in this home is damaged: it does not fit {CHECKPOINT_NAME}"
            found[STATE_NAME] = DataLoss("AUDITED_DAMAGED", message)
        return found

    def keep(self, state: AuditState, note: bytes) -> None:
        """Keep how far an audit went. One that is of another size than the note is passed over.

        What is damaged is moved aside.
        """
        for name in self.damage():
            self.set_aside(name)
        replace_file(self._folder / CHECKPOINT_NAME, note)
        replace_file(self._folder / STATE_NAME, state.to_bytes())

    def set_aside(self, name: str = STATE_NAME) -> None:
        """Move a damaged file away; the next audit goes by the others."""
        (self._folder / name).replace(self._folder / f"{name}.damaged")

    def keep_witnessed(self, note: bytes) -> None:
        """Keep the newest note that witnesses cosigned."""
        replace_file(self._folder / WITNESSED_NAME, note)

    def keep_lost(self, seen: Seen, index: Index) -> None:
        """Keep what was verified of entries that were lost: nobody else may have them."""
        name = f"lost-{seen.checkpoint.tree_size}"
        if seen.note is not None:
            replace_file(self._folder / f"{name}.checkpoint", seen.note)
        if not (kept := self._folder / f"{name}.db").exists():
            remove(fresh := self._folder / f"{name}.db.new")
            with Index(fresh) as copy:
                index.copy_over(copy)
            fresh.replace(kept)

    def _read(self, name: str) -> bytes | None:
        path = self._folder / name
        return path.read_bytes() if path.exists() else None

    def _verified(self, name: str) -> Seen | None:
        """A note that a key of the log has signed, whatever bundle lists it."""
        note = self._read(name)
        if note is None:
            return None
        with suppress(CredproofError):
            found = verify_log_note(note, self._home, self._trust)
            return Seen(Checkpoint(found.origin, found.tree_size, found.root_hash), note)
        return None

    def _origin(self) -> str | None:
        """Whose log `audited.json` is about: a note that is damaged may still name it."""
        origins = {VerifierKey.parse(vkey).name for vkey in log_vkeys(self._trust)}
        named = origin_of(self._read(CHECKPOINT_NAME) or b"")
        return named if named in origins else origins.pop() if len(origins) == 1 else None

    def _state(self) -> AuditState | None:
        """None where there is none, or none that can be read."""
        data = self._read(STATE_NAME)
        with suppress(CredproofError):
            return None if data is None else parse_state(data)
        return None


def _fits(state: AuditState, seen: Seen | None) -> bool:
    told = (state.position.size, state.root())
    return seen is None or (seen.checkpoint.tree_size, seen.checkpoint.root_hash) == told


def _goes_on(state: AuditState, seen: Seen | None) -> bool:
    """Whether it goes further: the checkpoint is of a backup, or the state is damaged."""
    return seen is not None and state.position.size > seen.checkpoint.tree_size


def _is_sound(state: AuditState | None, seen: Seen | None) -> bool:
    """One of another size is: an audit ended between the two files, or a backup put one back."""
    if state is None or seen is None:
        return state is not None
    return state.position.size != seen.checkpoint.tree_size or _fits(state, seen)


def open_index(home: Path) -> Index:
    """All that was verified in a home, to read there: without it "nothing" would be said of much.

    Raises:
        Conflict: `NOTHING_VERIFIED`.
        DataLoss: `INDEX_DAMAGED`: it has less than was verified.
    """
    if not (home / INDEX_NAME).exists():
        message = f"there is no {INDEX_NAME} in this home yet, or it was deleted"
        raise Conflict("NOTHING_VERIFIED", message)
    index = Index(home / INDEX_NAME)
    try:
        index.require_whole()
        _require_all(index, _verified_size(home))
    except BaseException:
        index.close()
        raise
    return index


def _require_all(index: Index, verified: int) -> None:
    has = index.state.position.size
    if has < verified:
        message = f"{index.path.name} has {has} of the {verified} entries that were verified"
        raise DataLoss("INDEX_DAMAGED", f"{message}: it was emptied, or is of a backup")


def _verified_size(home: Path) -> int:
    """How far a home's own files say that it was verified; audits tell which are damaged."""
    sizes = [0]
    with suppress(OSError, CredproofError):
        sizes.append(parse_state((home / STATE_NAME).read_bytes()).position.size)
    with suppress(OSError, CredproofError):
        note = parse_note((home / CHECKPOINT_NAME).read_bytes())
        sizes.append(parse_checkpoint(note.text).tree_size)
    return max(sizes)
