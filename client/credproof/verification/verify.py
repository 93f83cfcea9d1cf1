"""Verifying an answer offline: ten numbered checks, each with its own errors.

The numbers are those of `docs/PROTOCOL.md`, "Verifying an answer"; an error carries the
number of the check that failed in `step`. Nothing here touches disk, network or clock.

    0  trust bundle: root and version (by `verify_trust`, marked by the caller), expiry
    1  answer: signature, audience, nonce, request, references, time, evidence digest
    2  policy: pinned, in force then, for this lender; the lender's standing for its purpose
    3  consent: scope, time, terms, and signed by keys bound for each provider used
    4  each token: the provider's key, dates, schema, borrower
    5  each proof against its anchor or digest; the results follow from them
    6  the outcome follows from the results
    7  the borrower asked about: the kept OPRF transcript gives the answer's `sub`
    8  log: checkpoint, witnesses; inclusion of the answer, of each token and of each binding
    9  directory: nothing left out, and what is shown is current; the result says how complete

A result names whether it was verified *now* (on receipt) or *as of the answer's time*.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from credproof.attestation.pseudonym import verify_transcript
from credproof.attestation.schema import Schema
from credproof.attestation.sdjwt import parse_disclosure
from credproof.attestation.token import Token, parse_token
from credproof.base.encoding import date_of
from credproof.base.errors import Malformed, VerificationFailed, step
from credproof.base.jws import Jws
from credproof.base.keys import parse_jwk
from credproof.base.limits import ANSWER_AGE_MAX_S, CLOCK_SKEW_S, EVIDENCE_TOKENS_MAX, at_most
from credproof.log.checkpoint import VerifiedCheckpoint, origin_of, verify_checkpoint
from credproof.log.cosignature import cosigned
from credproof.log.entry import Entry, parse_entry
from credproof.log.note import VerifierKey
from credproof.log.witnessed import Witnessed, witnessed
from credproof.verification.answer import (
    ENTRY_ANSWER,
    ENTRY_ATTESTATION,
    Answer,
    AnswerBundle,
    BindingEvidence,
    Kept,
    TokenEvidence,
    evidence_digest,
    parse_answer,
)
from credproof.verification.answer_entry import parse_given
from credproof.verification.completeness import Completeness, check_directory
from credproof.verification.consent import VerifiedConsent, verify_consent
from credproof.verification.inclusion import included
from credproof.verification.outcome import check_outcome, check_proofs
from credproof.verification.policy import Outcome, Policy
from credproof.verification.purpose import Template
from credproof.verification.sources import Source, Sources
from credproof.verification.standing import require_standing, require_terms
from credproof.verification.trust import Trust

Mode = Literal["now", "as-of-answer"]
KEY_BINDING = "key-binding"
CHECKS = (
    "trust bundle",
    "answer",
    "policy",
    "consent",
    "tokens",
    "proofs",
    "outcome",
    "borrower",
    "log",
    "directory",
)
"""The names of the numbered checks."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What the verifier knows by itself.

    `pins` are the key fingerprints of providers it knows; a provider without a pin is
    believed through the trust bundle alone, and the result says so. `may_wait` accepts that
    witnesses which the policy requires have not cosigned yet.
    """

    lender: str
    now: int
    mode: Mode
    pins: Mapping[str, frozenset[str]]
    may_wait: bool = False


@dataclass(frozen=True, slots=True)
class VerifiedAnswer:
    """An answer that passed every check that can be done. Only `verify_answer` builds it."""

    answer: Answer
    policy: Policy
    mode: Mode
    sources: tuple[Source, ...]
    checkpoint: VerifiedCheckpoint
    log_index: int
    fair_use: Literal["kept", "not shown"]
    witnesses: Witnessed
    completeness: Completeness

    @property
    def outcome(self) -> Outcome:
        return self.answer.outcome


def verify_answer(bundle: AnswerBundle, trust: Trust, expected: Expectations) -> VerifiedAnswer:
    """Verify a bundle under a verified trust bundle: checks 0 to 9.

    Raises:
        CredproofError: with the number of the failed check in `step`.
    """
    at_most(len(bundle.tokens), EVIDENCE_TOKENS_MAX, "tokens of an answer")
    at_most(len(bundle.bindings), EVIDENCE_TOKENS_MAX, "bindings of an answer")
    with step(1):
        parsed, answer = parse_answer(bundle.answer)
    with step(0):
        _check_trust(trust, answer, expected)
    with step(1):
        kept = _check_answer(parsed, answer, bundle, trust, expected)
    with step(2):
        policy = trust.policy_in_force(answer.policy, answer.issued_at)
        if not policy.allows(answer.lender):
            raise VerificationFailed("POLICY_OTHER_LENDER", "policy is not for this lender")
        template = _check_standing(trust, answer, policy, expected.mode)
    sources = Sources(trust, expected.pins)
    with step(4):
        tokens = parse_tokens(bundle.tokens)
    with step(3):
        consent = _check_consent(bundle, answer, policy, template, trust)
        bindings = _check_bindings(bundle, consent, answer, trust, sources, tokens)
    with step(4):
        for token in tokens:
            _check_token(token, answer, policy, trust, sources)
    with step(5):
        check_proofs(bundle, answer, policy, tokens)
    with step(6):
        check_outcome(answer, policy, tokens)
    with step(7):
        _check_subject(kept, answer, trust)
    with step(8):
        used = [*tokens, *bindings]
        checkpoint = _check_log(bundle, answer, parsed.id, trust, sources, used, expected.mode)
        _check_entry(bundle.logged.line, answer, policy)
        witnesses = _check_witnesses(bundle.checkpoint, answer, policy, trust, expected)
    with step(9):
        completeness = check_directory(bundle, answer, policy, tokens, trust, checkpoint)
    return VerifiedAnswer(
        answer=answer,
        policy=policy,
        mode=expected.mode,
        sources=sources.seen(),
        checkpoint=checkpoint,
        log_index=bundle.logged.log_index,
        fair_use="not shown" if template is None else "kept",
        witnesses=witnesses,
        completeness=completeness,
    )


# -- 0: the trust bundle ------------------------------------------------------


def _check_trust(trust: Trust, answer: Answer, expected: Expectations) -> None:
    """The bundle's root and version are verified by `verify_trust`; here it must still hold."""
    at = expected.now if expected.mode == "now" else answer.issued_at
    if at > trust.bundle.expires_at:
        raise VerificationFailed("TRUST_EXPIRED", "trust bundle has expired")


