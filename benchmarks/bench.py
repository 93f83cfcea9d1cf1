"""What rows share, made when the first row needs it and let go of at the end."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from credproof.base.closing import Closing
from credproof.log.merkle import leaf_hash
from credproof_server.demo.world import LENDER

from benchmarks.asking import Asking
from benchmarks.children import ECHO, Child
from benchmarks.directory import Directory
from benchmarks.floors import Floors
from benchmarks.peers import AnonCreds
from benchmarks.service import Service
from tests.world import World


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much work one sample is."""

    batch: int = 64
    few: int = 4
    some: int = 100
    many: int = 2000
    leaves: int = 1_000_000
    audit_part: int = 100_000
    ingest_batches: int = 20
    people: int = 32
    in_flight: int = 32
    asks: int = 256
    ask_batches: int = 16
    echoes: int = 1000
    pseudonym_batches: int = 24
    loaded: int = 1_000_000
    updates: int = 1000
    submitted: int = 4000
    refusals: int = 1000
    lanes: int = 8


TINY = Sizes(2, 1, 1, 2, 100, 10, 1, 2, 2, 2, 1, 4, 1, 50, 5, 4, 2, 2)
"""Just enough to see that everything runs."""


class Bench(Closing):
    """Use it in a `with` statement: at its end all processes that it started have ended."""

    def __init__(self, sizes: Sizes, *, profile: bool = False) -> None:
        self.sizes = sizes
        self._open = ExitStack()
        self._profile = self.folder() / "profile" if profile else None

    def close(self) -> None:
        """Let go of what it opened."""
        self._open.close()

    # -- in this process

    @cached_property
    def world(self) -> World:
        return World()

    @cached_property
    def floors(self) -> Floors:
        return Floors(self.world, self.sizes.batch)

    @cached_property
    def long_world(self) -> World:
        """A world whose log is long. What stands in front is no entry: only its hashes count."""
        world = World()
        world.log.lines = [b""] * self.sizes.leaves
        world.log.tree.extend([leaf_hash(str(i).encode()) for i in range(self.sizes.leaves)])
        return world

    @cached_property
    def directory(self) -> Directory:
        """A directory with many leaves in a database."""
        return self._open.enter_context(Directory(self.folder(), self.sizes.loaded))

    @cached_property
    def anoncreds(self) -> AnonCreds:
        return AnonCreds()

    # -- in processes of their own

    def folder(self) -> Path:
        """A new directory, removed at the end."""
        made = tempfile.TemporaryDirectory(prefix="credproof-bench-", ignore_cleanup_errors=True)
        return Path(self._open.enter_context(made))

    @cached_property
    def service(self) -> Service:
        """A service with an empty log, and all participants."""
        return self._open.enter_context(Service(self.folder(), profile=self._profile))

    def end_profiled(self) -> Path | None:
        """End the service, if there is one, and find what it left when it was profiled."""
        if "service" in self.__dict__:
            self.service.close()
        return self._profile if self._profile and self._profile.exists() else None

    @cached_property
    def loaded_service(self) -> Service:
        """Another one, whose log is long."""
        return self._open.enter_context(Service(self.folder(), loaded=self.sizes.loaded))

    @cached_property
    def asking(self) -> Asking:
        return self._open.enter_context(Asking(self.service, self.sizes.people))

    @cached_property
    def echo(self) -> tuple[Child, Any]:
        """A bare unary echo with the certificates of the service, and the call of a lender."""
        child = self._open.enter_context(Child("echo", self.service.world.service))
        channel = self._open.enter_context(self.service.connect(LENDER, child.address))
        return child, channel.unary_unary(ECHO)
