"""Consent: the borrower's own signature under one lender, some policies and one purpose.

The lender's signed request comes first; the consent repeats its terms and adds the key.
Formats: `docs/PROTOCOL.md`, "Consent request" and "Consent".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from credproof.base import jws
from credproof.base.encoding import Json, b64url
from credproof.base.errors import Malformed, VerificationFailed
from credproof.base.jws import Jws
from credproof.base.keys import PublicKey, Signer
from credproof.base.limits import (
    CLOCK_SKEW_S,
    CONSENT_LIFE_MAX_S,
    CONSENT_POLICIES_MAX,
    REQUEST_LIFE_MAX_S,
    at_most,
)
from credproof.base.members import Members
from credproof.base.url import require_url
from credproof.verification.bundle import RelyingParty
from credproof.verification.document import (
    CONSENT,
    REVOCATION,
    DocumentSigner,
    SignedDocument,
    sign_document,
    verify_document,
)
from credproof.verification.policy import PURPOSES, Policy, PolicyRef, parse_ref, ref_json

Mode = Literal["once", "continuing"]
MODES: tuple[Mode, ...] = ("once", "continuing")
LANGUAGES = ("en", "zh")
JTI_BYTES = 16
CONSENT_LIFE_DAYS_MAX = CONSENT_LIFE_MAX_S // 86_400
DATA_LIFE_DAYS_MAX = 366 * 10

_ID = re.compile(r"[a-z0-9-]{3,40}\Z")


@dataclass(frozen=True, slots=True)
class Terms:
    """What the borrower agrees to: for whom, why, under which policies, until when.

    `aud` is one lender, `via` the trust domain of the service; `expires_at` is in whole
    seconds; `data_life_days` is how long the lender may keep the answer.
    """

    sub: bytes
    aud: str
    via: str
    policies: tuple[PolicyRef, ...]
    purpose: str
    mode: Mode
    expires_at: int
    data_life_days: int

    def to_json(self) -> dict[str, Json]:
        return {
            "aud": self.aud,
            "data_life": self.data_life_days,
            "exp": self.expires_at,
            "mode": self.mode,
            "policies": [ref_json(ref) for ref in self.policies],
            "purpose": self.purpose,
            "sub": b64url(self.sub),
            "via": self.via,
        }


def _take_terms(members: Members) -> Terms:
    policies = members.take("policies", list)
    at_most(len(policies), CONSENT_POLICIES_MAX, "policies of a consent")
    terms = Terms(
        sub=members.bytes("sub", 32),
        aud=members.take("aud", str),
        via=members.take("via", str),
        policies=tuple(parse_ref(policy) for policy in policies),
        purpose=members.take("purpose", str),
        mode=members.take("mode", str),  # type: ignore[arg-type]
        expires_at=members.take("exp", int),
        data_life_days=members.take("data_life", int),
    )
    known = terms.purpose in PURPOSES and terms.mode in MODES and _ID.match(terms.aud)
    if not known or not terms.policies or len(set(terms.policies)) != len(terms.policies):
        raise Malformed("BAD_CONSENT", "terms name an unknown purpose, mode, lender or policy")
    if not 0 < terms.data_life_days <= DATA_LIFE_DAYS_MAX:
        raise Malformed("BAD_CONSENT", "data life is out of range")
    return terms


# -- the lender's request -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class ConsentRequest:
    """A parsed request of a lender; `open_until` is when it lapses unanswered.

    `jti` makes it one of a kind: it is good for one consent. `notices` are the digests of what
    the borrower must be shown, by language. `return_to` is where the person goes afterwards.
    """

    jws: Jws
    jti: bytes
    issued_at: int
    open_until: int
    terms: Terms
    notices: Mapping[str, bytes]
    return_to: str | None

    def verify(self, key: PublicKey, *, via: str, now: int) -> None:
        """Accept the request as the lender's own, for this service, still open.

        Raises:
            VerificationFailed: `BAD_SIGNATURE`, `WRONG_SERVICE`, `EXPIRED`, `FROM_THE_FUTURE`.
        """
        self.jws.verify(key)
        if self.terms.via != via:
            raise VerificationFailed("WRONG_SERVICE", "request is for another service")
        if self.issued_at > now + CLOCK_SKEW_S:
            raise VerificationFailed("FROM_THE_FUTURE", "request is issued in the future")
        if min(self.open_until, self.terms.expires_at) < now:
            raise VerificationFailed("EXPIRED", "request has lapsed: ask the lender for a new one")


def sign_request(
    signer: Signer,
    terms: Terms,
    *,
    jti: bytes,
    issued_at: int,
    open_until: int,
    notices: Mapping[str, bytes],
    return_to: str | None = None,
) -> str:
    """The lender's signed request for consent."""
    claims: dict[str, Json] = {
        "iat": issued_at,
        "jti": b64url(jti),
        "notices": {language: b64url(digest) for language, digest in notices.items()},
        "open_until": open_until,
        "return_to": return_to,
        "terms": terms.to_json(),
    }
    return jws.sign(signer, jws.REQUEST, claims)


