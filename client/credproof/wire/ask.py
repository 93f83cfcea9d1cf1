"""Questions and their results: values <-> messages of `VerificationService`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from credproof.base.errors import CredproofError, LimitExceeded, Malformed, Refused, Unreachable
from credproof.base.limits import ASK_REPLY_BYTES_MAX
from credproof.v1 import verification_service_pb2 as pb
from credproof.verification.answer import AnswerBundle, Kept, Logged
from credproof.verification.policy import PolicyRef
from credproof.wire import answer

Result = AnswerBundle | CredproofError
"""What one question of a batch got."""

_CLASSES: Final[dict[str, type[CredproofError]]] = {
    cls.__name__: cls for cls in (*CredproofError.__subclasses__(), LimitExceeded)
}


def request(kept: Kept, sub: bytes, policy: PolicyRef, consent_id: bytes) -> pb.AskRequest:
    """The question that a lender keeps as `kept`."""
    return pb.AskRequest(
        request_id=kept.request_id,
        nonce=kept.nonce,
        sub=sub,
        policy=pb.PolicyReference(id=policy.id, version=policy.version, digest=policy.digest),
        consent_id=consent_id,
        case_digest=kept.case.digest,
        staff_digest=kept.staff.digest,
    )


def fitting(results: Iterable[Result]) -> list[pb.AskResult]:
    """The results of a batch, with as many answers as one message holds, at least one.

    An answer that does not fit is told as `REPLY_FULL`: the same request gets it.
    """
    fitted, room = [], ASK_REPLY_BYTES_MAX
    for result in results:
        message = to_proto(result)
        size = message.ByteSize() if message.HasField("bundle") else 0
        if size > room and room < ASK_REPLY_BYTES_MAX:
            message = to_proto(Unreachable("REPLY_FULL", "the reply is full: ask for this again"))
        else:
            room -= size
        fitted.append(message)
    return fitted


def to_proto(result: Result) -> pb.AskResult:
    if isinstance(result, AnswerBundle):
        return pb.AskResult(bundle=answer.to_proto(result))
    kind = type(result).__name__
    error = pb.AskError(reason=result.reason, message=result.message, error_class=kind)
    return pb.AskResult(error=error)


def from_proto(message: pb.AskResult) -> Result:
    """The answer, unverified, or the error that the service told.

    Raises:
        LimitExceeded: a field passes its limit.
    """
    if message.HasField("bundle"):
        return answer.from_proto(message.bundle)
    error = message.error
    return _CLASSES.get(error.error_class, Refused)(error.reason, error.message, told=True)


def kept_to_bytes(kept: Kept) -> bytes:
    """What is kept of a question before it is put: an answer file that lacks all but this."""
    return answer.to_bytes(AnswerBundle("", "", (), (), Logged(b"", 0, ()), b"", kept))


def parse_kept(data: bytes) -> Kept:
    """What `kept_to_bytes` wrote.

    Raises:
        Malformed: `NOT_KEPT`, and as `answer.parse`.
    """
    kept = answer.parse(data).kept
    if kept is None:
        raise Malformed("NOT_KEPT", "nothing is kept of a question")
    return kept
