"""What `openssl ts` stamps is verified; nothing else is taken for a timestamp of a checkpoint."""

from __future__ import annotations

import random

import pytest
from credproof.base.errors import CredproofError
from credproof.base.limits import (
    CERTIFICATES_BYTES_MAX,
    CERTIFICATES_MAX,
    TIMESTAMP_BYTES_MAX,
)
from credproof.log.cosignature import Ed25519Cosigner, with_lines
from credproof.log.note import parse_note
from credproof.log.timestamp import (
    is_authority_name,
    parse_certificates,
    require_of,
    verify_timestamp,
)

from tests.log.test_cosignature import note
from tests.timestamps.authority import POLICY, Certificates, openssl, swapped
from tests.world import World

NOTE = note()
OTHER_NOTE = World().log.checkpoint()


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def response(authority) -> bytes:
    return authority.stamp_note(NOTE)


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason


def test_a_timestamp_by_openssl_verifies_and_says_when_and_under_which_policy(authority, response):
    found = verify_timestamp(response, NOTE, authority.trusted(POLICY))
    assert found.policy == POLICY
    require_of(response, NOTE)


def test_cosignatures_change_nothing_about_a_notes_timestamp(authority, response):
    line = Ed25519Cosigner("w.example/1", bytes(32)).cosign(parse_note(NOTE).text, 1)
    verify_timestamp(response, with_lines(NOTE, [line]), authority.trusted())


def test_a_timestamp_of_another_checkpoint_by_another_hash_or_policy_is_refused(
    authority, response, tmp_path
):
    trusted = authority.trusted()
    for call in (
        lambda: verify_timestamp(response, OTHER_NOTE, trusted),
        lambda: require_of(response, OTHER_NOTE),
    ):
        refused("TIMESTAMP_OTHER_DIGEST", call)
    other = authority.trusted("1.2.3.5")
    refused("TIMESTAMP_OTHER_POLICY", lambda: verify_timestamp(response, NOTE, other))
    refused("TIMESTAMP_OTHER_NONCE", lambda: verify_timestamp(response, NOTE, trusted, nonce=7))
    rejected = authority.stamp_note(NOTE, "-sha512")
    refused("TIMESTAMP_REFUSED", lambda: verify_timestamp(rejected, NOTE, trusted))


def test_an_expired_another_or_an_untrusted_signer_is_refused(authority, response, tmp_path):
    expired = Certificates(tmp_path / "expired", days=(-20, -10))
    stamped = expired.stamp_note(NOTE)
    refused("TIMESTAMP_NOT_TRUSTED", lambda: verify_timestamp(stamped, NOTE, expired.trusted()))
    refused("TIMESTAMP_NOT_TRUSTED", lambda: verify_timestamp(response, NOTE, expired.trusted()))
    without = authority.stamp_note(NOTE)
    assert verify_timestamp(without, NOTE, authority.trusted())


def test_a_timestamp_without_its_certificate_is_refused(authority, tmp_path):
    text, query = tmp_path / "text", tmp_path / "query"
    text.write_bytes(parse_note(NOTE).text.encode())
    openssl("ts", "-query", "-data", text, "-sha256", "-out", query)
    bare = authority.stamp(query.read_bytes())
    refused("TIMESTAMP_NOT_TRUSTED", lambda: verify_timestamp(bare, NOTE, authority.trusted()))


def test_a_certificate_for_other_purposes_too_stamps_nothing(authority, response):
    """Key, name, number and issuer are those of the signer: only the purposes are more."""
    other = swapped(response, authority.signing, authority.twin())
    refused("TIMESTAMP_NOT_TRUSTED", lambda: verify_timestamp(other, NOTE, authority.trusted()))


def test_no_altered_byte_makes_another_timestamp(authority, response):
    trusted, chance = authority.trusted(), random.Random(3161)
    real = verify_timestamp(response, NOTE, trusted)
    survived = 0
    for _ in range(400):
        at = chance.randrange(len(response))
        altered = bytearray(response)
        altered[at] ^= 1 << chance.randrange(8)
        try:
            found = verify_timestamp(bytes(altered), NOTE, trusted)
        except CredproofError:
            continue
        survived += 1
        assert found == real
    assert survived < 40


@pytest.mark.parametrize("data", [b"", b"0", b"no DER at all", bytes(300)])
def test_what_is_no_response_is_told_as_such(authority, data):
    refused("BAD_TIMESTAMP", lambda: verify_timestamp(data, NOTE, authority.trusted()))


def test_limits_of_timestamps_and_certificates(authority, response):
    full = bytes(TIMESTAMP_BYTES_MAX)
    refused("BAD_TIMESTAMP", lambda: require_of(full, NOTE))
    refused("LIMIT_EXCEEDED", lambda: require_of(full + b"\0", NOTE))
    pem = authority.file.read_bytes()
    assert len(parse_certificates(pem * (CERTIFICATES_MAX // 2))) == CERTIFICATES_MAX
    refused("LIMIT_EXCEEDED", lambda: parse_certificates(pem * (CERTIFICATES_MAX // 2 + 1)))
    refused("LIMIT_EXCEEDED", lambda: parse_certificates(bytes(CERTIFICATES_BYTES_MAX + 1)))


@pytest.mark.parametrize(
    "pem", [b"", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", b"\xff"]
)
def test_a_file_without_certificates_is_told(pem):
    refused("BAD_CERTIFICATES", lambda: parse_certificates(pem))


@pytest.mark.parametrize("name", ["", "../up", "a/b", "A", "-a", "a" * 41, "a\n"])
def test_a_name_that_could_not_be_a_file_is_none(name):
    assert not is_authority_name(name)
    assert is_authority_name("a" * 40)
