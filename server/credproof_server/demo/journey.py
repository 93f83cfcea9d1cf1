"""The honest journey: attest, bind, consent, ask, verify, audit."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from credproof import borrower as borrowers
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect_borrower
from credproof.cli.output import progress_bar
from credproof.home import Home
from credproof.lender import Lender, OfflineVerifier
from credproof.log.audit import AuditReport
from credproof.provider import Progress, Provider
from credproof.records.mapping import Record, RecordMapping
from credproof.records.reader import RejectedRow, read_records
from credproof.verification.policy import Outcome
from credproof.verification.trust import Trust

from credproof_server.demo.world import LENDER, PROVIDER, World

POLICY: Final = "revolving-standing"
THREADS: Final = 16
"""Lenders' clerks who ask at the same time."""
BIND_BATCH: Final = 128


@dataclass
class Journey:
    """What happened, and how long each part took."""

    records: list[Record] = field(default_factory=list)
    attested: int = 0
    answers: dict[str, Path] = field(default_factory=dict)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    verified: int = 0
    false_alarms: int = 0
    audit: AuditReport | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - started, 2)

    def counts(self) -> Counter[str]:
        """Answers by tier, REFER or INCOMPLETE."""
        return Counter(outcome.tier or outcome.kind for outcome in self.outcomes.values())


@dataclass(frozen=True)
class Plan:
    """What to do: which file, how many clients of it, how many of them are asked about."""

    data: Path
    mapping: RecordMapping
    clients: int
    questions: int
    quiet: bool


def attest(world: World, plan: Plan, journey: Journey) -> None:
    """The provider attests the first clients of the file."""
    today = dt.datetime.now(dt.UTC).date()
    rows = read_records(plan.data, plan.mapping, day_of_run=today, limit=plan.clients)
    with world.provider() as provider, _bar("attesting", plan.clients, plan) as advance:
        kept = _keep(rows, journey)
        report = provider.submit(kept, schema_id=plan.mapping.schema_id, progress=advance)
    journey.attested = report.accepted


def _keep(rows: Iterator[Record | RejectedRow], journey: Journey) -> Iterator[Record | RejectedRow]:
    for row in rows:
        if isinstance(row, Record):
            journey.records.append(row)
        yield row


def bind(world: World, plan: Plan, journey: Journey) -> dict[str, Borrower]:
    """Borrowers make keys and prove them; the provider, who knows them, binds them."""
    asked = journey.records[: plan.questions]
    pairs = [(record, _new_borrower(_home_of(world, record.subject))) for record in asked]
    found: dict[str, Borrower] = {}
    home = Home(world.home(PROVIDER))
    channel = connect_borrower(home.settings.borrowers_address, home.tls()[0])
    with world.provider() as provider, _bar("binding keys", len(pairs), plan) as advance:
        for batch in _batches(pairs):
            for (record, signer), sub in zip(batch, _bind(provider, batch), strict=True):
                handed = make_pass(home, sub)
                borrowers.join(_home_of(world, record.subject), handed.to_bytes())
                found[record.subject] = Borrower(signer, handed, channel)
            advance(len(batch))
    return found


def _home_of(world: World, subject: str) -> Path:
    return world.folder / "borrowers" / subject.removeprefix("ref:")


def _new_borrower(folder: Path) -> Ed25519Signer:
    borrowers.create(folder)
    return borrowers.load_signer(folder)


def _bind(provider: Provider, batch: Sequence[tuple[Record, Ed25519Signer]]) -> list[bytes]:
    proofs = [
        (record.subject, borrowers.prove_possession(signer, provider=PROVIDER))
        for record, signer in batch
    ]
    return [bound.sub for bound in provider.bind(proofs)]


def ask(world: World, plan: Plan, journey: Journey, people: dict[str, Borrower]) -> None:
    """For each borrower: the lender's request, the consent, the question, the kept answer."""
    folder = world.home(LENDER) / "answers"
    folder.mkdir(exist_ok=True)
    with world.lender() as lender, _bar("asking", len(people), plan) as advance:
        trust = lender.trust
        for subject in people:
            journey.answers[subject] = folder / f"{subject.removeprefix('ref:')}.answer"

        def one(item: tuple[str, Borrower]) -> None:
            subject, borrower = item
            path = journey.answers[subject]
            journey.outcomes[subject] = _ask(lender, trust, subject, borrower, path)
            advance(1)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(one, people.items()))


def _ask(lender: Lender, trust: Trust, subject: str, borrower: Borrower, path: Path) -> Outcome:
    who = lender.subject(subject)
    request = lender.request(who, policy_id=POLICY)
    consent = borrower.consent(borrower.check(request, trust), language="zh")
    kept = lender.ask(who, policy_id=POLICY, consent=consent, case=path.stem, staff="clerk-1")
    path.write_bytes(kept.to_bytes())
    return kept.verified.outcome


def verify(world: World, plan: Plan, journey: Journey) -> None:
    """Verify every kept answer offline, from its file."""
    verifier = OfflineVerifier(Home(world.home(LENDER)))
    with _bar("verifying", len(journey.answers), plan) as advance:
        for path in journey.answers.values():
            verifier.verify(path.read_bytes())
            journey.verified += 1
            advance(1)


def audit(world: World, journey: Journey) -> None:
    """The auditor verifies the whole log."""
    with world.auditor() as auditor:
        journey.audit = auditor.verify(whole=True)


def _bar(title: str, total: int, plan: Plan) -> AbstractContextManager[Progress]:
    return progress_bar(title, total, hidden=plan.quiet)


def _batches(
    items: Sequence[tuple[Record, Ed25519Signer]],
) -> Iterator[list[tuple[Record, Ed25519Signer]]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BIND_BATCH)):
        yield batch
