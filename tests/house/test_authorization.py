"""Every RPC has a row in the authorization table, and every row an RPC."""

from __future__ import annotations

import importlib
import pkgutil

import credproof.v1
from credproof_server.rpc.authorization import ANYONE, TABLE, allowed


def methods() -> set[str]:
    found = set()
    for module in pkgutil.iter_modules(credproof.v1.__path__):
        if module.name.endswith("_pb2"):
            descriptor = importlib.import_module(f"credproof.v1.{module.name}").DESCRIPTOR
            for service in descriptor.services_by_name.values():
                found |= {f"/{service.full_name}/{method.name}" for method in service.methods}
    return found


def test_every_rpc_has_a_row_and_every_row_an_rpc():
    rows = {name for table in TABLE.values() for name in table if name.startswith("/credproof")}
    assert methods() == rows


def test_no_rpc_of_ours_is_open_to_anyone():
    for listener in TABLE:
        assert not any(allowed(listener, method) == ANYONE for method in methods())


def test_what_has_no_row_is_denied():
    assert frozenset() == allowed("participants", "/credproof.v1.NewService/NewMethod")
    assert frozenset() == allowed("borrowers", "/credproof.v1.VerificationService/Ask")
