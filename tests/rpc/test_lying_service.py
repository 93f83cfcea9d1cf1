"""A service that lies to the participants who work with it: each SDK notices."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from types import SimpleNamespace

import pytest
from credproof import borrower as borrowers
from credproof.base.errors import DataLoss, Unreachable, VerificationFailed
from credproof.base.keys import Ed25519Signer
from credproof.provider import Provider
from credproof.v1.audit_service_pb2 import ListEntriesResponse

from tests.rpc.conftest import PROVIDER

SCHEMA = "consumer-revolving/1"


@pytest.fixture
def provider(running):
    with running.world.provider() as opened:
        yield opened


class Changed:
    """The replies of a stream, each changed."""

    def __init__(self, replies, change) -> None:
        self._replies = replies
        self._change = change
        self.cancel = replies.cancel

    def __next__(self):
        reply = next(self._replies)
        self._change(reply)
        return reply


def lying(provider: Provider, change) -> None:
    """From now on the replies to this provider's submissions are changed."""
    honest = provider._attestations

    provider._attestations = SimpleNamespace(
        StreamAttestations=lambda requests, **how: Changed(
            honest.StreamAttestations(requests, **how), change
        ),
        ListChainHeads=honest.ListChainHeads,
        honest=honest,
    )


def honest_again(provider: Provider) -> None:
    provider._attestations = provider._attestations.honest


def refused(provider: Provider, records, reason: str) -> None:
    with pytest.raises(DataLoss) as caught:
        provider.submit(records, schema_id=SCHEMA)
    assert caught.value.reason == reason


def other_subject(reply) -> None:
    reply.results[-1].receipt.sub = os.urandom(32)


def other_token(reply) -> None:
    reply.results[-1].receipt.token_id = os.urandom(32)


def swapped(reply) -> None:
    first, second = (reply.results[i].receipt.sub for i in (0, 1))
    reply.results[0].receipt.sub, reply.results[1].receipt.sub = second, first


@pytest.mark.parametrize("lie", [other_subject, other_token, swapped])
def test_a_receipt_that_files_an_attestation_under_another_borrower_is_refused(
    running, provider, lie
):
    records = [running.record(), running.record()]
    lying(provider, lie)
    refused(provider, records, "MISFILED")

    honest_again(provider)
    report = provider.submit(records, schema_id=SCHEMA)
    assert report.accepted == 2, "no receipt of the lying reply was believed"


def test_a_key_is_not_bound_to_another_person(provider):
    proof = borrowers.prove_possession(Ed25519Signer(os.urandom(32)), provider=PROVIDER)
    lying(provider, other_subject)
    with pytest.raises(DataLoss) as caught:
        provider.bind([("ref:somebody-else", proof)])
    assert caught.value.reason == "MISFILED"

    honest_again(provider)
    assert len(provider.bind([("ref:somebody-else", proof)])) == 1


def test_a_row_that_the_operator_moved_to_another_borrower_is_noticed_by_the_next_rerun(
    running, provider
):
    """The reply was lost, the rerun asks for the receipt, the row says another name."""

    def lost(_reply):
        raise Unreachable("NO_ANSWER", "the reply is lost")

    record = running.record()
    lying(provider, lost)
    with pytest.raises(Unreachable):
        provider.submit([record], schema_id=SCHEMA)
    honest_again(provider)
    (item,) = provider._outbox.pending(2)
    move(running, item.token_id, bytes(32))
    refused(provider, [record], "MISFILED")

    move(running, item.token_id, item.sub)
    assert provider.submit([record], schema_id=SCHEMA).accepted == 1


def move(running, token_id: bytes, sub: bytes) -> None:
    path = running.world.service / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        done = database.execute(
            "UPDATE attestations SET sub = ? WHERE token_id = ?", (sub, token_id)
        )
        assert done.rowcount == 1


def test_a_reply_that_leaves_an_item_out_is_refused(running, provider):
    records = [running.record(), running.record()]
    lying(provider, lambda reply: reply.results.pop())
    refused(provider, records, "BAD_REPLY")

    honest_again(provider)
    assert provider.submit(records, schema_id=SCHEMA).accepted == 2


def test_entries_that_are_held_back_from_the_auditor_are_noticed(running):
    with running.world.auditor() as auditor:
        honest, size = auditor._stub.ListEntries, auditor.checkpoint().tree_size

        def holding_back(request, **how):
            reply = honest(request, **how)
            first = range(request.start_index, size - 1)
            return ListEntriesResponse(lines=reply.lines[: len(first)])

        auditor._stub.ListEntries = holding_back
        with pytest.raises(VerificationFailed) as caught:
            auditor.verify(whole=True)
    assert caught.value.reason == "ENTRIES_MISSING"
