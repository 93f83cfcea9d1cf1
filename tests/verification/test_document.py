"""Documents of borrowers: what counts as a signature, by keys in files and by passkeys."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, parse_b64url, parse_json
from credproof.base.errors import CredproofError
from credproof.base.keys import P256_ORDER
from credproof.base.limits import CLOCK_SKEW_S, DOCUMENT_SIGNATURES_MAX
from credproof.provider import verify_possession
from credproof.verification.bundle import RelyingParty
from credproof.verification.document import (
    CONSENT,
    POSSESSION,
    REVOCATION,
    join_signatures,
    sign_document,
    verify_document,
)
from credproof_server.demo.authenticator import (
    USER_PRESENT,
    USER_VERIFIED,
    SoftwareAuthenticator,
)
from hypothesis import given
from hypothesis import strategies as st

from tests.world import signer_of

ORIGIN = "https://pages.example"
PAGE = RelyingParty("pages.example", (ORIGIN, "https://pages.example:8443"))
PARTIES = (RelyingParty("other.example", ("https://other.example",)), PAGE)
SIGNED = 1_000
CLAIMS = {"consent": "to this", "iat": SIGNED, "nbf": SIGNED}
PAYLOAD = canonical_json(CLAIMS)
PHONE = SoftwareAuthenticator(PAGE.id, ORIGIN)


def refused(reason: str, text: str, kind=CONSENT, parties=PARTIES) -> None:
    with pytest.raises(CredproofError) as caught:
        verify_document(text, kind, parties)
    assert caught.value.reason == reason


# -- several keys


def test_a_document_is_verified_under_every_key_that_signed_it():
    signers = [signer_of("one"), signer_of("two"), PHONE]
    texts = [sign_document(signer, CONSENT, CLAIMS) for signer in signers]
    document = verify_document(join_signatures(texts), CONSENT, PARTIES)

    assert set(document.keys) == {signer.public for signer in signers}
    assert [signature.rp_id for signature in document.signatures].count(PAGE.id) == 1
    assert document.id == verify_document(texts[0], CONSENT, PARTIES).id, "whoever signs it"


def test_signatures_are_in_one_order_each_key_once():
    texts = [sign_document(signer_of(name), CONSENT, CLAIMS) for name in ("one", "two")]
    whole = join_signatures(texts)

    refused("NOT_ONE_DOCUMENT", "~".join(reversed(whole.split("~"))))
    refused("NOT_ONE_DOCUMENT", f"{texts[0]}~{texts[0]}")


def test_signatures_over_two_documents_are_no_document():
    texts = [sign_document(signer_of(name), CONSENT, {"for": name}) for name in ("one", "two")]
    refused("NOT_ONE_DOCUMENT", join_signatures(texts))


def test_one_bad_signature_spoils_the_document():
    good, other = (sign_document(signer_of(name), CONSENT, CLAIMS) for name in ("one", "two"))
    head, payload, _ = other.split(".")
    refused("BAD_SIGNATURE", join_signatures([good, f"{head}.{payload}.{good.split('.')[2]}"]))


def test_a_document_has_not_too_many_signatures():
    one = sign_document(signer_of("one"), CONSENT, CLAIMS)
    refused("LIMIT_EXCEEDED", "~".join([one] * (DOCUMENT_SIGNATURES_MAX + 1)))


def test_a_document_is_an_object():
    refused("NOT_A_JWS", jws.sign_payload(signer_of("one"), CONSENT.jws_type, b"7", carry_key=True))
    refused("NOT_A_JWS", PHONE.assert_challenge(CONSENT, b"7", CONSENT.challenge(b"7")))


# -- passkeys


def asserted(phone=PHONE, challenge=None, payload=PAYLOAD, **said: object) -> str:
    return phone.assert_challenge(CONSENT, payload, challenge or CONSENT.challenge(payload), **said)


def test_a_passkey_signs_a_document():
    document = verify_document(asserted(), CONSENT, PARTIES)
    assert (document.claims, document.keys) == (CLAIMS, (PHONE.public,))


@pytest.mark.parametrize(
    "flags", [0, USER_PRESENT, USER_VERIFIED], ids=["nothing", "present only", "verified only"]
)
def test_a_device_that_did_not_check_the_person_signs_nothing(flags):
    refused("BAD_ASSERTION", asserted(SoftwareAuthenticator(PAGE.id, ORIGIN, flags=flags)))


def test_another_page_of_a_known_party_is_refused():
    refused("BAD_ASSERTION", asserted(SoftwareAuthenticator(PAGE.id, "https://evil.example")))
    refused("BAD_ASSERTION", asserted(SoftwareAuthenticator(PAGE.id, "http://pages.example")))


MOVED = SoftwareAuthenticator(PAGE.id, "https://new.pages.example")


def followed(end: int) -> tuple[RelyingParty, ...]:
    """The page until `end`, another one of the same party from then on."""
    return (
        replace(PAGE, valid_until=end),
        RelyingParty(PAGE.id, ("https://new.pages.example",), valid_from=end),
    )


def test_what_a_passkey_signed_while_its_page_was_in_force_stays_valid():
    document = verify_document(asserted(), CONSENT, followed(SIGNED))
    assert [item.rp_id for item in document.signatures] == [PAGE.id]
    verify_document(asserted(MOVED), CONSENT, followed(SIGNED - 1))
    verify_document(asserted(), CONSENT, [replace(PAGE, valid_until=SIGNED)])


def test_a_document_dated_outside_the_time_of_its_page_is_refused():
    early, late = SIGNED - CLOCK_SKEW_S - 1, SIGNED + CLOCK_SKEW_S + 1
    refused("BAD_ASSERTION", asserted(), parties=followed(early))
    refused("BAD_ASSERTION", asserted(MOVED), parties=followed(late))
    refused("UNKNOWN_RELYING_PARTY", asserted(), parties=[replace(PAGE, valid_until=early)])
    refused("UNKNOWN_RELYING_PARTY", asserted(), parties=[replace(PAGE, valid_from=late)])


def test_clocks_that_differ_a_little_do_not_part_a_document_from_its_page():
    verify_document(asserted(), CONSENT, followed(SIGNED - CLOCK_SKEW_S))
    verify_document(asserted(MOVED), CONSENT, followed(SIGNED + CLOCK_SKEW_S))


def test_a_passkeys_document_says_when_it_was_signed():
    refused("BAD_MEMBER", asserted(payload=canonical_json({"iat": SIGNED})))
    refused("BAD_MEMBER", asserted(payload=canonical_json({"nbf": "today"})))


def test_a_passkey_of_another_party_is_refused():
    refused("UNKNOWN_RELYING_PARTY", asserted(SoftwareAuthenticator("evil.example", ORIGIN)))
    refused("UNKNOWN_RELYING_PARTY", asserted(), parties=())


@pytest.mark.parametrize(
    "said",
    [
        {"type": "webauthn.create"},
        {"origin": "https://evil.example"},
        {"crossOrigin": True},
        {"origin": None},
        {"type": 7},
    ],
)
def test_a_browser_that_says_something_else_is_refused(said):
    refused("BAD_ASSERTION", asserted(**said))


def test_an_assertion_over_another_document_or_kind_is_refused():
    refused("BAD_ASSERTION", asserted(challenge=CONSENT.challenge(canonical_json({"a": 1}))))
    refused("BAD_ASSERTION", asserted(challenge=REVOCATION.challenge(PAYLOAD)))
    refused("WRONG_TYPE", asserted(), kind=REVOCATION)


def rewritten(text: str, *, signature: bytes | None = None, **members: object) -> str:
    head, payload, found = text.split(".")
    header = canonical_json(parse_json(parse_b64url(head)) | members)
    return f"{b64url(header)}.{payload}.{b64url(signature) if signature else found}"


def test_the_twin_of_a_signature_is_refused():
    signature = parse_b64url(asserted().split(".")[2])
    twin = P256_ORDER - int.from_bytes(signature[32:], "big")
    text = rewritten(asserted(), signature=signature[:32] + twin.to_bytes(32, "big"))
    refused("BAD_SIGNATURE", text)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"alg": "EdDSA"}, "BAD_HEADER"),
        ({"kid": "00" * 16}, "BAD_HEADER"),
        ({"jwk": signer_of("one").public.jwk()}, "BAD_HEADER"),
        ({"jwk": {}}, "BAD_JWK"),
        ({"surplus": 1}, "BAD_MEMBER"),
        ({"authenticator_data": "AAAA"}, "UNKNOWN_RELYING_PARTY"),
        ({"client_data": b64url(b"{}")}, "BAD_ASSERTION"),
        ({"client_data": b64url(b"not json")}, "BAD_ASSERTION"),
        ({"client_data": b64url(bytes(3000))}, "LIMIT_EXCEEDED"),
        ({"authenticator_data": b64url(bytes(1100))}, "LIMIT_EXCEEDED"),
    ],
)
def test_an_assertion_outside_the_grammar_is_refused(members, reason):
    refused(reason, rewritten(asserted(), **members))


def test_an_assertion_with_another_signature_is_refused():
    other = SoftwareAuthenticator(PAGE.id, ORIGIN)
    signature = parse_b64url(asserted(other).split(".")[2])
    refused("BAD_ASSERTION", rewritten(asserted(), signature=signature))


@given(st.data())
def test_no_flipped_bit_of_an_assertion_goes_unnoticed(data):
    text = asserted()
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from("AZaz09-_.").filter(lambda letter: letter != text[at]))
    with pytest.raises(CredproofError):
        verify_document(text[:at] + other + text[at + 1 :], CONSENT, PARTIES)


# -- possession


def test_a_passkey_proves_that_somebody_holds_it():
    proof = sign_document(PHONE, POSSESSION, {"aud": "bank", "iat": 100})
    found = verify_possession(proof, provider="bank", now=100, parties=PARTIES)
    assert (found.key, found.rp_id) == (PHONE.public, PAGE.id)


def test_a_proof_of_possession_is_by_one_key():
    texts = [
        sign_document(signer, POSSESSION, {"aud": "bank", "iat": 100})
        for signer in (PHONE, signer_of("one"))
    ]
    with pytest.raises(CredproofError) as caught:
        verify_possession(join_signatures(texts), provider="bank", now=100, parties=PARTIES)
    assert caught.value.reason == "NOT_ONE_KEY"
