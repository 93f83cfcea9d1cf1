"""Whether an answer leaves an attestation out: check 9 of an answer.

A root of the directory names, for each borrower and schema, all current attestations. It is in
the log, where auditors compute it anew: so what a lender sees here is what everybody was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from credproof.attestation.token import Token
from credproof.base.errors import VerificationFailed
from credproof.base.limits import DIRECTORY_AGE_MAX_S
from credproof.log.checkpoint import VerifiedCheckpoint
from credproof.log.directory import value_of, verify_lookup
from credproof.log.entry import parse_entry
from credproof.verification.answer import (
    Answer,
    AnswerBundle,
    DirectoryEvidence,
    Logged,
    Lookup,
    QuestionResult,
)
from credproof.verification.filing import (
    LoggedRoot,
    change_of,
    index_of,
    parse_root,
    verify_element,
)
from credproof.verification.inclusion import included
from credproof.verification.policy import Outcome, Policy
from credproof.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class Completeness:
    """How many of the attestations that questions are about were shown, and how many there are.

    Only schemas count of which a question is about every attestation. `partial`: others are
    current too, but this consent does not open them, or their provider may not attest now.
    `absent`: nothing is proved of figures, but that there is no attestation of these schemas.
    """

    state: Literal["complete", "partial", "absent", "not shown"]
    shown: int = 0
    of: int = 0
    absent: tuple[str, ...] = ()
    """Ids of schemas of which the borrower has no attestation at all, sorted."""


NOT_SHOWN: Final = Completeness("not shown")


def schemas_used(policy: Policy, results: Iterable[QuestionResult]) -> tuple[bytes, ...]:
    """The digests of the schemas that results are about, in order, each once."""
    return tuple(sorted({policy.questions[item.question].schema.digest for item in results}))


def shows_absence(policy: Policy, outcome: Outcome) -> bool:
    """Whether an answer must prove that there is no attestation of a schema."""
    return policy.completeness == "required" and "ABSENT" in outcome.reasons


def check_directory(
    bundle: AnswerBundle,
    answer: Answer,
    policy: Policy,
    tokens: Sequence[Token],
    trust: Trust,
    checkpoint: VerifiedCheckpoint,
) -> Completeness:
    """Check 9: what is shown is current, and nothing is left out unsaid.

    Raises:
        Malformed, VerificationFailed: as `docs/PROTOCOL.md` lists them.
    """
    absence, evidence = shows_absence(policy, answer.outcome), bundle.directory
    if evidence is None:
        if answer.results or absence:
            raise VerificationFailed("NO_LOOKUP", "bundle does not show what the directory holds")
        return NOT_SHOWN
    _require_schemas(evidence.lookups, policy, answer, absence)
    root = _check_root(evidence, bundle, answer, checkpoint)
    verify_element(trust.bundle.directory_key, answer.sub, evidence.output)
    places = [(token, item.logged) for token, item in zip(tokens, bundle.tokens, strict=True)]
    for lookup in evidence.lookups:
        shown = {t.id: place for t, place in places if t.schema_digest == lookup.schema}
        check_lookup(lookup, index_of(evidence.output.element, lookup.schema), shown, root)
    if absence:
        return _absence(evidence.lookups, policy)
    found = _completeness(evidence.lookups, answer, policy, tokens)
    if policy.completeness == "required" and found.state != "complete" and answer.outcome.tier:
        raise VerificationFailed("NOT_COMPLETE", "current attestations are not shown")
    return found


def _require_schemas(
    lookups: Sequence[Lookup], policy: Policy, answer: Answer, absence: bool
) -> None:
    """Lookups of the schemas used; to show an absence, of one or more that are asked about."""
    given = tuple(lookup.schema for lookup in lookups)
    used = schemas_used(policy, answer.results)
    if absence:
        asked = {question.schema.digest for question in policy.questions.values()}
        used = tuple(sorted(asked.intersection(given)))
    if given != used or not used:
        raise VerificationFailed("OTHER_LOOKUPS", "lookups are not those of the schemas used")


def _absence(lookups: Sequence[Lookup], policy: Policy) -> Completeness:
    if any(lookup.members for lookup in lookups):
        raise VerificationFailed("NOT_ABSENT", "there are attestations of what is called absent")
    schemas = {lookup.schema for lookup in lookups}
    questions = policy.questions.values()
    ids = {q.schema.id for q in questions if q.schema.digest in schemas}
    return Completeness("absent", absent=tuple(sorted(ids)))


def _check_root(
    evidence: DirectoryEvidence,
    bundle: AnswerBundle,
    answer: Answer,
    checkpoint: VerifiedCheckpoint,
) -> LoggedRoot:
    root = parse_root(included(evidence.root, checkpoint))
    if root.log_index >= bundle.logged.log_index:
        raise VerificationFailed("OTHER_ENTRY", "directory root was logged after the answer")
    if root.time < answer.issued_at - DIRECTORY_AGE_MAX_S:
        raise VerificationFailed("STALE_ROOT", "directory root is too old for this answer")
    return root


def check_lookup(
    lookup: Lookup, index: bytes, shown: Mapping[bytes, Logged], root: LoggedRoot
) -> None:
    """Accept that a lookup tells all that is current, and that what is shown is part of it.

    `shown` are the entries of what is shown, by token id; that they are in the log is another
    check.

    Raises:
        Malformed: `BAD_MEMBER`.
        VerificationFailed: `NOT_COVERED`, `OTHER_INDEX`, `BAD_LOOKUP_PROOF`, `OTHER_MEMBERS`,
            `NOT_CURRENT`.
    """
    for token_id, place in shown.items():
        if place.log_index >= root.covered:
            raise VerificationFailed("NOT_COVERED", "directory root does not cover a token shown")
        change = change_of(parse_entry(place.line))
        if change is None or (change.joins, change.index) != (token_id, index):
            raise VerificationFailed("OTHER_INDEX", "a token shown was filed somewhere else")
    value = verify_lookup(index, lookup.proof, root.root)
    members = lookup.members
    told = value_of(lookup.salt, members) if members else None
    in_order = list(members) == sorted(set(members)) and bool(members) == bool(lookup.salt)
    if value != told or not in_order:
        raise VerificationFailed("OTHER_MEMBERS", "the directory holds another set than is shown")
    if not set(shown) <= set(members):
        raise VerificationFailed("NOT_CURRENT", "a token shown is not a current attestation")


def _completeness(
    lookups: Sequence[Lookup], answer: Answer, policy: Policy, tokens: Sequence[Token]
) -> Completeness:
    about_all = {
        policy.questions[item.question].schema.digest
        for item in answer.results
        if policy.questions[item.question].needs_all(item.verdict)
    }
    of = sum(len(lookup.members) for lookup in lookups if lookup.schema in about_all)
    shown = sum(token.schema_digest in about_all for token in tokens)
    return Completeness("complete" if shown == of else "partial", shown, of)
