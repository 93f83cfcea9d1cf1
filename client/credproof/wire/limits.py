"""The limit of every text, byte string and list that comes in, keyed by full field name.

`check` walks a message and refuses what passes its limit; a field that is not in the table
is refused too, and a test says that every field of every request is in it.
"""

from __future__ import annotations

from functools import cache
from typing import Final, NamedTuple

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from credproof.base import limits
from credproof.base.errors import Malformed

LIMITS: Final[dict[str, int]] = {
    "SubmitAttestationsRequest.sealed_batch": limits.SEALED_BATCH_BYTES_MAX,
    "ListChainHeadsRequest.schema_digest": 32,
    "ListChainHeadsRequest.accounts": limits.CHAIN_HEADS_MAX,
    "WithdrawAttestationsRequest.withdrawals": limits.BATCH_ITEMS_MAX,
    "ShowFiledRequest.token_ids": limits.BATCH_ITEMS_MAX,
    "EvaluatePseudonymsRequest.key_id": 32,
    "EvaluatePseudonymsRequest.blinded_elements": limits.BATCH_ITEMS_MAX,
    "GrantConsentRequest.consent": limits.TOKEN_BYTES_MAX,
    "RevokeConsentRequest.revocation": limits.TOKEN_BYTES_MAX,
    "PauseConsentRequest.pause": limits.TOKEN_BYTES_MAX,
    "ResumeConsentRequest.resumption": limits.TOKEN_BYTES_MAX,
    "ShowHeldRequest.sub": 32,
    "ShowHeldRequest.schema_digest": 32,
    "GetConsentRequest.request": 32,
    "GetConsentRequest.sub": 32,
    "AskRequest.request_id": 16,
    "AskRequest.nonce": 32,
    "AskRequest.sub": 32,
    "AskRequest.consent_id": 32,
    "AskRequest.case_digest": 32,
    "AskRequest.staff_digest": 32,
    "BatchAskRequest.requests": limits.ASK_ITEMS_MAX,
    "PolicyReference.id": 63,
    "PolicyReference.digest": 32,
    "SearchPersonRequest.sub": 32,
    "SearchPersonRequest.reason_digest": 32,
    "AskUnsealRequest.request": limits.TOKEN_BYTES_MAX,
    "AskUnsealRequest.reason": limits.REFERENCE_CHARS_MAX,
    "AskUnsealRequest.reason_salt": 16,
    "DecideUnsealRequest.decision": limits.TOKEN_BYTES_MAX,
    "OpenDetailRequest.request_id": 32,
    "ListUnsealedRequest.sub": 32,
    "LiftThrottleRequest.participant": 40,
    "GetTrustMetadataRequest.role": 49,
    "PublishTrustMetadataRequest.items": limits.METADATA_ITEMS_MAX,
    "RoleMetadata.role": 49,
    "RoleMetadata.metadata": limits.METADATA_BYTES_MAX,
    "PublishTrustBundleRequest.metadata": limits.METADATA_ITEMS_MAX,
    "ListTimestampsRequest.after_authority": 40,
    "TrustPackage.bundle": limits.TRUST_BYTES_MAX,
    "TrustPackage.documents": limits.TRUST_RECORDS_MAX,
    "AnswerBundle.answer": limits.TOKEN_BYTES_MAX,
    "AnswerBundle.consent": limits.TOKEN_BYTES_MAX,
    "AnswerBundle.tokens": limits.EVIDENCE_TOKENS_MAX,
    "AnswerBundle.bindings": limits.EVIDENCE_TOKENS_MAX,
    "AnswerBundle.checkpoint": limits.NOTE_BYTES_MAX,
    "TokenEvidence.token": limits.TOKEN_BYTES_MAX,
    "TokenEvidence.proofs": limits.POLICY_QUESTIONS_MAX,
    "QuestionProof.question": 31,
    "QuestionProof.data": limits.TOKEN_BYTES_MAX,
    "BindingEvidence.token": limits.TOKEN_BYTES_MAX,
    "BindingEvidence.disclosure": limits.TOKEN_BYTES_MAX,
    "LoggedEntry.line": limits.ENTRY_BYTES_MAX,
    "LoggedEntry.hashes": limits.TREE_PROOF_HASHES_MAX,
    "DirectoryEvidence.element": 32,
    "DirectoryEvidence.proof": 64,
    "DirectoryEvidence.lookups": limits.POLICY_QUESTIONS_MAX,
    "DirectoryLookup.schema_digest": 32,
    "DirectoryLookup.siblings": limits.DIRECTORY_DEPTH_MAX,
    "DirectoryLookup.salt": 16,
    "DirectoryLookup.members": limits.DIRECTORY_MEMBERS_MAX,
    "DirectoryLeaf.index": 32,
    "DirectoryLeaf.value": 32,
    "KeptRecord.nonce": 32,
    "KeptRecord.request_id": 16,
    "KeptReference.text": limits.REFERENCE_CHARS_MAX,
    "KeptReference.salt": 16,
    "PseudonymTranscript.subject_id": limits.SUBJECT_ID_CHARS_MAX + 16,
    "PseudonymTranscript.key_id": 32,
    "PseudonymTranscript.blind": 32,
    "PseudonymTranscript.parts": limits.OPRF_SHARES_MAX,
    "PseudonymPart.evaluated_element": 32,
    "PseudonymPart.proof": 64,
}
"""Bytes of a byte string, characters of a text, items of a list."""

