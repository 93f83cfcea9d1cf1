"""Connections to a service: TLS, limits, deadlines, retries, errors."""

from __future__ import annotations

import json
import os
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message

from credproof.base.errors import CredproofError, Unreachable
from credproof.base.keys import Signer
from credproof.base.limits import MESSAGE_BYTES_MAX
from credproof.home import Home
from credproof.wire.call import METADATA_KEY, NONCE_BYTES, sign_call
from credproof.wire.errors import from_call

TIMEOUT_S: Final = 60.0
"""How long one call may take in all, retries included."""
DIAGNOSIS_S: Final = 5.0
"""How long a look at a certificate that was refused may take."""
ATTEMPTS_MAX: Final = 5
BACK_OFF_S: Final = (0.2, 0.4, 0.8, 1.6)
"""The waits between the attempts of a signed call."""

_RETRY: Final = {
    "methodConfig": [
        {
            # Every RPC of ours may be repeated: each has a natural key or a request id.
            "name": [{}],
            "retryPolicy": {
                "maxAttempts": ATTEMPTS_MAX,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_SIZES: Final = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
)
_ALIVE: Final = (("grpc.keepalive_time_ms", 60_000), ("grpc.keepalive_timeout_ms", 20_000))
"""How soon a dead line is noticed during a call."""
_OPTIONS: Final = (("grpc.service_config", json.dumps(_RETRY)), *_SIZES, *_ALIVE)

Reply = TypeVar("Reply", bound=Message)


def connect(home: Home, *, address: str | None = None) -> grpc.Channel:
    """A channel with mutual TLS to the participants' listener, at another address if given."""
    authority, key, certificate = home.tls()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    return grpc.secure_channel(address or home.settings.address, credentials, options=_OPTIONS)


def connect_custodian(home: Home, address: str, host: str) -> grpc.Channel:
    """A channel with mutual TLS to whoever has a certificate for `host`, a custodian's name."""
    authority, key, certificate = home.tls()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    options = (*_OPTIONS, ("grpc.ssl_target_name_override", host))
    return grpc.secure_channel(address, credentials, options=options)


def is_other_host(address: str, authority: bytes, host: str) -> bool:
    """Whether somebody without a certificate for `host` answers there; asked after a failure.

    gRPC reports a refused certificate and a dead line alike.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=authority.decode("ascii"))
    context.set_alpn_protocols(["h2"])
    name, _, port = address.rpartition(":")
    try:
        with socket.create_connection((name.strip("[]"), int(port)), DIAGNOSIS_S) as line:
            context.wrap_socket(line, server_hostname=host).close()
    except ssl.SSLCertVerificationError:
        return True
    except (OSError, ValueError):
        return False
    return False


def connect_borrower(address: str, authority: bytes) -> grpc.Channel:
    """A channel to the borrowers' listener, whose certificate `authority` (PEM) signed."""
    credentials = grpc.ssl_channel_credentials(authority)
    return grpc.secure_channel(address, credentials, options=_SIZES)


def call(
    method: Any,
    request: Message,
    *,
    metadata: Sequence[tuple[str, str]] = (),
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """Call a unary method; an error of the service comes back as the class it was.

    Raises:
        CredproofError: `Unreachable` when there was no answer.
    """
    try:
        return method(request, timeout=timeout_s, metadata=tuple(metadata))
    except grpc.RpcError as failed:
        raise error_of(failed) from None


def error_of(failed: grpc.RpcError) -> CredproofError:
    """The error that a failed call carries."""
    assert isinstance(failed, grpc.Call), "a failed unary call is its own call object"
    return from_call(failed)


class SignedCaller:
    """Calls the borrowers' listener, each call signed by the borrower's key."""

    def __init__(self, channel: grpc.Channel, signer: Signer, service: str) -> None:
        self._channel = channel
        self._signer = signer
        self._service = service

    def call(self, method: str, request: Message, reply: type[Reply]) -> Reply:
        """Call `method` (full gRPC name), again with back-off when there is no answer.

        Each attempt is signed anew: the service refuses a signature that it has seen.

        Raises:
            CredproofError: as `call`.
        """
        body = request.SerializeToString(deterministic=True)
        for wait_s in BACK_OFF_S:
            try:
                return self._send(method, body, reply)
            except Unreachable:
                time.sleep(wait_s)
        return self._send(method, body, reply)

    def _send(self, method: str, body: bytes, reply: type[Reply]) -> Reply:
        token = sign_call(
            self._signer,
            service=self._service,
            method=method,
            body=body,
            now=int(time.time()),
            nonce=os.urandom(NONCE_BYTES),
        )
        send = self._channel.unary_unary(
            method, request_serializer=bytes, response_deserializer=reply.FromString
        )
        try:
            answer: Reply = send(body, timeout=TIMEOUT_S, metadata=((METADATA_KEY, token),))
        except grpc.RpcError as failed:
            raise error_of(failed) from None
        return answer
