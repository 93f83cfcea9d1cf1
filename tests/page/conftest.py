"""The running service of the RPC tests, and a page before it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.page.serving import ServedPage, served_page
from tests.rpc.conftest import lender, running

__all__ = ["lender", "running"]


@pytest.fixture(scope="session")
def page(running) -> Iterator[ServedPage]:
    with served_page(running.world) as served:
        yield served
