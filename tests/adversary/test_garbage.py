"""Garbage from participants: each gets a stable reason, nothing makes the service fail."""

from __future__ import annotations

import asyncio
import json
import os
import random

import pytest
from credproof.base import jws
from credproof.base.encoding import canonical_json
from credproof.base.errors import CredproofError
from credproof_server.service.ingest import Ingest, Receipt
from credproof_server.storage.tables import attestations
from sqlalchemy import func, select

from tests.adversary.mutation import mutated
from tests.deployment import Deployment, package, seal, statement

COMMITTED = ("_sd", "_sd_alg", "iss", "jti", "ladders", "schema", "sums", "vct")
"""Members that follow from values and seed; the others are the provider's own word."""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("garbage"))
    made.admit("provider", "bank")
    return made


@pytest.fixture
def core(deployment):
    opened = deployment.directory.open_core()
    yield opened
    opened.close()


def submit(core, packages: list[bytes]):
    return asyncio.run(Ingest(core).submit("bank", seal(core.trust, packages))).results


def test_mutated_packages_get_a_reason_and_leave_nothing(core, deployment):
    chance, bank = random.Random(17), deployment.home("bank").signer
    packages = []
    for i in range(120):
        document = json.loads(package(statement(account=f"mutated-{i}"), bank))
        changed = mutated(chance, document)
        packages.append(canonical_json(changed) if changed != document else b"")
    for result in submit(core, packages):
        assert isinstance(result, CredproofError)
        assert result.step is not None
        assert result.reason.isupper()
    with core.engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(attestations)).scalar() == 0


def test_mutated_tokens_signed_by_the_provider_itself_get_a_reason(core, deployment):
    """The provider signs nonsense about its own figures: no commitment recomputes."""
    chance, bank = random.Random(19), deployment.home("bank").signer
    packages = []
    for i in range(120):
        document = json.loads(package(statement(account=f"signed-{i}"), bank))
        payload = json.loads(jws.parse(document["token"], jws.ATTESTATION).payload)
        name = chance.choice(COMMITTED)
        changed = {**payload, name: mutated(chance, payload[name])}
        if changed != payload:
            document["token"] = jws.sign(bank, jws.ATTESTATION, changed)
            packages.append(canonical_json(document))
    results = submit(core, packages)
    accepted = [result for result in results if isinstance(result, Receipt)]
    assert len(results) > 80
    assert not accepted


def test_random_bytes_get_a_reason(core):
    batch = [os.urandom(size) for size in (0, 1, 31, 500)]
    assert all(isinstance(result, CredproofError) for result in submit(core, batch))
    for sealed in (b"", b"\x00", os.urandom(2000)):
        with pytest.raises(CredproofError):
            asyncio.run(Ingest(core).submit("bank", sealed))
