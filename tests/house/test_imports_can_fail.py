"""The check of imports finds every kind of wrong import, and only those."""

from __future__ import annotations

import pytest

from tests.house.test_imports import forbidden


@pytest.mark.parametrize(
    ("source", "room", "found"),
    [
        ("import time", "base", {"time"}),
        ("import os.path", "log", {"os.path"}),
        ("from os import urandom", "attestation", {"os.urandom"}),
        ("from credproof.attestation import ladder", "log", {"credproof.attestation.ladder"}),
        ("from credproof import attestation", "log", {"credproof.attestation"}),
        ("import credproof.log.note", "base", {"credproof.log.note"}),
        ("from ..log import note", "base", {"credproof.log.note"}),
        ("from .. import cli", "verification", {"credproof.cli"}),
        ("from ..log.note import sign_note", "base", {"credproof.log.note.sign_note"}),
        ("def f():\n    from credproof.cli import app", "wire", {"credproof.cli.app"}),
        ("import credproof_server", "cli", {"credproof_server"}),
    ],
)
def test_a_wrong_import_of_the_client_is_found(source, room, found):
    assert found == forbidden(source, room, f"credproof.{room}")


def test_a_relative_import_of_a_room_that_is_one_module_is_found():
    assert {"credproof.cli.app"} == forbidden("from .cli import app", "lender", "credproof")


@pytest.mark.parametrize(
    ("source", "room", "found"),
    [
        ("import grpc", "service", {"grpc"}),
        ("from grpc_status import rpc_status", "service", {"grpc_status.rpc_status"}),
        ("from credproof.v1 import answer_pb2", "service", {"credproof.v1.answer_pb2"}),
        ("import sqlalchemy", "service", {"sqlalchemy"}),
        ("from sqlalchemy import Row, text", "service", {"sqlalchemy.text"}),
        ("from sqlalchemy.orm import Session", "rpc", {"sqlalchemy.orm.Session"}),
        ("import sqlite3", "checking", {"sqlite3"}),
        (
            "from credproof_server.storage.tables import answers",
            "service",
            {"credproof_server.storage.tables.answers"},
        ),
        ("from ..rpc import guard", "service", {"credproof_server.rpc.guard"}),
        ("from ..service import core", "storage", {"credproof_server.service.core"}),
        (
            "from credproof_server.storage import repository",
            "rpc",
            {"credproof_server.storage.repository"},
        ),
        ("from credproof_server.demo import world", "checking", {"credproof_server.demo.world"}),
        ("from credproof_server import app", "directory", {"credproof_server.app"}),
        ("from credproof_server import storage", "config", {"credproof_server.storage"}),
        ("from credproof_server import cli", "demo", {"credproof_server.cli"}),
        ("from credproof.lender import Lender", "admission", {"credproof.lender.Lender"}),
    ],
)
def test_a_wrong_import_of_the_server_is_found(source, room, found):
    assert found == forbidden(source, room, f"credproof_server.{room}")


@pytest.mark.parametrize(
    ("source", "package", "room"),
    [
        ("from credproof.base import errors", "credproof.log", "log"),
        ("from . import note\nfrom .note import Note", "credproof.log", "log"),
        ("import osmosis", "credproof.log", "log"),
        ("from sqlalchemy import Connection, Engine, Row", "credproof_server.service", "service"),
        ("from credproof_server.storage import repository", "credproof_server.log", "log"),
    ],
)
def test_a_right_import_is_let_through(source, package, room):
    assert set() == forbidden(source, room, package)
