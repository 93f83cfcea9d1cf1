"""A licensed lender that turns abusive, and how it is caught."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from credproof import borrower as borrowers
from credproof.attestation.pseudonym import Transcript
from credproof.auditor import Auditor
from credproof.base.errors import CredproofError, Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.channel import call, connect
from credproof.home import Home
from credproof.lender import Lender
from credproof.pseudonyms import Subject
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import Kept, Reference
from credproof.verification.consent import verify_consent
from credproof.wire import ask as ask_wire

from credproof_server.demo.journey import POLICY, Journey
from credproof_server.demo.scenes import Scene
from credproof_server.demo.world import ABUSER, PROVIDER, World

GUESSES = 40
"""Ids that are tried: a few more than the shipped rule takes to notice."""
AGAIN = 3
"""How often the used-up consent is tried again."""
CURIOUS = "ref:curious"


def count_alarms(world: World, journey: Journey) -> None:
    """How much was raised in all the honest work so far: false alarms."""
    with world.auditor() as auditor:
        journey.false_alarms = sum(1 for _ in auditor.anomalies())


def catch(world: World) -> Scene:
    """Who reuses a consent and tries out ids is refused, and the auditor sees what it did."""
    world.admit(ABUSER, "lender")
    Home(world.home(ABUSER)).pin(PROVIDER, Home(world.home(PROVIDER)).signer.public.kid)
    with _abuser(world) as abuser:
        told = [*abuser.reuse(), *abuser.guess()]
        stopped = abuser.is_stopped()
    tried = Counter(told)
    expected = tried["CONSENT_USED_UP"] == AGAIN and tried["THROTTLED"] > 0
    with world.auditor() as auditor:
        seen = _is_seen(auditor, tried["NOT_PERMITTED"])
    text = (
        f"a licensed lender reuses a used-up consent and tries {GUESSES} ids without any:"
        f" after {tried['NOT_PERMITTED']} it is refused everything for a while, and the auditor"
        " sees who, when, and the entries that show it"
    )
    return Scene("abusive lender", text, expected and stopped and seen)


@contextmanager
def _abuser(world: World) -> Iterator[_Abuser]:
    home = Home(world.home(ABUSER))
    with Lender(home) as lender, connect(home) as channel:
        subject, consent = _used_up(world, lender)
        yield _Abuser(lender, VerificationServiceStub(channel), subject, consent)


def _used_up(world: World, lender: Lender) -> tuple[Subject, str]:
    """A borrower, and a consent for one answer, which is given."""
    signer = Ed25519Signer(secrets.token_bytes(32))
    with world.provider() as provider:
        proof = borrowers.prove_possession(signer, provider=PROVIDER)
        bound = provider.bind([(CURIOUS, proof)])[0]
    borrower = Borrower(signer, make_pass(Home(world.home(PROVIDER)), bound.sub))
    subject = lender.subject(CURIOUS)
    request = lender.request(subject, policy_id=POLICY)
    consent = borrower.consent(borrower.check(request), language="zh")
    lender.ask(subject, policy_id=POLICY, consent=consent)
    return subject, consent


@dataclass(frozen=True, slots=True)
class _Abuser:
    """A lender that does not use the SDK, which would not let it."""

    lender: Lender
    stub: VerificationServiceStub
    subject: Subject
    consent: str

    def reuse(self) -> list[str]:
        """Ask again under the used-up consent; gives what it is told."""
        return self._ask([self._question(self.subject) for _ in range(AGAIN)])

    def guess(self) -> list[str]:
        """Ask about guessed ids, under a consent that is not theirs."""
        guessed = [self.lender.subject(f"ref:guess-{number}") for number in range(GUESSES)]
        return self._ask([self._question(subject) for subject in guessed])

    def is_stopped(self) -> bool:
        """Whether not even a pseudonym is evaluated any more."""
        try:
            self.lender.subject("ref:one-more")
        except Refused as error:
            return error.reason == "THROTTLED"
        return False

    def _question(self, subject: Subject) -> pb.AskRequest:
        found = verify_consent(self.consent)
        kept = _fresh(subject.transcript)
        return ask_wire.request(kept, subject.sub, found.terms.policies[0], found.id)

    def _ask(self, questions: Sequence[pb.AskRequest]) -> list[str]:
        reply = call(self.stub.BatchAsk, pb.BatchAskRequest(requests=questions))
        results = [ask_wire.from_proto(item) for item in reply.results]
        return [item.reason if isinstance(item, CredproofError) else "" for item in results]


def _fresh(transcript: Transcript) -> Kept:
    reference = Reference("", secrets.token_bytes(16))
    return Kept(secrets.token_bytes(32), secrets.token_bytes(16), reference, reference, transcript)


def _is_seen(auditor: Auditor, refused: int) -> bool:
    """Whether the log holds this one anomaly, and evidence that is what it says."""
    found = [item.anomaly for item in auditor.anomalies() if ABUSER in item.anomaly.participants]
    if [(item.rule, item.counts["pseudonyms"]) for item in found] != [("enumeration", refused)]:
        return False
    named = {(e.actor, e.fields.get("reason")) for e in auditor.evidence(found[0])}
    return named == {(ABUSER, "NOT_PERMITTED")}
