"""The lender's SDK: ask a policy question with the borrower's consent, verify, keep one file.

with Lender.open(Path("my-lender")) as lender:
    subject = lender.subject("ref:uci-1")
    kept = lender.ask(subject, policy_id="revolving-standing",
                      consent=Path("uci-1.consent").read_text())
    print(kept.verified.outcome)
    Path("uci-1.answer").write_bytes(kept.to_bytes())
    for result in lender.ask_many([Ask("ref:uci-2", "revolving-standing", consent), ...]):
        print(result.verified.outcome if isinstance(result, KeptAnswer) else result.reason)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

from credproof.asking import Asked, ask_request, new_kept, policy_ref
from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Refused,
    Unreachable,
    VerificationFailed,
    step,
)
from credproof.base.limits import ASK_ITEMS_MAX, SNAPSHOT_ATTEMPTS_MAX
from credproof.channel import call
from credproof.home import Home
from credproof.pseudonyms import Pseudonyms, Subject
from credproof.records.asks import Ask
from credproof.session import Session
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import (
    AnswerBundle,
)
from credproof.verification.consent import (
    JTI_BYTES,
    Mode,
    Terms,
    VerifiedConsent,
    parse_request,
    sign_request,
    verify_consent,
)
from credproof.verification.notice import notice_digests
from credproof.verification.policy import Policy
from credproof.verification.standing import require_standing, require_terms
from credproof.verification.verify import Expectations, VerifiedAnswer, verify_answer
from credproof.wire import answer as answer_wire
from credproof.wire import ask as ask_wire
from credproof.witnessing import WITNESS_EVERY_S, WITNESS_WAIT_S, NobodyNamed, Pending, Witnessing

DAYS = 30
"""How long a consent is asked for if nothing is said, in days."""
DATA_LIFE_DAYS = 365
"""How long answers are to be kept if nothing is said, in days."""
WAIT_S = 2.0
"""How often it is asked whether a borrower has consented, in seconds."""
PSEUDONYMS_AT_ONCE = 8
"""Calls for pseudonyms at the same time: they share commits."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """An answer that was verified on receipt, with all that verifies it again years later."""

    bundle: AnswerBundle
    verified: VerifiedAnswer

    def to_bytes(self) -> bytes:
        """The content of a `*.answer` file."""
        return answer_wire.to_bytes(self.bundle)


@dataclass(frozen=True, slots=True)
class Consented:
    """A consent with all its signatures; `state` is ACTIVE, PAUSED or REVOKED, says the service."""

    consent: str
    state: str


class Lender(Session):
    """A lender at work. Safe to share between threads.

    `witness_wait_s` is how long answers wait for witnesses that their policy requires, in seconds.
    """

    witness_wait_s = WITNESS_WAIT_S

    def __init__(self, home: Home) -> None:
        super().__init__(home)
        self._signer = home.signer
        self._pins = home.pins()
        self._pseudonyms = Pseudonyms(home, self._channel, self.trust)
        self._verification = VerificationServiceStub(self._channel)
        self._witnessing = Witnessing(self._channel, self.trust)

    # -- consent

    def request(
        self,
        subject: Subject,
        *,
        policy_id: str,
        mode: Mode = "once",
        days: int | None = None,
        data_life_days: int | None = None,
        open_days: int = 7,
        digest: bytes | None = None,
        return_to: str | None = None,
    ) -> str:
        """A signed request for the borrower's consent: valid for `days` once it is given.

        It says what the borrower must be shown, in every language that the trust bundle has a text
        in, and where a consent page sends the person afterwards (`return_to`, an https URL).

        `digest` is the policy that the lender expects, 32 bytes; None takes what is in force.
        What is not said is 30 days, and a data life of 365, or less where the purpose allows less.

        Raises:
            VerificationFailed: `UNKNOWN_POLICY`, `OTHER_POLICY`; `LENDER_NOT_LICENSED`,
                `PURPOSE_NOT_CERTIFIED` and others as `require_standing`; `PURPOSE_CONSENT_DAYS`
                and `PURPOSE_DATA_LIFE_DAYS` for more than the purpose allows.
            Malformed: `BAD_CONSENT` for terms that no consent can have; `BAD_URL`.
        """
        now = _now()
        policy = self.trust.newest_policy(policy_id, now)
        if digest not in (None, policy.ref.digest):
            raise VerificationFailed("OTHER_POLICY", "another policy is in force than you expect")
        template = require_standing(self.trust, self.id, policy, now)
        days = min(DAYS, template.consent_days) if days is None else days
        if data_life_days is None:
            data_life_days = min(DATA_LIFE_DAYS, template.data_life_days)
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
        require_terms(template, terms, now)
        token = sign_request(
            self._signer,
            terms,
            jti=secrets.token_bytes(JTI_BYTES),
            issued_at=now,
            open_until=now + open_days * 86_400,
            notices=notice_digests(self.trust, terms),
            return_to=return_to,
        )
        parse_request(token)  # what no borrower's tool would read is not given out
        return token

    def consented(self, request: str) -> Consented | None:
        """The consent that the borrower gave to a request of this lender; None if none is there.

        Raises:
            VerificationFailed: `OTHER_CONSENT` when the service gave something else.
        """
        asked = parse_request(request)
        message = pb.GetConsentRequest(request=asked.jws.id, sub=asked.terms.sub)
        reply = call(self._verification.GetConsent, message)
        if not reply.consent:
            return None
        found = verify_consent(reply.consent, self.trust.bundle.relying_parties)
        shown = asked.notices.get(found.notice.language)
        agreed = (found.request, found.terms, found.notice.digest)
        if agreed != (asked.jws.id, asked.terms, shown):
            raise VerificationFailed("OTHER_CONSENT", "the consent is not to this request")
        state = pb.ConsentState.Name(reply.state).removeprefix("CONSENT_STATE_")
        return Consented(reply.consent, state)

    def wait(self, request: str, *, timeout_s: float, every_s: float = WAIT_S) -> str:
        """The borrower's consent to a request, once it is there and active.

        One that is paused, whatever the cause, is waited for too. It asks every `every_s` seconds,
        for `timeout_s` at most, and at least once.

        Raises:
            Refused: `CONSENT_REVOKED`; `CONSENT_PAUSED` when it still is.
            Unreachable: `NO_CONSENT_YET`.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            found = self.consented(request)
            if found is not None and found.state == "ACTIVE":
                return found.consent
            if found is not None and found.state == "REVOKED":
                raise Refused("CONSENT_REVOKED", "the borrower has revoked the consent")
            if time.monotonic() + every_s > deadline:
                raise _still(found)
            time.sleep(every_s)

    def close(self) -> None:
        """Let go of the connections."""
        self._pseudonyms.close()
        super().close()

    def subject(self, subject_id: str) -> Subject:
        """The borrower with this id (`scheme:value`), found without showing the id.

        Raises:
            CredproofError: as `Pseudonyms.identify`.
        """
        return self._pseudonyms.identify(subject_id)

    # -- asking

    def ask(
        self, subject: Subject, *, policy_id: str, consent: str, case: str = "", staff: str = ""
    ) -> KeptAnswer:
        """Put a policy's questions; the answer is verified before it is returned.

        `case` and `staff` are the lender's own references: the service sees salted digests.

        Raises:
            Refused: the service does not permit it.
            VerificationFailed: the answer does not verify; `step` names the failed check.
            Pending: the policy requires witnesses, who have not cosigned in time.
        """
        verified = verify_consent(consent, self.trust.bundle.relying_parties)
        ref = self._policy(policy_id, verified).ref
        kept = new_kept(subject.transcript, case, staff)
        request = ask_wire.request(kept, subject.sub, ref, verified.id)
        bundle = replace(self._put(request), kept=kept)
        return self._settled(bundle, received_now=True, deadline=self._deadline())

    def _policy(self, policy_id: str, consent: VerifiedConsent) -> Policy:
        return self.trust.policy_in_force(policy_ref(consent, policy_id), _now())

    def _put(self, request: pb.AskRequest) -> AnswerBundle:
        for attempt in range(SNAPSHOT_ATTEMPTS_MAX):
            try:
                reply = call(self._verification.Ask, request)
                return answer_wire.from_proto(reply.bundle)
            except Conflict as error:
                if error.reason != "SNAPSHOT_CHANGED" or attempt == SNAPSHOT_ATTEMPTS_MAX - 1:
                    raise
        raise AssertionError("the last attempt returns or raises")

    # -- asking about many

    def ask_many(self, asks: Iterable[Ask]) -> Iterator[KeptAnswer | CredproofError]:
        """Put many questions; results in order, each verified, errors among them, not raised.

        It takes `ASK_ITEMS_MAX` at a time, so both sides may be longer than memory.

        Raises:
            Unreachable: there was no answer to a whole batch. Whoever must not lose what was asked
                keeps what `prepare` gives until `put` has answered it.
            CredproofError: the service refused a whole batch.
        """
        for batch in batches(asks, ASK_ITEMS_MAX):
            prepared = self.prepare(batch)
            results = iter(self.put([item for item in prepared if isinstance(item, Asked)]))
            for item in prepared:
                yield next(results) if isinstance(item, Asked) else item

    def prepare(self, asks: Sequence[Ask]) -> list[Asked | CredproofError]:
        """Questions ready to be put, in order; an error where a consent does not cover one.

        Raises:
            Unreachable: there was no answer.
        """
        with ThreadPoolExecutor(PSEUDONYMS_AT_ONCE) as pool:
            prepared = list(pool.map(self._prepare, asks))
        for item in prepared:
            if isinstance(item, Unreachable):
                raise item
        return prepared

    def _prepare(self, ask: Ask) -> Asked | CredproofError:
        try:
            consent = verify_consent(ask.consent, self.trust.bundle.relying_parties)
            self._require_scope(ask, consent)
            subject = self.subject(ask.subject)
            if subject.sub != consent.terms.sub:
                raise VerificationFailed("CONSENT_OTHER_SUBJECT", "consent is of somebody else")
            return Asked(ask, new_kept(subject.transcript, ask.case, ask.staff))
        except CredproofError as error:
            return error

    def _require_scope(self, ask: Ask, consent: VerifiedConsent) -> None:
        policy = self._policy(ask.policy_id, consent)
        via, sub = self.trust.bundle.domain, consent.terms.sub
        consent.verify_scope(sub=sub, lender=self.id, via=via, policy=policy, at=_now())

    def put(self, asked: Sequence[Asked]) -> list[KeptAnswer | CredproofError]:
        """Put prepared questions, `ASK_ITEMS_MAX` at most; results in order, each verified.

        Putting the same again gives the same answers and uses no cap. What can be asked again at
        once is; it ends when `SNAPSHOT_ATTEMPTS_MAX` rounds have brought nothing.

        Raises:
            Unreachable: there was no answer to the whole batch.
            DataLoss: `BAD_REPLY`.
        """
        results: dict[int, KeptAnswer | CredproofError] = {}
        waiting, attempts = dict(enumerate(asked)), 0
        while waiting and attempts < SNAPSHOT_ATTEMPTS_MAX:
            results |= zip(waiting, self._put_batch(list(waiting.values())), strict=True)
            again = {place: item for place, item in waiting.items() if _is_again(results[place])}
            attempts += len(again) == len(waiting)
            waiting = again
        return [results[place] for place in range(len(asked))]

    def _put_batch(self, asked: Sequence[Asked]) -> list[KeptAnswer | CredproofError]:
        requests = [ask_request(item, self.trust.bundle.relying_parties) for item in asked]
        reply = call(self._verification.BatchAsk, pb.BatchAskRequest(requests=requests))
        if len(reply.results) != len(asked):
            raise DataLoss("BAD_REPLY", "the service gave another number of results than items")
        deadline, pairs = self._deadline(), zip(asked, reply.results, strict=True)
        return [self._accept(*pair, deadline) for pair in pairs]

    def _accept(
        self, asked: Asked, reply: pb.AskResult, deadline: float
    ) -> KeptAnswer | CredproofError:
        try:
            result = ask_wire.from_proto(reply)
            if isinstance(result, CredproofError):
                return result
            bundle = replace(result, kept=asked.kept)
            return self._settled(bundle, received_now=not asked.again, deadline=deadline)
        except CredproofError as error:
            return error

    # -- witnesses

    def refresh(self, bundle: AnswerBundle) -> KeptAnswer:
        """The answer under a checkpoint that the quorum has cosigned, if it is not yet.

        The entries stay as they are; a log that does not continue what the answer showed is
        refused. An answer that is witnessed already comes back unchanged.

        Raises:
            Conflict: `NO_QUORUM` when the trust bundle names no witnesses.
            Unreachable: `NOT_WITNESSED_YET`.
            VerificationFailed: it does not verify; `LOG_FORKED`, `ENTRIES_LOST`: keep it as it is.
        """
        verified = self.verify(bundle, may_wait=True)
        if verified.witnesses.state == "reached":
            return KeptAnswer(bundle, verified)
        if self.trust.quorum.needed is None:
            raise Conflict("NO_QUORUM", "the trust bundle names no witnesses: nothing to wait for")
        found = self._moved(bundle, received_now=False)
        if found is None:
            raise Unreachable("NOT_WITNESSED_YET", "witnesses have not cosigned that far yet")
        return found

    def _settled(self, bundle: AnswerBundle, *, received_now: bool, deadline: float) -> KeptAnswer:
        """The answer, verified; under a witnessed checkpoint where its policy requires that."""
        verified = self.verify(bundle, received_now=received_now, may_wait=True)
        if verified.policy.witness != "required" or verified.witnesses.state == "reached":
            return KeptAnswer(bundle, verified)
        if verified.witnesses.state == "none":
            raise NobodyNamed
        while (found := self._moved(bundle, received_now=received_now)) is None:
            if time.monotonic() + WITNESS_EVERY_S > deadline:
                raise Pending(bundle)
            time.sleep(WITNESS_EVERY_S)
        return found

    def _moved(self, bundle: AnswerBundle, *, received_now: bool) -> KeptAnswer | None:
        newest = self._witnessing.newest()
        moved = None if newest is None else self._witnessing.moved(bundle, newest[0])
        if moved is None:
            return None
        return KeptAnswer(moved, self.verify(moved, received_now=received_now))

    def _deadline(self) -> float:
        return time.monotonic() + self.witness_wait_s

    def verify(
        self, bundle: AnswerBundle, *, received_now: bool = False, may_wait: bool = False
    ) -> VerifiedAnswer:
        """Verify a bundle under the trust kept at home; it needs no network.

        `may_wait` accepts that witnesses which the policy requires have not cosigned yet.

        Raises:
            CredproofError: with the number of the failed check in `step`.
        """
        expected = Expectations(
            lender=self.id,
            now=_now(),
            mode="now" if received_now else "as-of-answer",
            pins=self._pins,
            may_wait=may_wait,
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
            self.trust = home.trust(at=0)
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
        return verify_answer(answer_wire.parse(data), self.trust, expected)


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of `size`, the last one shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _still(found: Consented | None) -> CredproofError:
    if found is None:
        return Unreachable("NO_CONSENT_YET", "the borrower has not consented yet")
    return Refused("CONSENT_PAUSED", "this consent is paused: ask again later, or the borrower")


def _is_again(result: KeptAnswer | CredproofError) -> bool:
    """Whether the same request, put again at once, may well be answered."""
    if isinstance(result, Conflict):
        return result.reason == "SNAPSHOT_CHANGED"
    return isinstance(result, Unreachable) and not isinstance(result, Pending)


def _now() -> int:
    return int(time.time())