def parse_request(token: str) -> ConsentRequest:
    """A request, taken apart strictly; its signature is not looked at.

    Raises:
        Malformed: `BAD_CONSENT`, `BAD_URL`, `BAD_MEMBER`, or as `jws.parse`.
    """
    parsed = jws.parse(token, jws.REQUEST)
    members = Members(parsed.claims, "request")
    terms = Members(members.take("terms", dict), "terms")
    request = ConsentRequest(
        jws=parsed,
        jti=members.bytes("jti", JTI_BYTES),
        issued_at=members.take("iat", int),
        open_until=members.take("open_until", int),
        terms=_take_terms(terms),
        notices=_parse_notices(members.take("notices", dict)),
        return_to=members.nullable("return_to", str),
    )
    terms.finish()
    members.finish()
    if not 0 < request.open_until - request.issued_at <= REQUEST_LIFE_MAX_S:
        raise Malformed("BAD_CONSENT", "request is open for too short or too long")
    if not 0 < request.terms.expires_at - request.issued_at <= CONSENT_LIFE_MAX_S:
        raise Malformed("BAD_CONSENT", "consent is asked for too short or too long")
    if request.return_to is not None:
        require_url(request.return_to)
    return request


def _parse_notices(value: Mapping[str, Any]) -> dict[str, bytes]:
    members = Members(value, "notices")
    found = {language: members.bytes(language, 32) for language in LANGUAGES if language in value}
    members.finish()
    if not found:
        raise Malformed("BAD_CONSENT", "the request has no notice to be shown")
    return found


# -- the borrower's consent ---------------------------------------------------


@dataclass(frozen=True, slots=True)
class Notice:
    """Which text the borrower was shown: its SHA-256 and its language (en or zh)."""

    digest: bytes
    language: str


@dataclass(frozen=True, slots=True)
class VerifiedConsent:
    """A consent that its own keys signed; whether one of them speaks for the borrower is another
    question, which key bindings answer."""

    document: SignedDocument
    jti: bytes
    not_before: int
    terms: Terms
    request: bytes
    notice: Notice

    @property
    def id(self) -> bytes:
        """What identifies the document, whoever signs it; 32 bytes."""
        return self.document.id

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys that signed it."""
        return self.document.keys

    def verify_scope(self, *, sub: bytes, lender: str, via: str, policy: Policy, at: int) -> None:
        """Accept that the consent covers this lender's use of this policy at time `at`.

        Raises:
            VerificationFailed: `CONSENT_OTHER_SUBJECT`, `CONSENT_OTHER_LENDER`,
                `CONSENT_OTHER_SERVICE`, `CONSENT_OTHER_POLICY`, `CONSENT_OTHER_PURPOSE`,
                `CONSENT_NOT_YET`, `CONSENT_EXPIRED`.
        """
        terms = self.terms
        checks = {
            "CONSENT_OTHER_SUBJECT": terms.sub == sub,
            "CONSENT_OTHER_LENDER": terms.aud == lender,
            "CONSENT_OTHER_SERVICE": terms.via == via,
            "CONSENT_OTHER_POLICY": policy.ref in terms.policies,
            "CONSENT_OTHER_PURPOSE": terms.purpose == policy.purpose,
            "CONSENT_NOT_YET": self.not_before <= at + CLOCK_SKEW_S,
            "CONSENT_EXPIRED": at <= terms.expires_at,
        }
        for reason, holds in checks.items():
            if not holds:
                raise VerificationFailed(reason, "consent does not cover this question")


def sign_consent(
    signer: DocumentSigner, request: ConsentRequest, *, jti: bytes, now: int, notice: Notice
) -> str:
    """The borrower's consent to exactly the terms of `request`, from `now` on."""
    claims = consent_claims(request, jti=jti, now=now, notice=notice)
    return sign_document(signer, CONSENT, claims)


