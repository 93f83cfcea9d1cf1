"""What the service acknowledged, kept by those whom it told, to be compared with what is there."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from credproof.log.checkpoint import VerifiedCheckpoint


@dataclass
class Ledger:
    """Acknowledged: tokens with their log index, consents, answers as bytes, a checkpoint."""

    tokens: dict[bytes, int] = field(default_factory=dict)
    consents: set[bytes] = field(default_factory=set)
    answers: dict[bytes, bytes] = field(default_factory=dict)
    newest: VerifiedCheckpoint | None = None
    broken: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def token(self, token_id: bytes, log_index: int) -> None:
        """A receipt; a second one for the same token must be the first."""
        with self.lock:
            assert self.tokens.setdefault(token_id, log_index) == log_index, "two places in the log"

    def answer(self, request_id: bytes, answer: bytes) -> None:
        """An answer; a second one to the same request must be the first."""
        with self.lock:
            assert self.answers.setdefault(request_id, answer) == answer, "two answers"

    def consent(self, consent_id: bytes) -> None:
        with self.lock:
            self.consents.add(consent_id)

    def checkpoint(self, seen: VerifiedCheckpoint) -> None:
        """The newest checkpoint that anybody was shown."""
        with self.lock:
            if self.newest is None or seen.tree_size > self.newest.tree_size:
                self.newest = seen

    def interrupted(self) -> None:
        """A call that ended without an answer."""
        with self.lock:
            self.broken += 1
