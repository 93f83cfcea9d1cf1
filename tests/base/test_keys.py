"""Ed25519 by the Wycheproof vectors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from credproof.base.errors import VerificationFailed
from credproof.base.keys import PublicKey

VECTORS = Path(__file__).parent.parent / "vectors" / "wycheproof" / "ed25519.json"
CASES = [
    (group, test)
    for group in json.loads(VECTORS.read_text())["testGroups"]
    for test in group["tests"]
]


def public_key(group: dict) -> PublicKey:
    found = group.get("publicKey") or group.get("key")
    return PublicKey("EdDSA", bytes.fromhex(found["pk"]))


def test_there_are_vectors_of_both_kinds():
    assert {"valid", "invalid"} == {test["result"] for _, test in CASES}


@pytest.mark.parametrize(("group", "test"), CASES, ids=lambda value: str(value.get("tcId", "")))
def test_ed25519_accepts_the_valid_and_refuses_the_invalid(group, test):
    message, signature = bytes.fromhex(test["msg"]), bytes.fromhex(test["sig"])
    if test["result"] == "valid":
        public_key(group).verify(message, signature)
    else:
        with pytest.raises(VerificationFailed):
            public_key(group).verify(message, signature)
