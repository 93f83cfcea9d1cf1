"""A provider's signing key was stolen, and the registry says since when it counts no more."""

from __future__ import annotations

import os
from contextlib import contextmanager

import grpc
import pytest
from credproof.attestation.package import pack
from credproof.attestation.statement import Opening, issue
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base.errors import Refused
from credproof.base.keys import DatedKey
from credproof.lender import OfflineVerifier
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.verification.participant import NEVER
from credproof.wire.errors import from_call
from credproof_server.directory import now

from tests.deployment import certify, seal, statement
from tests.rpc.conftest import LENDER, PROVIDER
from tests.rpc.registry import changed, participant
from tests.rpc.test_standing import ask, suspended
from tests.world import signer_of


@contextmanager
def ended(running, at: int):
    """The key counts until `at`; what it signed before was honest. The provider has another one,
    and the thief the certificate that came with it."""
    home, fresh = running.home(PROVIDER), signer_of("fresh").public
    before = (home.folder / "tls.crt").read_bytes()
    keys = (DatedKey(home.signer.public, 0, at), DatedKey(fresh, 0, NEVER))
    certify(running.world.service, home.folder, fresh.kid)
    try:
        with changed(running, participant(PROVIDER, keys=keys)):
            yield
    finally:
        (home.folder / "tls.crt").write_bytes(before)


def by_the_thief(running, **changes) -> pb.SubmitResult:
    """A statement by the stolen key, sent under the provider's own certificate."""
    home = running.home(PROVIDER)
    made = statement(issuer=PROVIDER, account=f"stolen-{os.urandom(4).hex()}", **changes)
    package = pack(issue(opening := Opening(made, os.urandom(32)), home.signer), opening)
    sealed = seal(home.trust(at=0), [package], provider=PROVIDER)
    with running.channel(PROVIDER) as channel:
        request = pb.SubmitAttestationsRequest(sealed_batch=sealed)
        (result,) = AttestationServiceStub(channel).SubmitAttestations(request).results
    return result


def test_what_it_signs_after_that_is_refused_whatever_date_it_writes(running):
    assert by_the_thief(running).HasField("receipt"), "until the theft is told, it counts"
    stolen_at = now() - 60
    with ended(running, stolen_at):
        for issued_at in (now(), stolen_at - 3600):
            result = by_the_thief(running, issued_at=issued_at)
            assert (result.error.reason, result.error.step) == ("KEY_NOT_VALID", 3)


def test_what_it_signed_before_stays_good_and_so_do_answers(running, lender):
    first, second = (running.consented(lender)[:2] for _ in range(2))
    kept = ask(lender, *first)
    with ended(running, now() + 1), running.world.lender() as anew:
        assert ask(anew, *second).verified.outcome.tier == "A"
        assert OfflineVerifier(running.home(LENDER)).verify(kept.to_bytes())


def test_a_withdrawal_by_the_stolen_key_is_refused(running):
    home = running.home(PROVIDER)
    token = by_the_thief(running).receipt.token_id
    settings = {"issuer": PROVIDER, "service": home.settings.domain, "token": token}
    text = sign_withdrawal(home.signer, reason="error", now=now(), **settings)
    with ended(running, now() - 60), running.channel(PROVIDER) as channel:
        request = pb.WithdrawAttestationsRequest(withdrawals=[text])
        (result,) = AttestationServiceStub(channel).WithdrawAttestations(request).results
    assert result.error.reason == "KEY_NOT_VALID"


def test_a_provider_that_is_suspended_for_it_connects_no_more(running, lender):
    subject_id, consent, _ = running.consented(lender)
    with suspended(running, PROVIDER):
        with pytest.raises(grpc.RpcError) as caught:
            by_the_thief(running)
        assert from_call(caught.value).reason == "NOT_PERMITTED"
        with pytest.raises(Refused) as refused:
            ask(lender, subject_id, consent)
        assert refused.value.reason == "CONSENT_PAUSED"
