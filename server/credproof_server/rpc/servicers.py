"""The servicers: messages in, use case, messages out. Everything else is elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
from credproof.base.errors import CredproofError, Malformed
from credproof.base.limits import ENTRIES_PAGE_MAX
from credproof.v1 import (
    attestation_service_pb2 as attestation_pb,
)
from credproof.v1 import (
    attestation_service_pb2_grpc,
    audit_service_pb2_grpc,
    consent_service_pb2_grpc,
    pseudonym_service_pb2_grpc,
    registry_service_pb2_grpc,
    verification_service_pb2_grpc,
)
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import consent_service_pb2 as consent_pb
from credproof.v1 import pseudonym_service_pb2 as pseudonym_pb
from credproof.v1 import registry_service_pb2 as registry_pb
from credproof.v1 import verification_service_pb2 as verification_pb
from credproof.verification.answer import Reference
from credproof.verification.document import PAUSE, RESUMPTION, Kind
from credproof.verification.policy import PolicyRef
from credproof.wire import answer as answer_wire
from credproof.wire import ask as ask_wire
from credproof.wire import trust as trust_wire

from credproof_server.rpc.identity import caller
from credproof_server.service.answering import Ask
from credproof_server.service.audit import Audit
from credproof_server.service.consents import Consents
from credproof_server.service.core import Core
from credproof_server.service.filing import Filing
from credproof_server.service.ingest import BatchResult, Ingest, Receipt, Result
from credproof_server.service.pausing import Pausing
from credproof_server.service.pseudonyms import Evaluator
from credproof_server.service.raising import Throttles
from credproof_server.service.registry import Registry
from credproof_server.service.requests import Requests
from credproof_server.service.searching import Searching
from credproof_server.service.showing import Showing
from credproof_server.service.telling import Telling
from credproof_server.service.unsealing import Listed, Unsealing
from credproof_server.service.verify import Verify
from credproof_server.service.withdrawals import Withdrawals, Withdrawn

Context = grpc.aio.ServicerContext[Any, Any]


class AttestationServicer(attestation_service_pb2_grpc.AttestationServiceServicer):
    def __init__(self, core: Core) -> None:
        self._damage = core.damage
        self._ingest = Ingest(core)
        self._withdrawals = Withdrawals(core)
        self._filing = Filing(core)

    async def SubmitAttestations(  # noqa: N802 - the name of the RPC
        self, request: attestation_pb.SubmitAttestationsRequest, context: Context
    ) -> attestation_pb.SubmitAttestationsResponse:
        batch = await self._ingest.submit(caller().id, request.sealed_batch)
        self._damage.note("SubmitAttestations", batch.results)
        return _batch(batch)

    async def StreamAttestations(  # noqa: N802
        self, requests: AsyncIterator[attestation_pb.SubmitAttestationsRequest], context: Context
    ) -> AsyncIterator[attestation_pb.SubmitAttestationsResponse]:
        sealed = (request.sealed_batch async for request in requests)
        async for batch in self._ingest.stream(caller().id, sealed):
            self._damage.note("StreamAttestations", batch.results)
            yield _batch(batch)

    async def ListChainHeads(  # noqa: N802
        self, request: attestation_pb.ListChainHeadsRequest, context: Context
    ) -> attestation_pb.ListChainHeadsResponse:
        digest = _exactly(request.schema_digest, 32, "schema_digest")
        found = await self._ingest.chain_heads(caller().id, digest, request.accounts)
        heads = [
            attestation_pb.ChainHead(account=name, seq=head.seq, token_id=head.token_id)
            for name, head in found.items()
        ]
        return attestation_pb.ListChainHeadsResponse(heads=heads)

    async def WithdrawAttestations(  # noqa: N802
        self, request: attestation_pb.WithdrawAttestationsRequest, context: Context
    ) -> attestation_pb.WithdrawAttestationsResponse:
        results = await self._withdrawals.withdraw(caller().id, request.withdrawals)
        self._damage.note("WithdrawAttestations", results)
        return attestation_pb.WithdrawAttestationsResponse(
            results=[_withdraw_result(item) for item in results]
        )

    async def ShowFiled(  # noqa: N802
        self, request: attestation_pb.ShowFiledRequest, context: Context
    ) -> attestation_pb.ShowFiledResponse:
        shown = await self._filing.show(caller().id, request.token_ids)
        items = [
            attestation_pb.FiledAttestation(
                logged=answer_wire.logged_to_proto(item.logged),
                element=item.output.element,
                proof=item.output.proof,
            )
            for item in shown.items
        ]
        return attestation_pb.ShowFiledResponse(items=items, checkpoint=shown.checkpoint)


def _withdraw_result(item: Withdrawn | CredproofError) -> attestation_pb.WithdrawResult:
    if isinstance(item, CredproofError):
        return attestation_pb.WithdrawResult(error=_item_error(item))
    receipt = attestation_pb.WithdrawReceipt(token_id=item.token_id, log_index=item.log_index)
    return attestation_pb.WithdrawResult(receipt=receipt)


def _batch(batch: BatchResult) -> attestation_pb.SubmitAttestationsResponse:
    return attestation_pb.SubmitAttestationsResponse(
        results=[_result(item) for item in batch.results], checkpoint=batch.checkpoint
    )


def _result(item: Result) -> attestation_pb.SubmitResult:
    if isinstance(item, Receipt):
        receipt = attestation_pb.Receipt(
            token_id=item.token_id, sub=item.sub, log_index=item.log_index
        )
        return attestation_pb.SubmitResult(receipt=receipt)
    return attestation_pb.SubmitResult(error=_item_error(item))


def _item_error(error: CredproofError) -> attestation_pb.ItemError:
    return attestation_pb.ItemError(reason=error.reason, message=error.message, step=error.step)


class PseudonymServicer(pseudonym_service_pb2_grpc.PseudonymServiceServicer):
    def __init__(self, holder: Evaluator) -> None:
        self._holder = holder

    async def EvaluatePseudonyms(  # noqa: N802
        self, request: pseudonym_pb.EvaluatePseudonymsRequest, context: Context
    ) -> pseudonym_pb.EvaluatePseudonymsResponse:
        who = caller()
        evaluated = await self._holder.evaluate(
            who.id, who.role, request.key_id, request.blinded_elements
        )
        return pseudonym_pb.EvaluatePseudonymsResponse(
            evaluated_elements=evaluated.elements, proof=evaluated.proof
        )


class ConsentServicer(consent_service_pb2_grpc.ConsentServiceServicer):
    def __init__(self, core: Core) -> None:
        self._consents = Consents(core)
        self._pausing = Pausing(core)
        self._telling = Telling(core)
        self._showing = Showing(core)

    async def GrantConsent(  # noqa: N802
        self, request: consent_pb.GrantConsentRequest, context: Context
    ) -> consent_pb.GrantConsentResponse:
        key = caller().key
        assert key is not None, "only borrowers are let in here"
        granted = await self._consents.grant(request.consent, key)
        return consent_pb.GrantConsentResponse(
            consent_id=granted.consent_id, log_index=granted.log_index
        )

    async def RevokeConsent(  # noqa: N802
        self, request: consent_pb.RevokeConsentRequest, context: Context
    ) -> consent_pb.RevokeConsentResponse:
        key = caller().key
        assert key is not None, "only borrowers are let in here"
        revoked = await self._consents.revoke(request.revocation, key)
        return consent_pb.RevokeConsentResponse(log_index=revoked.log_index)

    async def PauseConsent(  # noqa: N802
        self, request: consent_pb.PauseConsentRequest, context: Context
    ) -> consent_pb.PauseConsentResponse:
        index = await self._change(request.pause, PAUSE)
        return consent_pb.PauseConsentResponse(log_index=index)

    async def ResumeConsent(  # noqa: N802
        self, request: consent_pb.ResumeConsentRequest, context: Context
    ) -> consent_pb.ResumeConsentResponse:
        index = await self._change(request.resumption, RESUMPTION)
        return consent_pb.ResumeConsentResponse(log_index=index)

    async def ListUnsealed(  # noqa: N802
        self, request: consent_pb.ListUnsealedRequest, context: Context
    ) -> consent_pb.ListUnsealedResponse:
        key = caller().key
        assert key is not None, "only borrowers are let in here"
        rows = await self._telling.unsealed(_exactly(request.sub, 32, "sub"), key)
        details = [consent_pb.UnsealedDetail(**row._mapping) for row in rows]
        return consent_pb.ListUnsealedResponse(details=details)

    async def ShowHeld(  # noqa: N802
        self, request: consent_pb.ShowHeldRequest, context: Context
    ) -> consent_pb.ShowHeldResponse:
        key, sub = caller().key, _exactly(request.sub, 32, "sub")
        assert key is not None, "only borrowers are let in here"
        schema = _exactly(request.schema_digest, 32, "schema_digest")
        if request.start_index < 0:
            raise Malformed("BAD_RANGE", "start_index is negative")
        shown = await self._showing.show(sub, schema, key, request.start_index)
        return consent_pb.ShowHeldResponse(
            directory=answer_wire.directory_to_proto(shown.directory),
            tokens=[answer_wire.token_to_proto(item) for item in shown.tokens],
            checkpoint=shown.checkpoint,
        )

    async def _change(self, text: str, kind: Kind) -> int:
        key = caller().key
        assert key is not None, "only borrowers are let in here"
        return (await self._pausing.change(text, kind, key)).log_index


class VerificationServicer(verification_service_pb2_grpc.VerificationServiceServicer):
    def __init__(self, core: Core) -> None:
        self._damage = core.damage
        self._verify = Verify(core)
        self._requests = Requests(core)

    async def Ask(  # noqa: N802
        self, request: verification_pb.AskRequest, context: Context
    ) -> verification_pb.AskResponse:
        bundle = await self._verify.ask(_ask(request, caller().id))
        return verification_pb.AskResponse(bundle=answer_wire.to_proto(bundle))

    async def BatchAsk(  # noqa: N802
        self, request: verification_pb.BatchAskRequest, context: Context
    ) -> verification_pb.BatchAskResponse:
        if not request.requests:
            raise Malformed("EMPTY_BATCH", "a batch must have at least one question")
        lender = caller().id
        items = [_ask_or_error(item, lender) for item in request.requests]
        asks = [item for item in items if isinstance(item, Ask)]
        answered = iter(await self._verify.ask_many(asks))
        results = [next(answered) if isinstance(item, Ask) else item for item in items]
        self._damage.note("BatchAsk", results)
        return verification_pb.BatchAskResponse(results=ask_wire.fitting(results))

    async def GetConsent(  # noqa: N802
        self, request: verification_pb.GetConsentRequest, context: Context
    ) -> verification_pb.GetConsentResponse:
        sub, name = _exactly(request.sub, 32, "sub"), _exactly(request.request, 32, "request")
        found = await self._requests.consent(caller().id, sub, name)
        if found is None:
            return verification_pb.GetConsentResponse()
        state = verification_pb.ConsentState.Value(f"CONSENT_STATE_{found.state}")
        return verification_pb.GetConsentResponse(consent=found.consent, state=state)


def _ask_or_error(request: verification_pb.AskRequest, lender: str) -> Ask | CredproofError:
    try:
        return _ask(request, lender)
    except Malformed as error:
        return error


def _ask(request: verification_pb.AskRequest, lender: str) -> Ask:
    policy = request.policy
    digest = _exactly(policy.digest, 32, "policy.digest")
    return Ask(
        lender=lender,
        request_id=_exactly(request.request_id, 16, "request_id"),
        nonce=_exactly(request.nonce, 32, "nonce"),
        sub=_exactly(request.sub, 32, "sub"),
        policy=PolicyRef(policy.id, policy.version, digest),
        consent_id=_exactly(request.consent_id, 32, "consent_id"),
        case_digest=_exactly(request.case_digest, 32, "case_digest"),
        staff_digest=_exactly(request.staff_digest, 32, "staff_digest"),
    )


class AuditServicer(audit_service_pb2_grpc.AuditServiceServicer):
    def __init__(self, core: Core) -> None:
        self._audit = Audit(core)
        self._searching = Searching(core)
        self._unsealing = Unsealing(core)

    async def GetCheckpoint(  # noqa: N802
        self, request: audit_pb.GetCheckpointRequest, context: Context
    ) -> audit_pb.GetCheckpointResponse:
        if request.disproof:
            note = self._audit.disproof()
        else:
            note = self._audit.witnessed() if request.witnessed else self._audit.checkpoint()
        return audit_pb.GetCheckpointResponse(checkpoint=note)

    async def ListEntries(  # noqa: N802
        self, request: audit_pb.ListEntriesRequest, context: Context
    ) -> audit_pb.ListEntriesResponse:
        if request.start_index < 0 or request.limit < 0:
            raise Malformed("BAD_RANGE", "start_index or limit is negative")
        limit = min(request.limit or ENTRIES_PAGE_MAX, ENTRIES_PAGE_MAX)
        lines = await self._audit.lines(request.start_index, limit)
        return audit_pb.ListEntriesResponse(lines=lines)

    async def SearchPerson(  # noqa: N802
        self, request: audit_pb.SearchPersonRequest, context: Context
    ) -> audit_pb.SearchPersonResponse:
        sub = _exactly(request.sub, 32, "sub")
        reason = _exactly(request.reason_digest, 32, "reason_digest")
        found = await self._searching.person(caller().id, sub, reason)
        return audit_pb.SearchPersonResponse(
            log_indexes=found.log_indexes, searched_index=found.searched_index
        )

    async def AskUnseal(  # noqa: N802
        self, request: audit_pb.AskUnsealRequest, context: Context
    ) -> audit_pb.AskUnsealResponse:
        salt = _exactly(request.reason_salt, 16, "reason_salt")
        why = Reference(request.reason, salt)
        index = await self._unsealing.ask(caller().id, request.request, why)
        return audit_pb.AskUnsealResponse(log_index=index)

    async def ListUnsealings(  # noqa: N802
        self, request: audit_pb.ListUnsealingsRequest, context: Context
    ) -> audit_pb.ListUnsealingsResponse:
        if request.start_index < 0:
            raise Malformed("BAD_RANGE", "start_index is negative")
        found = await self._unsealing.listed(request.start_index)
        return audit_pb.ListUnsealingsResponse(unsealings=map(_unsealing, found))

    async def DecideUnseal(  # noqa: N802
        self, request: audit_pb.DecideUnsealRequest, context: Context
    ) -> audit_pb.DecideUnsealResponse:
        index = await self._unsealing.decide(caller().id, request.decision)
        return audit_pb.DecideUnsealResponse(log_index=index)

    async def OpenDetail(  # noqa: N802
        self, request: audit_pb.OpenDetailRequest, context: Context
    ) -> audit_pb.OpenDetailResponse:
        name = _exactly(request.request_id, 32, "request_id")
        given = await self._unsealing.open(caller().id, name)
        opening = given.opening
        return audit_pb.OpenDetailResponse(
            content=opening.content, salt=opening.salt, log_index=given.log_index
        )

    async def GetInclusionProof(  # noqa: N802
        self, request: audit_pb.GetInclusionProofRequest, context: Context
    ) -> audit_pb.GetInclusionProofResponse:
        hashes = self._audit.inclusion_proof(request.log_index, request.tree_size)
        return audit_pb.GetInclusionProofResponse(hashes=hashes)

    async def GetConsistencyProof(  # noqa: N802
        self, request: audit_pb.GetConsistencyProofRequest, context: Context
    ) -> audit_pb.GetConsistencyProofResponse:
        hashes = self._audit.consistency_proof(request.old_tree_size, request.new_tree_size)
        return audit_pb.GetConsistencyProofResponse(hashes=hashes)

    async def ListTimestamps(  # noqa: N802
        self, request: audit_pb.ListTimestampsRequest, context: Context
    ) -> audit_pb.ListTimestampsResponse:
        if request.after_size < 0:
            raise Malformed("BAD_RANGE", "after_size is negative")
        rows = await self._audit.timestamps(request.after_size, request.after_authority)
        found = [
            audit_pb.CheckpointTimestamp(
                tree_size=row.tree_size,
                authority=row.authority,
                checkpoint=row.note,
                response=row.response,
            )
            for row in rows
        ]
        return audit_pb.ListTimestampsResponse(timestamps=found)


def _unsealing(item: Listed) -> audit_pb.Unsealing:
    why = item.reason
    return audit_pb.Unsealing(
        log_index=item.log_index,
        request=item.request,
        decision=item.decision,
        reason="" if why is None else why.text,
        reason_salt=b"" if why is None else why.salt,
        decided_index=item.decided_index,
        unsealed_indexes=item.given,
    )


class RegistryServicer(registry_service_pb2_grpc.RegistryServiceServicer):
    def __init__(self, core: Core) -> None:
        self._registry = Registry(core)
        self._throttles = Throttles(core)

    async def GetTrustBundle(  # noqa: N802
        self, request: registry_pb.GetTrustBundleRequest, context: Context
    ) -> registry_pb.GetTrustBundleResponse:
        package = trust_wire.package_of(self._registry.trust())
        return registry_pb.GetTrustBundleResponse(package=package.to_proto())

    async def GetTrustVersion(  # noqa: N802
        self, request: registry_pb.GetTrustVersionRequest, context: Context
    ) -> registry_pb.GetTrustVersionResponse:
        found = await self._registry.version(request.version)
        package = registry_pb.TrustPackage(bundle=found.token, documents=found.documents)
        return registry_pb.GetTrustVersionResponse(
            package=package, line=found.line, log_index=found.log_index
        )

    async def PublishTrustBundle(  # noqa: N802
        self, request: registry_pb.PublishTrustBundleRequest, context: Context
    ) -> registry_pb.PublishTrustBundleResponse:
        package = trust_wire.from_proto(request.package)
        items = _items(request.metadata)
        index = await self._registry.publish(caller().id, package.token, package.documents, items)
        return registry_pb.PublishTrustBundleResponse(log_index=index)

    async def GetTrustMetadata(  # noqa: N802
        self, request: registry_pb.GetTrustMetadataRequest, context: Context
    ) -> registry_pb.GetTrustMetadataResponse:
        data = await self._registry.metadata(request.role, request.version)
        return registry_pb.GetTrustMetadataResponse(metadata=data)

    async def PublishTrustMetadata(  # noqa: N802
        self, request: registry_pb.PublishTrustMetadataRequest, context: Context
    ) -> registry_pb.PublishTrustMetadataResponse:
        await self._registry.publish_metadata(caller().id, _items(request.items))
        return registry_pb.PublishTrustMetadataResponse()

    async def LiftThrottle(  # noqa: N802
        self, request: registry_pb.LiftThrottleRequest, context: Context
    ) -> registry_pb.LiftThrottleResponse:
        index = await self._throttles.lift(caller().id, request.participant)
        return registry_pb.LiftThrottleResponse(log_index=index)


def _items(items: Sequence[registry_pb.RoleMetadata]) -> dict[str, bytes]:
    found = {item.role: item.metadata for item in items}
    if len(found) != len(items):
        raise Malformed("BAD_ROLE", "a role comes twice")
    return found


def _exactly(data: bytes, size: int, name: str) -> bytes:
    if len(data) != size:
        raise Malformed("WRONG_LENGTH", f"{name} must have exactly {size} bytes")
    return data
