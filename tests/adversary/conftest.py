"""One server for every attack of a test run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adversary.attacks.table import ATTACKS
from tests.adversary.stage import Stage
from tests.deployment import watch
from tests.rpc.conftest import lender, running

__all__ = ["lender", "running"]


@pytest.fixture(scope="session")
def stage(tmp_path_factory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("stage"))
    made.world.make()
    watch(made.world.service, "")  # attackers share one lender: it would soon be throttled
    with made.world.served():
        made.populate()
        yield made
        made.close()


@pytest.fixture(scope="session")
def carried_out(stage):
    """The whole table, sent once: outcomes by name, and what the log holds of it."""
    return stage.carry_out(ATTACKS)
