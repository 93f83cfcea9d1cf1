"""Signed calls are taken once, and remembering them costs no more than their freshness."""

from __future__ import annotations

import pytest
from credproof.base.errors import Refused
from credproof.wire.call import METADATA_KEY, sign_call
from credproof_server.rpc import identity
from credproof_server.rpc.identity import Borrowers

from tests.world import NOW, seed_of, signer_of

METHOD = "/credproof.v1.ConsentService/GrantConsent"


def call(borrowers: Borrowers, number: int, *, signed_at: int = NOW, now: int = NOW):
    token = sign_call(
        signer_of("borrower"),
        service="world.example",
        method=METHOD,
        body=b"",
        now=signed_at,
        nonce=seed_of(f"nonce {number}", 16),
    )
    return borrowers.identify(
        [(METADATA_KEY, token)], service="world.example", method=METHOD, body=b"", now=now
    )


def refused(reason: str, *arguments, **times) -> None:
    with pytest.raises(Refused) as caught:
        call(*arguments, **times)
    assert reason == caught.value.reason


@pytest.mark.parametrize("later", [0, 1, 119, 120])
def test_a_call_is_refused_a_second_time_while_it_is_fresh(later):
    borrowers = Borrowers()
    call(borrowers, 1)
    refused("CALL_REPLAYED", borrowers, 1, now=NOW + later)


def test_a_call_signed_by_a_fast_clock_is_remembered_until_it_is_stale():
    borrowers = Borrowers()
    call(borrowers, 1, signed_at=NOW + 120)
    refused("CALL_REPLAYED", borrowers, 1, signed_at=NOW + 120, now=NOW + 240)
    refused("NOT_AUTHENTICATED", borrowers, 1, signed_at=NOW + 120, now=NOW + 241)


def test_a_flood_closes_the_door_only_until_its_calls_are_stale(monkeypatch):
    monkeypatch.setattr(identity, "NONCES_MAX", 3)
    borrowers = Borrowers()
    for number in range(3):
        call(borrowers, number)
    refused("TOO_MANY_CALLS", borrowers, 4)
    later = NOW + 241
    assert call(borrowers, 5, signed_at=later, now=later).role == "borrower"


def test_calls_that_are_stale_are_forgotten():
    borrowers = Borrowers()
    for number in range(10):
        at = NOW + number * 241
        call(borrowers, number, signed_at=at, now=at)
    assert len(borrowers._seen) == 1