def consent_claims(
    request: ConsentRequest, *, jti: bytes, now: int, notice: Notice
) -> dict[str, Json]:
    """What a consent says, before anybody has signed it."""
    return {
        "jti": b64url(jti),
        "nbf": now,
        "notice": {"digest": b64url(notice.digest), "language": notice.language},
        "request": b64url(request.jws.id),
        "terms": request.terms.to_json(),
    }


def verify_consent(text: str, parties: Sequence[RelyingParty] = ()) -> VerifiedConsent:
    """A consent, verified under the keys it carries before anything is looked up.

    `parties` are those whose passkeys count, each at its time: as `verify_document`.

    Raises:
        Malformed: `BAD_CONSENT`, `BAD_MEMBER`, or as `verify_document`.
        VerificationFailed: as `verify_document`.
    """
    document = verify_document(text, CONSENT, parties)
    members = Members(document.claims, "consent")
    terms = Members(members.take("terms", dict), "terms")
    consent = VerifiedConsent(
        document=document,
        jti=members.bytes("jti", JTI_BYTES),
        not_before=members.take("nbf", int),
        terms=_take_terms(terms),
        request=members.bytes("request", 32),
        notice=_parse_notice(members.take("notice", dict)),
    )
    terms.finish()
    members.finish()
    if not 0 < consent.terms.expires_at - consent.not_before <= CONSENT_LIFE_MAX_S:
        raise Malformed("BAD_CONSENT", "consent lasts for too short or too long")
    return consent


def _parse_notice(value: Mapping[str, Any]) -> Notice:
    members = Members(value, "notice")
    notice = Notice(members.bytes("digest", 32), members.take("language", str))
    members.finish()
    if notice.language not in LANGUAGES:
        raise Malformed("BAD_CONSENT", "notice is in an unknown language")
    return notice


# -- revocation ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerifiedRevocation:
    """A revocation signed by the keys it carries, one of which must be the consent's."""

    document: SignedDocument
    consent: bytes
    issued_at: int

    @property
    def keys(self) -> tuple[PublicKey, ...]:
        """The keys that signed it."""
        return self.document.keys


def sign_revocation(signer: DocumentSigner, consent: bytes, *, now: int) -> str:
    """The borrower's revocation of the consent with this id."""
    return sign_document(signer, REVOCATION, revocation_claims(consent, now=now))


def revocation_claims(consent: bytes, *, now: int) -> dict[str, Json]:
    """What a revocation says, before anybody has signed it."""
    return {"consent": b64url(consent), "iat": now}


def verify_revocation(text: str, parties: Sequence[RelyingParty] = ()) -> VerifiedRevocation:
    """A revocation, verified under the keys it carries.

    Raises:
        Malformed, VerificationFailed: as `verify_consent`.
    """
    document = verify_document(text, REVOCATION, parties)
    members = Members(document.claims, "revocation")
    consent, issued_at = members.bytes("consent", 32), members.take("iat", int)
    members.finish()
    return VerifiedRevocation(document, consent, issued_at)
