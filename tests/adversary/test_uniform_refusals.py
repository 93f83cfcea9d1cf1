"""Somebody without a valid consent tries to learn who is known: every refusal is the same.

Latency is measured, not tested: `make bench ROW=refusals`.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from dataclasses import replace

import grpc
import pytest
from credproof import borrower as borrowers
from credproof.auditor import Auditor
from credproof.base.errors import Malformed
from credproof.base.keys import Ed25519Signer
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.consent import parse_request, sign_request, verify_consent
from credproof.verification.filing import ENTRY_ROOT
from credproof.verification.notice import notice_digests
from google.rpc import error_details_pb2, status_pb2

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER
from tests.rpc.test_journey import put
from tests.world import POLICY, POOR

DETAILS = "grpc-status-details-bin"


@pytest.fixture(scope="module")
def attempts(running):
    """Each way to lack a valid consent, tried once, and what the log holds of it."""
    with running.world.lender() as lender, Auditor.open(running.world.home(AUDITOR)) as auditor:
        asked = ways(running, lender)
        start = auditor.checkpoint().tree_size
        found = {kind: refused(running, request) for kind, request in asked.items()}
        lines = auditor.lines(start, auditor.checkpoint().tree_size)
        told = [json.loads(line) for line in lines]
        # A root comes a second after what was attested, whoever is asked about.
        return found, [entry for entry in told if entry["kind"] != ENTRY_ROOT]


@pytest.fixture(scope="module")
def refusals(attempts):
    """What a lender gets, byte by byte, for each way."""
    return attempts[0]


def ways(running, lender) -> dict:
    known = put(running, lender, *running.consented(lender)[:2])
    other = put(running, lender, *running.consented(lender)[:2])
    declined = put(running, lender, *running.consented(lender, POOR)[:2])
    return {
        "unknown borrower": changed(known, sub=os.urandom(32), consent_id=os.urandom(32)),
        "no attestation": changed(known, sub=bound_only(running), consent_id=os.urandom(32)),
        "no consent": changed(known, consent_id=os.urandom(32)),
        "no consent of who would be refused": changed(declined, consent_id=os.urandom(32)),
        "another borrower's consent": changed(known, consent_id=other.consent_id),
        "another borrower's ended consent": changed(known, consent_id=ended(running, lender)),
        "another borrower's paused consent": changed(known, consent_id=rested(running, lender)),
        "another borrower's used consent": changed(known, consent_id=used(running, lender)),
        "another borrower's revoked consent": changed(
            known, consent_id=rested(running, lender, "revoke")
        ),
        "consent to another policy": changed(known, policy=os.urandom(32)),
    }


def ended(running, lender) -> bytes:
    """The id of a consent that is over; its own lender is told (`test_expired_consent.py`)."""
    subject_id, borrower = running.person()
    asked = parse_request(lender.request(lender.subject(subject_id), policy_id=POLICY.id))
    for life in (1, 5, 20):  # seconds: it is granted before it ends also where the machine is slow
        with suppress(Malformed):
            return ended_after(life, asked, running, lender, borrower)
    raise AssertionError("no consent was granted before its end")


def ended_after(life: int, asked, running, lender, borrower) -> bytes:
    end = int(time.time()) + life
    terms = replace(asked.terms, expires_at=end)
    times = {"issued_at": end - life, "open_until": end + 60}
    said = {"jti": os.urandom(16), "notices": notice_digests(lender.trust, terms)}
    token = sign_request(running.home(LENDER).signer, terms, **said, **times)
    consent = borrower.consent(borrower.check(token), language="zh")
    while time.time() < end + 1:
        time.sleep(0.05)
    return verify_consent(consent).id


def rested(running, lender, how: str = "pause") -> bytes:
    _, consent, borrower = running.consented(lender)
    getattr(borrower, how)(consent)
    return verify_consent(consent).id


def used(running, lender) -> bytes:
    subject_id, consent, _ = running.consented(lender)
    lender.ask(lender.subject(subject_id), policy_id=POLICY.id, consent=consent)
    return verify_consent(consent).id


def bound_only(running) -> bytes:
    proof = borrowers.prove_possession(Ed25519Signer(os.urandom(32)), provider=PROVIDER)
    with running.world.provider() as provider:
        return provider.bind([(f"ref:bare-{os.urandom(4).hex()}", proof)])[0].sub


def changed(request, *, policy: bytes = b"", **fields: bytes):
    copy = type(request)()
    copy.CopyFrom(request)
    copy.request_id = os.urandom(16)
    copy.policy.digest = policy or copy.policy.digest
    for name, value in fields.items():
        setattr(copy, name, value)
    return copy


def refused(running, request) -> grpc.RpcError:
    with (
        running.channel(LENDER) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        VerificationServiceStub(channel).Ask(request)
    return caught.value


def without_reference(error: grpc.RpcError) -> bytes:
    """The details of an error as sent, but for its random reference."""
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS])
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert len(info.metadata.pop("ref")) == 16
    status.details[0].Pack(info)
    return status.SerializeToString(deterministic=True)


def test_they_have_one_code_and_one_message(refusals):
    found = {(error.code(), error.details()) for error in refusals.values()}
    assert found == {(grpc.StatusCode.PERMISSION_DENIED, "the service does not permit this")}


def test_they_are_the_same_bytes_but_for_a_random_reference(refusals):
    assert len({without_reference(error) for error in refusals.values()}) == 1


def test_their_metadata_has_the_same_names_and_sizes(refusals):
    shapes = {
        tuple((name, len(value)) for name, value in error.trailing_metadata())
        for error in refusals.values()
    }
    assert len(shapes) == 1


def test_they_take_the_same_path_into_the_log(attempts):
    refusals, logged = attempts
    shapes = {
        (entry["kind"], entry["actor"], entry["fields"]["reason"], *sorted(entry))
        for entry in logged
    }
    assert len(logged) == len(refusals)
    assert len(shapes) == 1, "a reader of the log cannot tell them apart either"
