"""Signed calls that were bent, replayed, or made for something else."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from credproof.base import jws
from credproof.wire.call import METADATA_KEY

from tests.adversary import forge
from tests.adversary.attack import Attack
from tests.adversary.stage import Stage

METHOD = "RegistryService/GetTrustBundle"
GRANT = "ConsentService/GrantConsent"
DENIED = ("UNAUTHENTICATED", "NOT_AUTHENTICATED")
Bend = Callable[[Stage, str], str]


def send(stage: Stage, *tokens: str, body: bytes = b"", method: str = METHOD) -> bytes:
    metadata = [(METADATA_KEY, token) for token in tokens]
    return stage.send("borrowers", method, body, metadata)


def token_of(stage: Stage, signer: str = "ann", **changes: Any) -> str:
    return stage.signed_call(signer, METHOD, b"", **changes)


def bent(name: str, bend: Bend, signer: str = "ann") -> Attack:
    """A well-made call whose token is then bent."""
    return Attack(f"a call with {name}", lambda s: send(s, bend(s, token_of(s, signer))), *DENIED)


def made(name: str, **changes: Any) -> Attack:
    """A call that its own key signed for something else."""
    return Attack(f"a call signed {name}", lambda s: send(s, token_of(s, **changes)), *DENIED)


def resigned(**changes: Any) -> Bend:
    """The same call with members of its payload changed, signed again."""

    def bend(stage: Stage, token: str) -> str:
        claims = {k: v for k, v in {**forge.claims_of(token), **changes}.items() if v is not None}
        return jws.sign(stage.signers["ann"], jws.CALL, claims, carry_key=True)

    return bend


def reheaded(**members: Any) -> Bend:
    return lambda stage, token: forge.reheaded(token, stage.signers["ann"], **members)


def _now(shift: int) -> int:
    return int(time.time()) + shift


def _twice(stage: Stage) -> bytes:
    token = token_of(stage)
    send(stage, token)
    return send(stage, token)


def _other_body(stage: Stage) -> bytes:
    token = stage.signed_call("ann", GRANT, b"\x0a\x01a")
    return send(stage, token, body=b"\x0a\x01b", method=GRANT)


def _spelled_again(stage: Stage) -> bytes:
    """The same message in other bytes: what is signed are the bytes."""
    token = stage.signed_call("ann", GRANT, b"\x0a\x01a")
    return send(stage, token, body=b"\x0a\x81\x00a", method=GRANT)


def _other_method(stage: Stage) -> bytes:
    return send(stage, stage.signed_call("ann", GRANT, b""))


def _stolen_key(stage: Stage, token: str) -> str:
    """Ann's call, said to be by bob: his key in the header, her signature."""
    bob = stage.signers["bob"].public
    header = {**forge.header_of(token), "jwk": bob.jwk(), "kid": bob.kid}
    _, payload, signature = token.split(".")
    return ".".join((jws.b64url(jws.canonical_json(header)), payload, signature))


def _others_consent(stage: Stage, _token: str) -> str:
    return stage.consents["ann"]


OFF_CURVE = {"crv": "P-256", "kty": "EC", "x": "A" * 43, "y": "A" * 43}
SPELLINGS = {
    name: spelling
    for name, spelling in forge.SPELLINGS.items()
    if name not in ("3000 levels", "an integer of 5000 digits")
}
"""Without what is long: near 8 KB of metadata, gRPC refuses by chance before we are asked."""
SMALL_ORDER = {"crv": "Ed25519", "kty": "OKP", "x": "AQ" + "A" * 41}
ATTACKS = [
    Attack("a call without a signature", send, *DENIED),
    Attack("a call with two signatures", lambda s: send(s, token_of(s), token_of(s)), *DENIED),
    Attack("a call with an empty text as its signature", lambda s: send(s, ""), *DENIED),
    Attack("a call signed with garbage", lambda s: send(s, "x.y.z"), *DENIED),
    Attack("a call signed with 4 KB of letters", lambda s: send(s, "A" * 4000), *DENIED),
    Attack("a call that comes twice", _twice, "PERMISSION_DENIED", "CALL_REPLAYED"),
    Attack("a call whose body changed after signing", _other_body, *DENIED),
    Attack("a call whose body is spelled again", _spelled_again, *DENIED),
    Attack("a call signed for another method", _other_method, *DENIED),
    made("for another service", service="other.example"),
    Attack("a call signed too long ago", lambda s: send(s, token_of(s, now=_now(-130))), *DENIED),
    Attack("a call signed in the future", lambda s: send(s, token_of(s, now=_now(130))), *DENIED),
    made("in 1970", now=0),
    made("before 1970", now=-1),
    made("at the end of time", now=2**53 - 1),
    made("with a short nonce", nonce=bytes(15)),
    made("with a long nonce", nonce=bytes(17)),
    made("with no nonce", nonce=b""),
    bent("a time that is a text", resigned(iat="now")),
    bent("a time that is true", resigned(iat=True)),
    bent("a nonce that is a number", resigned(nonce=1)),
    bent("a member too many", resigned(extra=1)),
    bent("a member too few", resigned(body=None)),
    bent("no key", reheaded(jwk=None)),
    bent("a kid that is not its key's", reheaded(kid="0" * 32)),
    bent("a kid that is a number", reheaded(kid=1)),
    bent("another algorithm than its key's", reheaded(alg="ES256")),
    bent("an unknown header member", reheaded(crit=["b64"])),
    bent("a jku", reheaded(jku="https://attacker.example/keys")),
    bent("a private key in its jwk", reheaded(jwk={**SMALL_ORDER, "d": "A" * 43})),
    bent("a key of small order", reheaded(jwk=SMALL_ORDER)),
    bent("a key that is not on the curve", reheaded(jwk=OFF_CURVE, alg="ES256")),
    bent("a key that is a text", reheaded(jwk="key")),
    bent("another person's key", _stolen_key),
    bent("a consent instead of a signature", _others_consent),
    bent("the twin of its ES256 signature", lambda _, t: forge.twin(t), "pat"),
    *(
        bent(name, lambda _, t, f=f: f(t))
        for name, (f, _) in forge.SIGNATURES.items()
        if "newline" not in name
    ),
    *(
        bent(
            f"{name} in its payload",
            lambda s, t, f=f: forge.respelled(t, s.signers["ann"], f),
        )
        for name, (f, _) in SPELLINGS.items()
    ),
    *(
        bent(f"the type of a{'n' * (kind[0] in 'ae')} {kind}", reheaded(typ=typ))
        for kind, typ in forge.other_kinds(jws.CALL).items()
    ),
]
