"""A lender asks a service that is no licensed bureau under a policy for licensed bureaus."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError, Refused, VerificationFailed
from credproof.verification.participant import Licence
from credproof_server.directory import now

from tests.rpc.registry import add_policy, changed, publish


@pytest.fixture(scope="module")
def policy(running) -> str:
    return add_policy(running, "bureau-only", route="licensed-bureau").id


def licensed(until: int):
    return lambda bundle: replace(bundle, bureau=Licence("PCR-1", 0, until))


def test_nobody_asks_for_such_a_consent_without_a_licensed_bureau(running, policy):
    subject_id, _ = running.person()
    with running.world.lender() as lender, pytest.raises(VerificationFailed) as caught:
        lender.request(lender.subject(subject_id), policy_id=policy)
    assert caught.value.reason == "ROUTE_NOT_LICENSED"


def test_it_is_answered_while_the_bureau_is_licensed_and_not_afterwards(running, policy):
    with changed(running, licensed(now() + 1000)), running.world.lender() as lender:
        subject_id, borrower = running.person()
        subject = lender.subject(subject_id)
        request = lender.request(subject, policy_id=policy, mode="continuing")
        consent = borrower.consent(borrower.check(request), language="zh")
        begun = now()
        kept = lender.ask(subject, policy_id=policy, consent=consent)
        assert kept.verified.outcome.tier == "A"

        publish(running, licensed(begun - 1))
        with pytest.raises(Refused) as caught:
            lender.ask(subject, policy_id=policy, consent=consent)
        assert caught.value.reason == "ROUTE_NOT_LICENSED"
        require_refused_offline(running, kept.bundle)


def require_refused_offline(running, bundle) -> None:
    """Under a bundle in which the bureau had no licence, the answer does not verify."""
    with running.world.lender() as anew, pytest.raises(CredproofError) as caught:
        anew.verify(bundle, received_now=True)
    assert (caught.value.step, caught.value.reason) == (2, "ROUTE_NOT_LICENSED")
