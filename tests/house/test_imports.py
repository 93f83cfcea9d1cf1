"""Imports run downwards only, and each room does without what is not its business."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
CLIENT = ROOT / "client" / "credproof"
SERVER = ROOT / "server" / "credproof_server"


class Room(NamedTuple):
    """The rooms of its own package that a room may import, and modules that it does without."""

    below: str
    without: str = ""


CORE = "base log attestation verification"
KIT = f"{CORE} v1 wire standard records roots files home updating mirror channel session history"
SDK = "provider lender borrower auditor"

EFFECTS = (
    "asyncio http os pathlib random secrets socket sqlite3 subprocess threading time urllib"
    " grpc sqlalchemy"
)
"""Clock, randomness, disk and network: the pure rooms get them passed in."""
GRPC = "grpc grpc_health grpc_reflection grpc_status credproof.channel credproof.v1"
SQL = "sqlalchemy alembic sqlite3 credproof_server.storage.tables"
USERS = "credproof.provider credproof.lender credproof.borrower credproof.auditor credproof.cli"
"""What participants work with: no part of a service."""
HANDLES = {"sqlalchemy.Connection", "sqlalchemy.Engine", "sqlalchemy.Row"}
"""Things that are passed on to storage; nobody can write SQL with them alone."""

CLIENT_ROOMS = {
    "__init__": Room(""),
    "base": Room("", EFFECTS),
    "log": Room("base", EFFECTS),
    "attestation": Room("base", EFFECTS),
    "verification": Room("base log attestation", EFFECTS),
    "v1": Room(""),
    "wire": Room(f"{CORE} v1"),
    "standard": Room(CORE),
    "records": Room(CORE),
    "mirror": Room("base log"),
    "web": Room("base"),
    "custody": Room(CORE),
    "roots": Room(CORE),
    "files": Room(""),
    "home": Room(f"{CORE} wire roots files"),
    "enrolment": Room(f"{CORE} custody files home"),
    "updating": Room(f"{CORE} wire roots files home", "grpc credproof.v1"),
    "channel": Room(f"{CORE} v1 wire home"),
    "session": Room(f"{CORE} v1 wire home updating channel"),
    "history": Room(f"{CORE} v1 wire channel"),
    "pseudonyms": Room(f"{CORE} v1 home channel"),
    "witnessing": Room(f"{CORE} v1 wire channel"),
    "filed": Room(f"{CORE} records"),
    "submission": Room(f"{KIT} pseudonyms filed"),
    "asking": Room(f"{CORE} v1 wire records"),
    "provider": Room(f"{KIT} pseudonyms submission filed"),
    "lender": Room(f"{KIT} pseudonyms witnessing asking"),
    "borrower": Room(KIT),
    "auditing": Room(KIT),
    "auditor": Room(f"{KIT} pseudonyms witnessing auditing"),
    "cli": Room(f"{KIT} pseudonyms witnessing asking filed submission auditing enrolment {SDK}"),
    "page": Room(f"{KIT} borrower cli web"),
}
"""From the ground up: a row names only rows above it."""

SERVER_ROOMS = {
    "__init__": Room(""),
    "config": Room("", f"{GRPC} {SQL} {USERS}"),
    "authority": Room("", f"{GRPC} {SQL} {USERS}"),
    "conduct": Room("", f"{EFFECTS} {GRPC} {SQL} {USERS}"),
    "storage": Room("", f"{GRPC} {USERS}"),
    "log": Room("storage", f"{GRPC} {USERS}"),  # has SQL: it loads and writes its own entries
    "service": Room("config conduct storage log", f"{GRPC} {SQL} {USERS}"),
    "rpc": Room("service", f"{SQL} {USERS}"),
    "directory": Room("config authority conduct storage log service", f"{GRPC} {SQL} {USERS}"),
    "tile_listener": Room("service", f"{GRPC} {SQL} {USERS}"),
    "app": Room("log service rpc directory tile_listener", f"{SQL} {USERS}"),
    "admission": Room("service directory", f"{SQL} {USERS}"),
    "renewal": Room("directory admission", f"{GRPC} {SQL} {USERS}"),
    "quorums": Room("log service directory admission", f"{SQL} {USERS}"),
    "standing": Room("directory admission", f"{GRPC} {SQL} {USERS}"),
    "policies": Room("directory admission", f"{GRPC} {SQL} {USERS}"),
    "roots": Room("service directory admission", f"{GRPC} {SQL} {USERS}"),
    "setup": Room("config authority storage service directory admission roots", f"{SQL} {USERS}"),
    "row_checks": Room("storage service", f"{GRPC} {SQL} {USERS}"),
    "metadata_checks": Room("service", f"{GRPC} {SQL} {USERS}"),
    "checking": Room(
        "storage log service directory row_checks metadata_checks", f"{GRPC} {SQL} {USERS}"
    ),
    "backups": Room(
        "config storage log service directory row_checks", f"{GRPC} {USERS}"
    ),  # opens copies
    "new_origin": Room("config storage log service directory admission", f"{SQL} {USERS}"),
    "custodian": Room(
        "config storage log service rpc directory", f"sqlalchemy alembic sqlite3 {USERS}"
    ),
    "custodian_cli": Room("custodian"),
    "demo": Room(
        "custodian directory admission standing setup checking"
    ),  # lies: writes to databases by hand
    "registry_cli": Room("directory admission renewal standing"),
    "root_cli": Room("service directory roots registry_cli"),
    "rules_cli": Room("conduct directory"),
    "quorum_cli": Room("quorums"),
    "policy_cli": Room("directory policies"),
    "timestamps_cli": Room("storage directory"),
    "witness": Room("", f"{GRPC} sqlalchemy alembic credproof_server.storage"),
    "cli": Room(
        "directory app admission setup checking backups new_origin custodian_cli demo"
        " registry_cli policy_cli root_cli rules_cli quorum_cli timestamps_cli witness"
    ),
}
"""From the ground up: a row names only rows above it."""

TABLES = {"credproof": CLIENT_ROOMS, "credproof_server": SERVER_ROOMS}


def imported(source: str, package: str) -> set[str]:
    """What a file of this package imports, wherever in it, by full names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: 1 - node.level or None] if node.level else []
            module = ".".join([*above, *([node.module] if node.module else [])])
            found |= {f"{module}.{alias.name}" for alias in node.names}
    return found


