"""Consents and revocations that no borrower gave, or not for this."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from credproof.base import jws, limits
from credproof.base.encoding import b64url
from credproof.v1 import consent_service_pb2 as pb
from credproof.verification.consent import sign_revocation, verify_consent
from credproof.wire.call import METADATA_KEY

from tests.adversary import forge
from tests.adversary.attack import Attack
from tests.adversary.attacks.batches import UNKNOWN_FIELD
from tests.adversary.attacks.calls import OFF_CURVE, SMALL_ORDER
from tests.adversary.stage import AUDITOR, Stage

GRANT = "ConsentService/GrantConsent"
REVOKE = "ConsentService/RevokeConsent"
BAD = "INVALID_ARGUMENT"
DENIED = ("PERMISSION_DENIED", "NOT_PERMITTED")
DAY = 86_400
NOW = int(time.time())


def revoke(stage: Stage, token: str, signer: str = "ann") -> bytes:
    return stage.call(signer, REVOKE, pb.RevokeConsentRequest(revocation=token))


def revocation(stage: Stage, signer: str = "ann", of: str = "ann") -> str:
    consent_id = verify_consent(stage.consents[of]).id
    return sign_revocation(stage.signers[signer], consent_id, now=int(time.time()))


def bad(name: str, reason: str, **changes: Any) -> Attack:
    """A consent with members changed, by ann's own key."""
    return Attack(
        f"a consent with {name}", lambda s: s.grant(s.consent_token(**changes)), BAD, reason
    )


def denied(name: str, signer: str = "ann", **changes: Any) -> Attack:
    """A sound consent to something that the service must not permit."""
    return Attack(name, lambda s: s.grant(s.consent_token(signer, **changes), signer), *DENIED)


def bent(name: str, reason: str, bend: Callable[[Stage, str], str], who: str = "ann") -> Attack:
    return Attack(
        f"a consent with {name}",
        lambda s: s.grant(bend(s, s.consent_token(who)), who),
        *(BAD, reason),
    )


def reheaded(**members: Any) -> Callable[[Stage, str], str]:
    return lambda s, token: forge.reheaded(token, s.signers["ann"], **members)


def policies(*refs: dict[str, Any]) -> list[dict[str, Any]]:
    start = {"id": "revolving-standing", "version": 1, "digest": "A" * 43}
    return [{**start, **ref} for ref in refs]


def _twice_named(stage: Stage) -> bytes:
    ref = stage.consent_claims["terms"]["policies"][0]
    return stage.grant(stage.consent_token(policies=[ref, ref]))


def _about(name: str) -> Callable[[Stage], bytes]:
    """Ann's key, consenting for somebody else."""
    return lambda s: s.grant(s.consent_token(sub=b64url(s.subjects[name].sub)))


def _unknown_member(stage: Stage) -> bytes:
    data = pb.GrantConsentRequest(consent=stage.consents["ann"]).SerializeToString()
    token = stage.signed_call("ann", GRANT, data + UNKNOWN_FIELD)
    return stage.send("borrowers", GRANT, data + UNKNOWN_FIELD, [(METADATA_KEY, token)])


def _too_many(stage: Stage) -> bytes:
    refs = policies(*({"version": i} for i in range(1, 10)))
    return stage.grant(stage.consent_token(policies=refs))


