"""Damaged rows in a running service: whoever asked is told, and so is the operator."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing

from credproof.asking import ask_request
from credproof.channel import call
from credproof.cli.advice import next_step
from credproof.wire import ask as ask_wire
from credproof_server.app import DATA_HEALTH, HEALTH_S
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.rpc.conftest import AUDITOR
from tests.rpc.test_batch_ask import asked_about, batch_ask, reasons

STATUS = health_pb2.HealthCheckResponse


def health_of(running, name: str) -> int:
    stub = health_pb2_grpc.HealthStub(running.channel(AUDITOR))
    return call(stub.Check, health_pb2.HealthCheckRequest(service=name)).status


def damage_told(running) -> list[dict[str, object]]:
    """What stands in the log of the process about damage."""
    lines = (running.world.folder / "service.log").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and "damaged" in line]


def test_damage_that_one_question_of_a_batch_meets_is_logged_and_told_by_health(running, lender):
    """The call itself succeeds: nobody would look at its line."""
    requests = [ask_request(item) for item in asked_about(running, lender, 3)]
    before = damage_told(running)
    with closing(sqlite3.connect(running.world.service / "vault.db")) as vault, vault:
        subs = [(request.sub,) for request in requests[1:]]
        vault.executemany("DELETE FROM data_keys WHERE sub = ?", subs)

    assert reasons(batch_ask(running, requests)) == ["", "KEY_MISSING", "KEY_MISSING"]
    error = ask_wire.from_proto(batch_ask(running, requests[1:2])[0])
    assert "tell the operator" in str(next_step(error))
    assert "credproof check DIR" not in str(next_step(error)), "that is the operator's"
    told, *_ = damage_told(running)[len(before) :]
    assert {"method": "BatchAsk", "reason": "KEY_MISSING", "damaged": 2}.items() <= told.items()
    assert "credproof check" in str(told["next"])

    deadline = time.monotonic() + 20 * HEALTH_S
    while health_of(running, DATA_HEALTH) != STATUS.NOT_SERVING and time.monotonic() < deadline:
        time.sleep(0.05)
    assert health_of(running, DATA_HEALTH) == STATUS.NOT_SERVING
    assert health_of(running, "") == STATUS.SERVING, "all others are served"
