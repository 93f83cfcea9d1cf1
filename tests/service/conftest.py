"""A service without its network, on real databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from credproof_server.service.core import Core

from tests.deployment import Deployment


@pytest.fixture(scope="session")
def fresh(tmp_path_factory) -> Deployment:
    """One to copy, since to make one takes long."""
    made = Deployment(tmp_path_factory.mktemp("fresh"))
    made.admit("provider", "bank")
    made.admit("lender", "lend")
    return made


@pytest.fixture
def deployment(fresh, tmp_path) -> Deployment:
    return fresh.copied(tmp_path)


@pytest.fixture
def core(deployment) -> Iterator[Core]:
    opened = deployment.directory.open_core()
    yield opened
    opened.close()
