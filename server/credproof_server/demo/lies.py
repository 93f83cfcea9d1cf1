"""Lies told with real means, and how each is caught; `hiding` has two more."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey
from credproof.borrower import Borrower
from credproof.enrolment import enrol, verify_enrolment
from credproof.home import Home, join
from credproof.lender import OfflineVerifier
from credproof.log.entry import parse_entry
from credproof.provider import Provider
from credproof.records.mapping import Record
from credproof.verification.participant import NEVER
from credproof.verification.verify import CHECKS
from credproof.wire import answer as answer_wire

from credproof_server.admission import admission_for, signed_bundle, trust_channel
from credproof_server.checking import check
from credproof_server.demo.journey import POLICY, Journey
from credproof_server.demo.world import LENDER, PROVIDER, World
from credproof_server.directory import ServiceDirectory, now

GOOD: Final = {
    "credit_limit": 20_000_000,
    "utilisation_bp": 0,
    "used_amount": 0,
    "overdue_cycles": 0,
    "max_overdue_cycles_6m": 0,
    "overdue_months_6m": 0,
}
"""Figures that grant tier A."""


@dataclass(frozen=True)
class Lie:
    """What was done, who caught it, and how."""

    name: str
    told: str
    caught: bool
    how: str


def lie_about_answer(world: World, journey: Journey) -> Lie:
    """Somebody changes the outcome in a kept answer."""
    path = next(iter(journey.answers.values()))
    bundle = answer_wire.parse(path.read_bytes())
    head, payload, signature = bundle.answer.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    other = "B" if claims["outcome"]["tier"] == "A" else "A"
    claims["outcome"] = {"kind": "TIER", "reasons": [], "tier": other}
    changed = json.dumps(claims, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    forged = base64.urlsafe_b64encode(changed.encode()).rstrip(b"=").decode()
    lied = replace(bundle, answer=f"{head}.{forged}.{signature}")
    told = f"a kept answer now says tier {other}"
    try:
        OfflineVerifier(Home(world.home(LENDER))).verify(answer_wire.to_bytes(lied))
    except CredproofError as error:
        return Lie("answer", told, True, f"the lender's offline check: {tell(error)}")
    return Lie("answer", told, False, "nobody noticed")


def lie_about_row(world: World, journey: Journey, people: dict[str, Borrower]) -> Lie:
    """Somebody with the database changes a stored attestation; then its borrower is asked about."""
    subject, borrower = next(iter(people.items()))
    told = "one byte of a stored attestation is changed in the database"
    with world.lender() as lender:
        who = lender.subject(subject)
        request = lender.request(who, policy_id=POLICY)
        consent = borrower.consent(borrower.check(request, lender.trust), language="en")
        index = _first_attestation(world)
        with _changed(world, "attestations", "sealed", index, _flip_last):
            report = check(ServiceDirectory(world.service))
            named = [damage.log_index for damage in report.damage] == [index]
            try:
                lender.ask(who, policy_id=POLICY, consent=consent)
            except CredproofError as error:
                served = error
            else:
                return Lie("row", told, False, "it was served")
    caught = named and served.reason == "ROW_NOT_OPENED"
    how = f"credproof check names row {index}; a question about it gets: {tell(served)}"
    return Lie("row", told, caught, how)


def lie_about_entry(world: World) -> Lie:
    """Somebody with the database rewrites a log entry in the middle."""
    told = "a log entry is rewritten in the database: another actor"
    with world.auditor() as auditor:
        middle = auditor.checkpoint().tree_size // 2
        with _changed(world, "entries", "line", middle, _other_actor):
            try:
                auditor.verify(whole=True)
            except CredproofError as error:
                return Lie("entry", told, True, f"the auditor: {tell(error)}")
    return Lie("entry", told, False, "nobody noticed")


@contextmanager
def served_copy(world: World) -> Iterator[World]:
    """The world once more, where the operator lies; only what its service wrote remains."""
    lying = world.copy(world.folder / "lies")
    with lying.served():
        yield lying
    (lying.folder / "service.log").replace(world.folder / "lies.log")
    shutil.rmtree(lying.folder)


def lie_as_operator(lying: World, journey: Journey, people: dict[str, Borrower]) -> Lie:
    """The operator forges a figure with all of its own keys: root, authority, log, answers.

    It registers a key of its own as the provider's, signs the new trust bundle with the root,
    gives itself a certificate in the provider's name, and attests figures that grant tier A. Its
    service accepts them, logs them and answers.
    """
    subject = _worst(journey)
    record = next(r for r in journey.records if r.subject == subject)
    told = f"{subject} was {_said(journey, subject)}; the operator forges figures for tier A"
    _attest_forgery(_impersonate(lying), record)
    borrower = people[subject]
    with lying.lender() as lender:
        who = lender.subject(subject)
        request = lender.request(who, policy_id=POLICY)
        consent = borrower.consent(borrower.check(request, lender.trust), language="en")
        try:
            lender.ask(who, policy_id=POLICY, consent=consent)
        except CredproofError as error:
            caught = error.reason == "NOT_THE_PINNED_KEY"
            return Lie("operator", told, caught, f"the lender: {tell(error)}")
    return Lie("operator", told, False, "the lender believed it")


def _impersonate(world: World) -> Path:
    """A home that looks to the service like the provider's, with keys of the operator."""
    directory = ServiceDirectory(world.service)
    folder = world.folder / "forger"
    data = enrol(folder, role="provider", participant_id=PROVIDER, title="Taiwan Card")
    applicant = verify_enrolment(data, now=now())
    own = DatedKey(applicant.key, 0, NEVER)
    with trust_channel(directory) as channel:
        current = channel.current()
        bundle = replace(
            current.bundle,
            version=current.bundle.version + 1,
            participants=tuple(
                replace(p, keys=(*p.keys, own)) if p.id == PROVIDER else p
                for p in current.bundle.participants
            ),
        )
        trust = signed_bundle(directory.root_signer(), bundle, current.documents)
        channel.publish(trust)
    admitted = admission_for(directory, applicant, trust)
    join(folder, admitted.to_bytes(), root_kid=None, now=now())
    return folder


