"""The running service of the RPC tests, for commands that need many borrowers."""

from __future__ import annotations

from tests.rpc.conftest import lender, running

__all__ = ["lender", "running"]
