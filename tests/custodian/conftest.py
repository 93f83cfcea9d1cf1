"""A real service with a custodian, each in a process of its own, and participants."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from credproof.channel import connect_custodian
from credproof.home import Home
from credproof.v1 import pseudonym_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
from credproof.verification.participant import custodian_host
from credproof_server.custodian.config import FILE_NAME
from credproof_server.demo.world import CUSTODIAN, DOMAIN, World

QUOTA = 200
"""What a provider may ask of the custodian in a day."""


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Iterator[World]:
    """The service runs; the custodian does not."""
    world = World(tmp_path_factory.mktemp("shared"))
    world.make(custodian=True)
    config = world.home(CUSTODIAN) / FILE_NAME
    text = config.read_text("utf-8")
    config.write_text(text.replace("= 10000000", f"= {QUOTA}"), "utf-8")
    with world.service_served():
        world.populate()
        yield world


@pytest.fixture(scope="module")
def whole(shared) -> Iterator[World]:
    """Both run."""
    with shared.custodian_served():
        yield shared


def evaluate(world: World, home: Home, elements, *, key_id: str | None = None):
    """One call to the custodian, as its own clients make it."""
    key = Home(world.home(CUSTODIAN)).trust(at=0).oprf_key
    host = custodian_host(CUSTODIAN, DOMAIN)
    request = pb.EvaluatePseudonymsRequest(key_id=key_id or key.id, blinded_elements=elements)
    with connect_custodian(home, key.shares[1].address, host) as channel:
        return PseudonymServiceStub(channel).EvaluatePseudonyms(request, timeout=20)
