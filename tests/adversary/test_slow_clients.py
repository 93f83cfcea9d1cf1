"""Clients that connect and say nothing, or stop in the middle, hold up nobody else."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from credproof.base.limits import MESSAGE_BYTES_MAX
from credproof.v1 import attestation_service_pb2 as pb
from credproof_server.directory import ServiceDirectory

from tests.adversary.stage import LENDER, PROVIDER, Stage

IDLE = min(1000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
"""Connections that say nothing: a thousand, or as many as there are descriptors for."""
TLS = 60
"""Of these, how many finish the TLS handshake first: it costs both sides the same."""
ANSWERED_S = 5.0
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
HALF_A_FRAME = bytes([0, 0x40, 0, 1, 4, 0, 0, 0, 1]) + b"\x00" * 100
"""The head of a HEADERS frame of 16 KB, and its first bytes."""
TRUST = "RegistryService/GetTrustBundle"


def address(stage: Stage, listener: str) -> tuple[str, int]:
    first, second = ServiceDirectory(stage.world.service).addresses()
    host, _, port = (first if listener == "participants" else second).rpartition(":")
    return host, int(port)


def context_of(stage: Stage) -> ssl.SSLContext:
    """TLS as a lender speaks it, with its certificate."""
    folder = stage.world.home(LENDER)
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    return context


@contextmanager
def connected(stage: Stage, listener: str, count: int, *, said: bytes = b"") -> Iterator[list]:
    """Connections that say `said` in clear, and then nothing; all closed at the end."""
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            found = socket.create_connection(address(stage, listener), timeout=5)
            opened.append(stack.enter_context(found))
            if said:
                found.sendall(said)
        yield opened


@contextmanager
def greeted(stage: Stage, count: int, *, said: bytes) -> Iterator[list]:
    """As `connected`, after the TLS handshake."""
    context = context_of(stage)
    with ExitStack() as stack:
        opened = []
        for _ in range(count):
            plain = socket.create_connection(address(stage, "participants"), timeout=5)
            found = context.wrap_socket(plain, server_hostname="localhost")
            opened.append(stack.enter_context(found))
            if said:
                found.sendall(said)
        yield opened


def answered(stage: Stage) -> float:
    """How long fresh honest clients of both listeners wait for an answer, in seconds."""
    started = time.monotonic()
    channel = stage._connect(LENDER)
    try:
        assert channel.unary_unary(f"/credproof.v1.{TRUST}")(b"", timeout=ANSWERED_S)
    finally:
        channel.close()
    token = stage.signed_call("ann", TRUST, b"")
    assert stage.send("borrowers", TRUST, b"", [("credproof-call", token)])
    return time.monotonic() - started


@pytest.mark.parametrize("listener", ["participants", "borrowers"])
def test_connections_that_say_nothing_hold_up_nobody(stage: Stage, listener):
    with connected(stage, listener, IDLE):
        assert answered(stage) < ANSWERED_S


def test_connections_that_stop_after_the_handshake_hold_up_nobody(stage: Stage):
    with greeted(stage, TLS, said=b""):
        assert answered(stage) < ANSWERED_S


def test_clients_that_stop_in_the_middle_of_a_request_hold_up_nobody(stage: Stage):
    with greeted(stage, TLS, said=PREFACE + HALF_A_FRAME):
        assert answered(stage) < ANSWERED_S


def test_clients_that_stop_in_the_middle_of_the_handshake_hold_up_nobody(stage: Stage):
    with connected(stage, "participants", TLS, said=b"\x16\x03\x01\x02\x00\x01\x00\x01"):
        assert answered(stage) < ANSWERED_S


def test_clients_that_speak_another_protocol_hold_up_nobody(stage: Stage):
    with connected(stage, "borrowers", TLS, said=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"):
        assert answered(stage) < ANSWERED_S


def test_a_message_over_the_limit_is_refused_and_the_next_one_served(stage: Stage):
    body = pb.SubmitAttestationsRequest(sealed_batch=bytes(MESSAGE_BYTES_MAX))
    with pytest.raises(grpc.RpcError) as caught:
        stage.send(PROVIDER, "AttestationService/SubmitAttestations", body)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert answered(stage) < ANSWERED_S
