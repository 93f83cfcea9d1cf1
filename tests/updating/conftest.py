from __future__ import annotations

import pytest

from tests.updating.chain import Chain, Client


@pytest.fixture
def chain(tmp_path) -> Chain:
    return Chain(tmp_path / "service").begin()


@pytest.fixture
def client(tmp_path, chain) -> Client:
    """A client that has seen the chain as it begins."""
    made = Client(tmp_path / "home", chain)
    made.update()
    chain.asked.clear()
    return made
