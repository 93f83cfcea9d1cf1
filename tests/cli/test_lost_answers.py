"""What is spent must be kept: an answer that cannot be written is not asked for, or asked again."""

from __future__ import annotations

from functools import partial

import pytest
from credproof.base.errors import CredproofError, Malformed, Unreachable
from credproof.borrower import Borrower
from credproof.cli import asking
from credproof.cli import borrower as cli
from credproof.cli.asking import ask_once
from credproof.lender import Ask, OfflineVerifier
from credproof.verification.answer import Reference

from tests.cli.command import run
from tests.rpc.conftest import LENDER, running  # noqa: F401


@pytest.fixture
def ask(running):  # noqa: F811
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
    return Ask(subject_id, "revolving-standing", consent)


def test_an_answer_that_could_not_be_written_is_not_asked_for(running, ask, tmp_path):  # noqa: F811
    home = running.home(LENDER)
    (tmp_path / "consent").write_text(ask.consent)
    asked = ["lender", "ask", "--subject", ask.subject, "--policy", ask.policy_id]
    asked += ["--consent", tmp_path / "consent", "--home", home.folder]
    run(*asked, "-o", "/proc/no/x.answer", code=2)
    run(*asked, "-o", tmp_path / "x.answer")
    assert OfflineVerifier(home).verify((tmp_path / "x.answer").read_bytes()).outcome.tier == "A"


def test_an_answer_that_was_given_and_not_kept_is_given_again(running, ask, tmp_path, monkeypatch):  # noqa: F811
    home, output = running.home(LENDER), tmp_path / "x.answer"

    def broken(*_: object) -> None:
        raise OSError("killed before it was written")

    with monkeypatch.context() as patch:
        patch.setattr(asking, "replace_file", broken)
        with pytest.raises(OSError, match="killed"):
            ask_once(home.folder, ask, output)
    ask_once(home.folder, ask, output)
    assert OfflineVerifier(home).verify(output.read_bytes()).outcome.tier == "A"


def test_a_consent_that_was_granted_and_not_told_is_granted_again_as_it_was(
    running,  # noqa: F811
    tmp_path,
    monkeypatch,
):
    """Its file is there before it counts: a consent that nobody holds cannot be revoked."""
    subject_id, _ = running.person()
    home = running.world.home(f"person-{running.count}")
    with running.world.lender() as lender:
        request = lender.request(lender.subject(subject_id), policy_id="revolving-standing")
    (tmp_path / "request").write_text(request)
    agree = partial(
        cli.consent, str(tmp_path / "request"), tmp_path / "consent", home, "zh", yes=True
    )
    grant = Borrower.grant

    def lost(self, consent: str) -> None:
        grant(self, consent)
        raise Unreachable("NO_ANSWER", "killed before the reply came")

    with monkeypatch.context() as patch:
        patch.setattr(Borrower, "grant", lost)
        with pytest.raises(Unreachable, match="killed"):
            agree()
    signed = (tmp_path / "consent").read_bytes()
    agree()
    assert (tmp_path / "consent").read_bytes() == signed
    run("borrower", "revoke", tmp_path / "consent", home=home)


def test_only_a_consent_of_ones_own_to_the_same_request_counts_as_signed_before(running, tmp_path):  # noqa: F811
    subject_id, borrower = running.person()
    with running.world.lender() as lender:
        requests = [
            lender.request(lender.subject(subject_id), policy_id="revolving-standing")
            for _ in range(2)
        ]
    first, second = (borrower.check(request) for request in requests)
    consent = borrower.sign(first, language="zh")
    assert borrower.signed_before(consent, first)
    assert not borrower.signed_before(consent, second)
    assert not borrower.signed_before("not a consent", second)


def test_terms_that_no_consent_can_have_are_not_asked_for(running):  # noqa: F811
    with running.world.lender() as lender:
        subject = lender.subject("ref:anybody")
        with pytest.raises(CredproofError) as caught:
            lender.request(subject, policy_id="revolving-standing", days=0)
    assert caught.value.reason == "BAD_CONSENT"


def test_a_reference_that_is_no_text_is_told():
    with pytest.raises(Malformed) as caught:
        _ = Reference("\udcff", bytes(16)).digest
    assert caught.value.reason == "BAD_REFERENCE"
