"""The journey over real gRPC with mTLS: attest, consent, ask, verify, audit."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from credproof.base.errors import Conflict, CredproofError, Refused, VerificationFailed
from credproof.channel import call
from credproof.lender import OfflineVerifier
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import Kept, Reference
from credproof.verification.consent import verify_consent
from credproof.wire import answer as answer_wire
from credproof.wire import ask as ask_wire

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER
from tests.world import FAIR, GOOD, POOR

POLICY = "revolving-standing"


@pytest.mark.parametrize(("values", "told"), [(GOOD, "A"), (FAIR, "B"), (POOR, "REFER")])
def test_a_question_is_answered_and_verifies_offline(running, lender, values, told):
    subject_id, consent, _ = running.consented(lender, values)
    kept = lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent, case="c")

    outcome = kept.verified.outcome
    assert told == (outcome.tier or outcome.kind)
    verified = OfflineVerifier(running.home(LENDER)).verify(kept.to_bytes())
    assert outcome == verified.outcome


def test_an_answer_holds_no_figure(running, lender):
    subject_id, consent, _ = running.consented(lender, {**GOOD, "credit_limit": 98_765_400})
    kept = lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)

    assert b"98765400" not in kept.to_bytes()
    assert subject_id.encode() not in answer_wire.to_bytes(replace(kept.bundle, kept=None))


def test_any_flipped_bit_of_a_kept_answer_is_refused(running, lender):
    subject_id, consent, _ = running.consented(lender)
    data = lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent).to_bytes()
    verifier = OfflineVerifier(running.home(LENDER))
    for at in range(0, len(data), 7):
        flipped = bytearray(data)
        flipped[at] ^= 1 << (at % 8)
        with pytest.raises(CredproofError):
            verifier.verify(bytes(flipped))


def test_a_consent_for_one_answer_gives_one_answer(running, lender):
    subject_id, consent, _ = running.consented(lender)
    subject = lender.subject(subject_id)
    lender.ask(subject, policy_id=POLICY, consent=consent)
    with pytest.raises(Refused) as caught:
        lender.ask(subject, policy_id=POLICY, consent=consent)
    assert caught.value.reason == "CONSENT_USED_UP"


def test_racing_questions_under_one_consent_get_one_answer(running, lender):
    subject_id, consent, _ = running.consented(lender)
    subject = lender.subject(subject_id)

    def ask(_):
        try:
            return lender.ask(subject, policy_id=POLICY, consent=consent)
        except Refused as error:
            return error.reason

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(ask, range(8)))
    assert results.count("CONSENT_USED_UP") == 7


def test_a_revoked_consent_gives_no_answer(running, lender):
    subject_id, consent, borrower = running.consented(lender)
    index = borrower.revoke(consent)
    assert index == borrower.revoke(consent), "revoking again changes nothing"
    with pytest.raises(Refused) as caught:
        lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)
    assert caught.value.reason == "CONSENT_REVOKED"


def test_another_borrower_cannot_revoke_a_consent(running, lender):
    _, consent, _ = running.consented(lender)
    _, stranger = running.person()
    with pytest.raises(Refused) as caught:
        stranger.revoke(consent)
    assert caught.value.reason == "NOT_PERMITTED"


def test_granting_again_gives_the_same_consent(running, lender):
    subject_id, borrower = running.person()
    request = lender.request(lender.subject(subject_id), policy_id=POLICY)
    consent = borrower.consent(borrower.check(request), language="en")
    borrower.grant(consent)
    assert lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)


# -- the same request again


def put(running, lender, subject_id, consent, **changes):
    subject = lender.subject(subject_id)
    ref = verify_consent(consent).terms.policies[0]
    kept = Kept(
        nonce=os.urandom(32),
        request_id=os.urandom(16),
        case=Reference("", bytes(16)),
        staff=Reference("", bytes(16)),
        transcript=subject.transcript,
    )
    request = ask_wire.request(kept, subject.sub, ref, verify_consent(consent).id)
    for name, value in changes.items():
        setattr(request, name, value)
    return request


def test_the_same_request_gives_the_same_bytes_and_uses_no_cap(running, lender):
    subject_id, consent, _ = running.consented(lender)
    stub = VerificationServiceStub(running.channel(LENDER))
    request = put(running, lender, subject_id, consent)
    first, again = (call(stub.Ask, request).SerializeToString() for _ in range(2))
    running.person()
    later = call(stub.Ask, request).SerializeToString()

    assert first == again == later


def test_a_request_id_is_not_used_for_another_question(running, lender):
    subject_id, consent, _ = running.consented(lender)
    stub = VerificationServiceStub(running.channel(LENDER))
    request = put(running, lender, subject_id, consent)
    call(stub.Ask, request)
    request.nonce = os.urandom(32)
    with pytest.raises(Conflict) as caught:
        call(stub.Ask, request)
    assert caught.value.reason == "REQUEST_ID_REUSED"


# -- before a valid consent, everything is one refusal


@pytest.mark.parametrize("change", ["consent_id", "sub", "policy"])
def test_before_a_valid_consent_every_refusal_is_the_same(running, lender, change):
    subject_id, consent, _ = running.consented(lender)
    stub = VerificationServiceStub(running.channel(LENDER))
    request = put(running, lender, subject_id, consent)
    if change == "policy":
        request.policy.version = 7
    else:
        setattr(request, change, os.urandom(32))
    with pytest.raises(Refused) as caught:
        call(stub.Ask, request)
    assert (
        caught.value.reason,
        caught.value.message,
    ) == ("NOT_PERMITTED", "the service does not permit this")


def test_a_consent_by_a_key_that_no_provider_bound_is_not_taken(running, lender):
    from credproof.base.keys import Ed25519Signer
    from credproof.borrower import Borrower, make_pass

    subject_id, _ = running.person()
    subject = lender.subject(subject_id)
    impostor = Borrower(
        Ed25519Signer(os.urandom(32)), make_pass(running.home(PROVIDER), subject.sub)
    )
    checked = impostor.check(lender.request(subject, policy_id=POLICY))
    with pytest.raises(Refused) as caught:
        impostor.consent(checked, language="en")
    assert caught.value.reason == "NOT_PERMITTED"


def test_an_unknown_borrower_is_refused_like_everybody_else(running, lender):
    from credproof.base.keys import Ed25519Signer
    from credproof.borrower import Borrower, make_pass

    subject = lender.subject("ref:nobody-knows-me")
    stranger = Borrower(
        Ed25519Signer(os.urandom(32)), make_pass(running.home(PROVIDER), subject.sub)
    )
    checked = stranger.check(lender.request(subject, policy_id=POLICY))
    with pytest.raises(Refused) as caught:
        stranger.consent(checked, language="en")
    assert caught.value.reason == "NOT_PERMITTED"


# -- what a borrower's tool refuses


def test_a_request_about_somebody_else_is_not_shown(running, lender):
    first, _ = running.person()
    _, second = running.person()
    request = lender.request(lender.subject(first), policy_id=POLICY)
    with pytest.raises(VerificationFailed) as caught:
        second.check(request)
    assert caught.value.reason == "OTHER_SUBJECT"


def test_a_notice_tells_who_and_why_in_both_languages(running, lender):
    subject_id, borrower = running.person()
    checked = borrower.check(lender.request(lender.subject(subject_id), policy_id=POLICY))

    assert "审批新贷款" in checked.notice("zh")
    assert "to decide on a new loan" in checked.notice("en")
    assert "North Lender" in checked.notice("en")


# -- the provider's side


def test_a_rerun_attests_nothing_twice(running):
    records = [running.record() for _ in range(3)]
    with running.world.provider() as provider:
        first = provider.submit(records, schema_id="consumer-revolving/1")
        again = provider.submit(records, schema_id="consumer-revolving/1")

    assert (first.accepted, first.already) == (3, 0)
    assert (again.accepted, again.already) == (0, 3)


def test_a_changed_record_continues_its_chain(running, lender):
    record = running.record(GOOD)
    with running.world.provider() as provider:
        provider.submit([record], schema_id="consumer-revolving/1")
        newer = replace(record, values=POOR)
        assert provider.submit([newer], schema_id="consumer-revolving/1").accepted == 1


def test_an_outbox_that_was_lost_goes_on_where_the_service_stands(running):
    record = running.record(GOOD)
    with running.world.provider() as provider:
        provider.submit([record], schema_id="consumer-revolving/1")
    for path in running.world.home(PROVIDER).glob("outbox*"):
        path.unlink()
    with running.world.provider() as provider:
        report = provider.submit([replace(record, values=FAIR)], schema_id="consumer-revolving/1")
    assert (report.accepted, report.rejected) == (1, ())


def test_rows_that_do_not_fit_are_rejected_and_the_rest_goes_on(running):
    good, bad = running.record(), running.record({**GOOD, "overdue_months_6m": 9})
    nobody = replace(running.record(), subject="ref:with space")
    with running.world.provider() as provider:
        report = provider.submit([bad, good, nobody], schema_id="consumer-revolving/1")

    assert report.accepted == 1
    assert [row.reason for row in report.rejected] == ["BAD_VALUE", "BAD_SUBJECT_ID"]
    assert [bad.line, nobody.line] == [row.line for row in report.rejected]


# -- the auditor


def test_the_auditor_verifies_the_whole_log_and_goes_on_from_there(running):
    with running.world.auditor() as auditor:
        whole = auditor.verify(whole=True)
        running.person()
        more = auditor.verify()

    assert whole.checkpoint.tree_size == whole.entries_read
    assert more.kinds["attestation.accepted"] == 2, "figures and a key binding"


@contextmanager
def audited_alone(folder, **changes: object):
    """An auditor's home where `audited.json` says something else, and nothing else speaks of it."""
    names = ("audited.json", "newest.checkpoint", "audit.db")
    kept = {name: (folder / name).read_bytes() for name in names}
    state = json.loads(kept["audited.json"]) | changes
    text = json.dumps(state, sort_keys=True, separators=(",", ":")).encode()
    for name in names:
        (folder / name).unlink()
    (folder / "audited.json").write_bytes(text)
    try:
        yield
        assert (folder / "audited.json").read_bytes() == text, "what was found stays"
    finally:
        for name, data in kept.items():
            (folder / name).write_bytes(data)


