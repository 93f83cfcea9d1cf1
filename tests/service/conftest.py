"""A service without its network, on real databases."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from credproof_server.service.core import Core

from tests.deployment import Deployment


@pytest.fixture
def deployment(tmp_path) -> Deployment:
    made = Deployment(tmp_path)
    made.admit("provider", "bank")
    made.admit("lender", "lend")
    return made


@pytest.fixture
def core(deployment) -> Iterator[Core]:
    opened = deployment.directory.open_core()
    yield opened
    opened.close()
