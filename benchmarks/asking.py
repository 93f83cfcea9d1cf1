"""A lender who asks about borrowers who have consented, and the bare echo beside it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle

from credproof import borrower as borrowers
from credproof.base.closing import Closing
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect_borrower
from credproof.home import Home
from credproof.lender import Lender, Subject
from credproof.v1 import verification_service_pb2 as pb
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.answer import Kept, Reference
from credproof.verification.consent import parse_request, sign_request, verify_consent
from credproof.verification.notice import notice_digests
from credproof.wire import ask as ask_wire
from credproof_server.demo.world import LENDER, PROVIDER

from benchmarks.service import SCHEMA, Service

POLICY = "revolving-standing"
BATCH = 16


class Asking(Closing):
    """Borrowers who are attested and bound, and consent to every question; use it in a `with`."""

    def __init__(self, service: Service, people: int) -> None:
        self.service = service
        self._open = ExitStack()
        self._lender = self._open.enter_context(service.world.lender())
        self._stub = VerificationServiceStub(service.channel(LENDER))
        self._people = cycle(self._bind(people))
        self.milliseconds: list[float] = []

    def close(self) -> None:
        """Let go of what it opened."""
        self._open.close()

    def bound_only(self) -> bytes:
        """The pseudonym of a borrower whose key is bound and of whom nothing else is attested."""
        proof = borrowers.prove_possession(Ed25519Signer(os.urandom(32)), provider=PROVIDER)
        [record] = self.service.records(1)
        with self.service.world.provider() as provider:
            return provider.bind([(record.subject, proof)])[0].sub

    def _bind(self, count: int) -> list[tuple[Subject, Borrower]]:
        home = Home(self.service.world.home(PROVIDER))
        channel = connect_borrower(home.settings.borrowers_address, home.tls()[0])
        self._open.enter_context(channel)
        records = self.service.records(count)
        signers = [Ed25519Signer(os.urandom(32)) for _ in records]
        with self.service.world.provider() as provider:
            provider.submit(records, schema_id=SCHEMA)
            proofs = [borrowers.prove_possession(key, provider=PROVIDER) for key in signers]
            bound = provider.bind(list(zip((r.subject for r in records), proofs, strict=True)))
        return [
            (self._lender.subject(record.subject), Borrower(key, make_pass(home, b.sub), channel))
            for record, key, b in zip(records, signers, bound, strict=True)
        ]

    # -- questions

    def requests(self, count: int) -> list[pb.AskRequest]:
        """Questions, each under a consent of its own that the service knows."""
        return [self._request(*next(self._people)) for _ in range(count)]

    def ended(self) -> pb.AskRequest:
        """A question under a consent that was granted, and is over."""
        subject, borrower = next(self._people)
        honest = parse_request(self._lender.request(subject, policy_id=POLICY))
        end = int(time.time()) + 2
        terms = replace(honest.terms, expires_at=end)
        signer = Home(self.service.world.home(LENDER)).signer
        times = {"issued_at": end - 2, "open_until": end + 60}
        notices = notice_digests(self._lender.trust, terms)
        said = {"jti": os.urandom(16), "notices": notices}
        asked = self._request(subject, borrower, sign_request(signer, terms, **said, **times))
        time.sleep(max(0.0, end + 1 - time.time()))
        return asked

    def _request(self, subject: Subject, borrower: Borrower, token: str = "") -> pb.AskRequest:
        lender: Lender = self._lender
        token = token or lender.request(subject, policy_id=POLICY)
        request = borrower.check(token, lender.trust)
        consent = verify_consent(borrower.consent(request, language="zh"))
        kept = Kept(
            nonce=os.urandom(32),
            request_id=os.urandom(16),
            case=Reference("case", os.urandom(16)),
            staff=Reference("staff", os.urandom(16)),
            transcript=subject.transcript,
        )
        return ask_wire.request(kept, subject.sub, consent.terms.policies[0], consent.id)

    # -- the server's CPU time per answer, in microseconds

    def one_by_one(self, count: int, in_flight: int) -> float:
        """Unary calls, so many at the same time."""
        requests = self.requests(count)
        spent = self.service.child.meter()
        with ThreadPoolExecutor(in_flight) as pool:
            replies = list(pool.map(self._timed_ask, requests))
        each = spent() / count
        assert all(_is_tier_a(reply.bundle) for reply in replies), "an answer is not as expected"
        return each

    def _timed_ask(self, request: pb.AskRequest) -> pb.AskResponse:
        started = time.perf_counter()
        reply = self._stub.Ask(request)
        self.milliseconds.append((time.perf_counter() - started) * 1000)
        return reply

    def in_batches(self, batches: int) -> float:
        """Batches of `BATCH`, one after another."""
        requests = self.requests(batches * BATCH)
        chunks = [requests[i : i + BATCH] for i in range(0, len(requests), BATCH)]
        spent = self.service.child.meter()
        replies = [self._stub.BatchAsk(pb.BatchAskRequest(requests=chunk)) for chunk in chunks]
        each = spent() / len(requests)
        results = [result for reply in replies for result in reply.results]
        assert all(_is_tier_a(result.bundle) for result in results), "an answer was refused"
        return each


def _is_tier_a(bundle: object) -> bool:
    """An answer with the four proofs of tier A."""
    return [len(token.proofs) for token in bundle.tokens] == [4]
