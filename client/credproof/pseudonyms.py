"""Making pseudonyms: every holder of the OPRF key is asked at once, and each must prove its part.

The holders see blinded elements and who asks; none learns an id or a pseudonym.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc

from credproof.attestation.oprf_key import Evaluation, Share
from credproof.attestation.pseudonym import (
    Blinded,
    Part,
    SubjectId,
    Transcript,
    begin,
    parse_subject_id,
)
from credproof.base.closing import Closing
from credproof.base.errors import CredproofError, Unreachable, VerificationFailed
from credproof.base.group import scalar_from
from credproof.channel import TIMEOUT_S, connect_custodian, error_of, is_other_host
from credproof.home import Home
from credproof.v1 import pseudonym_service_pb2 as pb
from credproof.v1.pseudonym_service_pb2_grpc import PseudonymServiceStub
from credproof.verification.participant import custodian_host
from credproof.verification.trust import Trust

CUSTODIAN_TIMEOUT_S: Final = 20.0
"""How long one custodian may take to answer, retries included."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A borrower: the pseudonym, and the proof of whose it is."""

    sub: bytes
    transcript: Transcript


class Pseudonyms(Closing):
    """Turns ids into pseudonyms under the newest OPRF key. Safe to share between threads.

    `service` is the caller's own channel to the service; those to custodians are opened here.
    """

    def __init__(self, home: Home, service: grpc.Channel, trust: Trust) -> None:
        self._key = trust.oprf_key
        first, *others = self._key.shares
        self._holders: list[_Holder] = [_Holder(first, service)]
        self._holders += [_Custodian(share, home, trust.bundle.domain) for share in others]

    def close(self) -> None:
        """Let go of the connections to custodians."""
        for holder in self._holders[1:]:
            holder.channel.close()

    def of(self, subjects: Sequence[SubjectId]) -> tuple[bytes, ...]:
        """The pseudonyms of at most `BATCH_ITEMS_MAX` ids, in order.

        Raises:
            VerificationFailed: `BAD_DLEQ_PROOF` when a holder used another key,
                `NOT_THE_CUSTODIAN`.
            Unreachable: `CUSTODIAN_UNREACHABLE`, `CUSTODIAN_TIMEOUT`, `NO_ANSWER` of the service.
            Refused, Conflict: as a holder refuses; the message names it.
        """
        blinded = begin(subjects, [scalar_from(secrets.token_bytes(64)) for _ in subjects])
        return blinded.finish(self._ask(blinded), self._key)

    def identify(self, subject_id: str) -> Subject:
        """The borrower with this id (`scheme:value`), with what proves it years later.

        One element per call: a proof over several would not verify in a file of its own.

        Raises:
            Malformed: `BAD_SUBJECT_ID`; else as `of`.
        """
        blinded = begin([parse_subject_id(subject_id)], [scalar_from(secrets.token_bytes(64))])
        evaluations = self._ask(blinded)
        (sub,) = blinded.finish(evaluations, self._key)
        parts = tuple(Part(item.elements[0], item.proof) for item in evaluations)
        return Subject(sub, Transcript(subject_id, self._key.id, blinded.blinds[0], parts))

    def _ask(self, blinded: Blinded) -> list[Evaluation]:
        """Every holder's answer, unverified, in the order of the shares."""
        request = pb.EvaluatePseudonymsRequest(
            key_id=self._key.id, blinded_elements=blinded.elements
        )
        asked = [(holder, holder.ask(request)) for holder in self._holders]
        try:
            return [holder.answer(future) for holder, future in asked]
        finally:
            for _, future in asked:
                future.cancel()  # does nothing once it is done


class _Holder:
    """The service, as the holder of its share."""

    timeout_s = TIMEOUT_S

    def __init__(self, share: Share, channel: grpc.Channel) -> None:
        self.share = share
        self.channel = channel
        self._stub = PseudonymServiceStub(channel)

    def ask(self, request: pb.EvaluatePseudonymsRequest) -> Any:
        """A call on its way."""
        return self._stub.EvaluatePseudonyms.future(request, timeout=self.timeout_s)

    def answer(self, future: Any) -> Evaluation:
        """What the call brought, unverified."""
        try:
            reply = future.result()
        except grpc.RpcError as failed:
            raise self.error(failed) from None
        return Evaluation(tuple(reply.evaluated_elements), reply.proof)

    def error(self, failed: grpc.RpcError) -> CredproofError:
        return error_of(failed)


class _Custodian(_Holder):
    """A custodian: believed only under its own name, and each of its errors names it."""

    timeout_s = CUSTODIAN_TIMEOUT_S

    def __init__(self, share: Share, home: Home, domain: str) -> None:
        self._host = custodian_host(share.custodian, domain)
        self._authority = home.tls()[0]
        super().__init__(share, connect_custodian(home, share.address, self._host))

    def error(self, failed: grpc.RpcError) -> CredproofError:
        found, who = error_of(failed), self.share.holder
        if found.reason != "NO_ANSWER":
            return type(found)(found.reason, f"{who}: {found.message}")
        if failed.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return Unreachable("CUSTODIAN_TIMEOUT", f"{who} took too long to answer")
        if is_other_host(self.share.address, self._authority, self._host):
            return VerificationFailed(
                "NOT_THE_CUSTODIAN", f"{who}: somebody else answers at its address"
            )
        return Unreachable("CUSTODIAN_UNREACHABLE", f"{who} does not answer")
