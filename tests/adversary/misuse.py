"""Lenders who do what no honest tool does: a service with small thresholds, questions by hand."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.attestation.pseudonym import begin, parse_subject_id
from credproof.auditor import RaisedAnomaly
from credproof.base.errors import CredproofError, Refused
from credproof.base.group import scalar_from
from credproof.borrower import Borrower
from credproof.channel import call, connect
from credproof.home import Home
from credproof.lender import Lender
from credproof.v1 import pseudonym_service_pb2 as pseudonym_pb
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.consent import verify_consent
from credproof.wire import ask as ask_wire
from credproof_server import admission
from credproof_server.demo.world import PROVIDER, licensed

from tests.rpc.conftest import Running
from tests.world import POLICY, seed_of

RULES = """
bisection: {window: 86400, steps: 4, halvings: 3, throttle: 3600, evaluations: false}
joint-bisection: {window: 86400, steps: 4, halvings: 4}
enumeration:
  {window: 86400, pseudonyms: 5, answered_percent: 50, throttle: 3600, evaluations: true}
idle-evaluations:
  {window: 86400, evaluated: 12, answered_percent: 20, throttle: 3600, evaluations: true}
burst:
  window: 60
  questions: 20
  answered_percent: 50
  own: {held: 3}
  throttle: 3600
  evaluations: false
consent-reuse:
  {window: 86400, repeats: 4, answered_percent: 50, throttle: 3600, evaluations: false}
many-lenders: {window: 86400, lenders: 3}
churn: {window: 86400, attestations: 5}
"""


class Rogue:
    """A licensed lender that writes its questions by hand, the same in every run."""

    def __init__(self, running: Running, name: str, **standing: Any) -> None:
        self.running, self.name = running, name
        settings = {**licensed(int(time.time())), **standing}
        folder = running.world.home(name)
        enrolment = enrolments.enrol(folder, role="lender", participant_id=name, title=name)
        admitted = admission.admit(running.world.service, enrolment, **settings)
        homes.join(folder, admitted.to_bytes(), root_kid=None, now=int(time.time()))
        self.home = Home(folder)
        self.home.pin(PROVIDER, running.home(PROVIDER).signer.public.kid)
        self.channel = connect(self.home)
        self.count = 0

    # -- honest ways

    def consented(
        self, subject_id: str, borrower: Borrower, policy: str, mode: str = "once"
    ) -> str:
        """A consent of this borrower to this lender."""
        with Lender(self.home) as lender:
            subject = lender.subject(subject_id)
            request = lender.request(subject, policy_id=policy)
        return borrower.consent(borrower.check(request), language="zh")

    def ask(self, subject_id: str, borrower: Borrower, policy: str) -> None:
        """An honest question, answered."""
        consent = self.consented(subject_id, borrower, policy)
        with Lender(self.home) as lender:
            lender.ask(lender.subject(subject_id), policy_id=policy, consent=consent)

    # -- by hand

    def question(
        self, *, sub: bytes | None = None, consent: bytes | None = None, policy: Any = None
    ) -> pb.AskRequest:
        """A question; what is not said is made up."""
        self.count += 1
        seed = f"{self.name} {self.count}"
        ref = policy or POLICY.ref
        return pb.AskRequest(
            request_id=seed_of(f"{seed} request", 16),
            nonce=seed_of(f"{seed} nonce"),
            sub=sub or seed_of(f"{seed} sub"),
            policy=pb.PolicyReference(id=ref.id, version=ref.version, digest=ref.digest),
            consent_id=consent or seed_of(f"{seed} consent"),
            case_digest=bytes(32),
            staff_digest=bytes(32),
        )

    def under(self, consent: str) -> pb.AskRequest:
        """Another question under this consent, about whoever gave it."""
        found = verify_consent(consent)
        return self.question(sub=found.terms.sub, consent=found.id, policy=found.terms.policies[0])

    def put(self, questions: Sequence[pb.AskRequest]) -> list[str]:
        """What a batch is told: reasons, or ANSWERED."""
        stub = VerificationServiceStub(self.channel)
        reply = call(stub.BatchAsk, pb.BatchAskRequest(requests=questions))
        results = [ask_wire.from_proto(item) for item in reply.results]
        return [r.reason if isinstance(r, CredproofError) else "ANSWERED" for r in results]

    def put_alone(self, question: pb.AskRequest) -> str:
        """What one question is told."""
        try:
            call(VerificationServiceStub(self.channel).Ask, question)
        except Refused as error:
            return error.reason
        return "ANSWERED"

    def evaluate(self, count: int) -> str:
        """What an evaluation of so many guessed ids is told."""
        with Lender(self.home) as lender:
            key_id = lender.trust.oprf_key.id
        ids = [parse_subject_id(f"ref:guess-{self.name}-{n}") for n in range(count)]
        blinds = [scalar_from(seed_of(f"{self.name} {n}", 64)) for n in range(count)]
        request = pseudonym_pb.EvaluatePseudonymsRequest(
            key_id=key_id, blinded_elements=begin(ids, blinds).elements
        )
        try:
            call(PseudonymServiceStub(self.channel).EvaluatePseudonyms, request)
        except Refused as error:
            return error.reason
        return "EVALUATED"


# -- what the auditor sees --------------------------------------------------------


def raised(running: Running, *names: str) -> list[RaisedAnomaly]:
    """What was raised about these participants, as an auditor reads and verifies it."""
    with running.world.auditor() as auditor:
        return [a for a in auditor.anomalies() if set(names) & set(a.anomaly.participants)]


def raised_in_time(running: Running, *names: str) -> list[RaisedAnomaly]:
    """The same of what is looked for every second: waits until something is there."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if found := raised(running, *names):
            return found
        time.sleep(0.2)
    return []


def evidence(running: Running, found: RaisedAnomaly) -> Counter[tuple[str, str, str]]:
    """The entries that an anomaly names, verified, by kind, actor and reason."""
    with running.world.auditor() as auditor:
        entries = list(auditor.evidence(found.anomaly))
    assert [entry.seq for entry in entries] == sorted({entry.seq for entry in entries})
    assert all(entry.seq < found.log_index for entry in entries)
    return Counter((e.kind, e.actor, str(e.fields.get("reason", ""))) for e in entries)


def refusals(running: Running, name: str) -> Counter[str]:
    """The refusals of a lender in the log, by reason."""
    with running.world.auditor() as auditor:
        size = auditor.checkpoint().tree_size
        lines = [json.loads(line) for line in auditor.lines(0, size)]
    mine = (line for line in lines if (line["kind"], line["actor"]) == ("answer.refused", name))
    return Counter(line["fields"]["reason"] for line in mine)