# -- 1: the answer itself -----------------------------------------------------


def _check_answer(
    parsed: Jws, answer: Answer, bundle: AnswerBundle, trust: Trust, expected: Expectations
) -> Kept:
    keys = {key.public.kid: key for key in trust.bundle.answer_keys}
    key = keys.get(parsed.kid)
    if key is None:
        raise VerificationFailed("UNKNOWN_KEY", "answer is signed by a key that is not pinned")
    parsed.verify(key.public)
    key.verify_valid_at(answer.issued_at)
    kept = bundle.kept
    if kept is None:
        raise Malformed("NOT_KEPT", "bundle lacks what the lender keeps about its question")
    checks = {
        "ANSWER_OTHER_SERVICE": answer.domain == trust.bundle.domain,
        "ANSWER_OTHER_LENDER": answer.lender == expected.lender,
        "ANSWER_OTHER_NONCE": answer.nonce == kept.nonce,
        "ANSWER_OTHER_REQUEST": answer.request_id == kept.request_id,
        "ANSWER_OTHER_CASE": (answer.case, answer.staff) == (kept.case.digest, kept.staff.digest),
        "ANSWER_FROM_THE_FUTURE": answer.issued_at <= expected.now + CLOCK_SKEW_S,
        "ANSWER_TOO_OLD": expected.mode == "as-of-answer"
        or answer.issued_at >= expected.now - ANSWER_AGE_MAX_S,
        "OTHER_EVIDENCE": answer.evidence
        == evidence_digest(bundle.consent, bundle.tokens, bundle.bindings, bundle.directory),
    }
    for reason, holds in checks.items():
        if not holds:
            raise VerificationFailed(reason, "answer is not the one to this question")
    return kept


