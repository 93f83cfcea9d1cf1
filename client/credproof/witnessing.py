"""Checkpoints that witnesses have cosigned: fetched and verified, and put under kept answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import grpc

from credproof.base.errors import Unreachable, VerificationFailed
from credproof.channel import call
from credproof.log.checkpoint import (
    VerifiedCheckpoint,
    origin_of,
    parse_checkpoint,
    verify_checkpoint,
)
from credproof.log.merkle import leaf_hash, verify_consistency, verify_inclusion
from credproof.log.note import parse_note
from credproof.log.witnessed import Witnessed, witnessed
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.answer import AnswerBundle, Logged
from credproof.verification.trust import Trust
from credproof.wire import answer as answer_wire

WITNESS_WAIT_S: Final = 15.0
"""How long an answer waits for the witnesses that its policy requires, in seconds."""
WITNESS_EVERY_S: Final = 0.5
"""How often it is looked whether they have cosigned, in seconds."""


class Pending(Unreachable):
    """An answer under a policy that requires witnesses, who have not cosigned yet: keep it.

    Everything else verified. `Lender.refresh` makes it one that can be relied on.
    """

    def __init__(self, bundle: AnswerBundle) -> None:
        message = "the answer is there, but its witnesses have not cosigned yet"
        super().__init__("NOT_WITNESSED_YET", message)
        self.bundle = bundle

    def to_bytes(self) -> bytes:
        """The content of a `*.answer` file, which does not verify yet."""
        return answer_wire.to_bytes(self.bundle)


class NobodyNamed(VerificationFailed):
    """An answer needs witnesses, and the trust bundle names none: there is nothing to wait for."""

    def __init__(self) -> None:
        message = (
            "the policy requires witnesses, and the operator names none: ask it to, then put the"
            " same question again, which gives this answer"
        )
        super().__init__("NOT_WITNESSED", message, step=8)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ()


class Witnessing:
    """The witnessed checkpoints of a service's log."""

    def __init__(self, channel: grpc.Channel, trust: Trust) -> None:
        self._stub = AuditServiceStub(channel)
        self._trust = trust

    def newest(self) -> tuple[VerifiedCheckpoint, Witnessed] | None:
        """The newest checkpoint that reached the quorum, and who cosigned; None before the first.

        Raises:
            VerificationFailed: `NOT_WITNESSED` when the service gives one that lacks it; as
                `verify_checkpoint` and `cosigned`.
        """
        note = call(self._stub.GetCheckpoint, pb.GetCheckpointRequest(witnessed=True)).checkpoint
        found = witnessed(note, self._trust.quorum) if note else Witnessed()
        if not note or found.state == "none":
            return None
        if found.state != "reached":
            raise VerificationFailed("NOT_WITNESSED", "the service's checkpoint lacks witnesses")
        key = self._trust.log_key
        return verify_checkpoint(note, key.name, [key]), found

    def require_continued(self, old: bytes, new: VerifiedCheckpoint) -> None:
        """Accept that the log of `new` continues that of the note `old`, of the same origin.

        Raises:
            VerificationFailed: `LOG_FORKED`: what the answer showed is evidence of it.
        """
        before = parse_checkpoint(parse_note(old).text)
        old_size, new_size = before.tree_size, new.tree_size
        request = pb.GetConsistencyProofRequest(old_tree_size=old_size, new_tree_size=new_size)
        proof = tuple(call(self._stub.GetConsistencyProof, request).hashes)
        try:
            verify_consistency(old_size, before.root_hash, new_size, new.root_hash, proof)
        except VerificationFailed as error:
            message = "the log that witnesses saw does not continue the one of this answer"
            raise VerificationFailed("LOG_FORKED", message) from error

    def moved(self, bundle: AnswerBundle, to: VerifiedCheckpoint) -> AnswerBundle | None:
        """The answer with the same entries under another checkpoint; None if that is too old.

        What comes out is not verified, but that `to` continues what the answer showed.

        Raises:
            VerificationFailed: as `require_continued`; `ENTRIES_LOST`.
        """
        before = parse_checkpoint(parse_note(bundle.checkpoint).text)
        if origin_of(bundle.checkpoint) == to.origin:
            if to.tree_size < before.tree_size:
                return None
            self.require_continued(bundle.checkpoint, to)
        else:
            self._require_survived(bundle.logged, to)
        directory = bundle.directory
        return replace(
            bundle,
            directory=directory and replace(directory, root=self._proved(directory.root, to)),
            logged=self._proved(bundle.logged, to),
            tokens=tuple(replace(i, logged=self._proved(i.logged, to)) for i in bundle.tokens),
            bindings=tuple(replace(i, logged=self._proved(i.logged, to)) for i in bundle.bindings),
            checkpoint=to.note,
        )

    def _require_survived(self, answer: Logged, to: VerifiedCheckpoint) -> None:
        """Accept that an answer's own entry is in the log of a newer origin: so are all before it.

        Raises:
            VerificationFailed: `ENTRIES_LOST`.
        """
        at, size = answer.log_index, to.tree_size
        try:
            hashes = self._proved(answer, to).hashes if at < size else ()
            verify_inclusion(leaf_hash(answer.line), at, size, hashes, to.root_hash)
        except VerificationFailed as error:
            message = "the log goes on under a new origin without the entry of this answer"
            raise VerificationFailed("ENTRIES_LOST", message) from error

    def _proved(self, place: Logged, to: VerifiedCheckpoint) -> Logged:
        request = pb.GetInclusionProofRequest(log_index=place.log_index, tree_size=to.tree_size)
        return replace(place, hashes=tuple(call(self._stub.GetInclusionProof, request).hashes))
