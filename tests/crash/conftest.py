"""A service that lost its log, for the tests of restores."""

from __future__ import annotations

import pytest

from tests.crash.drill import Drill


@pytest.fixture(scope="session")
def played(tmp_path_factory) -> Drill:
    """One to copy, since to play one takes long."""
    return Drill.played(tmp_path_factory.mktemp("played"))


@pytest.fixture
def drill(played, tmp_path) -> Drill:
    return played.copied(tmp_path)
