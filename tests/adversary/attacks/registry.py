"""Trust bundles that the operator, or whoever has its certificate, could try to put in force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from credproof.base import jws, limits
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.v1 import registry_service_pb2 as pb
from credproof.verification.participant import NEVER, key_json
from credproof_server.admission import TRUST_LIFE_S
from credproof_server.directory import ServiceDirectory

from tests.adversary import forge
from tests.adversary.attack import Attack
from tests.adversary.stage import OPERATOR, Stage

METHOD = "RegistryService/PublishTrustBundle"
BAD = "INVALID_ARGUMENT"
STRANGER = Ed25519Signer(b"\x09" * 32)
OWN_KEY = key_json(DatedKey(STRANGER.public, 0, NEVER))


def root_of(stage: Stage) -> Ed25519Signer:
    return ServiceDirectory(stage.world.service).root_signer()


def publish(stage: Stage, token: str, documents: Any = None) -> bytes:
    documents = stage.trust.documents if documents is None else documents
    package = pb.TrustPackage(bundle=token, documents=documents)
    return stage.send(OPERATOR, METHOD, pb.PublishTrustBundleRequest(package=package))


def next_bundle(stage: Stage, **changes: Any) -> str:
    """The next version, signed by the real root, with members changed."""
    claims = stage.trust.bundle.to_json()
    changed = {name: v(claims[name]) if callable(v) else v for name, v in changes.items()}
    claims = {**claims, "version": stage.trust.bundle.version + 1, **changed}
    return jws.sign(root_of(stage), jws.TRUST, claims)


def bad(name: str, reason: str, code: str = BAD, **changes: Any) -> Attack:
    return Attack(
        f"a trust bundle with {name}", lambda s: publish(s, next_bundle(s, **changes)), code, reason
    )


def bent(name: str, reason: str, bend: Callable[[Stage, str], str]) -> Attack:
    return Attack(
        f"a trust bundle with {name}", lambda s: publish(s, bend(s, next_bundle(s))), BAD, reason
    )


def with_documents(
    name: str, reason: str, change: Callable[[list], list], says: str = ""
) -> Attack:
    return Attack(
        f"a trust bundle with {name}",
        lambda s: publish(s, next_bundle(s), change(list(s.trust.documents))),
        *(BAD, reason, None, says),
    )


def _by_stranger(stage: Stage) -> bytes:
    bundle = replace(stage.trust.bundle, version=stage.trust.bundle.version + 1)
    return publish(stage, jws.sign(STRANGER, jws.TRUST, bundle.to_json()))


def _by_stranger_in_its_name(stage: Stage) -> bytes:
    return publish(stage, forge.reheaded(next_bundle(stage), STRANGER))


STALE = ("TRUST_VERSION", "FAILED_PRECONDITION")
ATTACKS = [
    Attack("an empty publication", lambda s: s.send(OPERATOR, METHOD, b""), BAD, "NOT_A_JWS"),
    Attack("a trust bundle by another root", _by_stranger, BAD, "WRONG_ROOT"),
    Attack(
        "a trust bundle by another root in the root's name",
        *(_by_stranger_in_its_name, BAD, "BAD_SIGNATURE"),
    ),
    bad(
        "the version in force, but other content", *STALE, version=lambda v: v, exp=lambda t: t - 1
    ),
    bad("an old version", *STALE, version=1),
    bad("a version left out", *STALE, version=lambda v: v + 2),
    bad("the largest version", *STALE, version=2**53 - 1),
    bad("version 0", "BAD_TRUST", version=0),
    bad("version -1", "BAD_TRUST", version=-1),
    bad("a version that is a text", "BAD_MEMBER", version="9"),
    bad(
        "an end in the past",
        "TRUST_EXPIRED",
        iat=lambda t: t - 3000,
        exp=lambda t: t - TRUST_LIFE_S - 2000,
    ),
    bad("an end before its beginning", "BAD_TRUST", exp=1),
    bad("500 days of life", "BAD_TRUST", exp=lambda t: t + 500 * 86_400),
    bad("a domain with capitals", "BAD_TRUST", domain="Demo.example"),
    bad("a domain with a slash", "BAD_TRUST", domain="demo.example/x"),
    bad("no answer key", "BAD_TRUST", answer_keys=[]),
    bad("no sealing key", "BAD_TRUST", sealing_keys=[]),
    bad("no pseudonym key", "BAD_TRUST", oprf_keys=[]),
    bad(
        "one key for two participants",
        "BAD_TRUST",
        participants=lambda p: [*p[:-1], {**p[-1], "keys": p[0]["keys"]}],
    ),
    bad(
        "a participant with the key of the service's answers",
        "BAD_TRUST",
        answer_keys=lambda keys: [*keys, OWN_KEY],
        participants=lambda p: [{**p[0], "keys": [OWN_KEY]}, *p[1:]],
    ),
    bad(
        "a purpose certified for more than a year",
        "BAD_TRUST",
        participants=lambda p: [{**p[0], "certified": {"REVIEW": 2**40}}, *p[1:]],
    ),
    bad("a participant twice", "BAD_TRUST", participants=lambda p: [*p, p[0]]),
    bad(
        "a participant of an unknown role",
        "BAD_TRUST",
        participants=lambda p: [{**p[0], "role": "king"}],
    ),
    bad(
        "a participant with a newline in its title",
        "BAD_TRUST",
        participants=lambda p: [{**p[0], "title": "a\nb"}],
    ),
    bad("a participant that is a text", "BAD_MEMBER", participants=["bank"]),
    bad("a log key that is none", "BAD_VKEY", log="x"),
    bad("a schema that is not at hand", "MISSING_DOCUMENT", schemas=lambda d: [*d, "A" * 43]),
    bad("a member too many", "BAD_MEMBER", extra=1),
    with_documents("no documents", "MISSING_DOCUMENT", lambda d: []),
    with_documents("a changed document", "MISSING_DOCUMENT", lambda d: [d[0] + b" ", *d[1:]]),
    with_documents("one document for all", "MISSING_DOCUMENT", lambda d: [d[0]] * len(d)),
    with_documents(
        "a document over its limit",
        "LIMIT_EXCEEDED",
        lambda d: [*d, bytes(limits.DOCUMENT_BYTES_MAX + 1)],
        "TrustPackage.documents",
    ),
    with_documents("10,001 documents", "LIMIT_EXCEEDED", lambda d: [b""] * 10_001, ".documents"),
    *(bent(name, reason, lambda _, t, f=f: f(t)) for name, (f, reason) in forge.SIGNATURES.items()),
    *(
        bent(
            f"{name} in its payload",
            reason,
            lambda s, t, f=f: forge.respelled(t, root_of(s), f),
        )
        for name, (f, reason) in forge.SPELLINGS.items()
    ),
    *(
        bent(
            f"the type of a{'n' * (kind[0] in 'ae')} {kind}",
            "WRONG_TYPE",
            lambda s, t, typ=typ: forge.reheaded(t, root_of(s), typ=typ),
        )
        for kind, typ in forge.other_kinds(jws.TRUST).items()
    ),
]
