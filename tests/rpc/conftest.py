"""A real service in a process of its own, with participants and a bound borrower."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from credproof import borrower as borrowers
from credproof.base.encoding import date_of
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect
from credproof.home import Home
from credproof.lender import Lender
from credproof.records.mapping import Record
from credproof_server.demo.world import AUDITOR, LENDER, PROVIDER, World
from credproof_server.directory import now

from tests.deployment import watch
from tests.rpc.stories import Story
from tests.world import GOOD


@dataclass
class Running:
    """The world of the tests; `person` makes a borrower with figures of one's choice."""

    world: World
    count: int = 0

    def home(self, name: str) -> Home:
        return Home(self.world.home(name))

    def channel(self, name: str) -> grpc.Channel:
        return connect(self.home(name))

    def record(self, values=None) -> Record:
        self.count += 1
        return Record(
            line=self.count,
            subject=f"ref:person-{self.count}",
            account=f"account-{self.count}",
            as_of=date_of(now()),
            currency="TWD",
            values=dict(GOOD if values is None else values),
        )

    def person(self, values=None) -> tuple[str, Borrower]:
        """A borrower who is attested and bound."""
        record = self.record(values)
        with self.world.provider() as provider:
            assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
        return record.subject, self.bound(record.subject)

    def bound(self, subject_id: str) -> Borrower:
        """A borrower with a key that was bound; the home is named after the id."""
        folder = self.world.home(subject_id.removeprefix("ref:"))
        borrowers.create(folder)
        signer = borrowers.load_signer(folder)
        with self.world.provider() as provider:
            proof = borrowers.prove_possession(signer, provider=PROVIDER)
            bound = provider.bind([(subject_id, proof)])[0]
        found = make_pass(self.home(PROVIDER), bound.sub)
        borrowers.join(folder, found.to_bytes())
        return Borrower(signer, found)

    def consented(self, lender: Lender, values=None, **terms) -> tuple[str, str, Borrower]:
        """A borrower who has consented to this lender's request: id, consent, borrower."""
        subject_id, borrower = self.person(values)
        request = lender.request(
            lender.subject(subject_id), policy_id="revolving-standing", **terms
        )
        return subject_id, borrower.consent(borrower.check(request), language="zh"), borrower


@contextmanager
def served(folder: Path) -> Iterator[Running]:
    """A service in this folder that raises no misuse: all who ask share one lender."""
    world = World(folder)
    world.make()
    watch(world.service, "")
    with world.served():
        world.populate()
        yield Running(world)


@pytest.fixture(scope="session")
def running(tmp_path_factory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("running")) as found:
        yield found


@pytest.fixture
def lender(running) -> Iterator[Lender]:
    with running.world.lender() as opened:
        yield opened


@pytest.fixture
def auditor(running):
    """An auditor who has verified the log as it is."""
    running.person()
    with running.world.auditor() as opened:
        opened.verify(whole=True)
        yield opened


@pytest.fixture
def story(running, auditor) -> Story:
    return Story(running, auditor.lines(0, auditor.trusted().position.size))


__all__ = ["AUDITOR", "LENDER", "PROVIDER"]
