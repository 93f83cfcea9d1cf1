"""The proofs of an answer as data: each question on each token, and what the directory shows."""

from __future__ import annotations

from typing import Any

from credproof.attestation.ladder import Chain, Condition
from credproof.attestation.token import Token, parse_token
from credproof.auditing.page import markup
from credproof.auditing.page.words import Words
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError
from credproof.verification.answer import (
    Answer,
    AnswerBundle,
    DirectoryEvidence,
    Lookup,
    Proof,
    TokenEvidence,
)
from credproof.verification.filing import index_of
from credproof.verification.policy import Policy, Question
from credproof.verification.trust import Trust


def section(bundle: AnswerBundle, answer: Answer, policy: Policy | None, words: Words) -> str:
    """Each question's proofs, and the directory's."""
    title = markup.heading(words.say("proofs")) + markup.paragraph(words.say("proofs_how"))
    if not bundle.tokens:
        title += markup.paragraph(words.say("no_proofs"))
    verdicts = {result.question: result.verdict for result in answer.results}
    shown = (
        markup.paragraph(words.say("token", number=i))
        + markup.data_block([_proof(proof, item, policy, verdicts) for proof in item.proofs])
        for i, item in enumerate(bundle.tokens, 1)
    )
    return title + "".join(shown)


def _proof(
    proof: Proof, item: TokenEvidence, policy: Policy | None, verdicts: dict[str, Any]
) -> dict[str, Any]:
    """A proof, and if it is a ladder's what it is held against."""
    question = policy.questions.get(proof.question) if policy else None
    token = _token(item)
    told: dict[str, Any] = {"question": proof.question, "proof": proof.data.hex()}
    if question is None or token is None:
        return told
    if question.condition is not None:
        holds = verdicts.get(proof.question) == "YES"
        condition = question.condition if holds else question.condition.opposite
        return told | _ladder(condition, question, token)
    if question.fact is not None:
        told |= {"fact": question.fact, "disclosure": proof.data.decode("ascii", "replace")}
    return told


def _ladder(condition: Condition, question: Question, token: Token) -> dict[str, Any]:
    """Where the proof stands on its chain, and the signed anchor that the chain ends in."""
    claim, direction = condition.claim, condition.direction
    ladder = question.schema.ladders[claim]
    anchor = token.anchors.get((claim, direction))
    return {
        "claim": claim,
        "direction": direction,
        "threshold": condition.threshold,
        "position": ladder.position(direction, condition.threshold),
        "context": Chain.of(token.issuer, token.jti, claim, direction, ladder).context.hex(),
        "anchor": None if anchor is None else anchor.hex(),
    }


def _token(item: TokenEvidence) -> Token | None:
    try:
        return parse_token(item.token)
    except CredproofError:
        return None


def directory(bundle: AnswerBundle, trust: Trust, words: Words) -> str:
    """What the directory holds of the borrower, with its proof."""
    title = markup.heading(words.say("directory"))
    if bundle.directory is None:
        return title + markup.paragraph(words.say("no_directory"))
    how = markup.paragraph(words.say("directory_how"))
    return title + how + markup.data_block(_directory(bundle.directory, trust))


def _directory(evidence: DirectoryEvidence, trust: Trust) -> dict[str, Any]:
    output = evidence.output
    return {
        "root_entry": evidence.root.log_index,
        "element": output.element.hex(),
        "element_proof": output.proof.hex(),
        "lookups": [_lookup(lookup, output.element, trust) for lookup in evidence.lookups],
    }


def _lookup(lookup: Lookup, element: bytes, trust: Trust) -> dict[str, Any]:
    """A lookup; `leaf` is null where the proof shows that there is none."""
    schema, leaf = trust.schemas.get(lookup.schema), lookup.proof.leaf
    return {
        "schema": schema.id if schema else None,
        "schema_digest": b64url(lookup.schema),
        "index": index_of(element, lookup.schema).hex(),
        "leaf": {"index": leaf.index.hex(), "value": leaf.value.hex()} if leaf else None,
        "siblings": [item.hex() for item in lookup.proof.siblings],
        "salt": lookup.salt.hex(),
        "members": [member.hex() for member in lookup.members],
    }
