"""Fetching the history of the registry: any version of the trust bundle, with its log entry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import grpc

from credproof.base.errors import VerificationFailed
from credproof.channel import call
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.entry import parse_entry
from credproof.log.merkle import leaf_hash, verify_inclusion
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.registry import Change, verify_change
from credproof.verification.trust import Roots
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage


class Fetched(NamedTuple):
    """A version as the service gave it: verified against its entry, which is not yet verified."""

    change: Change
    package: TrustPackage
    line: bytes


def fetch_version(channel: grpc.Channel, version: int, root: Roots) -> Fetched:
    """A version of the trust bundle, and the entry that put it in force.

    Raises:
        Malformed: `NO_SUCH_VERSION`.
        VerificationFailed: as `verify_change`; `OTHER_TRUST` for another version.
    """
    request = pb.GetTrustVersionRequest(version=version)
    reply = call(RegistryServiceStub(channel).GetTrustVersion, request)
    package, entry = trust_wire.from_proto(reply.package), parse_entry(reply.line)
    change = verify_change(package.token, package.documents, entry, root=root)
    if (change.trust.bundle.version, entry.seq) != (version, reply.log_index):
        raise VerificationFailed("OTHER_TRUST", f"the service gives another version for {version}")
    return Fetched(change, package, reply.line)


def fetch_history(
    channel: grpc.Channel,
    newest: int,
    checkpoint: VerifiedCheckpoint,
    root: Roots,
    progress: Callable[[int], None] = lambda _count: None,
) -> Iterator[Change]:
    """The versions 1 to `newest` in order, each entry proved to be in the log of a checkpoint.

    Raises:
        VerificationFailed: as `fetch_version`; `BAD_INCLUSION_PROOF`; `OTHER_ENTRY` when the log
            has them in another order.
    """
    stub, last = AuditServiceStub(channel), -1
    for version in range(1, newest + 1):
        fetched = fetch_version(channel, version, root)
        index, size = fetched.change.entry.seq, checkpoint.tree_size
        if index <= last:
            raise VerificationFailed(
                "OTHER_ENTRY", "the log has a version before the one it follows"
            )
        request = audit_pb.GetInclusionProofRequest(log_index=index, tree_size=size)
        proof = tuple(call(stub.GetInclusionProof, request).hashes)
        verify_inclusion(leaf_hash(fetched.line), index, size, proof, checkpoint.root_hash)
        last = index
        progress(1)
        yield fetched.change
