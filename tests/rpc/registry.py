"""The registry of the running service, changed for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from credproof.verification.bundle import TrustBundle
from credproof.verification.policy import Policy
from credproof_server import admission
from credproof_server.directory import ServiceDirectory

from tests.proposing import proposed, variant
from tests.rpc.conftest import Running


def publish(running: Running, change: Callable[[TrustBundle], TrustBundle], *documents: bytes):
    """Put the next bundle in force; gives the one before."""
    directory = ServiceDirectory(running.world.service)
    with admission.trust_channel(directory) as channel:
        current = channel.current()
        bundle = replace(change(current.bundle), version=current.bundle.version + 1)
        docs = (*current.documents, *documents)
        channel.publish(admission.signed_bundle(directory.root_signer(), bundle, docs))
    return current.bundle


@contextmanager
def changed(running: Running, change: Callable[[TrustBundle], TrustBundle]) -> Iterator[None]:
    """A changed registry, as long as it lasts; policies that come meanwhile stay."""
    before = publish(running, change)
    try:
        yield
    finally:
        old = {name: getattr(before, name) for name in ("participants", "purposes", "bureau")}
        publish(running, lambda bundle: replace(bundle, **old))


def participant(name: str, **changes) -> Callable[[TrustBundle], TrustBundle]:
    """The change of one participant."""

    def change(bundle: TrustBundle) -> TrustBundle:
        found = (replace(p, **changes) if p.id == name else p for p in bundle.participants)
        return replace(bundle, participants=tuple(found))

    return change


def templates(**changes) -> Callable[[TrustBundle], TrustBundle]:
    """The change of every template."""

    def change(bundle: TrustBundle) -> TrustBundle:
        return replace(bundle, purposes=tuple(replace(t, **changes) for t in bundle.purposes))

    return change


def add_policy(running: Running, name: str, **members) -> Policy:
    """The shipped policy under another name, with other members; pinned by the service."""
    policy = variant(name, **members)
    pin = proposed(running.world.service, policy, 0).pin
    publish(running, lambda b: replace(b, policies=(*b.policies, pin)), policy.document)
    return policy
