"""Asking witnesses to cosign (C2SP tlog-witness, the log's side)."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from credproof.base.errors import CredproofError, Malformed, Unreachable
from credproof.log.cosignature import cosigned, with_lines
from credproof.log.merkle import Tree
from credproof.log.note import VerifierKey
from credproof.log.quorum import Quorum, Witness
from credproof.log.witness import AddCheckpoint

from credproof_server.log.disproof import Disproof, require_covers
from credproof_server.log.outside import Patience
from credproof_server.log.said import Said
from credproof_server.log.state import Clock
from credproof_server.log.witnesses import asked, call_witness, newest, record

PAUSE_MAX_S: Final = 60.0
"""How long a witness that fails is left alone at the most, in seconds."""
GRACE_S: Final = 0.2
"""How long the next witness is waited for when enough have cosigned, in seconds."""
_ATTEMPTS: Final = 3
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n\Z")


@dataclass(slots=True)
class _State:
    """What is known of one witness: from when on it is asked again, where it stands, what it said.

    `status` is that of its last answer over HTTP, None when none came.
    """

    patience: Patience
    said: Said | None
    size: int = 0
    status: int | None = None
    is_asked: bool = False


class Cosigning:
    """Gets cosignatures for checkpoints of one log; keeps where each witness stands.

    `key` is the log's. `said` is what witnesses said before, by vkey.
    """

    def __init__(
        self,
        tree: Tree,
        key: VerifierKey,
        clock: Clock,
        said: Mapping[str, Said],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tree = tree
        self._key = key
        self._clock = clock
        self._before = said
        self._monotonic = monotonic
        self._states: dict[Witness, _State] = {}
        self._lock = threading.Lock()
        self._disproofs: list[Disproof] = []

    def cosign(self, note: bytes, tree_size: int, quorum: Quorum) -> bytes:
        """The note with the cosignatures that could be had; all that lack are asked for at once.

        A witness that fails is left alone for a while, longer each time. Once the quorum is reached
        the others have `GRACE_S` each: who is slower is asked again when it has answered.
        """
        with self._lock:
            there = cosigned(note, quorum.keys)
            witnesses = [w for w in asked(quorum) if w.key not in there and self._is_due(w)]
            if not witnesses:
                return note
            for witness in witnesses:
                self._states[witness].is_asked = True
            pool = ThreadPoolExecutor(len(witnesses))
            asked_now = {pool.submit(self._try, w, note, tree_size) for w in witnesses}
            pool.shutdown(wait=False)
            return _collected(note, asked_now, quorum)

    @property
    def disproof(self) -> Disproof | None:
        """The gravest, once a witness has shown another log than ours under our own signature."""
        return max(self._disproofs, key=lambda found: found.weight, default=None)

    def said(self) -> Mapping[str, Said]:
        """What each witness said last, by vkey."""
        now = {str(w.key): state.said for w, state in self._states.items()}
        return {**self._before, **{vkey: said for vkey, said in now.items() if said is not None}}

    def _is_due(self, witness: Witness) -> bool:
        if witness not in self._states:
            said = self._before.get(str(witness.key))
            self._states[witness] = _State(Patience(PAUSE_MAX_S), said)
        state = self._states[witness]
        return not state.is_asked and state.patience.is_due(self._monotonic())

    def _try(self, witness: Witness, note: bytes, tree_size: int) -> Sequence[str]:
        try:
            return self._tried(witness, self._states[witness], note, tree_size)
        finally:
            self._states[witness].is_asked = False

    def _tried(self, witness: Witness, state: _State, note: bytes, tree_size: int) -> Sequence[str]:
        try:
            lines = self._ask(witness, state, note, tree_size)
        except CredproofError as error:
            self._failed(witness, state, error)
            return ()
        state.size = tree_size
        state.patience.succeeded(self._monotonic())
        state.said = Said(self._clock(), state.status, None, tree_size)
        return lines

    def _failed(self, witness: Witness, state: _State, error: CredproofError) -> None:
        if isinstance(error, Disproof):
            self._disproofs.append(error)
        state.size = 0
        state.patience.failed(self._monotonic())
        tree_size = 0 if state.said is None else state.said.tree_size
        state.said = Said(self._clock(), state.status, error.reason, tree_size)
        record({"witness": witness.name, "status": state.status, "reason": error.reason})

    def _ask(self, witness: Witness, state: _State, note: bytes, tree_size: int) -> Sequence[str]:
        old = state.size
        for _ in range(_ATTEMPTS):
            proof = self._tree.consistency_proof(old, tree_size)
            body = AddCheckpoint(old, proof, note).to_bytes()
            state.status = None
            state.status, told = call_witness(witness, "POST", "add-checkpoint", body)
            if state.status == 200:
                return _verified(witness, note, told)
            if state.status == 422:
                self._require_same_log(witness)
                raise Unreachable("WITNESS_DISAGREES", "a witness saw another log, and shows none")
            if state.status != 409:
                raise Unreachable("WITNESS_REFUSED", f"a witness answers {state.status}")
            old = _size(told)
            if old > tree_size:
                self._require_same_log(witness)
                raise Unreachable("WITNESS_AHEAD", "a witness saw a larger tree, and shows none")
        raise Unreachable("WITNESS_REFUSED", "a witness tells another size each time")

    def _require_same_log(self, witness: Witness) -> None:
        """A witness's word against the log is not believed: our signature under another log is.

        Raises:
            Disproof: `LOG_BEHIND`, `LOG_FORKED`.
        """
        with suppress(Unreachable):
            seen = newest(witness, self._key)
            if seen is not None:
                require_covers(self._tree, seen)


def _collected(note: bytes, waiting: set[Future[Sequence[str]]], quorum: Quorum) -> bytes:
    """The note with the lines that come, until those that are needed are there."""
    grace_s = None
    while waiting:
        done, waiting = wait(waiting, timeout=grace_s, return_when=FIRST_COMPLETED)
        if not done:
            break
        note = with_lines(note, [line for item in done for line in item.result()])
        if quorum.needed is not None and quorum.is_reached(cosigned(note, quorum.keys)):
            grace_s = GRACE_S
    return note


def _size(told: bytes) -> int:
    found = _SIZE.match(told)
    if found is None:
        raise Malformed("WITNESS_REFUSED", "a witness tells no size")
    return int(found[1])


def _verified(witness: Witness, note: bytes, told: bytes) -> Sequence[str]:
    """The lines by the witness's own key; lines by others are left out."""
    lines = told.decode("utf-8", "replace").splitlines(keepends=True)
    mine = [line for line in lines if line.split(" ")[1:2] == [witness.key.name]]
    if witness.key not in cosigned(with_lines(note, mine), [witness.key]):
        raise Unreachable("WITNESS_REFUSED", "a witness did not cosign by its key")
    return mine