def _attest_forgery(forger: Path, record: Record) -> None:
    """Figures that grant tier A, in the next place of the account's chain."""
    forged = replace(record, values={**record.values, **GOOD})
    with Provider.open(forger) as provider:
        report = provider.submit([forged], schema_id="consumer-revolving/1")
    assert report.accepted == 1, "the lying service accepts its own forgery"


def _worst(journey: Journey) -> str:
    """A borrower who was referred, or else got the lowest tier."""
    ranked = sorted(journey.outcomes, key=lambda subject: _said(journey, subject))
    return ranked[-1]


def _said(journey: Journey, subject: str) -> str:
    outcome = journey.outcomes[subject]
    return outcome.tier or outcome.kind


# -- means --------------------------------------------------------------------


def _first_attestation(world: World) -> int:
    query = "SELECT min(log_index) FROM attestations"
    with closing(sqlite3.connect(world.service / "log.db")) as database:
        return int(database.execute(query).fetchone()[0])


@contextmanager
def _changed(
    world: World, table: str, column: str, log_index: int, change: Callable[[bytes], bytes]
) -> Iterator[None]:
    """A cell of the service's database is changed behind its back, then put right again."""
    with closing(sqlite3.connect(world.service / "log.db", isolation_level=None)) as database:
        where = f"{table} WHERE log_index = ?"
        old = database.execute(f"SELECT {column} FROM {where}", (log_index,)).fetchone()[0]  # noqa: S608
        update = f"UPDATE {table} SET {column} = ? WHERE log_index = ?"  # noqa: S608
        database.execute(update, (change(old), log_index))
        try:
            yield
        finally:
            database.execute(update, (old, log_index))


def _flip_last(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def _other_actor(line: bytes) -> bytes:
    entry = parse_entry(line)
    return replace(entry, actor="somebody-else").to_line()


def tell(error: CredproofError) -> str:
    """What a check says, with its number and name."""
    where = "" if error.step is None else f"check {error.step} ({CHECKS[error.step]}), "
    return f"{where}{error.message}"
