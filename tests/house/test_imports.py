"""Imports run downwards only."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "client" / "credproof"
SERVER = ROOT / "server" / "credproof_server"

BELOW: dict[str, set[str]] = {
    "base": set(),
    "log": {"base"},
    "attestation": {"base"},
    "verification": {"base", "log", "attestation"},
    "v1": set(),
    "wire": {"base", "log", "attestation", "verification", "v1"},
}
"""What each room of the core may import, besides itself."""
_CORE = {"base", "log", "attestation", "verification"}
BELOW["standard"] = _CORE
BELOW["home"] = _CORE | {"wire"}
BELOW["channel"] = _CORE | {"wire", "v1", "home"}
BELOW["records"] = _CORE
BELOW["session"] = _CORE | {"wire", "v1", "home", "channel"}
_SHELL = _CORE | {"wire", "v1", "home", "channel", "standard", "records", "session"}
for _name in ("provider", "lender", "borrower", "auditor"):
    BELOW[_name] = _SHELL
BELOW["cli"] = _SHELL | {"provider", "lender", "borrower", "auditor"}

PURE = ("base", "log", "attestation", "verification")
EFFECTS = frozenset(
    {"asyncio", "http", "os", "pathlib", "random", "secrets", "socket", "sqlite3", "subprocess"}
    | {"threading", "time", "urllib", "grpc", "sqlalchemy"}
)
"""What the pure rooms may not import: clock, randomness, disk, network."""

SERVER_BELOW: dict[str, set[str]] = {
    "storage": set(),
    "log": {"storage"},
    "service": {"storage", "log", "config"},
    "rpc": {"service", "log", "config"},
}


def imported(source: str) -> set[str]:
    """The modules that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def rooms(modules: set[str], package: str) -> set[str]:
    """The rooms of a package among these modules."""
    parts = [name.split(".") for name in modules]
    return {part[1] for part in parts if part[0] == package and len(part) > 1}


def forbidden(source: str, room: str) -> set[str]:
    """What a file of a client room imports although it may not."""
    modules = imported(source)
    own = rooms(modules, "credproof") & set(BELOW)
    bad = own - BELOW[room] - {room}
    if room in PURE:
        bad |= {name for name in modules if name.split(".")[0] in EFFECTS}
    return bad | {name for name in modules if name.startswith("credproof_server")}


def files(folder: Path):
    return [path for path in folder.rglob("*.py") if not path.stem.endswith(("_pb2", "_pb2_grpc"))]


def room_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").parts[0]


@pytest.mark.parametrize(
    ("source", "room", "found"),
    [
        ("import time", "base", {"time"}),
        ("from os import urandom", "attestation", {"os", "os.urandom"}),
        ("from credproof.attestation import ladder", "log", {"attestation"}),
        ("import credproof.log.note", "base", {"log"}),
        ("def f():\n    from credproof.cli import app", "provider", {"cli"}),
        ("import credproof_server", "cli", {"credproof_server"}),
        ("from credproof.base import errors", "log", set()),
    ],
)
def test_the_check_finds_a_wrong_import(source, room, found):
    assert found == forbidden(source, room)


@pytest.mark.parametrize("path", files(CLIENT), ids=lambda path: str(path.relative_to(CLIENT)))
def test_the_client_imports_downwards_only(path):
    room = room_of(path, CLIENT)
    if room not in ("__init__",):
        assert set() == forbidden(path.read_text("utf-8"), room)


@pytest.mark.parametrize("path", files(SERVER), ids=lambda path: str(path.relative_to(SERVER)))
def test_the_server_imports_downwards_only(path):
    room = room_of(path, SERVER)
    if room not in SERVER_BELOW:
        return
    modules = imported(path.read_text("utf-8"))
    above = rooms(modules, "credproof_server") - SERVER_BELOW[room] - {room}
    assert set() == above
    if room in ("storage", "log", "service"):
        assert not {name for name in modules if name.split(".")[0] == "grpc"}
