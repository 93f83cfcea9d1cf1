"""Timestamps of checkpoints (RFC 3161), verified against an authority's certificates.

What is stamped is the SHA-256 of a checkpoint's note text, without its signature lines: whoever
cosigns it later changes nothing about its timestamps.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from rfc3161_client import (
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.limits import (
    CERTIFICATES_BYTES_MAX,
    CERTIFICATES_MAX,
    TIMESTAMP_BYTES_MAX,
    at_most,
)
from credproof.log.note import parse_note

ACCURACY_MAX_S: Final = 60
"""How inexact a timestamp may call itself, in seconds."""
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,39}\Z")
_POLICY: Final = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,17})){1,30}\Z")
_SHA256: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0


@dataclass(frozen=True, slots=True)
class TimestampAuthority:
    """Who is believed: all certificates from its signing one's issuer up to a root.

    `policy` is the OID under which it must have signed; empty if any will do.
    """

    name: str
    certificates: tuple[x509.Certificate, ...]
    policy: str = ""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """What a verified timestamp says. `time` is in whole seconds, rounded down."""

    time: int
    policy: str


def is_authority_name(text: str) -> bool:
    """Whether an authority may be called so; it becomes the name of a file."""
    return _NAME.match(text) is not None


def is_policy(text: str) -> bool:
    """Whether this is an OID, or empty for any."""
    return not text or _POLICY.match(text) is not None


def parse_certificates(pem: bytes) -> tuple[x509.Certificate, ...]:
    """The certificates in a PEM file.

    Raises:
        Malformed: `BAD_CERTIFICATES`.
        LimitExceeded: too large, or too many.
    """
    at_most(len(pem), CERTIFICATES_BYTES_MAX, "certificates")
    try:
        found = tuple(x509.load_pem_x509_certificates(pem))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Malformed("BAD_CERTIFICATES", "this is no file of certificates in PEM") from error
    at_most(len(found), CERTIFICATES_MAX, "certificates of a timestamp authority")
    return found


def require_root(certificates: Iterable[x509.Certificate]) -> None:
    """Refuse certificates among which there is no root: nothing would ever verify by them.

    Raises:
        Malformed: `NO_ROOT_CERTIFICATE`.
    """
    if not any(c.issuer == c.subject and _may_issue(c) for c in certificates):
        raise Malformed(
            "NO_ROOT_CERTIFICATE",
            "no root is among the certificates: put all of the authority's issuers there, up to it",
        )


def _may_issue(certificate: x509.Certificate) -> bool:
    """Whether it may sign other certificates; old roots, of version 1, do not say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return certificate.version == x509.Version.v1
    except ValueError:
        return False


def stamped_text(note: bytes) -> bytes:
    """What a timestamp of a note is about: its text.

    Raises:
        Malformed: as `parse_note`.
    """
    return parse_note(note).text.encode("utf-8")


def require_of(response: bytes, note: bytes) -> None:
    """Accept that a response is a timestamp of this note; who signed it is not looked at.

    Raises:
        Malformed: `BAD_TIMESTAMP`.
        VerificationFailed: `TIMESTAMP_OTHER_DIGEST`.
    """
    _require_digest(_parse(response), note)


def time_of(response: bytes) -> int:
    """The time that a response says, in whole seconds, rounded down; nothing is verified.

    Raises:
        CredproofError: `BAD_TIMESTAMP`, `TIMESTAMP_REFUSED`.
    """
    return int(_parse(response).tst_info.gen_time.timestamp())


def verify_timestamp(
    response: bytes, note: bytes, authority: TimestampAuthority, *, nonce: int | None = None
) -> Timestamp:
    """The timestamp of a note by an authority (RFC 3161 section 2.4.2), in DER as it came.

    Certificates count as of the time that it says. `nonce` is that of the request, where it is
    known. Revocation is not looked at.

    Raises:
        Malformed: `BAD_TIMESTAMP`.
        VerificationFailed: `TIMESTAMP_REFUSED`, `TIMESTAMP_OTHER_DIGEST`, `TIMESTAMP_OTHER_NONCE`,
            `TIMESTAMP_OTHER_POLICY`; `TIMESTAMP_NOT_TRUSTED` for its signature or certificates.
    """
    parsed = _parse(response)
    info = parsed.tst_info
    digest = _require_digest(parsed, note)
    if nonce is not None and info.nonce != nonce:
        raise VerificationFailed("TIMESTAMP_OTHER_NONCE", "timestamp answers another request")
    policy = info.policy.dotted_string
    if authority.policy not in ("", policy):
        raise VerificationFailed("TIMESTAMP_OTHER_POLICY", "timestamp is of another policy")
    try:
        roots = list(authority.certificates)
        VerifierBuilder(roots=roots).build().verify(parsed, digest)
    except (VerificationError, ValueError, UnsupportedAlgorithm) as error:
        message = "no trusted authority signed the timestamp"
        raise VerificationFailed("TIMESTAMP_NOT_TRUSTED", message) from error
    return Timestamp(int(info.gen_time.timestamp()), policy)


def _parse(response: bytes) -> TimeStampResponse:
    """A granted response with all of its parts; what they say is not believed yet."""
    at_most(len(response), TIMESTAMP_BYTES_MAX, "timestamp")
    try:
        parsed = decode_timestamp_response(response)
        if parsed.status != _GRANTED:
            raise VerificationFailed("TIMESTAMP_REFUSED", "the authority granted no timestamp")
        info, accuracy = parsed.tst_info, parsed.tst_info.accuracy
        exact = accuracy is None or (accuracy.seconds or 0) <= ACCURACY_MAX_S
        info.gen_time.timestamp()
    except (ValueError, OverflowError) as error:
        raise Malformed("BAD_TIMESTAMP", "this is no timestamp that can be read") from error
    if not exact:
        raise Malformed("BAD_TIMESTAMP", "timestamp calls itself too inexact")
    return parsed


def _require_digest(parsed: TimeStampResponse, note: bytes) -> bytes:
    imprint = parsed.tst_info.message_imprint
    digest = hashlib.sha256(stamped_text(note)).digest()
    if (imprint.hash_algorithm.dotted_string, imprint.message) != (_SHA256, digest):
        raise VerificationFailed("TIMESTAMP_OTHER_DIGEST", "timestamp is of another checkpoint")
    return digest