TERMS = [
    bad("no policy", "BAD_CONSENT", policies=[]),
    bad("a policy of 31 bytes", "WRONG_LENGTH", policies=policies({"digest": "A" * 42})),
    bad("a policy that is a text", "BAD_MEMBER", policies=["revolving-standing"]),
    Attack("a consent with a policy twice", _twice_named, BAD, "BAD_CONSENT"),
    Attack("a consent with nine policies", _too_many, BAD, "LIMIT_EXCEEDED"),
    bad("an unknown purpose", "BAD_CONSENT", purpose="CURIOSITY"),
    bad("an unknown mode", "BAD_CONSENT", mode="forever"),
    bad("a data life of no day", "BAD_CONSENT", data_life=0),
    bad("a data life of ages", "BAD_CONSENT", data_life=10**9),
    bad("a lender with a slash", "BAD_CONSENT", aud="north/lender"),
    bad("a lender with a newline", "BAD_CONSENT", aud="north-lender\n"),
    bad("an end before its beginning", "BAD_CONSENT", exp=1),
    bad("six years of life", "BAD_CONSENT", exp=NOW + 6 * 366 * DAY),
    bad("an end that is a text", "BAD_MEMBER", exp="never"),
    bad("a beginning in the Stone Age", "BAD_CONSENT", nbf=-(2**53) + 1),
    denied(
        "a consent under a notice that says something else",
        notice={"digest": "A" * 43, "language": "zh"},
    ),
    bad("a notice in French", "BAD_CONSENT", notice={"digest": "A" * 43, "language": "fr"}),
    bad("a notice of 31 bytes", "WRONG_LENGTH", notice={"digest": "A" * 42, "language": "en"}),
    bad("a notice that is null", "BAD_MEMBER", notice=None),
    bad("a short jti", "WRONG_LENGTH", jti=b64url(bytes(15))),
    bad("a member too many", "BAD_MEMBER", note="x"),
    bad("a request of 33 bytes", "WRONG_LENGTH", request=b64url(bytes(33))),
]
REFUSED = [
    denied("a consent by a key that nobody bound", "stranger"),
    Attack("a consent about another borrower", _about("bob"), *DENIED),
    Attack("a consent about somebody unknown", _about("stranger"), *DENIED),
    Attack("ann's consent sent by bob", lambda s: s.grant(s.consents["ann"], "bob"), *DENIED),
    denied("a consent for a lender that does not exist", aud="no-lender"),
    denied("a consent for a suspended lender", aud="gone-lender"),
    denied("a consent for an auditor as lender", aud=AUDITOR),
    denied("a consent through another service", via="other.example"),
    denied("a consent to a policy of another digest", policies=policies({})),
    denied("a consent to an unknown policy", policies=policies({"id": "another"})),
    denied("a consent to a policy of version -1", policies=policies({"version": -1})),
    denied("a consent for another purpose than the policy's", purpose="COLLECTION"),
    denied("a consent that has ended", nbf=NOW - 9 * DAY, exp=NOW - DAY),
    denied("a consent that has not begun", nbf=NOW + DAY),
]
SPELLED = [
    Attack("an empty consent", lambda s: s.grant(""), BAD, "NOT_A_JWS"),
    Attack(
        "a consent over its limit",
        lambda s: s.grant("a" * (limits.TOKEN_BYTES_MAX + 1)),
        *(BAD, "LIMIT_EXCEEDED", None, "GrantConsentRequest.consent"),
    ),
    Attack(
        "a consent with an unknown field beside it",
        _unknown_member,
        *(BAD, "NOT_A_MESSAGE"),
    ),
    *(bent(name, reason, lambda _, t, f=f: f(t)) for name, (f, reason) in forge.SIGNATURES.items()),
    *(
        bent(
            f"{name} in its payload",
            reason,
            lambda s, t, f=f: forge.respelled(t, s.signers["ann"], f),
        )
        for name, (f, reason) in forge.SPELLINGS.items()
    ),
    *(
        bent(f"the type of a{'n' * (kind[0] in 'ae')} {kind}", "WRONG_TYPE", reheaded(typ=typ))
        for kind, typ in forge.other_kinds(jws.CONSENT).items()
    ),
    bent("the twin of its ES256 signature", "BAD_SIGNATURE", lambda _, t: forge.twin(t), "pat"),
    bent("no key", "NO_KEY", reheaded(jwk=None)),
    bent("a kid that is not its key's", "WRONG_KEY", reheaded(kid="0" * 32)),
    bent("another algorithm than its key's", "WRONG_ALGORITHM", reheaded(alg="ES256")),
    bent("a private key in it", "BAD_JWK", reheaded(jwk={**SMALL_ORDER, "d": "A" * 43})),
    bent("an RSA key", "BAD_JWK", reheaded(jwk={"kty": "RSA", "n": "AQAB", "e": "AQAB"})),
    bent("a key of small order", "WRONG_KEY", reheaded(jwk=SMALL_ORDER)),
    bent("a key that is not on the curve", "WRONG_KEY", reheaded(jwk=OFF_CURVE, alg="ES256")),
]
REVOKED = [
    Attack("an empty revocation", lambda s: revoke(s, ""), BAD, "NOT_A_JWS"),
    Attack(
        "a revocation over its limit",
        lambda s: revoke(s, "a" * (limits.TOKEN_BYTES_MAX + 1)),
        *(BAD, "LIMIT_EXCEEDED", None, "RevokeConsentRequest.revocation"),
    ),
    Attack(
        "a consent sent as a revocation", lambda s: revoke(s, s.consents["ann"]), BAD, "WRONG_TYPE"
    ),
    Attack("bob revokes ann's consent", lambda s: revoke(s, revocation(s, "bob"), "bob"), *DENIED),
    Attack("ann's revocation sent by bob", lambda s: revoke(s, revocation(s), "bob"), *DENIED),
    Attack(
        "a revocation of a consent that does not exist",
        lambda s: revoke(s, sign_revocation(s.signers["ann"], bytes(32), now=NOW)),
        *DENIED,
    ),
    Attack(
        "a revocation of 31 bytes",
        lambda s: revoke(s, sign_revocation(s.signers["ann"], bytes(31), now=NOW)),
        *(BAD, "WRONG_LENGTH"),
    ),
    *(
        Attack(
            f"a revocation with the type of a{'n' * (kind[0] in 'ae')} {kind}",
            lambda s, typ=typ: revoke(s, forge.reheaded(revocation(s), s.signers["ann"], typ=typ)),
            *(BAD, "WRONG_TYPE"),
        )
        for kind, typ in forge.other_kinds(jws.REVOCATION).items()
    ),
    *(
        Attack(f"a revocation with {name}", lambda s, f=f: revoke(s, f(revocation(s))), BAD, reason)
        for name, (f, reason) in forge.SIGNATURES.items()
    ),
]
ATTACKS = [*TERMS, *REFUSED, *SPELLED, *REVOKED]
