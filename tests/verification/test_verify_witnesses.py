"""Check 8 of an answer, the witnesses: reported, or required by the policy; whose keys count."""

from __future__ import annotations

import datetime as dt
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
from credproof.verification.bundle import FormerQuorum
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
    assert found == {"state": "none", "times": {}, "since": None, "reached_at": None}
    assert "witness: none" in lacking
    assert text == "none"


def test_a_result_says_that_witnesses_are_missing_and_who_was_there(world):
    bundle = cosigned(answer(world), WITNESSES[1])
    found, lacking, text = told(world, bundle, world.trust(quorum=QUORUM))
    named = {"w1": NOW + 1}
    assert found == {"state": "pending", "times": named, "since": None, "reached_at": None}
    assert "witness: pending" in lacking
    assert text == "pending (w1 cosigned)"


def test_a_result_says_who_witnessed_it_and_when(world):
    bundle = cosigned(cosigned(answer(world), WITNESSES[0]), WITNESSES[2], at=NOW + 40)
    found, lacking, text = told(world, bundle, world.trust(quorum=QUORUM))
    assert found["state"] == "reached"
    assert (found["since"], found["reached_at"]) == (NOW + 1, NOW + 40)
    assert not any("witness" in item for item in lacking)
    at = dt.datetime.fromtimestamp(NOW + 40, dt.UTC)
    assert text == f"w0, w2: quorum reached at {at:%Y-%m-%d %H:%M:%S} UTC"


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


OTHERS = [Ed25519Cosigner(f"o.example/{i}", bytes([60 + i] * 32)) for i in range(2)]
OTHER_QUORUM = "".join(f"witness o{i} {w.key}\n" for i, w in enumerate(OTHERS)) + "quorum o0\n"


def later(world: World, quorum: str, *former: tuple[str, int]):
    """A bundle of some minutes later, with a quorum, after others that ended at these times."""
    ended = tuple(FormerQuorum(text, until) for text, until in former)
    return world.trust(quorum=quorum, former_quorums=ended, issued_at=NOW)


@pytest.mark.parametrize("now", [OTHER_QUORUM, ""])
def test_8_an_answer_stays_witnessed_by_the_quorum_of_its_time_when_another_counts(world, now):
    bare = answer(world, witness="required")
    bundle = cosigned(bare, *WITNESSES[:2])
    for until in (NOW - 120, NOW, NOW + 100):
        found = world.verify(bundle, trust=later(world, now, (QUORUM, until)))
        assert found.witnesses.times == {"w0": NOW + 1, "w1": NOW + 1}
    ended_before = later(world, now, (QUORUM, NOW - 121))
    refused(world, bundle, "NOT_WITNESSED", trust=ended_before)
    lacking = cosigned(bare, WITNESSES[0])
    refused(world, lacking, "NOT_WITNESSED", trust=later(world, now, (QUORUM, NOW)))


def test_8_an_answer_may_be_refreshed_under_any_quorum_since_its_time(world):
    bundle = cosigned(answer(world, witness="required"), OTHERS[0])
    for trust in (
        later(world, OTHER_QUORUM, (QUORUM, NOW)),
        later(world, "", (QUORUM, NOW), (OTHER_QUORUM, NOW + 60)),
        later(world, QUORUM, (QUORUM, NOW - 300), (OTHER_QUORUM, NOW - 60)),
    ):
        assert world.verify(bundle, trust=trust).witnesses.state == "reached"
    gone = later(world, QUORUM, (OTHER_QUORUM, NOW - 300), (QUORUM, NOW))
    refused(world, bundle, "NOT_WITNESSED", trust=gone)


def test_what_no_quorum_reached_is_told_by_the_one_in_force(world):
    bundle = cosigned(answer(world), WITNESSES[0], OTHERS[1])
    found, _, _ = told(world, bundle, later(world, OTHER_QUORUM, (QUORUM, NOW)))
    assert (found["state"], found["times"]) == ("pending", {"o1": NOW + 1})
    assert told(world, bundle, later(world, "", (QUORUM, NOW)))[0]["state"] == "none"


def test_an_answer_of_before_any_quorum_is_told_as_that_and_may_be_refreshed(world):
    bare = answer(world)
    for former, state in (
        ([("", NOW)], "none"),
        ([("", NOW - 1)], "pending"),
        ([("", NOW), (OTHER_QUORUM, NOW + 60)], "none"),
        ([(QUORUM, NOW + 1), ("", NOW + 60)], "pending"),
    ):
        assert told(world, bare, later(world, QUORUM, *former))[0]["state"] == state
    first = later(world, QUORUM, ("", NOW))
    assert told(world, cosigned(bare, *WITNESSES[:2]), first)[0]["state"] == "reached"


def test_8_a_policy_that_requires_witnesses_asks_for_them_of_an_answer_of_before_any_quorum(world):
    """An operator who lists a time without witnesses gets no answer of then accepted."""
    bare, trust = answer(world, witness="required"), later(world, QUORUM, ("", NOW))
    refused(world, bare, "NOT_WITNESSED", trust=trust)
    assert world.verify(bare, trust=trust, may_wait=True).witnesses.state == "pending"
    assert world.verify(cosigned(bare, *WITNESSES[:2]), trust=trust).outcome.tier == "A"
    refused(world, bare, "NOT_WITNESSED", trust=later(world, "", ("", NOW)))


def test_a_bundle_with_bad_former_quorums_is_refused_by_every_reader(world):
    own = f"witness own {OTHER.key}\nquorum own\n"
    for former, reason in (
        ([(QUORUM, NOW - 5), (QUORUM, NOW - 6)], "BAD_TRUST"),
        ([(QUORUM, -1)], "BAD_TRUST"),
        ([(QUORUM, NOW + 121)], "BAD_TRUST"),
        ([(own, NOW)], "BAD_TRUST"),
        ([("quorum nobody\n", NOW)], "BAD_QUORUM"),
        ([("\n", NOW)], "BAD_QUORUM"),
    ):
        with pytest.raises(Malformed) as caught:
            later(world, "", *former)
        assert caught.value.reason == reason


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
    del claims["quorum"], claims["log_cosigner"], claims["former_quorums"]
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
