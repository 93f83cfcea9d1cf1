"""A custodian that is lost, slow or lies, and somebody else in its place: each has its own error,
and nothing is half done."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import pytest
from credproof import channel
from credproof.base import oprf
from credproof.base.encoding import date_of
from credproof.base.errors import CredproofError
from credproof.base.group import scalar_from
from credproof.home import Home
from credproof.pseudonyms import _Custodian
from credproof.records.mapping import Record
from credproof.v1 import pseudonym_service_pb2 as pb
from credproof.v1 import pseudonym_service_pb2_grpc as rpc
from credproof_server.custodian.directory import CustodianDirectory
from credproof_server.demo.world import CUSTODIAN, LENDER, World
from credproof_server.directory import ServiceDirectory

from tests.world import GOOD

Pair = tuple[bytes, bytes]
"""A TLS key and its certificate, as PEM."""
Reply = pb.EvaluatePseudonymsResponse
NAMED = f"custodian {CUSTODIAN}"


class Liar(rpc.PseudonymServiceServicer):
    """Evaluates, and then does something else."""

    def __init__(self, share: bytes, lie: Callable[[Reply], Reply]) -> None:
        self._share = share
        self._lie = lie

    def EvaluatePseudonyms(self, request, context) -> Reply:
        made = oprf.evaluate_verifiable(self._share, request.blinded_elements, os.urandom(64))
        return self._lie(Reply(evaluated_elements=made[0], proof=made[1]))


@contextmanager
def served(world: World, pair: Pair, servicer) -> Iterator[None]:
    """Somebody answers at the custodian's address."""
    directory = CustodianDirectory(world.home(CUSTODIAN))
    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    rpc.add_PseudonymServiceServicer_to_server(servicer, server)
    authority = directory.home().tls()[0]
    credentials = grpc.ssl_server_credentials([pair], authority, require_client_auth=True)
    server.add_secure_port(directory.config.listen, credentials)
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()


def own_pair(world: World) -> Pair:
    _, key, certificate = Home(world.home(CUSTODIAN)).tls()
    return key, certificate


def share_of(world: World) -> bytes:
    return CustodianDirectory(world.home(CUSTODIAN)).share()


@pytest.fixture(autouse=True)
def _once(monkeypatch):
    """A call is tried once: whoever is not there is not there the fifth time either."""
    monkeypatch.setattr(channel, "_OPTIONS", channel._SIZES)


def fails(world: World, reason: str) -> CredproofError:
    """A lender gets no pseudonym, and a provider attests nothing; the error names who it was."""
    with world.lender() as lender, pytest.raises(CredproofError) as caught:
        lender.subject("ref:somebody")
    assert caught.value.reason == reason
    assert caught.value.message.startswith(NAMED)
    return caught.value


def honest(reply: Reply) -> Reply:
    return reply


def other_element(reply: Reply) -> Reply:
    false = oprf.evaluate(scalar_from(b"\x07" * 64), list(reply.evaluated_elements))
    return Reply(evaluated_elements=false, proof=reply.proof)


def other_proof(reply: Reply) -> Reply:
    return Reply(evaluated_elements=reply.evaluated_elements, proof=bytes(64))


def one_too_many(reply: Reply) -> Reply:
    return Reply(evaluated_elements=[*reply.evaluated_elements] * 2, proof=reply.proof)


def none(_reply: Reply) -> Reply:
    return Reply()


def no_element(reply: Reply) -> Reply:
    return Reply(evaluated_elements=[b"\xff" * 32], proof=reply.proof)


def test_a_custodian_that_answers_rightly_is_believed(shared):
    with (
        served(shared, own_pair(shared), Liar(share_of(shared), honest)),
        shared.lender() as lender,
    ):
        assert len(lender.subject("ref:somebody").transcript.parts) == 2


@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (other_element, "BAD_DLEQ_PROOF"),
        (other_proof, "BAD_DLEQ_PROOF"),
        (one_too_many, "BAD_DLEQ_PROOF"),
        (none, "BAD_DLEQ_PROOF"),
        (no_element, "BAD_ELEMENT"),
    ],
)
def test_a_custodian_that_lies_is_named(shared, lie, reason):
    with served(shared, own_pair(shared), Liar(share_of(shared), lie)):
        fails(shared, reason)


def test_a_custodian_that_uses_another_key_is_named(shared):
    other = scalar_from(os.urandom(64))
    with served(shared, own_pair(shared), Liar(other, honest)):
        fails(shared, "BAD_DLEQ_PROOF")


def test_a_custodian_that_is_down_is_named(shared):
    fails(shared, "CUSTODIAN_UNREACHABLE")


def test_a_custodian_that_is_too_slow_is_named(shared, monkeypatch):
    monkeypatch.setattr(_Custodian, "timeout_s", 0.5)

    def slow(reply: Reply) -> Reply:
        time.sleep(1.5)
        return reply

    with served(shared, own_pair(shared), Liar(share_of(shared), slow)):
        fails(shared, "CUSTODIAN_TIMEOUT")


def test_a_service_in_the_place_of_a_custodian_is_not_believed(shared):
    """Its certificate is by the same authority, and it might even know the share."""
    directory = ServiceDirectory(shared.service)
    pair = (directory.keys.read("server"), directory.certificate("server"))
    with served(shared, pair, Liar(share_of(shared), honest)):
        fails(shared, "NOT_THE_CUSTODIAN")


def test_another_participant_in_the_place_of_a_custodian_is_not_believed(shared):
    _, key, certificate = Home(shared.home(LENDER)).tls()
    with served(shared, (key, certificate), Liar(share_of(shared), honest)):
        fails(shared, "NOT_THE_CUSTODIAN")


def test_a_provider_whose_custodian_is_lost_attests_nothing_and_goes_on_later(shared):
    today = date_of(int(time.time()))
    record = Record(1, "ref:later", "card-later", today, "TWD", GOOD)
    with shared.auditor() as auditor:
        before = auditor.checkpoint().tree_size
        with shared.provider() as provider, pytest.raises(CredproofError) as caught:
            provider.submit([record], schema_id="consumer-revolving/1")
        assert caught.value.reason == "CUSTODIAN_UNREACHABLE"
        assert auditor.checkpoint().tree_size == before
    with shared.provider() as provider:
        assert provider._outbox.pending(1) == []
        with served(shared, own_pair(shared), Liar(share_of(shared), honest)):
            assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
