"""Asking timestamp authorities (RFC 3161) when the log has grown, in rounds of its own.

No commit waits for it. Each is asked about the newest checkpoint, at most once per interval: what
it gives is verified, and kept by the sequencer like everything else.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.errors import CredproofError, Unreachable, VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, TIMESTAMP_BYTES_MAX
from credproof.log.timestamp import (
    Timestamp,
    TimestampAuthority,
    stamped_text,
    verify_timestamp,
)
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from credproof_server.log.outside import Patience, call
from credproof_server.log.sequencer import Sequencer, SignedHead
from credproof_server.log.state import Clock, Transaction
from credproof_server.storage import stamps

PAUSE_MAX_S: Final = 600.0
"""How long an authority that fails is left alone at the most, in seconds."""
_HEADERS: Final = {"content-type": "application/timestamp-query"}

_log = logging.getLogger("credproof.timestamps")


@dataclass(frozen=True, slots=True)
class Asked:
    """An authority that is asked, and where."""

    authority: TimestampAuthority
    url: str


class KeepTimestamp:
    """Keeps a timestamp that verified. It adds nothing to the log."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self._row = row

    def apply(self, tx: Transaction) -> None:
        stamps.add(tx.connection, self._row)


@dataclass(slots=True)
class _State:
    """What is known of one authority: from when on it is asked again, what it stamped last."""

    patience: Patience
    tree_size: int = 0


class Timestamping:
    """Gets timestamps of one log's newest checkpoints. `stamp` is for one thread.

    `every_s` seconds lie between two requests to one authority. `kept` are size and time of what
    is there already, by the authority's name.
    """

    def __init__(
        self,
        sequencer: Sequencer,
        asked: Sequence[Asked],
        every_s: int,
        kept: Mapping[str, tuple[int, int]],
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sequencer = sequencer
        self._asked = asked
        self._every_s = every_s
        self._clock = clock
        self._monotonic = monotonic
        self._states = {item.authority.name: self._begin(item, kept) for item in asked}

    def _begin(self, item: Asked, kept: Mapping[str, tuple[int, int]]) -> _State:
        """A service that is started again does not ask sooner for that."""
        size, stamped_at = kept.get(item.authority.name, (0, 0))
        left = min(self._every_s, max(0, stamped_at + self._every_s - self._clock()))
        return _State(Patience(PAUSE_MAX_S, not_before=self._monotonic() + left), size)

    def stamp(self) -> None:
        """One round over all authorities that are due; lasts as long as the slowest one."""
        due = [item for item in self._asked if self._is_due(self._states[item.authority.name])]
        if due:
            with ThreadPoolExecutor(len(due)) as pool:
                list(pool.map(self._try, due))

    def _is_due(self, state: _State) -> bool:
        grown = self._sequencer.head.tree_size > state.tree_size
        return grown and state.patience.is_due(self._monotonic())

    def _try(self, item: Asked) -> None:
        name, head = item.authority.name, self._sequencer.head
        state = self._states[name]
        try:
            response, timestamp = self._ask(item, head)
            row = {"tree_size": head.tree_size, "authority": name, "time": timestamp.time}
            row |= {"note": head.note, "response": response}
            self._sequencer.submit(KeepTimestamp(row)).result()
        except CredproofError as error:
            state.patience.failed(self._monotonic())
            _log.warning(json.dumps({"timestamp_authority": name, "reason": error.reason}))
            return
        state.tree_size = head.tree_size
        state.patience.succeeded(self._monotonic(), self._every_s)
        _log.info(json.dumps({"timestamp_authority": name, "stamped": head.tree_size}))

    def _ask(self, item: Asked, head: SignedHead) -> tuple[bytes, Timestamp]:
        builder = TimestampRequestBuilder(hash_algorithm=HashAlgorithm.SHA256)
        request = builder.data(stamped_text(head.note)).build()
        status, response = call(
            item.url,
            "POST",
            request.as_bytes(),
            reason="TIMESTAMP_UNREACHABLE",
            bytes_max=TIMESTAMP_BYTES_MAX,
            headers=_HEADERS,
        )
        if status != 200:
            raise Unreachable("TIMESTAMP_UNREACHABLE", f"a timestamp authority answers {status}")
        found = verify_timestamp(response, head.note, item.authority, nonce=request.nonce)
        if abs(found.time - self._clock()) > CLOCK_SKEW_S:
            message = "the clock of a timestamp authority differs from ours"
            raise VerificationFailed("TIMESTAMP_OTHER_TIME", message)
        return response, found
