"""What witnesses saw of our log: a log that is behind it, or another, is not signed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from credproof.base.errors import CredproofError, Unreachable
from credproof.base.limits import NOTE_BYTES_MAX
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.log.cosignature import cosigned
from credproof.log.merkle import Tree
from credproof.log.note import VerifierKey
from credproof.log.quorum import Quorum, Witness

from credproof_server.log.disproof import Disproof, DisproofFile, require_covers
from credproof_server.log.outside import call
from credproof_server.log.state import LogState

_log = logging.getLogger("credproof.witnesses")


def call_witness(witness: Witness, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
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
    status, note = call_witness(witness, "GET", f"{name}/checkpoint")
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
    witnesses = asked(quorum)
    if not witnesses:
        return []
    with ThreadPoolExecutor(len(witnesses)) as pool:
        found = list(pool.map(lambda witness: _told(witness, key), witnesses))
    _require_all(tree, [seen for seen in found if isinstance(seen, VerifiedCheckpoint)])
    pairs = zip(witnesses, found, strict=True)
    return [witness.name for witness, seen in pairs if isinstance(seen, Unreachable)]


def _require_all(tree: Tree, found: Sequence[VerifiedCheckpoint]) -> None:
    """Of several that the log does not cover, the gravest is told."""
    disproofs = []
    for seen in found:
        try:
            require_covers(tree, seen)
        except Disproof as disproof:
            disproofs.append(disproof)
    if disproofs:
        raise max(disproofs, key=lambda disproof: disproof.weight)


def _told(witness: Witness, key: VerifierKey) -> VerifiedCheckpoint | Unreachable | None:
    try:
        return newest(witness, key)
    except Unreachable as error:
        return error


def refuse_behind(state: LogState, key: VerifierKey, kept: DisproofFile) -> None:
    """As `compare`, for a log that is about to be signed; who is silent is logged.

    What was found before comes first, whoever is silent now; what is found now is kept.

    Raises:
        DataLoss: `LOG_BEHIND`, `LOG_FORKED`, `DISPROOF_DAMAGED`.
    """
    if (seen := kept.newest(key)) is not None:
        require_covers(state.tree, seen)
    if not state.has_trust:
        return
    try:
        silent = compare(state.tree, key, state.trust.quorum)
    except Disproof as disproof:
        kept.write(disproof.seen.note)
        raise
    for name in silent:
        record({"witness": name, "reason": "WITNESS_UNREACHABLE"})


def asked(quorum: Quorum) -> list[Witness]:
    """The witnesses that have a URL."""
    return [witness for witness in quorum.witnesses.values() if witness.url]


def record(told: Mapping[str, object]) -> None:
    """A line in the service's own log."""
    _log.warning(json.dumps(told))
