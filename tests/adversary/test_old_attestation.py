"""Who recorded a provider's batches sends old attestations again, to bring old figures back."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from credproof.base.errors import VerificationFailed
from credproof.log.entry import parse_entry
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.verification.filing import ENTRY_ROOT

from tests.deployment import seal
from tests.rpc.conftest import PROVIDER
from tests.rpc.test_standing import ask
from tests.world import GOOD, POOR


def attested(running, record) -> bytes:
    """The package of a record, as the provider sent it."""
    with running.world.provider() as provider:
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
    path = next(running.world.home(PROVIDER).glob("outbox*.db"))
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as outbox:
        packages = [row[0] for row in outbox.execute("SELECT package FROM items")]
    of_account = [p for p in packages if json.loads(p)["hidden"]["account"] == record.account]
    return max(of_account, key=lambda p: json.loads(p)["hidden"]["seq"])


def sent_again(running, package: bytes) -> pb.SubmitResult:
    sealed = seal(running.home(PROVIDER).trust(at=0), [package], provider=PROVIDER)
    with running.channel(PROVIDER) as channel:
        request = pb.SubmitAttestationsRequest(sealed_batch=sealed)
        (result,) = AttestationServiceStub(channel).SubmitAttestations(request).results
    return result


def size(running) -> int:
    """How many entries there are, but for roots of the directory, which come when it is time."""
    with running.world.auditor() as auditor:
        lines = list(auditor.lines(0, auditor.checkpoint().tree_size))
    return sum(parse_entry(line).kind != ENTRY_ROOT for line in lines)


@pytest.fixture
def worsened(running, lender):
    """Somebody whose good figures were followed by poor ones: id, consent, the good package."""
    subject_id, consent, _ = running.consented(lender, GOOD)
    record = running.record(GOOD)
    record = replace(record, subject=subject_id, account=f"{record.account}-second")
    good = attested(running, record)
    attested(running, replace(record, values=POOR))
    return subject_id, consent, good


def test_an_old_attestation_sent_again_gets_its_old_receipt_and_changes_nothing(
    running, lender, worsened
):
    subject_id, consent, good = worsened
    before = size(running)
    first, again = sent_again(running, good), sent_again(running, good)
    assert first == again
    assert before == size(running)
    assert ask(lender, subject_id, consent).verified.outcome.kind == "REFER"


def test_an_answer_given_before_verifies_only_as_of_its_time(running, lender):
    """An answer is bound to nonce and request: nobody passes an old one off as new."""
    subject_id, consent, _ = running.consented(lender)
    kept = ask(lender, subject_id, consent)
    other = ask(lender, *running.consented(lender)[:2])
    swapped = replace(kept.bundle, kept=other.bundle.kept)
    with pytest.raises(VerificationFailed) as caught:
        lender.verify(swapped, received_now=True)
    assert caught.value.reason == "ANSWER_OTHER_NONCE"
