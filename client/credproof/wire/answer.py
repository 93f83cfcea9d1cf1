"""Answer bundles: values <-> `AnswerBundle`, with one serialisation only."""

from __future__ import annotations

from google.protobuf import json_format
from google.protobuf.message import DecodeError

from credproof.attestation.pseudonym import Part, Transcript
from credproof.base.errors import Malformed
from credproof.base.limits import ANSWER_FILE_BYTES_MAX, at_most
from credproof.base.vrf import Output
from credproof.log.directory import Leaf, LookupProof
from credproof.v1 import answer_pb2 as pb
from credproof.verification.answer import (
    AnswerBundle,
    BindingEvidence,
    DirectoryEvidence,
    Kept,
    Logged,
    Lookup,
    Proof,
    Reference,
    TokenEvidence,
)
from credproof.wire import limits


def to_bytes(bundle: AnswerBundle) -> bytes:
    """The content of a `*.answer` file."""
    return to_proto(bundle).SerializeToString(deterministic=True)


def parse(data: bytes) -> AnswerBundle:
    """The bundle in a `*.answer` file; every second spelling of it is refused.

    Raises:
        Malformed: `NOT_A_BUNDLE`, `NOT_CANONICAL`.
        LimitExceeded: a field or the whole is too large.
    """
    at_most(len(data), ANSWER_FILE_BYTES_MAX, "answer file")
    message = pb.AnswerBundle()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise Malformed("NOT_A_BUNDLE", "not an answer bundle") from error
    bundle = from_proto(message)
    if to_bytes(bundle) != data:
        raise Malformed("NOT_CANONICAL", "answer bundle is spelled in a second way")
    return bundle


def to_json(bundle: AnswerBundle) -> str:
    """The bundle in the JSON form of protobuf, for people and other tools."""
    return json_format.MessageToJson(to_proto(bundle), indent=2)


def to_proto(bundle: AnswerBundle) -> pb.AnswerBundle:
    return pb.AnswerBundle(
        answer=bundle.answer,
        consent=bundle.consent,
        tokens=[token_to_proto(item) for item in bundle.tokens],
        bindings=[_binding_to_proto(item) for item in bundle.bindings],
        logged=logged_to_proto(bundle.logged),
        checkpoint=bundle.checkpoint,
        kept=None if bundle.kept is None else _kept_to_proto(bundle.kept),
        directory=None if bundle.directory is None else directory_to_proto(bundle.directory),
    )


def from_proto(message: pb.AnswerBundle) -> AnswerBundle:
    """The values of a message whose sizes are within their limits.

    Raises:
        LimitExceeded: a field passes its limit.
    """
    limits.check(message)
    return AnswerBundle(
        answer=message.answer,
        consent=message.consent,
        tokens=tuple(token(item) for item in message.tokens),
        bindings=tuple(_binding(item) for item in message.bindings),
        logged=logged(message.logged),
        checkpoint=message.checkpoint,
        kept=_kept(message.kept) if message.HasField("kept") else None,
        directory=directory(message.directory) if message.HasField("directory") else None,
    )


def token_to_proto(item: TokenEvidence) -> pb.TokenEvidence:
    """A token, its proofs and its place in the log as a message."""
    proofs = [pb.QuestionProof(question=p.question, data=p.data) for p in item.proofs]
    return pb.TokenEvidence(token=item.token, proofs=proofs, logged=logged_to_proto(item.logged))


def token(message: pb.TokenEvidence) -> TokenEvidence:
    """A token, its proofs and its place in the log out of a message."""
    proofs = tuple(Proof(item.question, item.data) for item in message.proofs)
    return TokenEvidence(message.token, proofs, logged(message.logged))


def _binding_to_proto(item: BindingEvidence) -> pb.BindingEvidence:
    return pb.BindingEvidence(
        token=item.token, disclosure=item.disclosure, logged=logged_to_proto(item.logged)
    )


def _binding(message: pb.BindingEvidence) -> BindingEvidence:
    return BindingEvidence(message.token, message.disclosure, logged(message.logged))


def logged_to_proto(logged: Logged) -> pb.LoggedEntry:
    """An entry's place in the log as a message."""
    return pb.LoggedEntry(line=logged.line, log_index=logged.log_index, hashes=logged.hashes)


def logged(message: pb.LoggedEntry) -> Logged:
    """An entry's place in the log out of a message."""
    return Logged(message.line, message.log_index, tuple(message.hashes))


def directory_to_proto(item: DirectoryEvidence) -> pb.DirectoryEvidence:
    """What the directory shows as a message."""
    return pb.DirectoryEvidence(
        root=logged_to_proto(item.root),
        element=item.output.element,
        proof=item.output.proof,
        lookups=[lookup_to_proto(lookup) for lookup in item.lookups],
    )


def directory(message: pb.DirectoryEvidence) -> DirectoryEvidence:
    """What the directory shows out of a message."""
    lookups = tuple(_lookup(item) for item in message.lookups)
    return DirectoryEvidence(logged(message.root), Output(message.element, message.proof), lookups)


def lookup_to_proto(lookup: Lookup) -> pb.DirectoryLookup:
    """One lookup as a message."""
    leaf = lookup.proof.leaf
    return pb.DirectoryLookup(
        schema_digest=lookup.schema,
        leaf=pb.DirectoryLeaf(index=leaf.index, value=leaf.value) if leaf else None,
        siblings=lookup.proof.siblings,
        salt=lookup.salt,
        members=lookup.members,
    )


def _lookup(message: pb.DirectoryLookup) -> Lookup:
    leaf = Leaf(message.leaf.index, message.leaf.value) if message.HasField("leaf") else None
    proof = LookupProof(leaf, tuple(message.siblings))
    return Lookup(message.schema_digest, proof, message.salt, tuple(message.members))


def _kept_to_proto(kept: Kept) -> pb.KeptRecord:
    transcript = kept.transcript
    return pb.KeptRecord(
        nonce=kept.nonce,
        request_id=kept.request_id,
        case_reference=pb.KeptReference(text=kept.case.text, salt=kept.case.salt),
        staff_reference=pb.KeptReference(text=kept.staff.text, salt=kept.staff.salt),
        transcript=pb.PseudonymTranscript(
            subject_id=transcript.subject_id,
            key_id=transcript.key_id,
            blind=transcript.blind,
            parts=[
                pb.PseudonymPart(evaluated_element=part.evaluated_element, proof=part.proof)
                for part in transcript.parts
            ],
        ),
    )


def _kept(message: pb.KeptRecord) -> Kept:
    transcript = message.transcript
    return Kept(
        nonce=message.nonce,
        request_id=message.request_id,
        case=Reference(message.case_reference.text, message.case_reference.salt),
        staff=Reference(message.staff_reference.text, message.staff_reference.salt),
        transcript=Transcript(
            subject_id=transcript.subject_id,
            key_id=transcript.key_id,
            blind=transcript.blind,
            parts=tuple(Part(part.evaluated_element, part.proof) for part in transcript.parts),
        ),
    )
