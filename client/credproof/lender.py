"""The lender's SDK: ask a policy question with the borrower's consent, verify, keep one file.

with Lender.open(Path("my-lender")) as lender:
    subject = lender.subject("ref:uci-1")
    kept = lender.ask(subject, policy_id="revolving-standing",
                      consent=Path("uci-1.consent").read_text())
    print(kept.verified.outcome)
    Path("uci-1.answer").write_bytes(kept.to_bytes())
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, replace

from credproof.attestation.pseudonym import (
    Transcript,
    begin,
    oprf_key_id,
    parse_subject_id,
)
from credproof.base.errors import Conflict, VerificationFailed, step
from credproof.base.group import scalar_from
from credproof.channel import call
from credproof.home import Home
from credproof.session import Session
from credproof.v1 import pseudonym_service_pb2 as pseudonym_pb
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import (
    NONCE_BYTES,
    REQUEST_ID_BYTES,
    SALT_BYTES,
    AnswerBundle,
    Kept,
    Reference,
)
from credproof.verification.consent import JTI_BYTES, Mode, Terms, sign_request, verify_consent
from credproof.verification.policy import Policy, PolicyRef
from credproof.verification.verify import Expectations, VerifiedAnswer, verify_answer
from credproof.wire import answer as answer_wire

ATTEMPTS_MAX = 3
"""How often a question is put again when the borrower's data changed under it."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that was verified on receipt, with all that verifies it again years later."""

    bundle: AnswerBundle
    verified: VerifiedAnswer

    def to_bytes(self) -> bytes:
        """The content of a `*.answer` file."""
        return answer_wire.to_bytes(self.bundle)


@dataclass(frozen=True, slots=True)
class Subject:
    """A borrower whom the lender asks about: the pseudonym, and the proof of whose it is."""

    sub: bytes
    transcript: Transcript


class Lender(Session):
    """A lender at work. Safe to share between threads."""

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._signer = home.signer
        self._pins = home.pins()
        self._pseudonyms = PseudonymServiceStub(self._channel)
        self._verification = VerificationServiceStub(self._channel)

    # -- consent

    def request(
        self,
        subject: Subject,
        *,
        policy_id: str,
        mode: Mode = "once",
        days: int = 30,
        data_life_days: int = 365,
        open_days: int = 7,
    ) -> str:
        """A signed request for the borrower's consent: valid for `days` once it is given.

        Raises:
            VerificationFailed: `UNKNOWN_POLICY`.
        """
        now = _now()
        policy = self.trust.newest_policy(policy_id, now)
        terms = Terms(
            sub=subject.sub,
            aud=self.id,
            via=self.trust.bundle.domain,
            policies=(policy.ref,),
            purpose=policy.purpose,
            mode=mode,
            expires_at=now + days * 86_400,
            data_life_days=data_life_days,
        )
        return sign_request(
            self._signer,
            terms,
            jti=secrets.token_bytes(JTI_BYTES),
            issued_at=now,
            open_until=now + open_days * 86_400,
        )

    def subject(self, subject_id: str) -> Subject:
        """The borrower with this id (`scheme:value`), found without showing the id.

        Raises:
            Malformed: `BAD_SUBJECT_ID`.
            VerificationFailed: `BAD_DLEQ_PROOF` when the service used another key.
        """
        parsed = parse_subject_id(subject_id)
        public = self.trust.bundle.oprf_keys[-1]
        key_id, blind = oprf_key_id(public), scalar_from(secrets.token_bytes(64))
        blinded = begin([parsed], [blind])
        request = pseudonym_pb.EvaluatePseudonymsRequest(
            key_id=key_id, blinded_elements=blinded.elements
        )
        reply = call(self._pseudonyms.EvaluatePseudonyms, request)
        evaluated = list(reply.evaluated_elements)
        sub = blinded.finish(evaluated, reply.proof, public)[0]
        return Subject(sub, Transcript(subject_id, key_id, blind, evaluated[0], reply.proof))

    # -- asking

    def ask(
        self, subject: Subject, *, policy_id: str, consent: str, case: str = "", staff: str = ""
    ) -> KeptAnswer:
        """Put a policy's questions; the answer is verified before it is returned.

        `case` and `staff` are the lender's own references: the service sees salted digests.

        Raises:
            Refused: the service does not permit it.
            VerificationFailed: the answer does not verify; `step` names the failed check.
        """
        ref = self._policy(policy_id, consent).ref
        kept = Kept(
            nonce=secrets.token_bytes(NONCE_BYTES),
            request_id=secrets.token_bytes(REQUEST_ID_BYTES),
            case=Reference(case, secrets.token_bytes(SALT_BYTES)),
            staff=Reference(staff, secrets.token_bytes(SALT_BYTES)),
            transcript=subject.transcript,
        )
        request = _ask_request(kept, subject.sub, ref, verify_consent(consent).id)
        bundle = replace(self._put(request), kept=kept)
        return KeptAnswer(bundle, self.verify(bundle, received_now=True))

    def _policy(self, policy_id: str, consent: str) -> Policy:
        """The policy that the consent names, by exactly its digest."""
        for ref in verify_consent(consent).terms.policies:
            if ref.id == policy_id:
                return self.trust.policy_in_force(ref, _now())
        raise VerificationFailed("CONSENT_OTHER_POLICY", "the consent does not name this policy")

    def _put(self, request: pb.AskRequest) -> AnswerBundle:
        for attempt in range(ATTEMPTS_MAX):
            try:
                reply = call(self._verification.Ask, request)
                return answer_wire.from_proto(reply.bundle)
            except Conflict as error:
                if error.reason != "SNAPSHOT_CHANGED" or attempt == ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    def verify(self, bundle: AnswerBundle, *, received_now: bool = False) -> VerifiedAnswer:
        """Verify a bundle under the trust kept at home; it needs no network.

        Raises:
            CredproofError: with the number of the failed check in `step`.
        """
        expected = Expectations(
            lender=self.id,
            now=_now(),
            mode="now" if received_now else "as-of-answer",
            pins=self._pins,
        )
        return verify_answer(bundle, self.trust, expected)


class OfflineVerifier:
    """Verifies kept answers without a network: a lender's home is all it reads."""

    def __init__(self, home: Home) -> None:
        """Load what the home trusts.

        Raises:
            CredproofError: at check 0, when the trust bundle there is not the root's.
        """
        with step(0):
            self._trust = home.trust(at=0)
        self._lender = home.settings.id
        self._pins = home.pins()

    def verify(self, data: bytes) -> VerifiedAnswer:
        """Verify a `*.answer` file as of the answer's time.

        Raises:
            CredproofError: with the number of the failed check in `step`.
        """
        expected = Expectations(
            lender=self._lender, now=_now(), mode="as-of-answer", pins=self._pins
        )
        return verify_answer(answer_wire.parse(data), self._trust, expected)


def _ask_request(kept: Kept, sub: bytes, policy: PolicyRef, consent_id: bytes) -> pb.AskRequest:
    return pb.AskRequest(
        request_id=kept.request_id,
        nonce=kept.nonce,
        sub=sub,
        policy=pb.PolicyReference(id=policy.id, version=policy.version, digest=policy.digest),
        consent_id=consent_id,
        case_digest=kept.case.digest,
        staff_digest=kept.staff.digest,
    )


def _now() -> int:
    return int(time.time())
