"""What is spent must be kept: an answer that cannot be written is not asked for, or asked again."""

from __future__ import annotations

import pytest
from credproof.base.errors import CredproofError, Malformed
from credproof.cli import asking
from credproof.cli.asking import ask_once
from credproof.lender import Ask, OfflineVerifier
from credproof.verification.answer import Reference

from tests.cli.test_commands import run
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


def test_terms_that_no_consent_can_have_are_not_asked_for(running):  # noqa: F811
    with running.world.lender() as lender:
        subject = lender.subject("ref:anybody")
        with pytest.raises(CredproofError) as caught:
            lender.request(subject, policy_id="revolving-standing", days=999_999_999)
    assert caught.value.reason == "BAD_CONSENT"


def test_a_reference_that_is_no_text_is_told():
    with pytest.raises(Malformed) as caught:
        _ = Reference("\udcff", bytes(16)).digest
    assert caught.value.reason == "BAD_REFERENCE"
