"""The drill as an operator types it: back up under load, lose the disk, refill, serve again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError
from credproof_server.demo.world import World

from tests.cli.command import run
from tests.crash.killing import Victim, people
from tests.crash.ledger import Ledger
from tests.crash.load import Submitter


class Office:
    """A service in a process, a provider that submits all the while, and what it was told."""

    def __init__(self, folder: Path) -> None:
        self.world, self.folder, self.ledger = World(folder), folder, Ledger()
        self.world.make()
        self.victim = Victim(self.world)
        self.world.populate()
        self.client = Submitter(self.ledger, self.world, "drill")

    def begin(self) -> None:
        self.client.start()

    def rest(self) -> None:
        """The provider has all its receipts."""
        self.client.stop.set()
        self.client.join(60)
        assert self.client.failed is None, self.client.failed

    def lose_disk(self) -> None:
        self.victim.kill()
        for path in self.world.service.glob("*.db*"):
            path.unlink()

    def restored(self, *more: str | Path, code: int = 0) -> str:
        return run("restore", self.world.service, *more, code=code)


@pytest.fixture
def office(tmp_path) -> Iterator[Office]:
    made = Office(tmp_path)
    yield made
    made.client.stop.set()
    made.victim.end()


def test_a_lost_disk_is_restored_and_refilled_and_the_log_goes_on(office):
    service, main, keys = office.world.service, office.folder / "main", office.folder / "keys"
    ((name, borrower),) = people(office.world, 1)
    with office.world.lender() as lender:
        wanted = lender.request(lender.subject(name), policy_id="revolving-standing")
        consent = borrower.consent(borrower.check(wanted, lender.trust), language="en")
        office.begin()
        told = run("backup", service, "--to", main, "--keys-to", keys)
        since = told.split("--since ")[1].strip()
        borrower.revoke(consent)
        office.rest()
        office.victim.kill()  # while it runs, a root of the directory may come after the export
        since_file, newer = office.folder / "since.db", office.folder / "newer"
        run("export", service, since_file, "--since", since, "--keys-to", newer)
        office.lose_disk()

        lost = office.restored("--from", main, "--keys-from", newer, code=1)
        assert f"missing: entries {since} to " in lost
        assert "LOG_BEHIND" in run("serve", service, code=1)
        office.restored("--from-export", since_file)
        assert json.loads(run("check", service, "--json"))["ok"] is True

        office.victim.start()
        with pytest.raises(CredproofError) as caught:
            lender.ask(lender.subject(name), policy_id="revolving-standing", consent=consent)
        assert caught.value.reason == "CONSENT_REVOKED"
    with office.world.auditor() as auditor:
        auditor.verify_consistency(office.ledger.newest, auditor.checkpoint())
        auditor.verify(whole=True)


def test_what_makes_no_sense_together_is_refused_before_anything_is_changed(office):
    office.victim.kill()
    both = office.folder / "both"
    service = office.world.service
    assert "NOT_APART" in run("backup", service, "--to", both, "--keys-to", both, code=2)
    office.restored("--new-origin", "x.example/log2", "--from", both, code=2)
    office.restored("--from", both, code=2)
    assert not list(service.glob("replaced-*"))
