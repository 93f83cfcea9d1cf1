"""With a custodian beside the service: one pseudonym for all, and none without both of them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import grpc
import pytest
from credproof import borrower as borrowers
from credproof.attestation.oprf_key import OprfKey
from credproof.attestation.pseudonym import begin, parse_subject_id, pseudonym
from credproof.base import oprf
from credproof.base.encoding import date_of
from credproof.base.errors import Conflict, CredproofError, Refused
from credproof.base.group import ORDER, multiply_base, scalar_from
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect_custodian, error_of
from credproof.home import Home
from credproof.lender import OfflineVerifier
from credproof.provider import Provider
from credproof.records.mapping import Record
from credproof.verification.participant import custodian_host
from credproof_server import admission
from credproof_server.custodian import directory as custodians
from credproof_server.custodian.directory import CustodianDirectory
from credproof_server.demo.world import AUDITOR, CUSTODIAN, DOMAIN, LENDER, PROVIDER, World
from credproof_server.directory import ServiceDirectory
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.custodian.conftest import QUOTA, evaluate
from tests.world import GOOD, seed_of

ELEMENT = multiply_base(scalar_from(b"\x05" * 64))


def refused(world: World, home: Home, reason: str, **call) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        evaluate(world, home, [ELEMENT], **call)
    assert error_of(caught.value).reason == reason


@dataclass(frozen=True)
class Keys:
    """The secrets of both holders, which in earnest never meet."""

    service: bytes
    custodian: bytes

    @property
    def whole(self) -> bytes:
        total = sum(int.from_bytes(key, "little") for key in (self.service, self.custodian))
        return (total % ORDER).to_bytes(32, "little")


@pytest.fixture(scope="module")
def keys(shared) -> Keys:
    service = ServiceDirectory(shared.service).keys.read("oprf")
    return Keys(service, CustodianDirectory(shared.home(CUSTODIAN)).share())


def test_provider_and_lender_find_one_pseudonym_by_different_blinds(whole):
    with whole.provider() as provider, whole.lender() as lender:
        (mine,) = provider.pseudonyms([parse_subject_id("ref:somebody")])
        assert mine == lender.subject("ref:somebody").sub
        assert mine != lender.subject("ref:somebody-else").sub


def test_the_pseudonym_needs_both_shares_and_the_service_alone_gives_another(whole, keys):
    with whole.lender() as lender:
        subject, key = lender.subject("ref:somebody"), lender.trust.oprf_key
    one = scalar_from(seed_of("a guess", 64))
    guess = begin([parse_subject_id("ref:somebody")], [one])

    def under(secret: bytes) -> bytes:
        (evaluated,) = oprf.evaluate(secret, guess.elements)
        return pseudonym(guess.subjects[0], key.id, one, evaluated)

    assert subject.sub == under(keys.whole)
    assert subject.sub not in (under(keys.service), under(keys.custodian))


def test_the_whole_journey_and_years_later_without_a_network(whole, tmp_path):
    record = Record(1, "ref:journey", "card-1", date_of(int(time.time())), "TWD", GOOD)
    borrowers.create(tmp_path / "me")
    signer = borrowers.load_signer(tmp_path / "me")
    with whole.provider() as provider, whole.lender() as lender:
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
        proof = borrowers.prove_possession(signer, provider=PROVIDER)
        bound = provider.bind([(record.subject, proof)])[0]
        borrower = Borrower(signer, make_pass(Home(whole.home(PROVIDER)), bound.sub))
        subject = lender.subject(record.subject)
        request = lender.request(subject, policy_id="revolving-standing")
        consent = borrower.consent(borrower.check(request), language="en")
        kept = lender.ask(subject, policy_id="revolving-standing", consent=consent)
    assert len(kept.bundle.kept.transcript.parts) == 2
    again = OfflineVerifier(Home(whole.home(LENDER))).verify(kept.to_bytes())
    assert again.outcome.tier == "A"


# -- who may ask the custodian


def test_a_custodian_serves_those_who_make_pseudonyms_and_nobody_else(whole):
    for name in (PROVIDER, LENDER, AUDITOR):
        assert len(evaluate(whole, Home(whole.home(name)), [ELEMENT]).evaluated_elements) == 1
    for folder in (whole.service / "operator", whole.home(CUSTODIAN)):
        refused(whole, Home(folder), "NOT_PERMITTED")


def test_a_custodian_evaluates_under_the_whole_keys_name_only(whole):
    home = Home(whole.home(LENDER))
    service = home.trust(at=0).oprf_key.shares[0]
    for key_id in ("00" * 16, OprfKey((service,)).id):
        refused(whole, home, "OTHER_OPRF_KEY", key_id=key_id)


def test_whoever_the_operator_suspends_is_refused_by_the_custodian_too(whole):
    whole.admit("short-lived", "lender")
    home = Home(whole.home("short-lived"))
    evaluate(whole, home, [ELEMENT])
    admission.set_status(whole.service, "short-lived", "suspended")
    # Another key's name makes the custodian read the bundle anew.
    refused(whole, Home(whole.home(LENDER)), "OTHER_OPRF_KEY", key_id="00" * 16)
    refused(whole, home, "NOT_PERMITTED")


def test_a_lender_without_a_licence_is_refused_by_the_custodian_too(whole):
    whole.admit("unlicensed", "lender", licence=None)
    refused(whole, Home(whole.home("unlicensed")), "LENDER_NOT_LICENSED")


def test_the_custodian_has_a_quota_of_its_own_and_says_so(whole):
    whole.admit("greedy", "provider")
    with Provider.open(whole.home("greedy")) as provider:
        many = [parse_subject_id(f"ref:guess-{i}") for i in range(QUOTA + 1)]
        provider.pseudonyms(many[:128])
        with pytest.raises(Refused) as caught:
            provider.pseudonyms(many[:128])
        assert caught.value.reason == "QUOTA_REACHED"
        assert caught.value.message.startswith(f"custodian {CUSTODIAN}: ")
        assert len(provider.pseudonyms(many[: QUOTA - 128])) == QUOTA - 128, "it cost nothing"


def test_a_custodian_says_that_it_serves(whole):
    home = Home(whole.home(LENDER))
    address = home.trust(at=0).oprf_key.shares[1].address
    with connect_custodian(home, address, custodian_host(CUSTODIAN, DOMAIN)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        reply = stub.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert reply.status == health_pb2.HealthCheckResponse.SERVING


# -- what the operator may not do any more


def test_no_custodian_joins_once_pseudonyms_were_made(whole, tmp_path):
    address = "127.0.0.1:7445"
    settings = {"custodian_id": "late", "title": "Late", "listen": address, "address": address}
    enrolment = custodians.init(tmp_path / "late", **settings)
    with pytest.raises(Conflict) as caught:
        admission.admit(whole.service, enrolment, role="custodian")
    assert caught.value.reason == "PSEUDONYMS_IN_USE"


def test_a_custodian_is_not_suspended(whole):
    with pytest.raises(CredproofError) as caught:
        admission.set_status(whole.service, CUSTODIAN, "suspended")
    assert caught.value.reason == "CUSTODIAN_STAYS"
