"""A passkey in software: what a phone does, without the phone. For the demo and the tests."""

from __future__ import annotations

import hashlib
from typing import Final

from credproof.base.encoding import Json, b64url, canonical_json
from credproof.base.keys import P256Signer
from credproof.verification.document import Kind
from credproof.verification.passkey import format_assertion
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

USER_PRESENT: Final = 0x01
USER_VERIFIED: Final = 0x04


class SoftwareAuthenticator:
    """One passkey of one relying party, on one page.

    `flags` are what it claims to have checked of the person (WebAuthn level 2, section 6.1).
    """

    def __init__(self, rp_id: str, origin: str, *, flags: int = USER_PRESENT | USER_VERIFIED):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._rp_id = rp_id
        self.origin = origin
        self._flags = flags
        self.public = P256Signer(self._key).public

    def sign_document(self, kind: Kind, payload: bytes) -> str:
        """The assertion over a document, as a browser would hand it on."""
        return self.assert_challenge(kind, payload, kind.challenge(payload))

    def assert_challenge(self, kind: Kind, payload: bytes, challenge: bytes, **said: Json) -> str:
        """An assertion over `challenge`; `said` changes what the browser says."""
        client_data = canonical_json(
            {
                "challenge": b64url(challenge),
                "crossOrigin": False,
                "origin": self.origin,
                "type": "webauthn.get",
                **said,
            }
        )
        rp_hash = hashlib.sha256(self._rp_id.encode()).digest()
        authenticator_data = rp_hash + bytes([self._flags]) + bytes(4)
        signed = authenticator_data + hashlib.sha256(client_data).digest()
        return format_assertion(
            self.public,
            kind.passkey_type,
            payload,
            authenticator_data=authenticator_data,
            client_data=client_data,
            der=self._key.sign(signed, ec.ECDSA(hashes.SHA256())),
        )
