"""What the door says no with: each refusal of a call has its own name, and no more words."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace

import grpc
import pytest
from credproof.base.errors import CredproofError, Malformed, Refused, Unreachable
from credproof.base.keys import Ed25519Signer
from credproof.channel import call, connect_borrower
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.wire.call import METADATA_KEY, sign_call
from credproof.wire.errors import from_call
from credproof_server.rpc import guard as door
from credproof_server.rpc import identity
from credproof_server.rpc.guard import Guard
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER

GET_TRUST = "/credproof.v1.RegistryService/GetTrustBundle"
PUBLISH = "/credproof.v1.RegistryService/PublishTrustBundle"


def told(caught) -> CredproofError:
    return from_call(caught.value)


@pytest.fixture
def borrowers_channel(running):
    home = running.home(PROVIDER)
    with connect_borrower(home.settings.borrowers_address, home.tls()[0]) as channel:
        yield channel


def send(channel, *tokens: str, method: str = GET_TRUST):
    metadata = [(METADATA_KEY, token) for token in tokens]
    return channel.unary_unary(method)(b"", timeout=5, metadata=metadata)


def signed(running, method: str = GET_TRUST) -> str:
    service = running.home(PROVIDER).settings.domain
    how = {"service": service, "method": method, "body": b"", "now": int(time.time())}
    return sign_call(Ed25519Signer(os.urandom(32)), nonce=os.urandom(16), **how)


@pytest.mark.parametrize("count", [0, 2])
def test_a_borrowers_call_has_exactly_one_signature(running, borrowers_channel, count):
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, *(signed(running) for _ in range(count)))
    assert told(caught).reason == "NOT_AUTHENTICATED"


def test_a_replayed_call_is_told_from_a_forged_one(running, borrowers_channel):
    token = signed(running)
    send(borrowers_channel, token)
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, token)
    assert told(caught).reason == "CALL_REPLAYED"


def test_a_borrower_does_not_publish_trust(running, borrowers_channel):
    """The listener has a handler for it, because registry calls are one service; no row has it."""
    with pytest.raises(grpc.RpcError) as caught:
        send(borrowers_channel, signed(running, PUBLISH), method=PUBLISH)
    assert told(caught).reason == "NOT_PERMITTED"


def test_what_health_serves_beyond_its_rows_is_not_permitted(running):
    stub = health_pb2_grpc.HealthStub(running.channel(AUDITOR))
    with pytest.raises(Refused) as caught:
        call(stub.List, health_pb2.HealthListRequest())
    assert caught.value.reason == "NOT_PERMITTED"


def test_bytes_that_are_no_message_are_refused(running):
    method = running.channel(AUDITOR).unary_unary("/credproof.v1.AuditService/ListEntries")
    with pytest.raises(grpc.RpcError) as caught:
        method(b"\xff\xff", timeout=5)
    assert told(caught).reason == "NOT_A_MESSAGE"


@pytest.mark.parametrize("field", ["start_index", "limit"])
def test_entries_are_not_counted_backwards(running, field):
    stub = AuditServiceStub(running.channel(AUDITOR))
    with pytest.raises(Malformed) as caught:
        call(stub.ListEntries, audit_pb.ListEntriesRequest(**{field: -1}))
    assert caught.value.reason == "BAD_RANGE"


def test_a_mapping_that_names_an_unknown_claim_stops_the_run(running):
    record = running.record({"shoe_size": 42})
    with running.world.provider() as provider, pytest.raises(Malformed) as caught:
        provider.submit([record], schema_id="consumer-revolving/1")
    assert caught.value.reason == "UNKNOWN_CLAIM"


def test_no_answer_at_all_is_told_as_such(running):
    authority, key, certificate = running.home(LENDER).tls()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    stub = AuditServiceStub(grpc.secure_channel("127.0.0.1:1", credentials))
    with pytest.raises(Unreachable) as caught:
        call(stub.GetCheckpoint, audit_pb.GetCheckpointRequest())
    assert caught.value.reason == "NO_ANSWER"


# -- without a network


def borrowers_full(monkeypatch, size: int) -> identity.Borrowers:
    monkeypatch.setattr(identity, "NONCES_MAX", size)
    return identity.Borrowers()


def identify(borrowers: identity.Borrowers, *, now: int) -> None:
    how = {"service": "a.example", "method": GET_TRUST, "body": b"", "now": now}
    token = sign_call(Ed25519Signer(bytes(32)), nonce=os.urandom(16), **how)
    borrowers.identify([(METADATA_KEY, token)], **how)


def test_a_flood_of_signed_calls_is_refused_rather_than_let_replays_through(monkeypatch):
    borrowers = borrowers_full(monkeypatch, 3)
    for _ in range(3):
        identify(borrowers, now=1000)
    with pytest.raises(Refused) as caught:
        identify(borrowers, now=1240)
    assert caught.value.reason == "TOO_MANY_CALLS"

    identify(borrowers, now=1241)  # the first three can no longer be replayed


async def test_a_fault_of_ours_is_told_without_a_word_about_it(monkeypatch):
    """The traceback goes to the log; the caller gets a name and a reference."""
    status = await aborted(monkeypatch, ValueError("credit_limit of cn-id:1101"))
    info = rpc_status.from_call(status)
    assert "INTERNAL" in str(info.details[0].value)
    assert "1101" not in str(info)


async def aborted(monkeypatch, fault: Exception):
    """The end of a call whose handler failed with this."""
    caller = identity.Caller("auditor", "office")
    monkeypatch.setattr(door.identity, "participant", lambda *_: caller)

    async def failing(_request, _context):
        raise fault

    handler = grpc.unary_unary_rpc_method_handler(failing, bytes, bytes)
    guard = Guard(SimpleNamespace(trust=None), "participants")
    monkeypatch.setattr(door, "_parse", lambda _handler, body: body)
    details = SimpleNamespace(method="/credproof.v1.AuditService/GetCheckpoint")

    async def known(_details):
        return handler

    context = Context()
    wrapped = await guard.intercept_service(known, details)
    await wrapped.unary_unary(b"", context)
    return context


class Context:
    """Keeps what a call ends with."""

    def auth_context(self):
        return {}

    def set_trailing_metadata(self, metadata):
        self._metadata = metadata

    async def abort(self, code, details):
        self._code, self._details = code, details

    def trailing_metadata(self):
        return self._metadata

    def code(self):
        return self._code

    def details(self):
        return self._details
