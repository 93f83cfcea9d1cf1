"""Who is let in: certificates, roles, signed calls, limits, errors."""

from __future__ import annotations

import os
import time

import grpc
import pytest
from credproof.base.errors import CredproofError, Malformed, Refused, Unreachable
from credproof.base.keys import Ed25519Signer
from credproof.channel import call, connect_borrower
from credproof.v1 import (
    attestation_service_pb2,
    attestation_service_pb2_grpc,
    audit_service_pb2,
    audit_service_pb2_grpc,
    consent_service_pb2,
    pseudonym_service_pb2,
    pseudonym_service_pb2_grpc,
    registry_service_pb2,
    registry_service_pb2_grpc,
    verification_service_pb2,
    verification_service_pb2_grpc,
)
from credproof.wire.call import METADATA_KEY, sign_call
from credproof_server.authority import Authority
from credproof_server.directory import ServiceDirectory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER

GET_TRUST = "/credproof.v1.RegistryService/GetTrustBundle"


def test_without_a_certificate_nobody_reaches_the_participants_listener(running):
    home = running.home(LENDER)
    credentials = grpc.ssl_channel_credentials(home.tls()[0])
    channel = grpc.secure_channel(home.settings.address, credentials)
    stub = registry_service_pb2_grpc.RegistryServiceStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        stub.GetTrustBundle(registry_service_pb2.GetTrustBundleRequest(), timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_a_certificate_of_another_authority_is_not_let_in(running):
    home = running.home(LENDER)
    _, key, _ = home.tls()
    foreign = Authority.create("demo.credproof.example", int(time.time()))
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    public = load_pem_private_key(key, None).public_key()
    certificate = foreign.participant(
        public,
        domain=home.settings.domain,
        role="lender",
        name=LENDER,
        kid=home.signer.public.kid,
        now=int(time.time()),
    )
    credentials = grpc.ssl_channel_credentials(home.tls()[0], key, certificate)
    stub = registry_service_pb2_grpc.RegistryServiceStub(
        grpc.secure_channel(home.settings.address, credentials)
    )
    with pytest.raises(grpc.RpcError):
        stub.GetTrustBundle(registry_service_pb2.GetTrustBundleRequest(), timeout=5)


@pytest.mark.parametrize(
    ("role", "name"), [("lender", "nobody"), ("auditor", LENDER), ("operator", "someone")]
)
def test_a_certificate_for_an_unknown_participant_or_role_is_refused(running, role, name):
    home = running.home(LENDER)
    _, key, _ = home.tls()
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    public = load_pem_private_key(key, None).public_key()
    directory = ServiceDirectory(running.world.service)
    certificate = directory.authority().participant(
        public,
        domain=home.settings.domain,
        role=role,
        name=name,
        kid=home.signer.public.kid,
        now=int(time.time()),
    )
    credentials = grpc.ssl_channel_credentials(home.tls()[0], key, certificate)
    stub = registry_service_pb2_grpc.RegistryServiceStub(
        grpc.secure_channel(home.settings.address, credentials)
    )
    with pytest.raises(Refused) as caught:
        call(stub.GetTrustBundle, registry_service_pb2.GetTrustBundleRequest())
    assert caught.value.reason == "NOT_PERMITTED"


@pytest.mark.parametrize(
    ("caller", "method"),
    [
        (LENDER, "submit"),
        (AUDITOR, "submit"),
        (PROVIDER, "ask"),
        (AUDITOR, "ask"),
        (PROVIDER, "batch"),
        (PROVIDER, "entries"),
        (LENDER, "entries"),
        (LENDER, "publish"),
        (PROVIDER, "publish"),
        (AUDITOR, "publish"),
    ],
)
def test_a_role_that_has_no_row_is_denied(running, caller, method):
    channel = running.channel(caller)
    stubs = {
        "submit": (
            attestation_service_pb2_grpc.AttestationServiceStub(channel).SubmitAttestations,
            attestation_service_pb2.SubmitAttestationsRequest(sealed_batch=b"x"),
        ),
        "ask": (
            verification_service_pb2_grpc.VerificationServiceStub(channel).Ask,
            verification_service_pb2.AskRequest(),
        ),
        "batch": (
            verification_service_pb2_grpc.VerificationServiceStub(channel).BatchAsk,
            verification_service_pb2.BatchAskRequest(),
        ),
        "entries": (
            audit_service_pb2_grpc.AuditServiceStub(channel).ListEntries,
            audit_service_pb2.ListEntriesRequest(),
        ),
        "publish": (
            registry_service_pb2_grpc.RegistryServiceStub(channel).PublishTrustBundle,
            registry_service_pb2.PublishTrustBundleRequest(),
        ),
    }
    with pytest.raises(Refused) as caught:
        call(*stubs[method])
    assert caught.value.reason == "NOT_PERMITTED"


def test_a_method_that_the_table_does_not_know_does_not_exist(running):
    channel = running.channel(LENDER)
    unknown = channel.unary_unary("/credproof.v1.ConsentService/GrantConsent")
    with pytest.raises(grpc.RpcError) as caught:
        unknown(b"", timeout=5)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_an_error_carries_one_error_info_with_a_stable_reason(running):
    stub = audit_service_pb2_grpc.AuditServiceStub(running.channel(AUDITOR))
    request = audit_service_pb2.GetInclusionProofRequest(log_index=5, tree_size=10**9)
    with pytest.raises(Malformed) as caught:
        call(stub.GetInclusionProof, request)
    assert caught.value.reason == "NO_SUCH_SIZE"


@pytest.mark.parametrize("field", ["request_id", "nonce", "sub", "consent_id", "case_digest"])
def test_a_field_of_another_length_is_refused_by_name(running, field):
    stub = verification_service_pb2_grpc.VerificationServiceStub(running.channel(LENDER))
    request = verification_service_pb2.AskRequest(
        request_id=bytes(16),
        nonce=bytes(32),
        sub=bytes(32),
        consent_id=bytes(32),
        case_digest=bytes(32),
        staff_digest=bytes(32),
        policy=verification_service_pb2.PolicyReference(id="x", version=1, digest=bytes(32)),
    )
    setattr(request, field, b"short")
    with pytest.raises(Malformed) as caught:
        call(stub.Ask, request)
    assert caught.value.reason == "WRONG_LENGTH"
    assert field in caught.value.message


def test_too_many_elements_are_refused(running):
    stub = pseudonym_service_pb2_grpc.PseudonymServiceStub(running.channel(LENDER))
    request = pseudonym_service_pb2.EvaluatePseudonymsRequest(
        key_id="00" * 16, blinded_elements=[bytes(32)] * 129
    )
    with pytest.raises(Malformed) as caught:
        call(stub.EvaluatePseudonyms, request)
    assert caught.value.reason == "LIMIT_EXCEEDED"


def test_a_message_over_the_limit_does_not_get_in(running):
    stub = attestation_service_pb2_grpc.AttestationServiceStub(running.channel(PROVIDER))
    request = attestation_service_pb2.SubmitAttestationsRequest(sealed_batch=bytes(5 * 1024 * 1024))
    with pytest.raises(CredproofError):
        call(stub.SubmitAttestations, request)


# -- the borrowers' listener


@pytest.fixture
def borrowers_channel(running):
    home = running.home(PROVIDER)
    with connect_borrower(home.settings.borrowers_address, home.tls()[0]) as channel:
        yield channel


def send(channel, body: bytes, token: str | None, method: str = GET_TRUST):
    metadata = ((METADATA_KEY, token),) if token else ()
    return channel.unary_unary(method)(body, timeout=5, metadata=metadata)


def signed(running, **changes) -> str:
    service = running.home(PROVIDER).settings.domain
    call_ = {
        "service": service,
        "method": GET_TRUST,
        "body": b"",
        "now": int(time.time()),
        "nonce": os.urandom(16),
    }
    return sign_call(Ed25519Signer(os.urandom(32)), **{**call_, **changes})


def test_a_signed_call_is_served(running, borrowers_channel):
    assert send(borrowers_channel, b"", signed(running))


@pytest.mark.parametrize(
    "change",
    [
        {"method": "/credproof.v1.ConsentService/GrantConsent"},
        {"body": b"another"},
        {"service": "other.example"},
        {"now": 1_000_000_000},
    ],
)
def test_a_signature_for_another_call_is_not_served(running, borrowers_channel, change):
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, b"", signed(running, **change))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_call_without_a_signature_is_not_served(borrowers_channel):
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, b"", None)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_a_call_that_comes_twice_is_refused(running, borrowers_channel):
    token = signed(running)
    send(borrowers_channel, b"", token)
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, b"", token)
    assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED


