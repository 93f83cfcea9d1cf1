"""What was asked and what was answered, in words."""

from __future__ import annotations

from collections.abc import Iterator

from credproof.auditing.page import markup
from credproof.auditing.page.judged import (
    OUTCOME,
    QUESTIONS,
    Judged,
    completeness_text,
    witness_text,
)
from credproof.auditing.page.words import Words
from credproof.base.encoding import canonical_json, time_text
from credproof.base.money import money_text
from credproof.verification.answer import Answer, QuestionResult
from credproof.verification.explain import demands_text, policy_text, question_text
from credproof.verification.policy import Policy
from credproof.verification.text import fill
from credproof.verification.trust import Trust


def summary(answer: Answer, judged: Judged, trust: Trust, words: Words, now: int) -> str:
    """The answer in a few lines, and whether it verifies."""
    rows = [*_judgement(judged, words), *_perhaps_old(answer, judged, trust, words)]
    rows += [*_answer(answer, judged, trust, words)]
    rows.append((words.say("made"), time_text(now)))
    title = f"<h1>{markup.escaped(words.say('title'))}</h1>"
    return title + markup.table(rows, "summary") + markup.paragraph(words.say("personal"))


def _judgement(judged: Judged, words: Words) -> Iterator[tuple[str, str]]:
    yield words.say("result"), words.say("verifies" if judged.verified else "does_not_verify")
    if judged.error is not None:
        yield words.say("why"), f"{judged.error} ({judged.error.reason})"
    found = judged.verified or judged.waiting
    if judged.waiting is not None:
        yield words.say("waiting"), words.say("waiting_for")
    if found is not None:
        yield words.say("completeness"), completeness_text(found.completeness, words)
        yield words.say("witnesses"), witness_text(found.witnesses, words)


def _perhaps_old(
    answer: Answer, judged: Judged, trust: Trust, words: Words
) -> Iterator[tuple[str, str]]:
    """Of a failure under a bundle that is older than the answer: that it may be of that alone."""
    bundle = trust.bundle
    if judged.error is not None and bundle.issued_at < answer.issued_at:
        at = time_text(bundle.issued_at)
        yield words.say("note"), words.say("perhaps_old", version=bundle.version, at=at)


def _answer(
    answer: Answer, judged: Judged, trust: Trust, words: Words
) -> Iterator[tuple[str, str]]:
    known = trust.participants.get(answer.lender)
    lender = f"{known.title} ({answer.lender})" if known else answer.lender
    ref = answer.policy
    yield words.say("service"), answer.domain
    yield words.say("lender"), lender
    yield words.say("given"), time_text(answer.issued_at)
    yield words.say("policy"), f"{ref.id} {ref.version}, {ref.digest.hex()}"
    yield words.say("consent"), answer.consent.hex()
    yield words.say("pseudonym"), answer.sub.hex()
    claimed = () if OUTCOME in judged.passed else (words.say("claimed_only"),)
    yield words.say("outcome"), words.say("stop").join((outcome_text(answer, words), *claimed))
    if answer.offer:
        told = _offer_text(answer, trust.policies.get(ref), words)
        yield words.say("offer"), words.say("stop").join((told, *claimed))


def outcome_text(answer: Answer, words: Words) -> str:
    """The outcome in words and as the answer has it, with the reasons for INCOMPLETE."""
    outcome, text = answer.outcome, words.text
    told = [
        words.say(
            "as", words=fill(text.outcomes[outcome.kind], tier=outcome.tier), code=outcome.kind
        )
    ]
    told += [words.say("as", words=text.reasons[name], code=name) for name in outcome.reasons]
    return text.words["separator"].join(told)


def _offer_text(answer: Answer, policy: Policy | None, words: Words) -> str:
    """The offer in words; as the answer has it where it is no offer of the policy."""
    offer = answer.offer
    if policy is None or all(tier.offer != offer for tier in policy.tiers):
        return canonical_json(offer).decode()
    told = []
    if "limit_up_to" in offer:
        amount = money_text(offer["limit_up_to"], offer["currency"])
        told.append(words.say("offer_limit", amount=amount))
    if "months" in offer:
        told.append(words.say("offer_months", months=", ".join(map(str, offer["months"]))))
    told += [words.say(f"offer_{way}") for way in offer.get("repayment", ())]
    return words.text.words["separator"].join(told)


def questions(answer: Answer, judged: Judged, policy: Policy | None, words: Words) -> str:
    """The policy in words, and each of its questions with what its answer means."""
    title = markup.heading(words.say("asked"))
    rows = markup.table(_results(answer, judged, policy, words), "questions")
    if policy is None:
        return title + markup.paragraph(words.say("policy_unknown")) + rows
    told = (policy_text(policy, words.text), demands_text(policy, words.language))
    rule = markup.block("\n".join(filter(None, told)))
    return title + markup.paragraph(words.say("unanswered")) + rule + rows


def _results(
    answer: Answer, judged: Judged, policy: Policy | None, words: Words
) -> Iterator[tuple[str, str]]:
    how = "answered" if QUESTIONS in judged.passed else "claimed"
    results = {result.question: result for result in answer.results}
    asked = policy.questions if policy else {}
    for name in dict.fromkeys((*asked, *results)):
        question = asked.get(name)
        meaning = question_text(question, words.text) if question else words.say("no_such_question")
        yield name, words.say("stop").join((meaning, _answered(results.get(name), how, words)))


def _answered(result: QuestionResult | None, how: str, words: Words) -> str:
    if result is None:
        return words.say("not_answered")
    return words.say(f"{how}_{result.verdict}", as_of=result.as_of)
