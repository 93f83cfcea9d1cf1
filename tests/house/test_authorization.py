"""The authorization table is exactly what the two listeners serve."""

from __future__ import annotations

import importlib
import pkgutil

import credproof.v1
import grpc
import pytest
from credproof_server import app
from credproof_server.custodian import serving
from credproof_server.rpc.authorization import ANYONE, TABLE, allowed
from grpc_health.v1 import health

from tests.deployment import Deployment

OURS = "/credproof."
HEALTH = "grpc.health.v1.Health"
DENIED = {
    ("participants", "/grpc.health.v1.Health/List"),
    ("borrowers", "/grpc.health.v1.Health/List"),
    ("borrowers", "/credproof.v1.RegistryService/PublishTrustBundle"),
    ("borrowers", "/credproof.v1.RegistryService/PublishTrustMetadata"),
    ("custodian", "/grpc.health.v1.Health/List"),
    ("borrowers", "/credproof.v1.RegistryService/LiftThrottle"),
    ("borrowers", "/credproof.v1.RegistryService/GetTrustVersion"),
}
"""Served as part of a service whose other methods have rows; the guard refuses them to all."""


def methods() -> set[str]:
    """Every RPC of our protocol."""
    found = set()
    for module in pkgutil.iter_modules(credproof.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"credproof.v1.{module.name}").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
    return found


def noting(make, found: set[str]):
    """A maker of servers that notes which methods get a handler; gRPC has no way to ask."""

    def server(*args, **settings):
        made = make(*args, **settings)
        generic, registered = made.add_generic_rpc_handlers, made.add_registered_method_handlers

        def add_generic(handlers):
            found.update(name for handler in handlers for name in handler._method_handlers)
            generic(handlers)

        def add_registered(service, handlers):
            found.update(f"/{service}/{name}" for name in handlers)
            registered(service, handlers)

        made.add_generic_rpc_handlers = add_generic
        made.add_registered_method_handlers = add_registered
        return made

    return server


@pytest.fixture
async def served(tmp_path, monkeypatch) -> dict[str, set[str]]:
    """What each listener has a handler for, as `serve` and `custodian serve` wire them."""
    directory = Deployment(tmp_path).directory
    core = directory.open_core()
    found = {}
    for name, listen in (("participants", app._participants), ("borrowers", app._borrowers)):
        found[name] = set()
        with monkeypatch.context() as patch:
            patch.setattr(grpc.aio, "server", noting(grpc.aio.server, found[name]))
            await listen(directory, core, health.aio.HealthServicer())
    core.close()
    found["custodian"] = set()
    with monkeypatch.context() as patch:
        patch.setattr(grpc.aio, "server", noting(grpc.aio.server, found["custodian"]))
        serving.make_server(None, None, health.aio.HealthServicer())
    return found


def strangers(served: dict[str, set[str]]) -> set[tuple[str, str]]:
    """What is served without a row, or has a row without being served."""
    return {(name, method) for name in TABLE for method in served[name] ^ set(TABLE[name])}


async def test_each_listener_serves_exactly_its_rows_health_and_reflection_too(served):
    assert strangers(served) == DENIED
    everywhere = served["participants"] & served["borrowers"]
    assert served["custodian"] & everywhere == {
        f"/{HEALTH}/{m}" for m in ("Check", "List", "Watch")
    }
    assert {name.split("/")[1] for name in everywhere if not name.startswith(OURS)} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_a_method_that_is_served_without_a_row_or_the_reverse_is_found(served):
    served["borrowers"].add("/grpc.channelz.v1.Channelz/GetServers")
    served["participants"].remove("/grpc.health.v1.Health/Watch")
    assert len(strangers(served) - DENIED) == 2


async def test_what_is_served_without_a_row_is_denied_to_every_role(served):
    for listener, method in DENIED:
        assert method in served[listener]
        assert frozenset() == allowed(listener, method)


def test_every_rpc_has_a_row_and_every_row_an_rpc():
    rows = {name for table in TABLE.values() for name in table if name.startswith(OURS)}
    assert methods() == rows


def test_only_what_is_not_ours_is_open_to_anyone():
    for listener, table in TABLE.items():
        is_open = {name for name in table if allowed(listener, name) == ANYONE}
        assert is_open == {name for name in table if not name.startswith(OURS)}


def test_what_has_no_row_is_denied():
    assert frozenset() == allowed("participants", "/credproof.v1.NewService/NewMethod")
    assert frozenset() == allowed("borrowers", "/credproof.v1.VerificationService/Ask")
