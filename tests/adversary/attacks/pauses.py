"""Pauses and resumptions that no borrower signed, or not for this, or not now."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from credproof.base import jws, limits
from credproof.base.encoding import b64url
from credproof.v1 import consent_service_pb2 as pb
from credproof.verification.consent import verify_consent
from credproof.verification.document import PAUSE, RESUMPTION, Kind
from credproof.verification.pausing import sign_pause
from credproof.wire.call import METADATA_KEY

from tests.adversary import forge
from tests.adversary.attack import Attack
from tests.adversary.attacks.batches import UNKNOWN_FIELD
from tests.adversary.stage import Stage

PAUSING = "ConsentService/PauseConsent"
RESUMING = "ConsentService/ResumeConsent"
BAD = "INVALID_ARGUMENT"
DENIED = ("PERMISSION_DENIED", "NOT_PERMITTED")


def pause(stage: Stage, text: str, signer: str = "ann") -> bytes:
    return stage.call(signer, PAUSING, pb.PauseConsentRequest(pause=text))


def resume(stage: Stage, text: str, signer: str = "ann") -> bytes:
    return stage.call(signer, RESUMING, pb.ResumeConsentRequest(resumption=text))


SENDS = {PAUSE: pause, RESUMPTION: resume}


def signed(stage: Stage, kind: Kind, signer: str = "ann", of: str = "ann", at: int = 0) -> str:
    consent_id, now = verify_consent(stage.consents[of]).id, int(time.time()) + at
    return sign_pause(stage.signers[signer], kind, consent_id, jti=os.urandom(16), now=now)


def claimed(stage: Stage, **changes: Any) -> str:
    """A pause of ann's consent with members of its payload changed; None leaves one out."""
    claims = {**forge.claims_of(signed(stage, PAUSE)), **changes}
    told = {name: value for name, value in claims.items() if value is not None}
    return jws.sign(stage.signers["ann"], jws.PAUSE, told, carry_key=True)


def bad(name: str, reason: str, text: Callable[[Stage], str]) -> Attack:
    return Attack(f"a pause {name}", lambda s: pause(s, text(s)), BAD, reason)


def for_both(name: str, code: str, reason: str, caller: str = "ann", **how: Any) -> list[Attack]:
    """A row for a pause and one for a resumption, sound but for what the name says."""
    return [
        Attack(
            f"a {kind.name} {name}",
            lambda s, kind=kind: SENDS[kind](s, signed(s, kind, **how), caller),
            *(code, reason),
        )
        for kind in SENDS
    ]


def _unknown_member(stage: Stage) -> bytes:
    data = pb.PauseConsentRequest(pause=signed(stage, PAUSE)).SerializeToString()
    token = stage.signed_call("ann", PAUSING, data + UNKNOWN_FIELD)
    return stage.send("borrowers", PAUSING, data + UNKNOWN_FIELD, [(METADATA_KEY, token)])


ATTACKS = [
    bad("of nothing", "NOT_A_JWS", lambda s: ""),
    Attack(
        "a pause over its limit",
        lambda s: pause(s, "a" * (limits.TOKEN_BYTES_MAX + 1)),
        *(BAD, "LIMIT_EXCEEDED", None, "PauseConsentRequest.pause"),
    ),
    Attack(
        "a resumption over its limit",
        lambda s: resume(s, "a" * (limits.TOKEN_BYTES_MAX + 1)),
        *(BAD, "LIMIT_EXCEEDED", None, "ResumeConsentRequest.resumption"),
    ),
    Attack("a pause with an unknown field beside it", _unknown_member, BAD, "NOT_A_MESSAGE"),
    bad("of 31 bytes", "WRONG_LENGTH", lambda s: claimed(s, consent=b64url(bytes(31)))),
    bad("with a short jti", "WRONG_LENGTH", lambda s: claimed(s, jti=b64url(bytes(15)))),
    bad("without a jti", "BAD_MEMBER", lambda s: claimed(s, jti=None)),
    bad("without a time", "BAD_MEMBER", lambda s: claimed(s, iat=None)),
    bad("at a time that is a text", "BAD_MEMBER", lambda s: claimed(s, iat="now")),
    bad("with a member too many", "BAD_MEMBER", lambda s: claimed(s, note="x")),
    *for_both("that was held back for an hour", BAD, "TOO_OLD", at=-3600),
    *for_both("from next hour", BAD, "FROM_THE_FUTURE", at=3600),
    *for_both("of ann's consent by bob", *DENIED, "bob", signer="bob"),
    *for_both("of ann, sent by bob", *DENIED, "bob"),
    *for_both("by a key that nobody bound", *DENIED, "stranger", signer="stranger"),
    *for_both(
        "of a revoked consent",
        *("PERMISSION_DENIED", "CONSENT_REVOKED", "cid"),
        signer="cid",
        of="cid",
    ),
    Attack(
        "a pause of a consent that does not exist",
        lambda s: pause(s, claimed(s, consent=b64url(bytes(32)))),
        *DENIED,
    ),
    Attack(
        "a pause sent as a resumption",
        lambda s: resume(s, signed(s, PAUSE)),
        *(BAD, "WRONG_TYPE"),
    ),
    *(
        bad(
            f"with the type of a{'n' * (kind[0] in 'ae')} {kind}",
            "WRONG_TYPE",
            lambda s, typ=typ: forge.reheaded(signed(s, PAUSE), s.signers["ann"], typ=typ),
        )
        for kind, typ in forge.other_kinds(jws.PAUSE).items()
    ),
    *(
        bad(f"with {name}", reason, lambda s, f=f: f(signed(s, PAUSE)))
        for name, (f, reason) in forge.SIGNATURES.items()
    ),
]
