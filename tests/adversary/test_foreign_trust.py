"""Bundles that the real root signed, but that cannot be this service's own.

One root may sign for several services, and its operator may take the wrong file: the service
knows its own domain, log and keys, so it can refuse what would leave it unusable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from credproof.attestation.oprf_key import OprfKey, Share
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey
from credproof.log.note import NoteSigner
from credproof.verification.participant import NEVER

from tests.deployment import Deployment
from tests.world import World, signer_of

STRANGER = signer_of("stranger")
OTHERS: dict[str, dict[str, Any]] = {
    "another domain": {"domain": "other.example"},
    "another log": {"log_vkey": str(NoteSigner("other.example/log", STRANGER).verifier_key)},
    "another answer key only": {"answer_keys": (DatedKey(STRANGER.public, 0, NEVER),)},
    "another sealing key": {"sealing_keys": (World().sealing.public.data,)},
    "a sealing key of 31 bytes": {"sealing_keys": (bytes(31),)},
    "another pseudonym key": {"oprf_keys": (World().oprf_key,)},
    "the identity as pseudonym key": {"oprf_keys": (OprfKey((Share(bytes(32)),)),)},
    "a beginning in 2100": {"issued_at": 4_102_444_800, "expires_at": 4_102_531_200},
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_bundle_with_something_of_another_service_is_refused(tmp_path, what):
    deployment = Deployment(tmp_path)
    with pytest.raises(CredproofError) as caught:
        deployment.change_trust(lambda bundle: replace(bundle, **OTHERS[what]))
    assert caught.value.reason in (
        "OTHER_SERVICE",
        "WRONG_SERVICE",
        "BAD_SEALING_KEY",
        "BAD_ELEMENT",
        "FROM_THE_FUTURE",
    )
