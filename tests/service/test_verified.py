"""Remembered consents: the same verdict as at first, and no longer than there is room."""

from __future__ import annotations

import pytest
from credproof.base.errors import VerificationFailed
from credproof.verification.consent import verify_consent
from credproof_server.service.verified import CONSENTS_KEPT, verified_consent

from tests.world import World


def test_a_consent_is_remembered_as_it_was_verified():
    text = World().consent()
    assert verified_consent(text, ()) == verify_consent(text)
    assert verified_consent(text, ()) is verified_consent(text, ())


def test_a_consent_with_another_signature_is_refused_each_time():
    text = World().consent()
    verified_consent(text, ())
    bent = text[:-4] + ("AAAA" if not text.endswith("AAAA") else "AEAA")
    for _ in range(2):
        with pytest.raises(VerificationFailed):
            verified_consent(bent, ())


def test_no_more_consents_are_remembered_than_there_is_room_for():
    assert verified_consent.cache_parameters()["maxsize"] == CONSENTS_KEPT
