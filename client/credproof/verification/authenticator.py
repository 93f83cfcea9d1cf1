"""What a borrower's device signed, checked by the library `webauthn`.

A room of its own, loaded with the first passkey: the library takes a quarter of a second.
"""

from __future__ import annotations

from typing import Final

from webauthn import verify_authentication_response
from webauthn.helpers import bytes_to_base64url, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorAssertionResponse,
)

from credproof.base.errors import VerificationFailed

_NO_ID: Final = b"\x00"
"""A credential's id finds the key; ours comes with the assertion."""


def verify_response(
    client_data: bytes,
    authenticator_data: bytes,
    der: bytes,
    *,
    challenge: bytes,
    rp_id: str,
    origins: list[str],
    cose: bytes,
) -> None:
    """Accept a device's signature `der` over `challenge` by the key `cose`, made on such a page.

    Raises:
        VerificationFailed: `BAD_ASSERTION` for any check of WebAuthn level 2, section 7.2, that
            fails.
    """
    response = AuthenticatorAssertionResponse(
        client_data_json=client_data, authenticator_data=authenticator_data, signature=der
    )
    credential = AuthenticationCredential(bytes_to_base64url(_NO_ID), _NO_ID, response)
    try:
        if parse_client_data_json(client_data).cross_origin:
            raise VerificationFailed("BAD_ASSERTION", "the page was shown inside another's")
        verify_authentication_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=rp_id,
            expected_origin=origins,
            credential_public_key=cose,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, KeyError, TypeError) as error:
        raise VerificationFailed("BAD_ASSERTION", "the passkey did not sign this") from error
