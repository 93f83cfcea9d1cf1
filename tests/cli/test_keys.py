"""The commands about borrowers' keys: lost, replaced, bound by another, held by a passkey."""

from __future__ import annotations

import json

import pytest
from credproof.verification.consent import verify_consent
from credproof.verification.participant import NEVER

from tests.cli.command import run
from tests.deployment import Deployment
from tests.rpc.conftest import LENDER, PROVIDER, running  # noqa: F401

POLICY = "revolving-standing"


def test_a_lost_key_is_ended_and_replaced_and_its_consent_goes_on(running, tmp_path):  # noqa: F811
    bank, lend, new = running.home(PROVIDER).folder, running.home(LENDER).folder, tmp_path / "new"
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
    old = verify_consent(consent).keys[0].kid
    (tmp_path / "old.consent").write_text(consent)
    asked = ["lender", "ask", "--policy", POLICY, "--subject", subject_id, "--home", lend]

    assert json.loads(run("provider", "freeze", old, "--json", home=bank)) == {"fingerprint": old}
    told = run(*asked, "--consent", tmp_path / "old.consent", "-o", tmp_path / "a", code=2)
    assert "CONSENT_PAUSED" in told

    run("borrower", "create", new)
    run("borrower", "prove", "--provider", PROVIDER, "-o", tmp_path / "proof", home=new)
    replaced = ["provider", "bind", tmp_path / "proof", "--replaces", old]
    replaced += ["--subject", subject_id, "-o", tmp_path / "pass", "--json"]
    bound = json.loads(run(*replaced, home=bank))
    assert (bound["pass"], len(bound["fingerprint"])) == (str(tmp_path / "pass"), 32)
    run("borrower", "join", tmp_path / "pass", home=new)
    run("borrower", "cosign", tmp_path / "old.consent", "-o", tmp_path / "new.consent", home=new)
    told = run(*asked, "--consent", tmp_path / "new.consent", "-o", tmp_path / "a")
    assert "tier A" in told


def test_a_paused_consent_is_told_to_the_lender_and_can_be_resumed(running, tmp_path):  # noqa: F811
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
    file, me = tmp_path / "a.consent", running.world.home(f"person-{running.count}")
    file.write_text(consent)
    asked = ["lender", "ask", "--policy", POLICY, "--subject", subject_id, "--consent", file]
    asked += ["--home", running.home(LENDER).folder, "-o", tmp_path / "a"]

    assert "已暂停" in run("borrower", "pause", file, home=me)
    assert "CONSENT_PAUSED" in run(*asked, code=2)
    assert "Resumed, log entry" in run("borrower", "resume", file, "-l", "en", home=me)
    assert "tier A" in run(*asked)


def test_what_was_not_bound_is_not_lost(running):  # noqa: F811
    told = run("provider", "freeze", "00" * 16, home=running.home(PROVIDER).folder, code=2)
    assert "NO_SUCH_BINDING" in told


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("keys"))
    made.admit("provider", "bank")
    made.admit("provider", "telco")
    return made


def trust(deployment: Deployment):
    core = deployment.directory.open_core()
    try:
        return core.trust
    finally:
        core.close()


def test_a_provider_accepts_a_binder_and_takes_it_back(deployment, tmp_path):
    home, file = deployment.home("bank").folder, tmp_path / "bank.acceptance"
    run("provider", "accept", "telco", "-o", file, home=home)
    assert "telco" in run("participant", "accept", deployment.service, file)
    assert trust(deployment).binders("bank") == {"bank", "telco"}

    run("provider", "accept", "-o", file, home=home)
    run("participant", "accept", deployment.service, file)
    after = trust(deployment)
    assert after.binders("bank") == {"bank"}
    (former,) = after.participants["bank"].former_acceptances
    assert after.binders("bank", at=former.valid_from) == {"bank", "telco"}
    assert former.valid_from <= former.valid_until <= after.bundle.issued_at


def test_an_operator_cannot_accept_for_a_provider(deployment, tmp_path):
    file = tmp_path / "forged"
    run("provider", "accept", "bank", "-o", file, home=deployment.home("telco").folder)
    other = tmp_path / "other"
    run("provider", "accept", "-o", other, home=deployment.home("telco").folder)
    head, body, _ = file.read_text().split(".")
    file.write_text(".".join([head, body, other.read_text().split(".")[2]]))
    told = run("participant", "accept", deployment.service, file, code=1)
    assert "BAD_SIGNATURE" in told


def test_pages_where_passkeys_count_are_named_by_the_operator(deployment):
    pages = ("https://consent.bureau.example", "https://consent.bureau.example:8443")
    run("passkeys", deployment.service, "bureau.example", *pages)
    run("passkeys", deployment.service, "bureau.example", pages[0])
    old, new = trust(deployment).bundle.relying_parties
    assert (old.origins, new.origins, new.valid_until) == (pages, pages[:1], NEVER)
    assert old.valid_from <= old.valid_until <= new.valid_from

    told = run("passkeys", deployment.service)
    assert told.count("\n") == 2
    assert told.count(", ended ") == 1


def test_a_page_that_is_taken_back_stays_listed_as_ended(deployment):
    run("passkeys", deployment.service, "gone.example", "https://gone.example")
    run("passkeys", deployment.service, "gone.example", "--remove")
    listed = json.loads(run("passkeys", deployment.service, "--json"))
    (found,) = [party for party in listed if party["id"] == "gone.example"]
    assert found["from"] <= found["until"] < NEVER
    assert "NO_SUCH_PAGE" in run("passkeys", deployment.service, "gone.example", "--remove", code=2)


def test_a_page_is_taken_back_by_its_domain_alone(deployment):
    page = ("bureau.example", "https://bureau.example")
    run("passkeys", deployment.service, *page, "--remove", code=2)
