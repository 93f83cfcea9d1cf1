"""Clients that never give up: each repeats what was not acknowledged until it is."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from credproof.attestation.package import pack
from credproof.attestation.statement import Opening, issue
from credproof.base import jws
from credproof.base.errors import CredproofError, Unreachable
from credproof.borrower import Borrower
from credproof.channel import call, connect
from credproof.home import Home
from credproof.lender import Ask, Lender
from credproof.log.checkpoint import verify_checkpoint
from credproof.v1 import attestation_service_pb2 as pb
from credproof.v1.attestation_service_pb2_grpc import AttestationServiceStub
from credproof.verification.consent import verify_consent
from credproof_server.demo.world import PROVIDER, World

from tests.crash.ledger import Ledger
from tests.deployment import seal, statement

ACCOUNTS = 5
T = TypeVar("T")


class Client(threading.Thread):
    """Works until told to stop, then finishes what it began."""

    passing: tuple[type[CredproofError], ...] = (Unreachable,)
    """After these it asks again."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self.ledger = ledger
        self.stop = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        try:
            while not self.stop.is_set():
                self.work()
        except BaseException as error:
            self.failed = error

    def work(self) -> None:
        raise NotImplementedError

    def until_answered(self, ask: Callable[[], T]) -> T:
        """Repeat a call until the service answers it."""
        while True:
            try:
                return ask()
            except self.passing:
                self.ledger.interrupted()
                time.sleep(0.05)


class Submitter(Client):
    """A provider's system with some accounts, whose chains it continues batch by batch."""

    def __init__(self, ledger: Ledger, world: World, name: str) -> None:
        super().__init__(ledger)
        home = Home(world.home(PROVIDER))
        self._signer, self._trust = home.signer, home.trust(at=0)
        self._stub = AttestationServiceStub(connect(home))
        self._heads = {f"{name}-{i}": (0, bytes(32)) for i in range(ACCOUNTS)}
        self._sub = statement().sub

    def work(self) -> None:
        packages, ids = [], []
        for account, (seq, prev) in self._heads.items():
            made = statement(
                issuer=PROVIDER, account=account, seq=seq + 1, prev=prev, sub=self._sub
            )
            opening = Opening(made, os.urandom(32))
            token = issue(opening, self._signer)
            packages.append(pack(token, opening))
            ids.append(jws.token_id(token))
        sealed = seal(self._trust, packages, provider=PROVIDER)
        reply = self.until_answered(
            lambda: call(
                self._stub.SubmitAttestations, pb.SubmitAttestationsRequest(sealed_batch=sealed)
            )
        )
        self._settle(ids, reply)

    def _settle(self, ids: list[bytes], reply: pb.SubmitAttestationsResponse) -> None:
        for account, token_id, result in zip(self._heads, ids, reply.results, strict=True):
            assert result.HasField("receipt"), result.error.reason
            self.ledger.token(token_id, result.receipt.log_index)
            self._heads[account] = (self._heads[account][0] + 1, token_id)
        key = self._trust.log_key
        self.ledger.checkpoint(verify_checkpoint(reply.checkpoint, key.name, [key]))


class Newcomers(Submitter):
    """Each batch is about a person whom nobody knew: it takes a new data key."""

    def work(self) -> None:
        self._sub = os.urandom(32)
        self._heads = {self._sub.hex()[:16]: (0, bytes(32))}
        super().work()


class Asker(Client):
    """A lender's clerk and a borrower: consent, question, consent, question …"""

    def __init__(self, ledger: Ledger, lender: Lender, borrower: Borrower, subject_id: str) -> None:
        super().__init__(ledger)
        self._lender = lender
        self._borrower = borrower
        self._subject_id = subject_id
        self._subject = lender.subject(subject_id)

    def work(self) -> None:
        request = self._lender.request(self._subject, policy_id="revolving-standing")
        checked = self._borrower.check(request, self._lender.trust)
        consent = self._borrower.sign(checked, language="zh")  # a request is good for one
        self.until_answered(lambda: self._borrower.grant(consent))
        self.ledger.consent(verify_consent(consent).id)
        ask = Ask(self._subject_id, "revolving-standing", consent)
        (asked,) = self.until_answered(lambda: self._lender.prepare([ask]))
        assert not isinstance(asked, CredproofError), asked
        for _ in range(2):  # the second time it must be the same bytes
            (kept,) = self.until_answered(lambda: self._lender.put([asked]))
            assert not isinstance(kept, CredproofError), kept
            self.ledger.answer(asked.kept.request_id, kept.bundle.answer.encode())