# -- 2: who asked, and why ----------------------------------------------------


def _check_standing(trust: Trust, answer: Answer, policy: Policy, mode: Mode) -> Template | None:
    """The template that bound the lender; None when only later rules are at hand."""
    if mode == "as-of-answer" and trust.bundle.issued_at > answer.issued_at:
        return None
    return require_standing(trust, answer.lender, policy, answer.issued_at)


# -- 3: consent and whose key it is -------------------------------------------


def _check_consent(
    bundle: AnswerBundle, answer: Answer, policy: Policy, template: Template | None, trust: Trust
) -> VerifiedConsent:
    consent = verify_consent(bundle.consent, trust.bundle.relying_parties)
    if consent.id != answer.consent:
        raise VerificationFailed("OTHER_CONSENT", "answer was given under another consent")
    consent.verify_scope(
        sub=answer.sub,
        lender=answer.lender,
        via=answer.domain,
        policy=policy,
        at=answer.issued_at,
    )
    if template is not None:
        require_terms(template, consent.terms, consent.not_before)
    return consent


def _check_bindings(
    bundle: AnswerBundle,
    consent: VerifiedConsent,
    answer: Answer,
    trust: Trust,
    sources: Sources,
    tokens: list[Token],
) -> list[Token]:
    bindings = [_check_binding(item, consent, answer, trust, sources) for item in bundle.bindings]
    binders = [binding.issuer for binding in bindings]
    if not bindings or len(set(binders)) != len(binders):
        raise VerificationFailed("NOT_BOUND", "no provider binds the key, or one does so twice")
    used = {token.issuer for token in tokens}
    at = answer.issued_at
    needed = {_binder(trust.binders(provider, at=at), binders) for provider in used}
    if used and needed != set(binders):
        raise VerificationFailed("SURPLUS", "bundle holds a binding that nothing needs")
    return bindings


def _binder(accepted: Collection[str], binders: Sequence[str]) -> str:
    """The first of these binders whose word is accepted."""
    for binder in binders:
        if binder in accepted:
            return binder
    raise VerificationFailed("NOT_BOUND", "for a provider used the consent's key is not bound")


def _check_binding(
    item: BindingEvidence,
    consent: VerifiedConsent,
    answer: Answer,
    trust: Trust,
    sources: Sources,
) -> Token:
    token = parse_token(item.token)
    _verify_token(token, answer, trust, sources)
    if trust.schemas[token.schema_digest].name != KEY_BINDING:
        raise VerificationFailed("NOT_BOUND", "binding is of another schema")
    disclosure = parse_disclosure(item.disclosure)
    opened = token.open([disclosure])
    if set(opened) != {"jwk"} or parse_jwk(opened["jwk"]) not in consent.keys:
        raise VerificationFailed("NOT_BOUND", "another key was bound than the one that consents")
    return token


# -- 4: tokens ----------------------------------------------------------------


def parse_tokens(items: Sequence[TokenEvidence]) -> list[Token]:
    """The tokens, taken apart; nothing is verified. This part of check 4 comes before check 3.

    Raises:
        Malformed: as `parse_token`.
        VerificationFailed: `SURPLUS` for a token that is there twice.
    """
    tokens = [parse_token(item.token) for item in items]
    if len({token.id for token in tokens}) != len(tokens):
        raise VerificationFailed("SURPLUS", "bundle holds a token twice")
    return tokens


def _verify_token(token: Token, answer: Answer, trust: Trust, sources: Sources) -> Schema:
    schema = trust.schemas.get(token.schema_digest)
    if schema is None:
        raise VerificationFailed("UNKNOWN_SCHEMA", "token is of a schema that is not pinned")
    sources.verify(token, answer.issued_at)
    token.verify_schema(schema)
    if token.sub != answer.sub:
        raise VerificationFailed("OTHER_SUBJECT", "token is about another borrower")
    if token.issued_at > answer.issued_at + CLOCK_SKEW_S or token.expires_at < answer.issued_at:
        raise VerificationFailed("TOKEN_NOT_VALID", "token was not valid at the answer's time")
    return schema


