"""Attacks on the consent page, over real HTTP: other pages, other people, other documents."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from credproof.attestation.package import parse_package
from credproof.base.encoding import b64url, canonical_json, parse_json
from credproof.base.limits import PAGE_BODY_BYTES_MAX
from credproof.borrower import make_pass
from credproof.page.endpoints import ENDPOINTS
from credproof.verification.consent import parse_request, verify_consent
from credproof.verification.document import CONSENT, POSSESSION, REVOCATION
from credproof_server.demo.authenticator import USER_PRESENT, SoftwareAuthenticator

from tests.page.serving import RP_ID, ServedPage, served_page
from tests.rpc.conftest import PROVIDER

POLICY = "revolving-standing"


@pytest.fixture(scope="module")
def page(running) -> Iterator[ServedPage]:
    with served_page(running.world) as served:
        yield served


class Person:
    """Somebody with a phone whose passkey is bound: enrolled by way of the page."""

    def __init__(self, page: ServedPage, running) -> None:
        self.phone = SoftwareAuthenticator(RP_ID, page.origin)
        draft = page.post("possession/draft", provider=PROVIDER)
        made = page.post("possession", **page.signed(self.phone, POSSESSION, draft))
        record = running.record()
        self.id = record.subject
        with running.world.provider() as provider:
            provider.submit([record], schema_id="consumer-revolving/1")
            bound = provider.bind([(record.subject, made.value["proof"])])[0]
        found = make_pass(running.home(PROVIDER), bound.sub)
        self.text = found.to_bytes().decode()


@pytest.fixture(scope="module")
def ann(page, running) -> Person:
    return Person(page, running)


@pytest.fixture
def request_(lender, ann) -> str:
    return lender.request(lender.subject(ann.id), policy_id=POLICY)


def shown(page: ServedPage, person: Person, request: str):
    return page.post("request", request=request, **{"pass": person.text})


def draft(page: ServedPage, person: Person, request: str):
    about = {"request": request, "pass": person.text, "language": "zh"}
    return page.post("consent/draft", **about)


def test_an_honest_person_consents_and_revokes(page, lender, ann, request_):
    assert set(shown(page, ann, request_).value["notices"]) == {"en", "zh"}
    signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
    consent = page.post("consent", **signed).value["consent"]
    assert lender.wait(request_, timeout_s=0) == consent

    again = page.post("revocation/draft", consent=consent)
    ended = page.post("revocation", **page.signed(ann.phone, REVOCATION, again))
    assert ended.value["log_index"] > 0
    assert lender.consented(request_).state == "REVOKED"


def test_the_provider_vouches_for_a_passkey_of_this_page(running, ann):
    account = f"key-{ann.phone.public.kid}"
    with running.world.provider() as provider:
        item = provider._outbox.newest("key-binding/1", [account])[account]
    values = parse_package(item.package).values
    assert (values["method"], values["rp_id"]) == ("PASSKEY", RP_ID)


# -- other pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": None},
        {"Host": "evil.example"},
        {"Host": None},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
    ids=str,
)
def test_another_page_can_have_nothing_done(page, ann, request_, headers):
    body = json.dumps({"request": request_, "pass": ann.text}).encode()
    reply = page.send("POST", "/api/request", body, **headers)
    assert reply.status in (400, 403)
    if reply.status == 403:
        assert reply.reason == "WRONG_ORIGIN"


def test_a_name_that_was_rebound_to_the_page_gets_nothing(page):
    for path in ("/", "/api/settings"):
        assert page.send("GET", path, Host="evil.example").reason == "WRONG_ORIGIN"


@pytest.mark.parametrize(
    "path", ["/", "/page.js", "/texts.json", "/api/settings", "/none", "/../page.css", "/..%2f"]
)
def test_every_response_says_that_nothing_foreign_runs_here(page, path):
    reply = page.send("GET", path)
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["x-frame-options"] == "DENY"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in reply.headers
    assert "server" not in reply.headers


def test_the_page_brings_no_script_or_style_in_line_and_nothing_from_elsewhere(page):
    html = page.send("GET", "/").body.decode()
    assert (
        html.count("<script") == html.count('<script type="module" src="/page.js"></script>') == 1
    )
    assert "<style" not in html
    assert " style=" not in html
    assert " on" not in html.replace(" only", "").replace(" one", "")
    assert "http" not in html


# -- other people, other documents


def test_a_request_of_another_borrower_is_neither_shown_nor_drafted(page, running, lender, ann):
    subject_id, _ = running.person()
    request = lender.request(lender.subject(subject_id), policy_id=POLICY)
    for reply in (shown(page, ann, request), draft(page, ann, request)):
        assert (reply.status, reply.reason) == (422, "OTHER_SUBJECT")


def test_a_request_whose_lender_was_swapped_is_not_shown(page, ann, request_):
    head, _, signature = request_.split(".")
    claims = dict(parse_request(request_).jws.claims)
    swapped = canonical_json({**claims, "terms": {**claims["terms"], "aud": "south-lender"}})
    reply = shown(page, ann, f"{head}.{b64url(swapped)}.{signature}")
    assert reply.reason in ("BAD_SIGNATURE", "UNKNOWN_PARTICIPANT")


def test_a_pass_of_another_deployment_leads_nowhere(page, ann, request_):
    """Neither its address nor its authority is used: the page asks its own service only."""
    other = canonical_json({**parse_json(ann.text.encode()), "domain": "other.example"}).decode()
    reply = page.post("request", request=request_, **{"pass": other})
    assert (reply.status, reply.reason) == (422, "WRONG_SERVICE")

    elsewhere = {"address": "203.0.113.1:1", "authority": "none"}
    bent = canonical_json({**parse_json(ann.text.encode()), **elsewhere}).decode()
    assert page.post("request", request=request_, **{"pass": bent}).status == 200


def test_a_request_is_used_once_by_the_page_too(page, ann, request_):
    for wanted in ((200, None), (409, "REQUEST_USED")):
        signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
        reply = page.post("consent", **signed)
        assert (reply.status, reply.value.get("reason")) == wanted


def test_a_passkey_signs_no_other_document_than_the_one_that_was_drafted(page, ann, request_):
    made = draft(page, ann, request_)
    signed = page.signed(ann.phone, CONSENT, made)
    other = draft(page, ann, request_).value["document"]
    reply = page.post("consent", **{**signed, "document": other})
    assert (reply.status, reply.reason) == (422, "BAD_ASSERTION")


def test_a_phone_that_did_not_check_the_person_signs_nothing(page, ann, lender, request_):
    thief = SoftwareAuthenticator(RP_ID, page.origin, flags=USER_PRESENT)
    reply = page.post("consent", **page.signed(thief, CONSENT, draft(page, ann, request_)))
    assert (reply.status, reply.reason) == (422, "BAD_ASSERTION")
    assert lender.consented(request_) is None


def test_a_passkey_of_another_page_signs_nothing_here(page, ann, request_):
    made = draft(page, ann, request_)
    for phone, reason in (
        (SoftwareAuthenticator(RP_ID, "http://localhost:1"), "BAD_ASSERTION"),
        (SoftwareAuthenticator("evil.example", page.origin), "UNKNOWN_RELYING_PARTY"),
    ):
        reply = page.post("consent", **page.signed(phone, CONSENT, made))
        assert (reply.status, reply.reason) == (422, reason)


def test_a_passkey_that_nobody_bound_registers_nothing(page, ann, request_):
    stranger = SoftwareAuthenticator(RP_ID, page.origin)
    reply = page.post("consent", **page.signed(stranger, CONSENT, draft(page, ann, request_)))
    assert (reply.status, reply.reason) == (403, "NOT_PERMITTED")


def test_a_stranger_does_not_revoke_somebody_elses_consent(page, lender, ann, request_):
    signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
    consent = page.post("consent", **signed).value["consent"]
    stranger = SoftwareAuthenticator(RP_ID, page.origin)
    made = page.post("revocation/draft", consent=consent)
    reply = page.post("revocation", **page.signed(stranger, REVOCATION, made))
    assert (reply.status, reply.reason) == (403, "NOT_PERMITTED")
    assert lender.consented(request_).state == "ACTIVE"
    assert verify_consent(consent, lender.trust.bundle.relying_parties).terms.aud == lender.id


def test_a_key_in_a_file_does_not_pass_for_a_passkey(page, running, ann, request_):
    signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
    jwk = running.home(PROVIDER).signer.public.jwk()
    assert page.post("consent", **{**signed, "key": jwk}).reason == "WRONG_ALGORITHM"


def test_a_provider_that_does_not_exist_gets_no_proof(page):
    assert page.post("possession/draft", provider="nobody").reason == "UNKNOWN_PARTICIPANT"


# -- garbage, and too much of it


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "NOT_JSON"),
        (b"{", "NOT_JSON"),
        (b"[]", "BAD_MEMBER"),
        (b"\xff", "NOT_JSON"),
        (b'{"request": 7, "pass": ""}', "BAD_MEMBER"),
        (b'{"request": "", "pass": "{}"}', "BAD_MEMBER"),
        (b'{"request": "", "pass": "", "pass": ""}', "NOT_JSON"),
        (b"[" * 5000, "NOT_JSON"),
        (rb'{"request": "", "pass": "\ud800"}', "NOT_JSON"),
        (rb'{"request": "", "pass": "", "\udfff": 1}', "NOT_JSON"),
    ],
)
def test_garbage_is_refused_with_its_reason(page, body, reason):
    reply = page.send("POST", "/api/request", body)
    assert (reply.status, reply.reason) == (400, reason)


def test_a_member_that_nobody_asked_for_is_refused(page):
    reply = page.post("possession/draft", provider=PROVIDER, more=1)
    assert (reply.status, reply.reason) == (400, "BAD_MEMBER")


SIGNATURE = dict.fromkeys(("authenticator_data", "client_data", "signature"), "")
SIGNED = {"document": "", "key": {}, "assertion": SIGNATURE}
ASKED = {"request": "", "pass": ""}
GIVEN = {
    "possession/draft": {"provider": "nobody"},
    "possession": SIGNED,
    "request": ASKED,
    "consent/draft": {**ASKED, "language": "zh"},
    "consent": SIGNED,
    "revocation/draft": {"consent": ""},
    "revocation": SIGNED,
}
"""Members of the right types, and nothing in them."""


@pytest.mark.parametrize("name", ENDPOINTS)
def test_members_are_accounted_for_before_anything_is_done_with_them(page, name):
    assert "unknown member" not in page.post(name, **GIVEN[name]).value["message"]
    reply = page.post(name, **GIVEN[name], surplus=1)
    assert (reply.status, reply.reason) == (400, "BAD_MEMBER")
    assert "unknown member 'surplus'" in reply.value["message"]


def test_a_consent_with_a_member_too_many_is_not_registered(page, lender, ann, request_):
    signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
    reply = page.post("consent", **signed, surplus=1)
    assert (reply.status, reply.reason) == (400, "BAD_MEMBER")
    assert lender.consented(request_) is None


def test_a_revocation_with_a_member_too_many_ends_nothing(page, lender, ann, request_):
    signed = page.signed(ann.phone, CONSENT, draft(page, ann, request_))
    consent = page.post("consent", **signed).value["consent"]
    made = page.signed(ann.phone, REVOCATION, page.post("revocation/draft", consent=consent))
    assert page.post("revocation", **made, surplus=1).reason == "BAD_MEMBER"
    assert lender.consented(request_).state == "ACTIVE"


def test_a_body_over_the_limit_is_refused(page):
    within = page.send("POST", "/api/request", b" " * PAGE_BODY_BYTES_MAX)
    assert within.reason == "NOT_JSON"
    over = page.send("POST", "/api/request", b" " * (PAGE_BODY_BYTES_MAX + 1))
    assert (over.status, over.reason) == (413, "LIMIT_EXCEEDED")


def test_headers_without_end_are_refused(page):
    with socket.create_connection(("127.0.0.1", page.port), timeout=20) as line:
        line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 200_000)
        assert line.recv(100).startswith(b"HTTP/1.1 400")


def test_what_does_not_exist_is_told_in_the_same_way(page):
    assert page.send("GET", "/none").reason == "NO_SUCH_PAGE"
    assert page.post("none").reason == "NO_SUCH_PAGE"


def test_a_method_that_a_page_does_not_take_is_told(page):
    for reply in (page.send("GET", "/api/consent"), page.post("settings")):
        assert (reply.status, reply.reason) == (405, "METHOD_NOT_ALLOWED")
        assert "method" in reply.value["message"]


def test_the_log_of_the_page_holds_no_person_and_no_traceback(page, ann, request_):
    shown(page, ann, request_)
    log = page.log.read_text()
    assert "/api/request" in log
    for secret in (request_, request_.split(".")[1][:40], ann.id, b64url(ann.phone.public.data)):
        assert secret not in log
    assert "Traceback" not in log