def test_the_auditor_refuses_a_log_that_shrank(running):
    with running.world.auditor() as auditor:
        size = auditor.verify(whole=True).checkpoint.tree_size + 1000
        peaks = ["A" * 43] * size.bit_count()
        with audited_alone(running.home(AUDITOR).folder, tree_size=size, peaks=peaks):
            with pytest.raises(VerificationFailed) as caught:
                auditor.verify()
            assert caught.value.reason == "LOG_SHRANK"


def test_a_whole_audit_refuses_a_log_that_is_not_the_one_audited_before(running):
    """A rewritten log is sound in itself: only what the auditor kept tells them apart."""
    folder = running.home(AUDITOR).folder
    with running.world.auditor() as auditor:
        auditor.verify(whole=True)
        peaks = json.loads((folder / "audited.json").read_bytes())["peaks"]
        with audited_alone(folder, peaks=["A" * 43, *peaks[1:]]):
            with pytest.raises(VerificationFailed) as caught:
                auditor.verify(whole=True)
            assert caught.value.reason == "LOG_FORKED"


def test_inclusion_and_consistency_proofs_of_the_service_verify(running):
    from credproof.log.merkle import leaf_hash

    with running.world.auditor() as auditor:
        old = auditor.checkpoint()
        running.person()
        new = auditor.checkpoint()
        auditor.verify_consistency(old, new)
        for index, line in enumerate(auditor.lines(0, 5)):
            auditor.verify_inclusion(leaf_hash(line), index, new)
