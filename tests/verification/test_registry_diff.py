"""What changed from one version of the registry to the next is told, whatever it is."""

from __future__ import annotations

import re
from dataclasses import fields, replace

import pytest
from credproof.attestation.sealing import SECRET_BYTES, SealingKey
from credproof.base.keys import DatedKey
from credproof.base.limits import CLOCK_SKEW_S
from credproof.verification.acceptance import sign_acceptance
from credproof.verification.bundle import FormerQuorum, RelyingParty, TrustBundle
from credproof.verification.participant import NEVER, FormerAcceptance, Licence, Participant
from credproof.verification.registry_diff import registry_changes
from credproof.verification.trust import Trust, sign_trust

from tests.world import NOW, World, seed_of, signer_of

WORLD = World("keeper")
OTHER = World("other-keeper")
BUNDLE = WORLD.bundle()
FRESH = DatedKey(signer_of("fresh").public, NOW, NEVER)


def trust(bundle: TrustBundle, world: World = WORLD) -> Trust:
    return Trust(bundle, sign_trust(world.root, bundle), tuple(world.documents()))


def told(before: TrustBundle | None, now: TrustBundle) -> list[str]:
    old = None if before is None else trust(before)
    found = registry_changes(old, trust(now))
    return [f"{change.place.participant}: {change.text}" for change in found]


def of_bank(**changes: object) -> TrustBundle:
    found = (replace(p, **changes) if p.id == "bank" else p for p in BUNDLE.participants)
    return replace(BUNDLE, participants=tuple(found))


def accepted(*binders: str) -> str:
    words = {"provider": "bank", "domain": BUNDLE.domain, "now": NOW}
    return sign_acceptance(WORLD.bank, binders=binders, **words)


OF_BUNDLE = {
    "domain": "other.example",
    "log_vkey": "another vkey",
    "answer_keys": (FRESH,),
    "sealing_keys": (SealingKey(seed_of("fresh", SECRET_BYTES)).public.data,),
    "oprf_keys": (*BUNDLE.oprf_keys, OTHER.oprf_key),
    "participants": BUNDLE.participants[1:],
    "schemas": BUNDLE.schemas[1:],
    "policies": tuple(replace(pin, valid_until=NOW) for pin in BUNDLE.policies),
    "directory_key": bytes(32),
    "old_logs": ("an old vkey",),
    "bureau": Licence("B-1", 0, NOW),
    "relying_parties": (RelyingParty("page.example", ("https://page.example",), 0, NEVER),),
    "texts": BUNDLE.texts[1:],
    "purposes": (replace(BUNDLE.purposes[0], answers_per_month=99), *BUNDLE.purposes[1:]),
    "quorum": "witness one x+y+z\nquorum one\n",
    "log_cosigner": "a vkey of ML-DSA-44",
    "former_quorums": (FormerQuorum("quorum none\n", NOW - CLOCK_SKEW_S),),
}
OF_PARTICIPANT = {
    "role": "auditor",
    "title": "Another Bank",
    "status": "suspended",
    "keys": (*BUNDLE.participants[0].keys, FRESH),
    "schemas": (),
    "since": 77,
    "licence": Licence("L-9", 0, NOW),
    "certified": {"REVIEW": NOW},
    "acceptance": accepted("other-bank"),
    "former_acceptances": (FormerAcceptance(accepted("other-bank"), 0, NOW),),
}


def test_the_samples_are_of_every_member():
    dates = {"version", "issued_at", "expires_at"}
    assert {f.name for f in fields(TrustBundle)} == OF_BUNDLE.keys() | dates
    assert {f.name for f in fields(Participant)} == OF_PARTICIPANT.keys() | {"id"}


@pytest.mark.parametrize("name", sorted(OF_BUNDLE))
def test_whatever_changes_in_a_bundle_is_told_there_and_back(name):
    other = replace(BUNDLE, **{name: OF_BUNDLE[name]})
    assert told(BUNDLE, other)
    assert told(other, BUNDLE)


@pytest.mark.parametrize("name", sorted(OF_PARTICIPANT))
def test_whatever_changes_of_a_participant_is_told_there_and_back(name):
    other = of_bank(**{name: OF_PARTICIPANT[name]})
    there, back = told(BUNDLE, other), told(other, BUNDLE)
    assert there
    assert all(line.startswith("bank: ") for line in (*there, *back))
    assert len(there) == len(back)


def test_dates_of_the_bundle_alone_are_no_change():
    renewed = replace(BUNDLE, version=9, issued_at=NOW, expires_at=NOW + 9)
    assert told(BUNDLE, renewed) == []


def test_another_root_key_is_told():
    other = World()
    other.root = signer_of("another root")
    (change,) = registry_changes(trust(BUNDLE), trust(BUNDLE, other))
    assert change.text == f"root key: {WORLD.root.public.kid} -> {other.root.public.kid}"


def test_the_first_version_tells_everybody_who_is_in_it():
    found = told(None, BUNDLE)
    for one in BUNDLE.participants:
        assert f"{one.id}: admitted: {one.role}, {one.title}" in found
        assert any(line.startswith(f"{one.id}: key {one.keys[0].public.kid}") for line in found)
    assert not any("status" in line for line in found)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"status": "suspended", "since": NOW}, r"suspended; status: active since .* -> suspended"),
        ({"since": 60}, r"status: active since .* -> active since 1970-01-01 00:01:00 UTC"),
        ({"keys": ()}, r"key [0-9a-f]{32} not listed any more \(was: from .* until it is ended\)"),
        ({"licence": Licence("L-9", 0, 60)}, r"licence L-9 listed: from .* until 1970-01-01 00:01"),
        ({"certified": {"REVIEW": 60}}, r"certified for REVIEW: until 1970-01-01 00:01:00 UTC"),
        ({"acceptance": accepted()}, r"accepts bindings by: nobody else, signed"),
    ],
)
def test_a_change_is_told_in_words(changes, words):
    (line,) = told(BUNDLE, of_bank(**changes))
    assert re.match(f"bank: {words}", line), line


def test_a_key_that_ends_is_told_with_both_dates():
    (key,) = BUNDLE.participants[0].keys
    (line,) = told(BUNDLE, of_bank(keys=(replace(key, not_after=60),)))
    ends = "from 1970-01-01 00:00:00 UTC until 1970-01-01 00:01:00 UTC"
    assert line.endswith(f"until it is ended -> {ends}")


def test_two_things_of_one_place_hide_each_other_not():
    """Two pages of one id from one time on, the first of which never counted."""
    one, two = (RelyingParty("p.example", (f"https://{n}.p.example",), 0, 0) for n in "ab")
    first, both = (replace(BUNDLE, relying_parties=found) for found in ((one,), (one, two)))
    (line,) = told(first, both)
    assert "https://b.p.example" in line


def test_a_policy_is_told_with_who_approved_it():
    (line,) = [line for line in told(None, BUNDLE) if line.startswith(": policy")]
    assert re.search(r"approved by operator-1 .*, operator-2 ", line), line