ITEM_LIMITS: Final[dict[str, int]] = {
    "ListChainHeadsRequest.accounts": limits.ACCOUNT_CHARS_MAX,
    "WithdrawAttestationsRequest.withdrawals": limits.TOKEN_BYTES_MAX,
    "ShowFiledRequest.token_ids": 32,
    "EvaluatePseudonymsRequest.blinded_elements": 32,
    "TrustPackage.documents": limits.DOCUMENT_BYTES_MAX,
    "LoggedEntry.hashes": 32,
    "DirectoryLookup.siblings": 32,
    "DirectoryLookup.members": 32,
}
"""The size of each item of a list of texts or byte strings."""

_SIZED = (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES)


def check(message: Message) -> None:
    """Refuse a message with a field over its limit or with an unknown field.

    Raises:
        LimitExceeded: `LIMIT_EXCEEDED`, naming the field.
        Malformed: `NOT_A_MESSAGE` for a field that the message does not have.
    """
    if len(UnknownFieldSet(message)):
        name = message.DESCRIPTOR.name
        raise Malformed("NOT_A_MESSAGE", f"{name} holds a field that this version does not know")
    for field, value in message.ListFields():
        rule = _rule(field)
        if rule.items is not None:
            limits.at_most(len(value), rule.items, rule.name)
        for item in (value,) if rule.items is None else value:
            if rule.is_message:
                check(item)
            elif rule.size is not None:
                limits.at_most(len(item), rule.size, rule.name)


class _Rule(NamedTuple):
    """What a field may hold: `items` of them if it is a list, each of `size` if it has one."""

    name: str
    items: int | None
    size: int | None
    is_message: bool


@cache
def _rule(field: FieldDescriptor) -> _Rule:
    name, is_sized = name_of(field), field.type in _SIZED
    items = _limit(LIMITS, name) if field.is_repeated else None
    table = ITEM_LIMITS if field.is_repeated else LIMITS
    size = _limit(table, name) if is_sized else None
    return _Rule(name, items, size, field.type == FieldDescriptor.TYPE_MESSAGE)


def name_of(field: FieldDescriptor) -> str:
    """The field's key in the tables: `Message.field`."""
    assert field.containing_type is not None, "extensions do not exist in proto3"
    return f"{field.containing_type.name}.{field.name}"


def _limit(table: dict[str, int], name: str) -> int:
    try:
        return table[name]
    except KeyError as error:
        raise Malformed("LIMIT_EXCEEDED", f"{name} may not be set here") from error
