"""What every participant's SDK shares: a home, a connection, the newest trust bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Self

import grpc

from credproof.base.closing import Closing
from credproof.channel import TIMEOUT_S, call, connect
from credproof.home import Home
from credproof.log.checkpoint import VerifiedCheckpoint, verify_checkpoint
from credproof.updating.newest import State
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.trust import Trust
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage


class Session(Closing):
    """A participant connected to its service; use it in a `with` statement."""

    def __init__(self, home: Home, trust: Trust | None = None) -> None:
        self._home = home
        self._channel = connect(home)
        self.trust = trust or fetch_trust(home, self._channel)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The participant whose home is `folder`.

        Raises:
            CredproofError: the home is not complete, or the service does not answer.
        """
        return cls(Home(folder))

    def close(self) -> None:
        """Let go of the connection."""
        self._channel.close()

    def checkpoint(self) -> VerifiedCheckpoint:
        """The newest checkpoint, signed by the log's pinned key.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`, `OTHER_LOG`, `NO_KNOWN_SIGNATURE`.
        """
        stub, key = AuditServiceStub(self._channel), self.trust.log_key
        note = call(stub.GetCheckpoint, audit_pb.GetCheckpointRequest()).checkpoint
        return verify_checkpoint(note, key.name, [key])

    @property
    def id(self) -> str:
        """The participant's own id."""
        return self._home.settings.id


def fetch_trust(home: Home, channel: grpc.Channel, *, timeout_s: float = TIMEOUT_S) -> Trust:
    """The newest bundle by TUF, verified from the pinned root on, and kept.

    Raises:
        CredproofError: as `call`, `State.newest` and `Home.adopt`.
    """
    kept, now = home.package(), int(time.time())
    state = State(home.folder, home.settings.root)
    found = state.newest(Service(channel, timeout_s), kept, now=now)
    return found.trust if found.package is kept else home.adopt(found.package, now=now)


class Service:
    """The service as the source of its newest trust bundle."""

    def __init__(self, channel: grpc.Channel, timeout_s: float = TIMEOUT_S) -> None:
        self._stub = RegistryServiceStub(channel)
        self._timeout_s = timeout_s

    def metadata(self, role: str, version: int) -> bytes:
        """As `Source.metadata`."""
        request = pb.GetTrustMetadataRequest(role=role, version=version)
        reply = call(self._stub.GetTrustMetadata, request, timeout_s=self._timeout_s)
        return bytes(reply.metadata)

    def package(self) -> TrustPackage:
        """As `Source.package`."""
        request = pb.GetTrustBundleRequest()
        reply = call(self._stub.GetTrustBundle, request, timeout_s=self._timeout_s)
        return trust_wire.from_proto(reply.package)
