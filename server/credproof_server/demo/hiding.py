"""The operator hides a bad account: crudely, then well, but not for the auditor."""

from __future__ import annotations

import datetime as dt
import secrets
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from credproof import borrower as borrowers
from credproof.auditing.evidence import LogFault
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.home import Home
from credproof.lender import KeptAnswer
from credproof.provider import Provider
from credproof.records.mapping import Record

from credproof_server.demo.journey import POLICY
from credproof_server.demo.lies import GOOD, Lie, tell
from credproof_server.demo.world import PROVIDER, World

SUBJECT: Final = "ref:two-cards"
SCHEMA: Final = "consumer-revolving/1"
EPOCH_WAIT_S: Final = 10.0
"""How long the service may take to close an epoch, in seconds: it does so every second."""
IN_ARREARS: Final = {
    **GOOD,
    "overdue_cycles": 3,
    "max_overdue_cycles_6m": 3,
    "overdue_months_6m": 3,
}
"""Figures that are referred, whatever other accounts say."""


def hide(lying: World) -> list[Lie]:
    """Two lies about a borrower with a good account and one in arrears, on a running service."""
    stage = _Stage(lying, Ed25519Signer(secrets.token_bytes(32)))
    with lying.provider() as provider:
        borrower = stage.bind(provider)
        stage.attest(provider, "good", GOOD)
        stage.attest(provider, "bad", IN_ARREARS)
        honest = stage.ask(borrower).verified
        _take_out_rows(lying)
        crude = _crude(stage, borrower)
        # The next statement makes the service log and sign a root without the bad account.
        stage.attest(provider, "good", {**GOOD, "used_amount": 100_000})
    return [crude, _well(stage, borrower, honest.outcome.kind)]


@dataclass(frozen=True, slots=True)
class _Stage:
    world: World
    signer: Ed25519Signer

    def bind(self, provider: Provider) -> Borrower:
        proof = borrowers.prove_possession(self.signer, provider=PROVIDER)
        bound = provider.bind([(SUBJECT, proof)])[0]
        return Borrower(self.signer, make_pass(Home(self.world.home(PROVIDER)), bound.sub))

    def attest(self, provider: Provider, account: str, values: dict[str, int]) -> None:
        today = dt.datetime.now(dt.UTC).date()
        record = Record(1, SUBJECT, f"two-cards-{account}", today, "TWD", values)
        report = provider.submit([record], schema_id=SCHEMA)
        assert report.accepted == 1, "the service accepts what the provider attests"

    def ask(self, borrower: Borrower) -> KeptAnswer:
        with self.world.lender() as lender:
            who = lender.subject(SUBJECT)
            request = lender.request(who, policy_id=POLICY)
            consent = borrower.consent(borrower.check(request, lender.trust), language="en")
            return lender.ask(who, policy_id=POLICY, consent=consent)


def _take_out_rows(world: World) -> None:
    """The newest attestation no longer counts, and its place in the directory does not name it."""
    with closing(sqlite3.connect(world.service / "log.db", isolation_level=None)) as database:
        newest = "SELECT token_id FROM attestations ORDER BY log_index DESC LIMIT 1"
        (token,) = database.execute(newest).fetchone()
        bucket, place, members = _filed(database, token)
        left = members.replace(token, b"")
        database.execute("UPDATE attestations SET current = 0 WHERE token_id = ?", (token,))
        change = "UPDATE directory_leaves SET members = ? WHERE bucket = ? AND place = ?"
        database.execute(change, (left, bucket, place))


def _filed(database: sqlite3.Connection, token: bytes) -> tuple[int, bytes, bytes]:
    """Where the directory names an attestation, once the next epoch is closed."""
    query = "SELECT bucket, place, members FROM directory_leaves WHERE instr(members, ?)"
    deadline, row = time.monotonic() + EPOCH_WAIT_S, None
    while row is None and time.monotonic() < deadline:
        time.sleep(0.1)
        row = database.execute(query, (token,)).fetchone()
    assert row, "a running service closes an epoch every second"
    bucket, place, members = row
    return bucket, place, members


def _crude(stage: _Stage, borrower: Borrower) -> Lie:
    """The service's own software sees it: an operator would have to write another."""
    told = "the operator takes a borrower's account in arrears out of its database"
    try:
        answer = stage.ask(borrower)
    except CredproofError as error:
        how = f"the service gives the lender no answer: {tell(error)}"
        return Lie("hidden", told, error.reason == "ROW_DIFFERS", how)
    return Lie("hidden", told, False, f"the lender believed {answer.verified.outcome.tier}")


def _well(stage: _Stage, borrower: Borrower, honest: str) -> Lie:
    """Everything that the lender can check is sound: only the log does not make this root."""
    verified = stage.ask(borrower).verified
    shown = verified.completeness
    outcome = verified.outcome.tier or verified.outcome.kind
    told = (
        f"the operator signs a directory without it, and a tier {outcome} that verifies"
        f" ({shown.state}, {shown.shown} of {shown.of}): it was {honest}"
    )
    with stage.world.auditor() as auditor:
        checkpoint = auditor.verify().checkpoint
        try:
            auditor.replay(checkpoint)
        except LogFault as error:
            sound = shown.state == "complete" and outcome != honest
            caught = sound and error.reason == "ROOT_DIFFERS"
            how = f"the auditor's replay: {tell(error)}; {len(error.files)} files show it to others"
            return Lie("hidden well", told, caught, how)
    return Lie("hidden well", told, False, "nobody noticed")