def test_participants_services_are_not_on_the_borrowers_listener(running, borrowers_channel):
    method = "/credproof.v1.VerificationService/Ask"
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, b"", signed(running, method=method), method)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_consent_that_is_not_one_is_refused_in_words(running):
    _, borrower = running.person()
    request = consent_service_pb2.GrantConsentRequest(consent="not.a.token")
    with pytest.raises(Malformed):
        borrower._caller.call(
            "/credproof.v1.ConsentService/GrantConsent",
            request,
            consent_service_pb2.GrantConsentResponse,
        )


# -- health and reflection


def test_health_is_served_to_participants(running):
    stub = health_pb2_grpc.HealthStub(running.channel(AUDITOR))
    request = health_pb2.HealthCheckRequest(service="credproof.v1.AuditService")
    assert stub.Check(request, timeout=5).status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(running):
    stub = reflection_pb2_grpc.ServerReflectionStub(running.channel(AUDITOR))
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    reply = next(stub.ServerReflectionInfo(iter([request]), timeout=5))
    names = {service.name for service in reply.list_services_response.service}
    assert "credproof.v1.AttestationService" in names
    assert "credproof.v1.ConsentService" not in names


def test_without_a_service_the_client_says_unreachable_after_its_retries(running):
    home = running.home(LENDER)
    authority, key, certificate = home.tls()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    stub = registry_service_pb2_grpc.RegistryServiceStub(
        grpc.secure_channel("127.0.0.1:1", credentials)
    )
    with pytest.raises(Unreachable):
        call(stub.GetTrustBundle, registry_service_pb2.GetTrustBundleRequest())
