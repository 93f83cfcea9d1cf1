"""A lender's request, verified for the borrower before it is shown to anybody."""

from __future__ import annotations

from dataclasses import dataclass

from credproof.base.errors import Malformed, VerificationFailed
from credproof.verification.consent import ConsentRequest, parse_request
from credproof.verification.notice import notice_digest, notice_text, texts_in
from credproof.verification.standing import require_standing, require_terms
from credproof.verification.trust import Trust


@dataclass(frozen=True, slots=True)
class CheckedRequest:
    """A request that was verified: by a known, active lender, about this borrower."""

    request: ConsentRequest
    trust: Trust

    def notice(self, language: str) -> str:
        """Who, what, why, how long, in plain words: the very text that the lender has signed.

        It is made here from the trust bundle, in whichever of its texts the lender used.

        Raises:
            Malformed: `BAD_LANGUAGE` when the request has no notice in this language.
            VerificationFailed: `OTHER_NOTICE`.
        """
        signed = self.request.notices.get(language)
        if signed is None:
            raise Malformed("BAD_LANGUAGE", "there is no notice in this language: take zh or en")
        for text in texts_in(self.trust, language):
            shown = notice_text(self.trust, self.request.terms, text)
            if notice_digest(shown) == signed:
                return shown
        message = (
            "the notice that the lender signed is not what these terms come to now: the lender's"
            " entry in the registry may have changed since, so it should make the request anew"
        )
        raise VerificationFailed("OTHER_NOTICE", message)


def check_request(token: str, trust: Trust, *, sub: bytes, via: str, now: int) -> CheckedRequest:
    """Verify a request: the lender, its standing, the terms, and every notice it has signed.

    `sub` is the borrower whom it must be about, `via` the service that it must be for.

    Raises:
        Malformed: the request does not parse.
        VerificationFailed: `UNKNOWN_PARTICIPANT`, `BAD_SIGNATURE`, `WRONG_SERVICE`, `EXPIRED`,
            `OTHER_SUBJECT`, `UNKNOWN_POLICY`, `OTHER_NOTICE`; as `require_standing` and
            `require_terms` when the lender may not ask for this, or not for so long.
    """
    request = parse_request(token)
    lender = trust.active(request.terms.aud, "lender")
    key = lender.key(request.jws.kid)
    if key is None:
        message = "the request is not signed by the lender: do not agree"
        raise VerificationFailed("BAD_SIGNATURE", message)
    key.verify_valid_at(now)
    request.verify(key.public, via=via, now=now)
    if request.terms.sub != sub:
        message = "the request is about another person: do not agree, tell the lender"
        raise VerificationFailed("OTHER_SUBJECT", message)
    for ref in request.terms.policies:
        policy = trust.policy_in_force(ref, now)
        require_terms(require_standing(trust, lender.id, policy, now), request.terms, now)
    checked = CheckedRequest(request, trust)
    for language in request.notices:
        checked.notice(language)
    return checked
