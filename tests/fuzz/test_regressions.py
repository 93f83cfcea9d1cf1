"""What fuzzing found: hostile files end in a reason, not in a traceback."""

from __future__ import annotations

import base64
import json

import pytest
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.borrower import parse_pass
from credproof.enrolment import verify_enrolment

from tests.fuzz.targets import seeds
from tests.world import NOW


def pem(body: bytes) -> str:
    text = base64.b64encode(body).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    head, foot = "-----BEGIN CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST-----"
    return "\n".join([head, *lines, foot, ""])


def enrolment_with(change) -> bytes:
    found = json.loads(seeds("enrolment")[0])
    body = bytearray(base64.b64decode("".join(found["csr"].splitlines()[1:-1])))
    change(body)
    return canonical_json({**found, "csr": pem(bytes(body))})


def unknown_algorithm(body: bytearray) -> None:
    body[body.index(bytes.fromhex("2a8648ce3d0201")) + 2] ^= 1


def unknown_version(body: bytearray) -> None:
    body[body.index(bytes.fromhex("020100")) + 2] = 7


@pytest.mark.parametrize("change", [unknown_algorithm, unknown_version])
def test_a_certificate_request_of_another_kind_is_refused(change):
    with pytest.raises(CredproofError) as caught:
        verify_enrolment(enrolment_with(change), now=NOW)
    assert caught.value.reason == "BAD_ENROLMENT"


def test_an_enrolment_nested_without_end_is_refused():
    with pytest.raises(CredproofError) as caught:
        verify_enrolment(b"[" * 100_000, now=NOW)
    assert caught.value.reason == "BAD_ENROLMENT"


def test_a_pass_with_other_letters_in_its_certificate_does_not_end_in_a_traceback():
    found = parse_json(seeds("pass")[0]) | {"authority": "\u6587"}
    assert parse_pass(canonical_json(found)).authority == "\u6587".encode()
