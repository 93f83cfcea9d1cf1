"""Whether an answer's proofs hold, and its outcome follows: checks 5 and 6 of an answer."""

from __future__ import annotations

from credproof.attestation.sdjwt import parse_disclosure
from credproof.attestation.token import Token
from credproof.base.errors import Malformed, VerificationFailed
from credproof.verification import assurance as assuring
from credproof.verification.answer import Answer, AnswerBundle, Proof, QuestionResult
from credproof.verification.policy import Assurance, Policy, Question, Verdict


def check_proofs(bundle: AnswerBundle, answer: Answer, policy: Policy, tokens: list[Token]) -> None:
    """Check 5: each proof holds, the results follow from them, and nothing is left over.

    Raises:
        Malformed, VerificationFailed: as `docs/PROTOCOL.md` lists them.
    """
    given = [
        (proof, token)
        for item, token in zip(bundle.tokens, tokens, strict=True)
        for proof in item.proofs
    ]
    for item in bundle.tokens:
        if not item.proofs:
            raise VerificationFailed("SURPLUS", "bundle holds a token that proves nothing")
    results = []
    for result in answer.results:
        question = policy.questions.get(result.question)
        if question is None:
            raise VerificationFailed("UNKNOWN_QUESTION", "policy asks no such question")
        used = [pair for pair in given if pair[0].question == result.question]
        given = [pair for pair in given if pair[0].question != result.question]
        results.append(_check_question(policy, question, result.verdict, used, tokens, answer))
    if given:
        raise VerificationFailed("SURPLUS", "bundle holds a proof that no result needs")
    if tuple(results) != answer.results:
        raise VerificationFailed("OTHER_RESULTS", "results do not follow from the proofs")


def _check_question(
    policy: Policy,
    question: Question,
    verdict: Verdict,
    used: list[tuple[Proof, Token]],
    tokens: list[Token],
    answer: Answer,
) -> QuestionResult:
    shown = [token.id for _, token in used]
    if any(token.schema_digest != question.schema.digest for _, token in used):
        raise VerificationFailed("WRONG_SCHEMA", "proof is about a token of another schema")
    if question.assurance is not None:
        _check_assurance(policy, question, question.assurance, verdict, used, answer)
    else:
        asked = [token for token in tokens if token.schema_digest == question.schema.digest]
        needed = [token.id for token in asked] if question.needs_all(verdict) else shown[:1]
        if not shown or shown != needed:
            raise VerificationFailed("MISSING_PROOF", "a question lacks a proof, or has a surplus")
        for proof, token in used:
            _check_proof(question, verdict, proof, token)
    oldest = min(token.as_of for _, token in used)
    return QuestionResult(question.name, oldest.isoformat(), verdict)


def _check_assurance(
    policy: Policy,
    question: Question,
    assurance: Assurance,
    verdict: Verdict,
    used: list[tuple[Proof, Token]],
    answer: Answer,
) -> None:
    """Enough independent checks, and none that could be left out."""
    checks = {
        token.id: assuring.verify(
            assurance, question.schema, token, proof.data, at=answer.issued_at
        )
        for proof, token in used
    }
    enough = assuring.suffices(policy, assurance, list(checks.values()))
    if verdict != "YES" or len(checks) != len(used) or not enough:
        raise VerificationFailed("NOT_ASSURED", "the identity checks do not suffice")
    if len(assuring.fewest(policy, assurance, checks)) != len(checks):
        raise VerificationFailed("SURPLUS", "bundle shows an identity check that nothing needs")


def _check_proof(question: Question, verdict: Verdict, proof: Proof, token: Token) -> None:
    if question.currency not in (None, token.currency):
        raise VerificationFailed("OTHER_CURRENCY", "token is in another currency than asked")
    holds = verdict == "YES"
    if question.condition is not None:
        condition = question.condition if holds else question.condition.opposite
        token.verify_condition(question.schema, condition, proof.data)
    elif token.open([parse_disclosure(_ascii(proof.data))]) != {question.fact: holds}:
        raise VerificationFailed("BAD_DISCLOSURE", "disclosure does not open the fact asked for")


def _ascii(data: bytes) -> str:
    if not data.isascii():
        raise Malformed("BAD_DISCLOSURE", "disclosure is not ASCII")
    return data.decode("ascii")


def check_outcome(answer: Answer, policy: Policy, tokens: list[Token]) -> None:
    """Check 6: the outcome and its offer follow from the policy and what is proved.

    Raises:
        VerificationFailed: `OTHER_OUTCOME`, `FEW_SOURCES`.
    """
    answered = tuple(result.question for result in answer.results)
    verdicts = {result.verdict for result in answer.results}
    if answer.outcome.kind != "TIER":
        if answer.offer or not _is_told(answer, policy, verdicts):
            raise VerificationFailed(
                "OTHER_OUTCOME", "without a tier only the reason that the policy tells is shown"
            )
        return
    tier = policy.tier(answer.outcome.tier or "")
    if tier is None or answered != tier.when or verdicts != {"YES"} or answer.offer != tier.offer:
        raise VerificationFailed("OTHER_OUTCOME", "outcome does not follow from the policy")
    for name in tier.when:
        digest = policy.questions[name].schema.digest
        issuers = {token.issuer for token in tokens if token.schema_digest == digest}
        if len(issuers) < policy.sources_min:
            raise VerificationFailed("FEW_SOURCES", "fewer providers than the policy asks for")


def _is_told(answer: Answer, policy: Policy, verdicts: set[Verdict]) -> bool:
    """Whether exactly that is shown which an answer without a tier must show.

    No token is left over: check 5 refuses one that proves nothing.
    """
    answered = [result.question for result in answer.results]
    if answer.outcome.kind == "INCOMPLETE" or policy.telling == "silent":
        return not answered
    return len(answered) == 1 and verdicts == {"NO"} and answered[0] in policy.tiers[-1].when
