"""Identity checks of two providers over the network, and a REFER that tells its reason."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from credproof import borrower as borrowers
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.base.encoding import date_of
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.provider import Provider
from credproof.records.mapping import Record
from credproof_server import admission
from credproof_server.directory import now

from tests.rpc.conftest import PROVIDER
from tests.world import GOOD, POOR

POLICY = "assured-standing"
SECOND = "second-bank"


@pytest.fixture(scope="module")
def second(running) -> Path:
    """The home of another provider."""
    folder = running.world.home(SECOND)
    enrolment = enrolments.enrol(
        folder, role="provider", participant_id=SECOND, title="Second Bank"
    )
    admitted = admission.admit(running.world.service, enrolment)
    homes.join(folder, admitted.to_bytes(), root_kid=None, now=int(time.time()))
    return folder


def check(subject: str, channel: str, **changes) -> Record:
    """An identity check that matched today."""
    today = date_of(now())
    values = {
        "method": "ID_CHIP",
        "channel": channel,
        "result": "MATCHED",
        "level": 2,
        "performed_on": today.isoformat(),
    }
    record = {"line": 1, "subject": subject, "account": f"check-{subject[4:]}", "as_of": today}
    return Record(**{**record, "currency": None, "values": values, **changes})


def attested(running, second: Path, values, channels: tuple[str, str]) -> tuple[str, Borrower]:
    """A borrower with an account at one provider, a check at both, and a key bound by both."""
    record, key = running.record(values), Ed25519Signer(os.urandom(32))
    for home, channel in zip((running.world.home(PROVIDER), second), channels, strict=True):
        with Provider.open(home) as provider:
            checks = [check(record.subject, channel)]
            assert provider.submit(checks, schema_id="identity-assurance/1").accepted == 1
            proof = borrowers.prove_possession(key, provider=provider.id)
            bound = provider.bind([(record.subject, proof)])[0]
    with running.world.provider() as provider:
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
    return record.subject, Borrower(key, make_pass(running.home(PROVIDER), bound.sub))


def answer(running, subject_id: str, borrower: Borrower):
    with running.world.lender() as lender:
        subject = lender.subject(subject_id)
        request = lender.request(subject, policy_id=POLICY)
        consent = borrower.consent(borrower.check(request), language="zh")
        return lender.ask(subject, policy_id=POLICY, consent=consent).verified


def test_two_channels_of_two_providers_give_the_tier(running, second):
    verified = answer(running, *attested(running, second, GOOD, ("APP", "BRANCH")))
    assert verified.outcome.tier == "A"
    assert [source.provider for source in verified.sources] == [SECOND, PROVIDER]


def test_one_channel_twice_is_incomplete(running, second):
    verified = answer(running, *attested(running, second, GOOD, ("APP", "APP")))
    assert (verified.outcome.kind, verified.outcome.reasons) == ("INCOMPLETE", ("NOT_ASSURED",))


def test_refer_tells_what_fails_and_proves_it(running, second):
    verified = answer(running, *attested(running, second, POOR, ("APP", "BRANCH")))
    (result,) = verified.answer.results
    assert (verified.outcome.kind, result.question, result.verdict) == ("REFER", "current", "NO")
    assert [source.provider for source in verified.sources] == [PROVIDER]


@pytest.mark.parametrize("schema", ["identity-assurance/1", "consumer-revolving/1"])
def test_a_currency_stands_beside_money_and_nothing_else(running, schema):
    record = check("ref:nobody", "APP", currency="CNY")
    if schema == "consumer-revolving/1":
        record = check("ref:nobody", "APP", values=GOOD)
    with running.world.provider() as provider:
        report = provider.submit([record], schema_id=schema)
    assert [row.reason for row in report.rejected] == ["BAD_CURRENCY"]
