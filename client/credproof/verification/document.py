"""Documents that borrowers sign: by one key or several, each a key in a file or a passkey.

A signed document is one text: its signatures, joined by `~`, in the order of their keys'
fingerprints. Each is a compact JWS, or a passkey's assertion, over the very same payload.
Format: `docs/PROTOCOL.md`, "Documents of borrowers".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, runtime_checkable

from credproof.base import jws
from credproof.base.encoding import Json, canonical_json, parse_b64url, parse_json, tagged_hash
from credproof.base.errors import Malformed
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import DOCUMENT_SIGNATURES_MAX, TOKEN_BYTES_MAX, at_most
from credproof.base.members import Members
from credproof.verification.bundle import RelyingParty
from credproof.verification.passkey import parse_assertion

SEPARATOR: Final = "~"
PASSKEY: Final = "+passkey"
"""How the `typ` of an assertion ends."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of document: the `typ` of a JWS over it, and of an assertion.

    `dated` is the claim that says when it was signed.
    """

    name: str
    dated: str = "iat"

    @property
    def jws_type(self) -> str:
        return f"credproof-{self.name}+jwt"

    @property
    def passkey_type(self) -> str:
        return f"credproof-{self.name}{PASSKEY}"

    def id(self, payload: bytes) -> bytes:
        """What identifies the document, whoever signs it; 32 bytes."""
        return tagged_hash(self.name, payload)

    def challenge(self, payload: bytes) -> bytes:
        """What a passkey signs, 32 bytes."""
        return tagged_hash("passkey-challenge", self.name.encode(), payload)


CONSENT: Final = Kind("consent", dated="nbf")
REVOCATION: Final = Kind("revocation")
PAUSE: Final = Kind("pause")
RESUMPTION: Final = Kind("resumption")
POSSESSION: Final = Kind("possession")


@runtime_checkable
class Device(Protocol):
    """What holds a passkey, and signs documents only after it has checked the person."""

    @property
    def public(self) -> PublicKey: ...

    def sign_document(self, kind: Kind, payload: bytes) -> str:
        """The assertion over the document, in its compact form."""
        ...


DocumentSigner = Signer | Device


@dataclass(frozen=True, slots=True)
class Signature:
    """One verified signature; `text` is its compact form, `rp_id` the party of a passkey."""

    key: PublicKey
    text: str
    rp_id: str = ""


@dataclass(frozen=True, slots=True)
class SignedDocument:
    """A document and its signatures, all verified, in the order of their keys' fingerprints."""

    kind: Kind
    payload: bytes
    claims: Mapping[str, Any]
    signatures: tuple[Signature, ...]

    @property
    def id(self) -> bytes:
        return self.kind.id(self.payload)

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        return tuple(signature.key for signature in self.signatures)

    @property
    def text(self) -> str:
        return SEPARATOR.join(signature.text for signature in self.signatures)

    def may_come_from(self, caller: PublicKey) -> bool:
        """Whether a call signed by this key may bring it: by one of its keys, but for passkeys.

        A passkey signs documents, not calls; what only passkeys signed, anybody may bring.
        """
        return caller in self.keys or all(item.rp_id for item in self.signatures)


def sign_document(signer: DocumentSigner, kind: Kind, claims: Mapping[str, Json]) -> str:
    """A document with one signature."""
    payload = canonical_json(claims)
    if isinstance(signer, Device):
        return signer.sign_document(kind, payload)
    return jws.sign_payload(signer, kind.jws_type, payload, carry_key=True)


def verify_document(text: str, kind: Kind, parties: Sequence[RelyingParty]) -> SignedDocument:
    """A document, every signature verified under the key it carries.

    A passkey counts on the pages of those `parties` that were in force when the document says that
    it was signed: whoever takes it in as new gives only the parties in force now.

    Raises:
        Malformed: `NO_KEY`, `BAD_MEMBER` for a passkey's document without that time,
            `NOT_ONE_DOCUMENT` for signatures over different ones or out of order,
            or as `jws.parse`, `parse_assertion`.
        VerificationFailed: `BAD_SIGNATURE`, `WRONG_KEY`, or as `Assertion.verify`.
        LimitExceeded: too many signatures, or too long.
    """
    at_most(len(text), TOKEN_BYTES_MAX, "token")
    parts = text.split(SEPARATOR)
    at_most(len(parts), DOCUMENT_SIGNATURES_MAX, "signatures of a document")
    verified = [_verify(part, kind, parties) for part in parts]
    _, payload, claims = verified[0]
    kids = [signature.key.kid for signature, _, _ in verified]
    if {found for _, found, _ in verified} != {payload} or kids != sorted(set(kids)):
        raise Malformed("NOT_ONE_DOCUMENT", "signatures are of two documents, or out of order")
    return SignedDocument(kind, payload, claims, tuple(item[0] for item in verified))


def split_signatures(text: str) -> list[str]:
    """The signatures of a document, each in its compact form; nothing is verified."""
    return text.split(SEPARATOR)


def join_signatures(texts: Sequence[str]) -> str:
    """One document out of parts of it, each with signatures by other keys; nothing is verified."""
    parts = [part for text in texts for part in split_signatures(text)]
    return SEPARATOR.join(sorted(parts, key=_kid))


def _kid(part: str) -> str:
    return str(parse_json(parse_b64url(part.partition(".")[0]))["kid"])


def _verify(
    part: str, kind: Kind, parties: Sequence[RelyingParty]
) -> tuple[Signature, bytes, Mapping[str, Any]]:
    """One signature, the payload that it is over, and the claims in it."""
    if _is_assertion(part):
        assertion = parse_assertion(part, kind.passkey_type)
        claims = _claims(assertion.payload)
        at = Members(claims, kind.name).take(kind.dated, int)
        then = [party for party in parties if party.may_have_signed(at)]
        rp_id = assertion.verify(kind.challenge(assertion.payload), then)
        return Signature(assertion.key, part, rp_id), assertion.payload, claims
    parsed = jws.parse(part, kind.jws_type)
    return Signature(parsed.verify_own_key(), part), parsed.payload, parsed.claims


def _claims(payload: bytes) -> Mapping[str, Any]:
    claims = parse_json(payload)
    if not isinstance(claims, dict):
        raise Malformed("NOT_A_JWS", "payload is not a JSON object")
    return claims


def _is_assertion(part: str) -> bool:
    try:
        header = parse_json(parse_b64url(part.partition(".")[0]))
    except Malformed:
        return False  # told as of a JWS
    return isinstance(header, dict) and str(header.get("typ")).endswith(PASSKEY)
