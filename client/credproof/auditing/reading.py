"""Reading a log from its service: entries, proofs, timestamps.

Nothing that it gives is believed; what is verified too has a name that says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from credproof.auditing.stamps import KeptStamp
from credproof.base.errors import VerificationFailed
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.channel import call
from credproof.home import Home
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.merkle import verify_consistency, verify_inclusion
from credproof.session import Session
from credproof.v1 import audit_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.trust import Trust


class LogReader(Session):
    """Whoever may read the log; by `trust` instead of the newest bundle, if it is given."""

    def __init__(self, home: Home, trust: Trust | None = None) -> None:
        super().__init__(home, trust)
        self._stub = AuditServiceStub(self._channel)

    def lines(self, start: int, end: int) -> Iterator[bytes]:
        """The entries start … end - 1.

        Raises:
            VerificationFailed: `ENTRIES_MISSING` when the service gives fewer.
        """
        for page in self.pages(start, end):
            yield from page

    def pages(self, start: int, end: int) -> Iterator[Sequence[bytes]]:
        """The entries start … end - 1, in pages; as `lines`."""
        while start < end:
            request = pb.ListEntriesRequest(
                start_index=start, limit=min(end - start, ENTRIES_PAGE_MAX)
            )
            page = call(self._stub.ListEntries, request).lines
            if not page:
                raise VerificationFailed("ENTRIES_MISSING", f"the service holds back entry {start}")
            yield page
            start += len(page)

    def inclusion(self, log_index: int, tree_size: int) -> tuple[bytes, ...]:
        """What the service gives to prove that an entry is in the tree; nothing is verified."""
        request = pb.GetInclusionProofRequest(log_index=log_index, tree_size=tree_size)
        return tuple(call(self._stub.GetInclusionProof, request).hashes)

    def consistency(self, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """What the service gives to prove that the log only grew; nothing is verified."""
        request = pb.GetConsistencyProofRequest(old_tree_size=old_size, new_tree_size=new_size)
        return tuple(call(self._stub.GetConsistencyProof, request).hashes)

    def stamps(self, after: tuple[int, str]) -> Iterator[Sequence[KeptStamp]]:
        """What the service gives as timestamps after a size and an authority; nothing is verified.

        Raises:
            VerificationFailed: `TIMESTAMP_NOT_OF_LOG` when they are not in order.
        """
        while True:
            request = pb.ListTimestampsRequest(after_size=after[0], after_authority=after[1])
            page = call(self._stub.ListTimestamps, request).timestamps
            found = [KeptStamp(s.tree_size, s.authority, s.checkpoint, s.response) for s in page]
            if not found:
                return
            places = [(stamp.tree_size, stamp.authority) for stamp in found]
            if sorted({after, *places}) != [after, *places]:
                raise VerificationFailed("TIMESTAMP_NOT_OF_LOG", "timestamps are out of order")
            yield found
            after = places[-1]

    def verify_inclusion(
        self, leaf: bytes, log_index: int, checkpoint: VerifiedCheckpoint
    ) -> tuple[bytes, ...]:
        """The proof, verified, that the leaf hash stands at this index under a checkpoint.

        Raises:
            VerificationFailed: `BAD_INCLUSION_PROOF`.
        """
        proof = self.inclusion(log_index, checkpoint.tree_size)
        verify_inclusion(leaf, log_index, checkpoint.tree_size, proof, checkpoint.root_hash)
        return proof

    def verify_consistency(self, old: VerifiedCheckpoint, new: VerifiedCheckpoint) -> None:
        """Accept that the log of `new` continues that of `old`.

        Raises:
            VerificationFailed: `BAD_CONSISTENCY_PROOF`.
        """
        proof = self.consistency(old.tree_size, new.tree_size)
        verify_consistency(old.tree_size, old.root_hash, new.tree_size, new.root_hash, proof)

    def disproof(self) -> bytes:
        """What the service gives as shown against its own log; nothing is verified."""
        request = pb.GetCheckpointRequest(disproof=True)
        return bytes(call(self._stub.GetCheckpoint, request).checkpoint)
