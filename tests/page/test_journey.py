"""The whole way in a real browser: enrol, be bound, read, agree, be answered about, revoke."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from credproof.base.errors import Refused
from credproof.borrower import make_pass
from credproof.verification.checked import check_request
from credproof.verification.consent import parse_request, verify_consent
from credproof.verification.link import link_to
from credproof_server.directory import now

from tests.page.browser import Browser, opened
from tests.rpc.conftest import PROVIDER

POLICY = "revolving-standing"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with opened(tmp_path_factory.mktemp("browser")) as found:
        yield found


def enrol(browser: Browser, running) -> str:
    """Make a passkey, prove it, have it bound, keep the pass; gives the person's id."""
    record = running.record()
    browser.press("create")
    browser.press("prove-key")
    proof = browser.value("proof")
    with running.world.provider() as provider:
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
        bound = provider.bind([(record.subject, proof)])[0]
    found = make_pass(running.home(PROVIDER), bound.sub)
    browser.write("pass", found.to_bytes().decode())
    browser.press("keep-pass")
    return record.subject


def notices(request: str, lender) -> dict[str, str]:
    """What the request comes to, made here."""
    parsed = parse_request(request)
    terms = parsed.terms
    checked = check_request(request, lender.trust, sub=terms.sub, via=terms.via, now=now())
    return {language: checked.notice(language) for language in parsed.notices}


def test_a_borrower_enrols_consents_is_answered_about_and_revokes(browser, page, running, lender):
    browser.open(page.origin)
    if browser.driver.execute_script("return document.documentElement.lang") != "en":
        browser.press("language")
    subject_id = enrol(browser, running)
    subject = lender.subject(subject_id)
    back = "http://localhost:1/done?case=7"
    request = lender.request(subject, policy_id=POLICY, mode="continuing", return_to=back)
    assert lender.consented(request) is None

    browser.open(link_to(page.origin, request))
    said = notices(request, lender)
    assert browser.content("notice") == said["en"]
    assert browser.text("notice").split() == said["en"].split(), "all of it is seen"
    assert browser.driver.current_url == f"{page.origin}/", "the request does not stay there"
    browser.press("language")
    assert browser.content("notice") == said["zh"]

    browser.driver.set_user_verified(False)
    browser.press("agree")
    assert "没有签名" in browser.text("problem")
    assert lender.consented(request) is None, "who is not verified signs nothing"

    browser.driver.set_user_verified(True)
    browser.press("agree")
    consent = lender.wait(request, timeout_s=30, every_s=0.1)
    found = verify_consent(consent, lender.trust.bundle.relying_parties)
    assert found.notice.language == "zh", "as it was shown"
    assert found.document.signatures[0].rp_id == "localhost"
    assert lender.ask(subject, policy_id=POLICY, consent=consent).verified.outcome.tier == "A"

    link = browser.seen("return")
    assert (link.get_property("href"), link.text) == (back, "前往 http://localhost:1")
    browser.press("consent-file")
    assert browser.downloaded(f"{lender.id}.consent") == consent

    browser.seen("list").find_element("tag name", "button").click()
    assert "已撤回" in browser.text("done")
    with pytest.raises(Refused) as caught:
        lender.wait(request, timeout_s=0)
    assert caught.value.reason == "CONSENT_REVOKED"
    assert browser.complaints() == []


def test_a_request_about_somebody_else_is_not_shown(browser, page, lender):
    """In the browser of the person who enrolled before."""
    request = lender.request(lender.subject("ref:somebody-else"), policy_id=POLICY)
    browser.open(link_to(page.origin, request))
    assert "另一个人" in browser.text("problem")
    assert not browser.is_shown("notice")


def test_the_page_keeps_what_it_says_and_forgets_it(browser, page):
    assert set(browser.stored()) == {
        f"credproof.{name}" for name in ("consents", "key", "language", "pass")
    }
    browser.seen("kept").find_element("tag name", "summary").click()
    browser.press("forget")
    browser.driver.switch_to.alert.accept()
    browser.seen("create")
    assert set(browser.stored()) == {"credproof.language"}
