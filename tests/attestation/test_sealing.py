"""Sealing: a batch opens only where, and from whom, it was meant."""

from __future__ import annotations

import pytest
from credproof.attestation.sealing import (
    PUBLIC_BYTES,
    SECRET_BYTES,
    Route,
    SealingKey,
    SealingPublicKey,
)
from credproof.base.errors import CredproofError, LimitExceeded, Malformed
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.world import seed_of

KEY = SealingKey(seed_of("sealing", SECRET_BYTES))
OTHER = SealingKey(seed_of("other sealing", SECRET_BYTES))
ROUTE = Route("service.example", "bank")


@settings(deadline=None, max_examples=20)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=128))
def test_a_batch_comes_back(packages):
    assert packages == KEY.open(KEY.public.seal(packages, ROUTE), ROUTE)


def test_sealing_twice_gives_different_bytes():
    assert KEY.public.seal([b"x"], ROUTE) != KEY.public.seal([b"x"], ROUTE)


@pytest.mark.parametrize(
    ("key", "route"),
    [
        (OTHER, ROUTE),
        (KEY, Route("service.example", "other-bank")),
        (KEY, Route("other.example", "bank")),
    ],
)
def test_a_batch_for_another_key_provider_or_service_does_not_open(key, route):
    sealed = KEY.public.seal([b"x"], ROUTE)
    with pytest.raises(CredproofError) as caught:
        key.open(sealed, route)
    assert caught.value.reason == "SEAL_NOT_OPENED"


@pytest.mark.parametrize("at", [0, 500, 1100, -1])
def test_a_flipped_or_cut_batch_does_not_open(at):
    sealed = bytearray(KEY.public.seal([b"package"], ROUTE))
    sealed[at] ^= 1
    for data in (bytes(sealed), bytes(sealed[:-1]), b""):
        with pytest.raises(CredproofError):
            KEY.open(data, ROUTE)


def test_an_empty_and_an_oversized_batch_are_refused():
    with pytest.raises(LimitExceeded):
        KEY.public.seal([b"x"] * 129, ROUTE)
    with pytest.raises(Malformed):
        KEY.open(KEY.public.seal([], ROUTE), ROUTE)


def test_a_key_of_another_length_is_refused():
    for size in (0, PUBLIC_BYTES - 1, PUBLIC_BYTES + 1):
        with pytest.raises(Malformed):
            SealingPublicKey(bytes(size))
