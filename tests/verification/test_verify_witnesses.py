"""Check 8 of an answer, the witnesses: reported, or required by the policy; whose keys count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
from credproof import standard
from credproof.base import jws
from credproof.base.errors import CredproofError, Malformed
from credproof.log.cosignature import Ed25519Cosigner, MlDsaCosigner, with_lines
from credproof.log.note import parse_note
from credproof.verification.diff import policy_diff
from credproof.verification.report import not_shown, report, witness_text
from credproof.verification.trust import verify_trust

from tests.log.test_witnessed import LINES, WITNESSES
from tests.world import DOMAIN, NOW, POLICY, World, seed_of

QUORUM = f"{LINES}group two 2 w0 w1 w2\nquorum two\n"
RESULT = Path("client/credproof/data/json-schemas/verify-result.json")
COSIGNER = MlDsaCosigner(f"{DOMAIN}/log", seed_of("ml-dsa"))


@pytest.fixture
def world() -> World:
    return World()


def cosigned(bundle, *witnesses, at: int = NOW + 1):
    text = parse_note(bundle.checkpoint).text
    lines = [witness.cosign(text, at) for witness in witnesses]
    return replace(bundle, checkpoint=with_lines(bundle.checkpoint, lines))


def answer(world: World, **members):
    """An answer under the shipped policy with other members."""
    if not members:
        return world.finish(world.case())
    policy = world.add_policy("witnessed", **members)
    return world.finish(world.case(policy=policy))


def refused(world: World, bundle, reason: str, **how) -> None:
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle, **how)
    assert (caught.value.step, caught.value.reason) == (8, reason)


def told(world: World, bundle, trust) -> tuple[dict, list[str], str]:
    verified = world.verify(bundle, trust=trust)
    found = report(verified)
    jsonschema.validate(found, json.loads(RESULT.read_text()))
    return found["witness"], not_shown(verified), witness_text(verified.witnesses)


def test_a_result_says_that_no_witness_is_asked_for(world):
    found, lacking, text = told(world, answer(world), world.trust())
    assert found == {"state": "none", "times": {}, "since": None}
    assert "witness: none" in lacking
    assert text == "none"


def test_a_result_says_that_witnesses_are_missing_and_who_was_there(world):
    bundle = cosigned(answer(world), WITNESSES[1])
    found, lacking, text = told(world, bundle, world.trust(quorum=QUORUM))
    assert found == {"state": "pending", "times": {"w1": NOW + 1}, "since": None}
    assert "witness: pending" in lacking
    assert text == "pending (w1 cosigned)"


def test_a_result_says_who_witnessed_it_and_when(world):
    bundle = cosigned(answer(world), WITNESSES[0], WITNESSES[2])
    found, lacking, text = told(world, bundle, world.trust(quorum=QUORUM))
    assert found["state"] == "reached"
    assert found["since"] == NOW + 1
    assert not any("witness" in item for item in lacking)
    assert text.startswith("w0, w2: quorum reached at 2026-")


def test_8_a_policy_that_requires_witnesses_is_not_met_without_enough_of_them(world):
    bundle = answer(world, witness="required")
    trust = world.trust(quorum=QUORUM)
    refused(world, bundle, "NOT_WITNESSED", trust=world.trust())
    refused(world, bundle, "NOT_WITNESSED", trust=trust)
    refused(world, cosigned(bundle, WITNESSES[0]), "NOT_WITNESSED", trust=trust)
    assert world.verify(cosigned(bundle, *WITNESSES[:2]), trust=trust).outcome.tier == "A"
    waiting = world.verify(bundle, trust=trust, may_wait=True)
    assert waiting.witnesses.state == "pending"


def test_8_witnesses_that_the_trust_bundle_does_not_name_count_for_nothing(world):
    strangers = [Ed25519Cosigner(w.key.name, bytes([90 + i] * 32)) for i, w in enumerate(WITNESSES)]
    bundle = cosigned(answer(world, witness="required"), *strangers)
    refused(world, bundle, "NOT_WITNESSED", trust=world.trust(quorum=QUORUM))


def test_8_a_tampered_cosignature_is_refused_even_where_nobody_requires_it(world):
    bundle = answer(world)
    for witness in (WITNESSES[0], COSIGNER):
        good = cosigned(bundle, witness)
        line = good.checkpoint.removeprefix(bundle.checkpoint).decode()
        place = len(line) - 10
        bent = line[:place] + ("A" if line[place] != "A" else "B") + line[place + 1 :]
        bad = replace(bundle, checkpoint=with_lines(bundle.checkpoint, [bent]))
        trust = world.trust(quorum=QUORUM, log_cosigner=str(COSIGNER.key))
        world.verify(good, trust=trust)
        refused(world, bad, "BAD_SIGNATURE", trust=trust)


def test_a_bundle_keeps_quorum_and_cosigner_as_they_were_signed(world):
    trust = world.trust(quorum=QUORUM, log_cosigner=str(COSIGNER.key))
    assert trust.quorum.needed == "two"
    assert trust.log_cosigner == COSIGNER.key


def test_a_bundle_from_before_witnesses_names_none(world):
    claims = world.bundle().to_json()
    del claims["quorum"], claims["log_cosigner"]
    token = jws.sign(world.root, jws.TRUST, claims)
    trust = verify_trust(token, world.documents(), root=world.root.public, at=NOW)
    assert trust.bundle == world.bundle()


OTHER = Ed25519Cosigner("w.example/own", seed_of("log"))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quorum": "quorum nobody\n"}, "BAD_QUORUM"),
        ({"quorum": "\n"}, "BAD_QUORUM"),
        ({"quorum": QUORUM.replace("witness w0 ", "witness w0 x")}, "BAD_VKEY"),
        ({"quorum": f"log other.example+0+x\n{QUORUM}"}, "BAD_VKEY"),
        ({"quorum": f"witness own {OTHER.key}\nquorum own\n"}, "BAD_TRUST"),
        ({"log_cosigner": str(WITNESSES[0].key)}, "BAD_TRUST"),
        ({"log_cosigner": str(MlDsaCosigner("other.example", bytes(32)).key)}, "BAD_TRUST"),
        ({"log_cosigner": "nonsense"}, "BAD_VKEY"),
    ],
)
def test_a_bundle_with_a_bad_quorum_is_refused_by_every_reader(world, changes, reason):
    with pytest.raises(Malformed) as caught:
        world.trust(**changes)
    assert caught.value.reason == reason


def test_a_quorum_names_our_own_log_or_none(world):
    other = World()
    other.log.signer = replace(other.log.signer, name="other.example/log")
    lines = [f"log {each.log.signer.verifier_key}\n" for each in (world, other)]
    assert world.trust(quorum=lines[0] + QUORUM).quorum.logs == (world.log.signer.verifier_key,)
    with pytest.raises(Malformed) as caught:
        world.trust(quorum=lines[1] + QUORUM)
    assert caught.value.reason == "BAD_TRUST"


def test_a_policy_says_reported_or_required_and_a_change_of_it_is_told(world):
    policy = world.add_policy("strict", witness="required")
    assert (POLICY.witness, policy.witness) == ("reported", "required")
    assert "witness: reported -> required" in policy_diff(POLICY, policy, standard.text("en"))
    with pytest.raises(Malformed) as caught:
        world.add_policy("odd", witness="perhaps")
    assert caught.value.reason == "BAD_POLICY"
