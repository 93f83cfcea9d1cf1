"""Asking witnesses to cosign (C2SP tlog-witness, the log's side)."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from credproof.base.errors import CredproofError, DataLoss, Malformed, Unreachable
from credproof.base.limits import NOTE_BYTES_MAX
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.cosignature import cosigned, with_lines
from credproof.log.merkle import Tree
from credproof.log.note import VerifierKey
from credproof.log.quorum import Quorum, Witness
from credproof.log.witness import AddCheckpoint

from credproof_server.log.outside import Patience, call
from credproof_server.log.state import LogState

PAUSE_MAX_S: Final = 60.0
"""How long a witness that fails is left alone at the most, in seconds."""
_ATTEMPTS: Final = 3
_SIZE: Final = re.compile(rb"(0|[1-9][0-9]{0,18})\n\Z")

_log = logging.getLogger("credproof.witnesses")


def _call(witness: Witness, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    """One HTTP call below a witness's prefix; gives status and body.

    Raises:
        Unreachable: `WITNESS_UNREACHABLE`.
    """
    url = f"{witness.url.rstrip('/')}/{path}"
    return call(url, method, body, reason="WITNESS_UNREACHABLE", bytes_max=NOTE_BYTES_MAX)


def newest(witness: Witness, key: VerifierKey) -> VerifiedCheckpoint | None:
    """The newest checkpoint of our own log that a witness cosigned, None when it has none.

    Raises:
        Unreachable: `WITNESS_UNREACHABLE`, also for an answer that is none.
    """
    name = hashlib.sha256(key.name.encode()).hexdigest()
    status, note = _call(witness, "GET", f"{name}/checkpoint")
    if status == 404:
        return None
    try:
        if status == 200 and witness.key in cosigned(note, [witness.key]):
            return verify_checkpoint(note, key.name, [key])
    except CredproofError:
        pass
    raise Unreachable("WITNESS_UNREACHABLE", "a witness gave no checkpoint of ours")


def compare(tree: Tree, key: VerifierKey, quorum: Quorum) -> list[str]:
    """Refuse to sign on a log that is behind, or not the one, that a witness cosigned.

    Gives the names of the witnesses that did not answer: a dead one stops nobody.

    Raises:
        DataLoss: `LOG_BEHIND`, `LOG_FORKED`.
    """
    witnesses = _asked(quorum)
    if not witnesses:
        return []
    with ThreadPoolExecutor(len(witnesses)) as pool:
        found = list(pool.map(lambda witness: _told(witness, key), witnesses))
    for seen in found:
        if isinstance(seen, VerifiedCheckpoint):
            require_covers(tree, seen)
    pairs = zip(witnesses, found, strict=True)
    return [witness.name for witness, seen in pairs if isinstance(seen, Unreachable)]


def _told(witness: Witness, key: VerifierKey) -> VerifiedCheckpoint | Unreachable | None:
    try:
        return newest(witness, key)
    except Unreachable as error:
        return error


def refuse_behind(state: LogState, key: VerifierKey) -> None:
    """As `compare`, for a log that is about to be signed; who is silent is logged.

    Raises:
        DataLoss: `LOG_BEHIND`, `LOG_FORKED`.
    """
    if state.has_trust:
        for name in compare(state.tree, key, state.trust.quorum):
            _record({"witness": name, "reason": "WITNESS_UNREACHABLE"})


def require_covers(tree: Tree, seen: VerifiedCheckpoint) -> None:
    """Accept that our log has all that a checkpoint covers, and the same.

    Raises:
        DataLoss: `LOG_BEHIND`, `LOG_FORKED`.
    """
    if seen.tree_size > tree.size:
        message = f"a witness saw {seen.tree_size} entries, the log has {tree.size}: refill them"
        raise DataLoss("LOG_BEHIND", message)
    if tree.root(seen.tree_size) != seen.root_hash:
        raise DataLoss("LOG_FORKED", "a witness saw another log than this: restore that one")


def _asked(quorum: Quorum) -> list[Witness]:
    return [witness for witness in quorum.witnesses.values() if witness.url]


@dataclass(slots=True)
class _State:
    """What is known of one witness: from when on it is asked again, and where it stands."""

    patience: Patience
    size: int = 0


class Cosigning:
    """Gets cosignatures for checkpoints of one log; keeps where each witness stands."""

    def __init__(self, tree: Tree, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._tree = tree
        self._monotonic = monotonic
        self._states: dict[Witness, _State] = {}
        self._lock = threading.Lock()

    def cosign(self, note: bytes, tree_size: int, quorum: Quorum) -> bytes:
        """The note with the cosignatures that could be had; all that lack are asked for at once.

        A witness that fails is left alone for a while, longer each time.
        """
        with self._lock:
            there = cosigned(note, quorum.keys)
            witnesses = [w for w in _asked(quorum) if w.key not in there and self._is_due(w)]
            if not witnesses:
                return note
            with ThreadPoolExecutor(len(witnesses)) as pool:
                found = pool.map(lambda w: self._try(w, note, tree_size), witnesses)
                return with_lines(note, [line for lines in found for line in lines])

    def _is_due(self, witness: Witness) -> bool:
        state = self._states.setdefault(witness, _State(Patience(PAUSE_MAX_S)))
        return state.patience.is_due(self._monotonic())

    def _try(self, witness: Witness, note: bytes, tree_size: int) -> Sequence[str]:
        state = self._states[witness]
        try:
            lines = self._ask(witness, state.size, note, tree_size)
        except CredproofError as error:
            state.size = 0
            state.patience.failed(self._monotonic())
            _record({"witness": witness.name, "reason": error.reason})
            return ()
        state.size = tree_size
        state.patience.succeeded(self._monotonic())
        return lines

    def _ask(self, witness: Witness, old: int, note: bytes, tree_size: int) -> Sequence[str]:
        for _ in range(_ATTEMPTS):
            proof = self._tree.consistency_proof(old, tree_size)
            body = AddCheckpoint(old, proof, note).to_bytes()
            status, told = _call(witness, "POST", "add-checkpoint", body)
            if status == 200:
                return _verified(witness, note, told)
            if status != 409:
                raise Unreachable("WITNESS_REFUSED", f"a witness answers {status}")
            old = _size(told)
            if old > tree_size:
                raise Unreachable("WITNESS_AHEAD", "a witness saw a larger tree already")
        raise Unreachable("WITNESS_REFUSED", "a witness tells another size each time")


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


def _record(record: Mapping[str, object]) -> None:
    _log.warning(json.dumps(record))
