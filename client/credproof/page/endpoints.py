"""What the page's browser side asks for: drafts of documents, and what passkeys signed.

Each takes the members of a JSON object, refuses more than it knows before it does anything, and
gives a JSON object; nothing is kept in between.
Formats: `docs/PROTOCOL.md`, "The consent page".
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Final

from credproof.base.encoding import Json, b64url, canonical_json
from credproof.base.errors import VerificationFailed
from credproof.base.keys import parse_jwk
from credproof.base.members import Members
from credproof.base.url import origin_of
from credproof.borrower import possession_claims
from credproof.page.gateway import Gateway
from credproof.verification.checked import CheckedRequest, check_request
from credproof.verification.consent import (
    JTI_BYTES,
    Notice,
    consent_claims,
    revocation_claims,
    verify_consent,
)
from credproof.verification.document import (
    CONSENT,
    POSSESSION,
    REVOCATION,
    Kind,
    SignedDocument,
    verify_document,
)
from credproof.verification.notice import notice_digest
from credproof.verification.passkey import format_assertion

Answer = dict[str, Json]
Work = Callable[[Gateway, Members], Answer]


def settings(gateway: Gateway) -> Answer:
    """What the browser must know: the service, the RP id, the providers that bind keys."""
    found = gateway.trust().participants.values()
    providers: list[Json] = [
        {"id": item.id, "title": item.title}
        for item in found
        if (item.role, item.status) == ("provider", "active")
    ]
    return {"domain": gateway.domain, "providers": providers, "rp_id": gateway.party.id}


# -- drafts: what is to be signed, and the challenge that stands for it


def draft_possession(gateway: Gateway, given: Members) -> Answer:
    """A proof of possession for an active provider."""
    name = given.take("provider", str)
    given.finish()
    provider = gateway.trust().active(name, "provider")
    return _draft(POSSESSION, possession_claims(provider.id))


def draft_consent(gateway: Gateway, given: Members) -> Answer:
    """A consent to a request, which is checked anew; the notice is the one that it names."""
    language = given.take("language", str)
    checked = _checked(gateway, given)
    notice = Notice(notice_digest(checked.notice(language)), language)
    jti, now = secrets.token_bytes(JTI_BYTES), int(time.time())
    return _draft(CONSENT, consent_claims(checked.request, jti=jti, now=now, notice=notice))


def draft_revocation(gateway: Gateway, given: Members) -> Answer:
    """The revocation of a consent."""
    text = given.take("consent", str)
    given.finish()
    consent = verify_consent(text, gateway.trust().bundle.relying_parties)
    return _draft(REVOCATION, revocation_claims(consent.id, now=int(time.time())))


def _draft(kind: Kind, claims: Mapping[str, Json]) -> Answer:
    payload = canonical_json(claims)
    return {"challenge": b64url(kind.challenge(payload)), "document": b64url(payload)}


# -- requests


def show_request(gateway: Gateway, given: Members) -> Answer:
    """Who asks, the notice in every language that it has, and where the person goes afterwards."""
    checked = _checked(gateway, given)
    request, lender = checked.request, checked.trust.participants[checked.request.terms.aud]
    return {
        "expires_at": request.terms.expires_at,
        "lender": {"id": lender.id, "title": lender.title},
        "notices": {language: checked.notice(language) for language in request.notices},
        "return_origin": None if request.return_to is None else origin_of(request.return_to),
        "return_to": request.return_to,
    }


def _checked(gateway: Gateway, given: Members) -> CheckedRequest:
    token, found = given.take("request", str), given.take("pass", str)
    given.finish()
    sub, now = gateway.sub_of(found), int(time.time())
    return check_request(token, gateway.trust(), sub=sub, via=gateway.domain, now=now)


# -- signed documents


def take_possession(gateway: Gateway, given: Members) -> Answer:
    """The proof, for the borrower to carry to the provider."""
    return {"proof": _signed(gateway, POSSESSION, given).text}


def take_consent(gateway: Gateway, given: Members) -> Answer:
    """Register a consent, and give it back: the borrower needs it to revoke."""
    consent = _signed(gateway, CONSENT, given).text
    gateway.grant(consent)
    return {"consent": consent}


def take_revocation(gateway: Gateway, given: Members) -> Answer:
    """Hand a revocation in; the consent is over when this returns."""
    return {"log_index": gateway.end(_signed(gateway, REVOCATION, given).text)}


def _signed(gateway: Gateway, kind: Kind, given: Members) -> SignedDocument:
    """The document as a passkey of this very page signed it."""
    payload, jwk = given.bytes("document"), given.take("key", dict)
    assertion = Members(given.take("assertion", dict), "assertion")
    given.finish()
    key = parse_jwk(jwk)
    names = ("authenticator_data", "client_data", "signature")
    authenticator_data, client_data, der = (assertion.bytes(name) for name in names)
    assertion.finish()
    if key.alg != "ES256":
        raise VerificationFailed("WRONG_ALGORITHM", "a passkey is an ES256 key")
    text = format_assertion(key, kind.passkey_type, payload, authenticator_data, client_data, der)
    return verify_document(text, kind, [gateway.party])


ENDPOINTS: Final[Mapping[str, Work]] = {
    "possession/draft": draft_possession,
    "possession": take_possession,
    "request": show_request,
    "consent/draft": draft_consent,
    "consent": take_consent,
    "revocation/draft": draft_revocation,
    "revocation": take_revocation,
}
"""By their path below `/api/`."""
