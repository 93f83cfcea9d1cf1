"""Errors on the wire: a canonical gRPC code and one `google.rpc.ErrorInfo`.

Clients switch on domain and reason, never on text (AIP-193).
"""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Internal,
    LimitExceeded,
    Malformed,
    Refused,
    Unreachable,
    VerificationFailed,
)

DOMAIN: Final = "credproof"

_CODES: Final[dict[type[CredproofError], grpc.StatusCode]] = {
    LimitExceeded: grpc.StatusCode.INVALID_ARGUMENT,
    Malformed: grpc.StatusCode.INVALID_ARGUMENT,
    VerificationFailed: grpc.StatusCode.INVALID_ARGUMENT,
    Refused: grpc.StatusCode.PERMISSION_DENIED,
    Conflict: grpc.StatusCode.FAILED_PRECONDITION,
    DataLoss: grpc.StatusCode.DATA_LOSS,
    Unreachable: grpc.StatusCode.UNAVAILABLE,
    Internal: grpc.StatusCode.INTERNAL,
}
_REASON_CODES: Final = {
    "NOT_AUTHENTICATED": grpc.StatusCode.UNAUTHENTICATED,
    "QUOTA_REACHED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "REQUEST_ID_REUSED": grpc.StatusCode.ALREADY_EXISTS,
    "THROTTLED": grpc.StatusCode.RESOURCE_EXHAUSTED,
    "SNAPSHOT_CHANGED": grpc.StatusCode.ABORTED,
}
"""Reasons whose code is more telling than that of their class."""
_CLASSES: Final[dict[str, type[CredproofError]]] = {cls.__name__: cls for cls in _CODES}


def code_of(error: CredproofError) -> grpc.StatusCode:
    """The canonical code of an error."""
    return _REASON_CODES.get(error.reason) or _CODES[type(error)]


def to_status(error: CredproofError, ref: str) -> status_pb2.Status:
    """The status of an error; `ref` is random and of fixed length, for support."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={"class": type(error).__name__, "ref": ref},
    )
    if error.step is not None:
        info.metadata["step"] = str(error.step)
    detail = any_pb2.Any()
    detail.Pack(info)
    code = int(code_of(error).value[0])
    return status_pb2.Status(code=code, message=error.message, details=[detail])


def from_call(call: grpc.Call) -> CredproofError:
    """The error that a failed call carries; without details it is `Unreachable`."""
    status = rpc_status.from_call(call)
    for detail in status.details if status else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN:
            step = info.metadata.get("step")
            cls = _CLASSES.get(info.metadata.get("class", ""), Refused)
            number = int(step) if step else None
            return cls(info.reason, status.message, step=number, told=True)
    if call.code() == grpc.StatusCode.UNIMPLEMENTED:
        message = "the service does not know this call: it is of an older version than this program"
        return Conflict("SERVICE_TOO_OLD", message)
    return Unreachable("NO_ANSWER", f"the service did not answer ({call.code().name})")
