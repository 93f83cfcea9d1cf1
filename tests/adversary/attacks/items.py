"""Single attestations that a provider, or somebody in its place, could send."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, date_of
from credproof.base.keys import Ed25519Signer

from tests.adversary import forge
from tests.adversary.attack import ITEM, Attack, item
from tests.adversary.stage import Stage
from tests.world import GOOD

DAY = 86_400
STRANGER = Ed25519Signer(b"\x07" * 32)


def resigned(bend: Callable[[Stage, str], str]) -> Callable[[Stage], bytes]:
    """An honest package with its token bent."""
    return lambda stage: stage.repacked(token=lambda token: bend(stage, token))


def reheaded(**members: Any) -> Callable[[Stage], bytes]:
    return resigned(lambda stage, token: forge.reheaded(token, stage.bank, **members))


def hidden(**changes: Any) -> Callable[[Stage], bytes]:
    return lambda stage: stage.repacked(hidden=lambda members: {**members, **changes})


def valued(**changes: Any) -> Callable[[Stage], bytes]:
    """A package whose values were bent after signing."""
    return lambda stage: stage.repacked(values=lambda members: {**members, **changes})


def told(**changes: Any) -> Callable[[Stage], bytes]:
    return lambda stage: stage.retold(**changes)


def stated(**changes: Any) -> Callable[[Stage], bytes]:
    """A package that the provider signed about a bent statement; functions get the time."""

    def make(stage: Stage) -> bytes:
        now = int(time.time())
        made = {name: v(now) if callable(v) else v for name, v in changes.items()}
        return stage.package(**made)

    return make


def spelled(spell: Callable[[bytes], bytes]) -> Callable[[Stage], bytes]:
    return lambda stage: spell(stage.package())


PACKAGES = [
    item("an empty package", lambda s: b"", "NOT_JSON", 2),
    item("a package of 64 KiB and a byte", lambda s: b"x" * 65_537, "LIMIT_EXCEEDED", 2),
    item("a package that is a list", lambda s: b"[]", "BAD_MEMBER", 2),
    item("a package that is a number", lambda s: b"1", "BAD_MEMBER", 2),
    item("a package with one member too many", lambda s: s.repacked(extra=1), "BAD_MEMBER", 2),
    item("a package without values", lambda s: b'{"seed":"","token":""}', "BAD_MEMBER", 2),
    item("a short seed", lambda s: s.repacked(seed=b64url(bytes(31))), "WRONG_LENGTH", 2),
    item("a seed that is null", lambda s: s.repacked(seed=None), "BAD_MEMBER", 2),
    item("values that are a list", lambda s: s.repacked(values=[]), "BAD_MEMBER", 2),
    item("seq 0", hidden(seq=0), "BAD_PACKAGE", 2),
    item("seq -1", hidden(seq=-1), "BAD_PACKAGE", 2),
    item("seq that is true", hidden(seq=True), "BAD_MEMBER", 2),
    item("an empty account", hidden(account=""), "BAD_PACKAGE", 2),
    item("a package for an account of 65 letters", hidden(account="a" * 65), "BAD_PACKAGE", 2),
    item("an account with a newline", hidden(account="a\n"), "BAD_PACKAGE", 2),
    item("an account in Chinese", hidden(account="账户"), "BAD_PACKAGE", 2),
    item("a basis that is a number", hidden(basis=5), "BAD_MEMBER", 2),
    item("a short prev", hidden(prev=b64url(bytes(31))), "WRONG_LENGTH", 2),
    item("an unknown hidden member", hidden(note="x"), "BAD_MEMBER", 2),
    *(
        item(f"a package with {name}", spelled(f), "BAD_MEMBER" if "list" in name else reason, 2)
        for name, (f, reason) in forge.SPELLINGS.items()
    ),
]
TOKENS = [
    *(
        item(f"an attestation with {name}", resigned(lambda _, t, f=f: f(t)), reason, step)
        for name, (f, reason) in forge.SIGNATURES.items()
        for step in (3 if reason == "BAD_SIGNATURE" else 2,)
    ),
    *(
        item(
            f"an attestation with the type of a{'n' * (kind[0] in 'ae')} {kind}",
            reheaded(typ=typ),
            *("WRONG_TYPE", 2),
        )
        for kind, typ in forge.other_kinds(jws.ATTESTATION).items()
    ),
    *(
        item(
            f"an attestation with {name} in its payload",
            resigned(lambda s, t, f=f: forge.respelled(t, s.bank, f)),
            *(reason, 2),
        )
        for name, (f, reason) in forge.SPELLINGS.items()
    ),
    item("an unknown header member", reheaded(crit=["exp"]), "BAD_HEADER", 2),
    item("a header without kid", reheaded(kid=None), "BAD_HEADER", 2),
    item("an attestation that carries its key", reheaded(jwk={}), "BAD_TOKEN", 2),
    item("ES256 named over an Ed25519 key", reheaded(alg="ES256"), "WRONG_ALGORITHM", 3),
    item(
        "a consent instead of an attestation",
        resigned(lambda s, _: s.consents["ann"]),
        "WRONG_TYPE",
        2,
    ),
    item("an attestation by a stranger", lambda s: s.package(signer=STRANGER), "UNKNOWN_KEY", 3),
    item(
        "an attestation by a stranger who names the bank's key",
        resigned(lambda s, t: forge.reheaded(t, STRANGER)),
        *("BAD_SIGNATURE", 3),
    ),
    item(
        "an attestation by another provider",
        lambda s: s.package(signer=s.home("other-bank").signer, issuer="other-bank"),
        *("UNKNOWN_KEY", 3),
    ),
    item(
        "an attestation in another provider's name", stated(issuer="other-bank"), "WRONG_ISSUER", 4
    ),
    item("no sums", told(sums=None), "BAD_MEMBER", 2),
    item("sums of another profile", told(sums={"a": 1}), "BAD_TOKEN", 2),
    item("digests by SHA-512", told(_sd_alg="sha-512"), "BAD_TOKEN", 2),
    item("digests out of order", told(_sd=lambda d: d[::-1]), "BAD_TOKEN", 2),
    item("a digest twice", told(_sd=lambda d: sorted([*d, d[0]])), "BAD_TOKEN", 2),
    item("a digest too few", told(_sd=lambda d: d[1:]), "WRONG_SHAPE", 4),
    item("a digest too many", told(_sd=lambda d: sorted([*d, "A" * 43])), "WRONG_SHAPE", 4),
    item(
        "another digest", told(_sd=lambda d: sorted([*d[1:], "A" * 43])), "COMMITMENT_MISMATCH", 6
    ),
    item("no ladders", told(ladders={}), "WRONG_SHAPE", 4),
    item("a ladder that is a number", told(ladders={"credit_limit": 1}), "BAD_MEMBER", 2),
    item("a short anchor", told(ladders=lambda a: _anchor(a, bytes(31))), "WRONG_LENGTH", 2),
    item("another anchor", told(ladders=lambda a: _anchor(a, bytes(32))), "COMMITMENT_MISMATCH", 6),
    item("no currency where there is money", told(currency=None), "WRONG_SHAPE", 4),
    item("a currency in small letters", told(currency="twd"), "BAD_TOKEN", 2),
    item("a short sub", told(sub=b64url(bytes(31))), "WRONG_LENGTH", 2),
    item("a day that does not exist", told(as_of="2026-02-30"), "NOT_A_DATE", 2),
    item("an unknown schema", told(schema=b64url(bytes(32))), "UNKNOWN_SCHEMA", 4),
    item("the name of another schema", told(vct="urn:credproof:key-binding:1"), "WRONG_SCHEMA", 4),
    item("a payload with one member too many", told(admin=True), "BAD_MEMBER", 2),
]


def _anchor(ladders: dict[str, Any], data: bytes) -> dict[str, Any]:
    name = sorted(ladders)[0]
    return {**ladders, name: {**ladders[name], "below": b64url(data)}}


DATES = [
    item(
        "an attestation of yesterday and a minute",
        stated(issued_at=lambda n: n - DAY - 60, as_of=lambda n: date_of(n - 3 * DAY)),
        "TOO_OLD",
        4,
    ),
    item(
        "an attestation from the future", stated(issued_at=lambda n: n + 200), "FROM_THE_FUTURE", 4
    ),
    item(
        "an expired attestation",
        stated(issued_at=lambda n: n - 60, expires_at=lambda n: n - 30),
        "BAD_DATES",
        4,
    ),
    item(
        "an attestation that ends before it begins",
        stated(expires_at=lambda n: n - 1),
        "BAD_DATES",
        4,
    ),
    item("an attestation for 401 days", stated(expires_at=lambda n: n + 401 * DAY), "BAD_DATES", 4),
    item("data of next week", stated(as_of=lambda n: date_of(n + 7 * DAY)), "BAD_DATES", 4),
    item("an attestation of before 1970", stated(issued_at=-9), "KEY_NOT_VALID", 3),
]
VALUES = [
    item("a figure above its bounds", valued(credit_limit=10**13), "BAD_VALUE", 5),
    item("a negative figure", valued(credit_limit=-1), "BAD_VALUE", 5),
    item("a figure that is a text", valued(credit_limit="100"), "BAD_VALUE", 5),
    item("a figure that is true", valued(credit_limit=True), "BAD_VALUE", 5),
    item("a claim that the schema does not have", valued(religion="x"), "BAD_VALUE", 5),
    item(
        "a claim too few",
        lambda s: s.repacked(values=lambda v: {"credit_limit": 1}),
        "BAD_VALUE",
        5,
    ),
    item(
        "figures that contradict each other",
        valued(overdue_cycles=9, max_overdue_cycles_6m=1),
        "INCONSISTENT_VALUES",
        5,
    ),
    item(
        "another figure than committed",
        valued(credit_limit=GOOD["credit_limit"] + 1),
        "COMMITMENT_MISMATCH",
        6,
    ),
    item("a known figure made unknown", valued(credit_limit=None), "COMMITMENT_MISMATCH", 6),
    item("another seed", lambda s: s.repacked(seed=b64url(bytes(32))), "COMMITMENT_MISMATCH", 6),
    item("another account than committed", hidden(account="another"), "COMMITMENT_MISMATCH", 6),
    item("another basis than committed", hidden(basis=b64url(bytes(32))), "COMMITMENT_MISMATCH", 6),
    item("a first link with a past", hidden(prev=b64url(b"\x01" * 32)), "BAD_VALUE", 5),
    item("a second link without a past", hidden(seq=2), "BAD_VALUE", 5),
    item(
        "a second link with a past that it did not sign",
        hidden(seq=2, prev=b64url(b"\x01" * 32)),
        "COMMITMENT_MISMATCH",
        6,
    ),
]


def _again(stage: Stage) -> bytes:
    """Another first statement about an account that has one."""
    return stage.package(account="account-of-ann")


def _swapped(stage: Stage) -> bytes:
    """Ann's account, continued under bob's name."""
    head = _heads(stage)[0]
    sub = stage.subjects["bob"].sub
    return stage.package(account="account-of-ann", seq=2, prev=head, sub=sub)


def _heads(stage: Stage) -> list[bytes]:
    from credproof.v1 import attestation_service_pb2 as pb

    from tests.adversary.attacks.batches import heads

    reply = pb.ListChainHeadsResponse.FromString(heads(stage))
    return [head.token_id for head in reply.heads]


def _mixed(stage: Stage) -> bytes:
    """The values of one package with the token of another."""
    other = json.loads(stage.package(account="mixed-account"))
    return canonical_json({**other, "token": json.loads(stage.package())["token"]})


def _as(who: str, reason: str, step: int | None, name: str, **changes: Any) -> Attack:
    def send(stage: Stage) -> Any:
        signer = stage.home(who).signer
        return stage.submit_item(stage.package(signer=signer, issuer=who, **changes), who)

    return Attack(name, send, ITEM, reason, step)


CHAIN = [
    item("a second version of the same statement", _again, "EQUIVOCATION", 7),
    item("a link after a gap", stated(seq=3, prev=b"\x01" * 32), "CHAIN_BROKEN", 7),
    item("a link to nothing", stated(seq=2, prev=b"\x01" * 32), "CHAIN_BROKEN", 7),
    item("an account that changes its borrower", _swapped, "SUBJECT_CHANGED", 7),
    item("the token of one package in another", _mixed, "COMMITMENT_MISMATCH", 6),
    _as("other-bank", "SCHEMA_NOT_ALLOWED", 0, "a schema that the provider may not attest"),
    _as("late-bank", "KEY_NOT_VALID", 3, "an attestation by a key that has ended"),
]
ATTACKS = [*PACKAGES, *TOKENS, *DATES, *VALUES, *CHAIN]
