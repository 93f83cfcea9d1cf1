"""Notices: everything a borrower must know is in them, made anew to the byte, in both languages."""

from __future__ import annotations

import pytest
from credproof import standard
from credproof.base.encoding import canonical_json, parse_json
from credproof.base.errors import CredproofError
from credproof.verification.adverse import adverse_text
from credproof.verification.consent import Notice
from credproof.verification.explain import policy_text, question_text, untouched
from credproof.verification.notice import is_genuine, notice_digest, notice_text, text_in
from credproof.verification.text import fill, parse_text

from tests.world import FAIR, GOOD, POLICY, POOR, World

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
    assert words["good"] == "Nothing overdue now (on every account that is known)"


def test_questions_are_told_in_words_for_whoever_reads_them():
    """A borrower reads them in a notice, a lender in an answer, a regulator in evidence."""
    questions = [item for policy in standard.policies() for item in policy.questions.values()]
    told = {language: [question_text(q, TEXTS[language]) for q in questions] for language in TEXTS}
    assert [said for said in told["en"] if "your" in said.lower()] == []
    assert [said for said in told["zh"] if "您" in said or "(" in said] == []
    assert "当前无逾期（每一个已知账户）" in told["zh"]


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


# -- against whom is decided


def verified(values: dict):
    world = World()
    return world.verify(world.finish(world.case(values)))


@pytest.mark.parametrize(
    ("values", "outcome", "reason"),
    [
        (FAIR, "tier B", "the conditions of a higher tier were not proved"),
        (POOR, "referred to a person", "not told by this rule"),
        (
            {**FAIR, "utilisation_bp": None},
            "incomplete; this is no refusal",
            "a figure that was asked about is not known",
        ),
    ],
)
def test_an_adverse_notice_names_source_outcome_reason_and_rights(values, outcome, reason):
    told = adverse_text(verified(values), TRUST, TEXTS["en"])

    for part in (outcome, reason, "Bank (bank)", "Lend (lend)", POLICY.id, "copy", "dispute"):
        assert part in told
    assert "$" not in told


def test_an_adverse_notice_is_in_chinese_too():
    told = adverse_text(verified(POOR), TRUST, TEXTS["zh"])

    for part in ("转人工审核", "该规则不予说明", "异议", "人工复核", POLICY.title["zh"]):
        assert part in told


def test_the_best_tier_has_no_adverse_notice():
    with pytest.raises(CredproofError) as caught:
        adverse_text(verified(GOOD), TRUST, TEXTS["en"])
    assert caught.value.reason == "NOTHING_ADVERSE"
