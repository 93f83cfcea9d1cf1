"""The answer: a JWS by the service, and the bundle of evidence that it stands on.

A bundle ends in the providers' own signatures. Formats: `docs/PROTOCOL.md`, "Answer".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from credproof.attestation.pseudonym import Transcript
from credproof.base import jws
from credproof.base.encoding import Json, b64url, canonical_json, frame, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.jws import Jws
from credproof.base.keys import Signer
from credproof.base.limits import REFERENCE_CHARS_MAX, at_most
from credproof.base.members import Members
from credproof.base.vrf import Output
from credproof.log.directory import LookupProof
from credproof.verification.policy import (
    REASONS,
    Outcome,
    PolicyRef,
    Verdict,
    parse_ref,
    ref_json,
)

NONCE_BYTES = 32
REQUEST_ID_BYTES = 16
SALT_BYTES = 16
ENTRY_ANSWER = "answer.given"
ENTRY_ATTESTATION = "attestation.accepted"
"""The kinds of the log entries that an answer rests on."""


@dataclass(frozen=True, slots=True)
class Logged:
    """A log entry with its inclusion proof under the bundle's checkpoint."""

    line: bytes
    log_index: int
    hashes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Proof:
    """The proof of one question on one token.

    `data` is the 32-byte ladder proof of a condition, the ASCII disclosure of a fact, or the
    frame that shows an identity check.
    """

    question: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TokenEvidence:
    """An attestation's token, the proofs it gives, and its place in the log."""

    token: str
    proofs: tuple[Proof, ...]
    logged: Logged


@dataclass(frozen=True, slots=True)
class BindingEvidence:
    """A key binding's token, the disclosure of its `jwk`, and its place in the log."""

    token: str
    disclosure: str
    logged: Logged


@dataclass(frozen=True, slots=True)
class Lookup:
    """What the directory holds for the borrower under one schema: token ids (sorted) and salt.

    Without attestations both are empty, and the proof shows that there is no leaf.
    """

    schema: bytes
    proof: LookupProof
    salt: bytes
    members: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class DirectoryEvidence:
    """A logged root of the directory, the borrower's element, and a lookup for each schema used.

    Lookups are in the order of the schemas' digests.
    """

    root: Logged
    output: Output
    lookups: tuple[Lookup, ...]


@dataclass(frozen=True, slots=True)
class Reference:
    """A lender's own reference (case, staff) that the service knows only as a salted digest."""

    text: str
    salt: bytes

    @property
    def digest(self) -> bytes:
        at_most(len(self.text), REFERENCE_CHARS_MAX, "reference")
        try:
            text = self.text.encode()
        except UnicodeEncodeError as error:
            raise Malformed("BAD_REFERENCE", "a reference is not Unicode text") from error
        return tagged_hash("reference", self.salt, text)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the lender adds to the bundle and keeps: what it asked, about whom, for which case."""

    nonce: bytes
    request_id: bytes
    case: Reference
    staff: Reference
    transcript: Transcript


@dataclass(frozen=True, slots=True)
class AnswerBundle:
    """All that a verifier needs besides the trust bundle; the lender adds `kept`."""

    answer: str
    consent: str
    tokens: tuple[TokenEvidence, ...]
    bindings: tuple[BindingEvidence, ...]
    logged: Logged
    checkpoint: bytes
    kept: Kept | None = None
    directory: DirectoryEvidence | None = None


def evidence_digest(
    consent: str,
    tokens: tuple[TokenEvidence, ...],
    bindings: tuple[BindingEvidence, ...],
    directory: DirectoryEvidence | None,
) -> bytes:
    """The digest over everything that the answer uses, in order; signed in the answer."""
    used = [_frame_token(item) for item in tokens]
    bound = [frame((item.token.encode(), item.disclosure.encode())) for item in bindings]
    shown = _frame_directory(directory) if directory else b""
    return tagged_hash("evidence", consent.encode(), frame(used), frame(bound), shown)


def _frame_directory(directory: DirectoryEvidence) -> bytes:
    output = directory.output
    lookups = [_frame_lookup(item) for item in directory.lookups]
    return frame((directory.root.line, output.element, output.proof, frame(lookups)))


def _frame_lookup(item: Lookup) -> bytes:
    leaf = item.proof.leaf
    end = frame((leaf.index, leaf.value)) if leaf else b""
    siblings, members = frame(item.proof.siblings), frame(item.members)
    return frame((item.schema, end, siblings, item.salt, members))


def _frame_token(item: TokenEvidence) -> bytes:
    proofs = (part for proof in item.proofs for part in (proof.question.encode(), proof.data))
    return frame((item.token.encode(), *proofs))


@dataclass(frozen=True, slots=True)
class QuestionResult:
    """A question that is proved YES or NO, and the oldest data that this rests on."""

    question: str
    as_of: str
    verdict: Verdict = "YES"


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service signs. `nonce` has 32 bytes, `request_id` 16, digests 32."""

    domain: str
    lender: str
    nonce: bytes
    issued_at: int
    request_id: bytes
    case: bytes
    staff: bytes
    policy: PolicyRef
    consent: bytes
    sub: bytes
    outcome: Outcome
    offer: Mapping[str, Any]
    results: tuple[QuestionResult, ...]
    evidence: bytes

    def to_json(self) -> dict[str, Json]:
        return {
            "aud": self.lender,
            "case": b64url(self.case),
            "consent": b64url(self.consent),
            "evidence": b64url(self.evidence),
            "iat": self.issued_at,
            "iss": self.domain,
            "nonce": b64url(self.nonce),
            "offer": self.offer,
            "outcome": _outcome_json(self.outcome),
            "policy": ref_json(self.policy),
            "request_id": b64url(self.request_id),
            "results": [_result_json(result) for result in self.results],
            "staff": b64url(self.staff),
            "sub": b64url(self.sub),
        }