def within(name: str, modules: str) -> bool:
    """Whether a name is one of these modules, or in one."""
    return any(f"{name}.".startswith(f"{module}.") for module in modules.split())


def forbidden(source: str, room: str, package: str) -> set[str]:
    """What a file of a room imports although it may not."""
    top = package.partition(".")[0]
    table = TABLES[top]
    below, without = table[room]
    beside = set(table) - {room, *below.split()}
    refused = " ".join([without, *(f"{top}.{name}" for name in beside)])
    if top == "credproof":
        refused += " credproof_server"
    return {name for name in imported(source, package) if within(name, refused)} - HANDLES


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.py") if not path.stem.endswith(("_pb2", "_pb2_grpc"))]


def room_of(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").parts[0]


def check(path: Path, folder: Path) -> None:
    package = ".".join(path.parent.relative_to(folder.parent).parts)
    assert set() == forbidden(path.read_text("utf-8"), room_of(path, folder), package)


@pytest.mark.parametrize("path", files(CLIENT), ids=lambda path: str(path.relative_to(CLIENT)))
def test_the_client_imports_downwards_only(path):
    check(path, CLIENT)


@pytest.mark.parametrize("path", files(SERVER), ids=lambda path: str(path.relative_to(SERVER)))
def test_the_server_imports_downwards_only(path):
    check(path, SERVER)


@pytest.mark.parametrize("folder", [CLIENT, SERVER], ids=["client", "server"])
def test_every_room_has_a_row_and_every_row_a_room(folder):
    assert {room_of(path, folder) for path in files(folder)} == set(TABLES[folder.name])


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_a_row_names_only_rows_above_it(table):
    above: set[str] = set()
    for name, room in table.items():
        assert set(room.below.split()) <= above, name
        above.add(name)