def _check_token(
    token: Token, answer: Answer, policy: Policy, trust: Trust, sources: Sources
) -> None:
    _verify_token(token, answer, trust, sources)
    if (
        not policy.oldest(answer.issued_at)
        <= token.as_of
        <= date_of(answer.issued_at + CLOCK_SKEW_S)
    ):
        raise VerificationFailed("STALE", "token is older than the policy allows")


# -- 7: the borrower ----------------------------------------------------------


def _check_subject(kept: Kept, answer: Answer, trust: Trust) -> None:
    keys = {key.id: key for key in trust.bundle.oprf_keys}
    key = keys.get(kept.transcript.key_id)
    if key is None:
        raise VerificationFailed("UNKNOWN_KEY", "pseudonym was made under a key that is not pinned")
    if verify_transcript(kept.transcript, key) != answer.sub:
        raise VerificationFailed("OTHER_SUBJECT", "answer is about another borrower")


# -- 8: the log ---------------------------------------------------------------


def _check_log(
    bundle: AnswerBundle,
    answer: Answer,
    answer_id: bytes,
    trust: Trust,
    sources: Sources,
    used: list[Token],
    mode: Mode,
) -> VerifiedCheckpoint:
    key = _log_key(bundle.checkpoint, trust, mode)
    checkpoint = verify_checkpoint(bundle.checkpoint, key.name, [key])
    entry = included(bundle.logged, checkpoint)
    _match(entry, ENTRY_ANSWER, answer.lender, answer_id)
    if abs(entry.time - answer.issued_at) > CLOCK_SKEW_S:
        raise VerificationFailed("OTHER_ENTRY", "answer was logged at another time")
    logged = [*(item.logged for item in bundle.tokens), *(item.logged for item in bundle.bindings)]
    for place, token in zip(logged, used, strict=True):
        seen = included(place, checkpoint)
        _match(seen, ENTRY_ATTESTATION, token.issuer, token.id)
        # A thief of an old key can date a token back, but not its place in the log.
        sources.key(token).verify_valid_at(seen.time)
        if place.log_index >= bundle.logged.log_index:
            raise VerificationFailed("OTHER_ENTRY", "token was logged after the answer")
    return checkpoint


def _check_witnesses(
    note: bytes, answer: Answer, policy: Policy, trust: Trust, expected: Expectations
) -> Witnessed:
    """A cosignature by a known key must be good, also where nobody asks for it.

    A quorum that was in force at the answer's time, or since, counts if it is reached; where none
    is, the present one says what is missing. Of an answer of before any quorum nothing is missing,
    unless its policy requires witnesses.
    """
    cosigned(note, [trust.log_cosigner] if trust.log_cosigner else [])
    asked = [witnessed(note, quorum) for quorum in trust.quorums(answer.issued_at)]
    reached = next((item for item in asked if item.state == "reached"), None)
    if reached is not None:
        return reached
    if policy.witness == "required" and not expected.may_wait:
        raise VerificationFailed("NOT_WITNESSED", "the policy requires witnesses, who are missing")
    if policy.witness == "reported" and trust.asked_nobody(answer.issued_at):
        return Witnessed()
    return asked[-1]


def _check_entry(line: bytes, answer: Answer, policy: Policy) -> None:
    """The log says of the answer what an auditor will read there: nobody was told otherwise."""
    if not parse_given(parse_entry(line)).is_of(answer, policy.purpose):
        raise VerificationFailed("OTHER_ENTRY", "the log says something else of this answer")


def _log_key(note: bytes, trust: Trust, mode: Mode) -> VerifierKey:
    """The log's key; of an old answer, that of the origin which the log had then."""
    old = {key.name: key for key in trust.old_log_keys} if mode == "as-of-answer" else {}
    return old.get(origin_of(note), trust.log_key)


def _match(entry: Entry, kind: str, actor: str, object_digest: bytes) -> None:
    if (entry.kind, entry.actor, entry.object) != (kind, actor, object_digest):
        raise VerificationFailed("OTHER_ENTRY", "log entry is about something else")