def sign_answer(signer: Signer, answer: Answer) -> str:
    """The signed answer."""
    return jws.sign(signer, jws.ANSWER, answer.to_json())


def parse_answer(token: str) -> tuple[Jws, Answer]:
    """An answer, taken apart strictly; its signature is not looked at.

    Raises:
        Malformed: `BAD_ANSWER`, `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(token, jws.ANSWER)
    members = Members(parsed.claims, "answer")
    answer = Answer(
        domain=members.take("iss", str),
        lender=members.take("aud", str),
        nonce=members.bytes("nonce", NONCE_BYTES),
        issued_at=members.take("iat", int),
        request_id=members.bytes("request_id", REQUEST_ID_BYTES),
        case=members.bytes("case", 32),
        staff=members.bytes("staff", 32),
        policy=parse_ref(members.take("policy", dict)),
        consent=members.bytes("consent", 32),
        sub=members.bytes("sub", 32),
        outcome=_parse_outcome(members.take("outcome", dict)),
        offer=members.take("offer", dict),
        results=tuple(_parse_result(item) for item in members.take("results", list)),
        evidence=members.bytes("evidence", 32),
    )
    members.finish()
    return parsed, answer


def _outcome_json(outcome: Outcome) -> dict[str, Json]:
    return {"kind": outcome.kind, "reasons": list(outcome.reasons), "tier": outcome.tier}


def _parse_outcome(value: dict[str, Any]) -> Outcome:
    members = Members(value, "outcome")
    kind, tier = members.take("kind", str), members.nullable("tier", str)
    reasons = members.strings("reasons")
    members.finish()
    if kind not in ("TIER", "REFER", "INCOMPLETE") or (kind == "TIER") != (tier is not None):
        raise Malformed("BAD_ANSWER", "outcome is not TIER with its name, REFER or INCOMPLETE")
    if not set(reasons) <= set(REASONS) or (kind == "INCOMPLETE") != bool(reasons):
        raise Malformed("BAD_ANSWER", "INCOMPLETE, and only it, needs known reasons")
    return Outcome(kind, tier, reasons)  # type: ignore[arg-type]


def _result_json(result: QuestionResult) -> dict[str, Json]:
    return {"as_of": result.as_of, "question": result.question, "verdict": result.verdict}


def _parse_result(value: Any) -> QuestionResult:
    members = Members(value, "result")
    question, as_of = members.take("question", str), members.take("as_of", str)
    verdict = members.take("verdict", str)
    members.finish()
    if verdict not in ("YES", "NO"):
        raise Malformed("BAD_ANSWER", "only what is proved is reported")
    return QuestionResult(question, as_of, verdict)  # type: ignore[arg-type]


def answer_commitment(salt: bytes, verdicts: Mapping[str, str]) -> bytes:
    """The commitment to the full verdict vector that the log entry of an answer carries.

    `salt` (32 bytes) stands nowhere in the log: there are few vectors, and they could be tried.
    """
    return tagged_hash("verdicts", salt, canonical_json(dict(verdicts)))
