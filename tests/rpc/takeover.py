"""A provider in whose name the operator lists a key that it does not have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.channel import call
from credproof.cli.app import app
from credproof.cli.output import exit_code
from credproof.home import Home
from credproof.provider import Provider
from credproof.updating import metadata as tuf
from credproof.v1 import registry_service_pb2 as pb
from credproof.verification.bundle import TrustBundle
from credproof.verification.participant import NEVER
from credproof.wire.trust import package_of
from credproof_server import admission
from credproof_server.directory import ServiceDirectory, now
from tuf.api.metadata import Targets
from typer.testing import CliRunner

from tests.rpc.conftest import Running
from tests.rpc.registry import participant


def connected(home: Path) -> int:
    """The version of the bundle that a provider finds."""
    with Provider.open(home) as provider:
        return provider.trust.bundle.version


def reason(home: Path) -> str:
    """Why a provider does not take what it is given."""
    try:
        connected(home)
    except CredproofError as error:
        return error.reason
    raise AssertionError("it was taken")


def run(*arguments: object, code: int = 0) -> str:
    """A command in this process; gives what it printed, or the reason of its error."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, CredproofError):
        assert code == exit_code(result.exception), result.exception
        return result.exception.reason
    assert code == result.exit_code, result.output
    return result.output


@dataclass
class Listed:
    """A provider, its home and a file for its key set; and the stranger whose key is listed."""

    name: str
    home: Path
    file: Path
    stranger: Ed25519Signer

    @property
    def role(self) -> str:
        return tuf.provider_role(self.name)

    @property
    def kid(self) -> str:
        return self.stranger.public.kid

    @property
    def change(self) -> Callable[[TrustBundle], TrustBundle]:
        """The change of a registry that lists the stranger's key too."""
        keys = Home(self.home).trust(at=0).participants[self.name].keys
        return participant(self.name, keys=(*keys, DatedKey(self.stranger.public, 0, NEVER)))

    def key_set(self, before: Targets | None = None) -> bytes:
        """What the stranger signs: a key set that holds its key."""
        keys = (Home(self.home).signer.public, self.stranger.public)
        return tuf.make_key_set(self.name, keys, before, now=now(), signer=self.stranger)

    def take_over(self, running: Running, before: Targets) -> None:
        """The operator lists the key and publishes what it signed, both at once."""
        directory = ServiceDirectory(running.world.service)
        with admission.trust_channel(directory) as channel:
            current, root = channel.current(), directory.root_signer()
            fresh = replace(self.change(current.bundle), version=current.bundle.version + 1)
            trust = admission.signed_bundle(root, fresh, current.documents)
            items = admission.targets_for(trust, channel.metadata, root)
            items = {**items, self.role: self.key_set(before)}
            metadata = [pb.RoleMetadata(role=role, metadata=data) for role, data in items.items()]
            package = package_of(trust).to_proto()
            request = pb.PublishTrustBundleRequest(package=package, metadata=metadata)
            call(channel._stub.PublishTrustBundle, request)
