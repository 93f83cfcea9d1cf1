"""Notices: everything a borrower must know is in them, made anew to the byte, in both languages."""

from __future__ import annotations

import pytest
from credproof import standard
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.verification.consent import Notice
from credproof.verification.explain import policy_text, question_text, untouched
from credproof.verification.notice import is_genuine, notice_digest, notice_text, text_in
from credproof.verification.text import fill, parse_text

from tests.world import POLICY, World

WORLD = World()
TRUST = WORLD.trust()
TERMS = WORLD.terms()
TEXTS = {text.language: text for text in standard.texts()}


def shown(language: str) -> str:
    return notice_text(TRUST, TERMS, text_in(TRUST, language))


@pytest.mark.parametrize("language", ["zh", "en"])
def test_a_notice_names_lender_service_policies_purpose_and_every_question(language):
    notice, text = shown(language), TEXTS[language]

    for part in ("Lend", "lend", TERMS.via, POLICY.id, POLICY.title[language]):
        assert part in notice
    assert text.purposes[TERMS.purpose] in notice
    for question in POLICY.questions.values():
        assert question_text(question, text) in notice
    assert "$" not in notice


def test_thresholds_are_told_with_their_units():
    words = {name: question_text(item, TEXTS["en"]) for name, item in POLICY.questions.items()}

    assert words["sizeable"].startswith("Credit limit: at least 50,000.00 TWD")
    assert words["room"].startswith("Share of the limit in use: less than 80 %")
    assert words["good"].startswith("Nothing overdue now (on every account")


def test_what_no_question_looks_at_is_told_as_not_touched():
    rest = untouched([POLICY], "en")

    assert "Months since opening" in rest
    assert "Credit limit" not in rest, "a claim with a condition"
    assert "Cycles overdue now" not in rest, "a claim behind a fact"


def test_the_same_terms_give_the_same_notice_and_others_another():
    digest = notice_digest(shown("zh"))

    assert is_genuine(Notice(digest, "zh"), TRUST, TERMS)
    assert not is_genuine(Notice(digest, "en"), TRUST, TERMS), "another language"
    assert not is_genuine(Notice(bytes(32), "zh"), TRUST, TERMS)
    assert not is_genuine(Notice(digest, "zh"), TRUST, WORLD.terms(data_life_days=31))


def changed(**members: object) -> bytes:
    return canonical_json(parse_json(TEXTS["en"].document) | members)


@pytest.mark.parametrize(
    "members",
    [
        {"notice": "We know what is best for you, $lender does too."},
        {"notice": TEXTS["en"].notice + " $surprise"},
        {"notice": TEXTS["en"].notice + " $ 5"},
        {"notice": ""},
        {"language": "de"},
        {"version": 0},
        {"words": {}},
        {"purposes": {"ORIGINATION": "only this"}},
        {"advertisement": "borrow more"},
    ],
)
def test_texts_that_leave_out_what_must_be_told_are_refused(members):
    with pytest.raises(CredproofError) as caught:
        parse_text(changed(**members))
    assert caught.value.reason in ("BAD_TEXT", "BAD_MEMBER")


def test_shipped_texts_come_back_from_their_canonical_form():
    for text in standard.texts():
        assert parse_text(text.document).digest == text.digest


def test_both_languages_have_the_same_places():
    assert TEXTS["zh"].words.keys() == TEXTS["en"].words.keys()
    assert policy_text(POLICY, TEXTS["zh"]).count("\n") == policy_text(POLICY, TEXTS["en"]).count(
        "\n"
    )


def test_further_lines_of_what_is_filled_in_are_indented_as_the_first():
    assert fill("a\n  $list\nb", list="one\ntwo") == "a\n  one\n  two\nb"
