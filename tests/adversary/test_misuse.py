"""One seeded attack per rule of misuse, over a real server: each raises its rule and nothing else,
with evidence that is in the log; honest work just below raises nothing."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from credproof.log.entry import parse_entry
from credproof.v1.verification_service_pb2_grpc import VerificationServiceStub
from credproof.verification.anomaly import ENTRY_LIFTED
from credproof_server import admission
from credproof_server.checking import check
from credproof_server.conduct.rules import parse_rules
from credproof_server.demo.world import AUDITOR, PROVIDER, World
from credproof_server.directory import ServiceDirectory

from tests.adversary.misuse import RULES, Rogue, evidence, raised, raised_in_time, refusals
from tests.cli.command import run
from tests.deployment import watch
from tests.rpc.conftest import Running
from tests.rpc.registry import add_policy
from tests.world import GOOD

REFUSED = "answer.refused"
UTILISATION = {"schema": "consumer-revolving/1", "claim": "utilisation_bp"}


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    """A service whose rules have small thresholds, and look every second."""
    world = World(tmp_path_factory.mktemp("watched"))
    world.make()
    watch(world.service, RULES)
    with world.served():
        world.populate()
        yield Running(world)


@pytest.fixture(scope="module")
def narrow(running) -> dict[int, str]:
    """Policies that ask whether a borrower uses less than some share of the limit."""
    names = {}
    for share in (2000, 4000, 6000, 7000):
        question = {"x": {**UTILISATION, "below": share}}
        tiers = [{"name": "A", "when": ["x"]}]
        members = {"questions": question, "tiers": tiers, "caps": {"answers": "9 per day"}}
        names[share] = add_policy(running, f"narrow-{share}", **members).id
    return names


def only(running, *names: str):
    """The one anomaly about these lenders."""
    (found,) = raised(running, *names)
    rules = parse_rules((running.world.service / "rules.yaml").read_bytes())
    assert (found.anomaly.rules_version, found.anomaly.rules_digest) == (7, rules.digest)
    return found


# -- one lender, who is throttled ---------------------------------------------------


def test_halving_what_is_left_of_a_claim_is_bisection(running, narrow):
    rogue = Rogue(running, "halver")
    subject_id, borrower = running.person()
    for share in (7000, 4000, 2000):
        rogue.ask(subject_id, borrower, narrow[share])
    found = only(running, "halver")
    assert (found.anomaly.rule, found.anomaly.tag is not None) == ("bisection", True)
    assert found.anomaly.counts == {"steps": 3, "halvings": 3, "lenders": 1}
    with running.world.auditor() as auditor:
        told = auditor.search_person(subject_id, reason="a complaint")
    assert found.log_index in told, "who looks for the borrower is told of it"
    assert evidence(running, found) == {("answer.given", "halver", ""): 3}
    assert rogue.put([rogue.question()]) == ["THROTTLED"]
    assert rogue.evaluate(1) == "EVALUATED", "its rule does not refuse those"


def test_the_same_policies_asked_about_different_borrowers_are_no_bisection(running, narrow):
    lender = Rogue(running, "honest-narrow")
    for share in (7000, 4000, 2000):
        lender.ask(*running.person(), narrow[share])
    subject_id, borrower = running.person()
    for share in (2000, 7000, 2000):
        lender.ask(subject_id, borrower, narrow[share])
    assert raised(running, "honest-narrow") == []


def test_trying_many_pseudonyms_without_a_consent_is_enumeration(running):
    rogue = Rogue(running, "guesser")
    assert (
        rogue.put([rogue.question() for _ in range(8)]) == ["NOT_PERMITTED"] * 5 + ["THROTTLED"] * 3
    )
    found = only(running, "guesser")
    assert found.anomaly.rule == "enumeration"
    assert found.anomaly.counts == {"pseudonyms": 5, "questions": 5, "answered": 0}
    assert evidence(running, found) == {(REFUSED, "guesser", "NOT_PERMITTED"): 5}
    assert rogue.evaluate(1) == "THROTTLED"
    assert refusals(running, "guesser") == {"NOT_PERMITTED": 5, "THROTTLED": 3}


def test_questions_one_by_one_count_as_those_of_a_batch(running):
    rogue = Rogue(running, "patient")
    told = [rogue.put_alone(rogue.question()) for _ in range(6)]
    assert told == ["NOT_PERMITTED"] * 5 + ["THROTTLED"]
    assert only(running, "patient").anomaly.counts["pseudonyms"] == 5


def test_questions_that_race_get_no_further_and_raise_it_once(running):
    rogue = Rogue(running, "racer")
    questions = [rogue.question() for _ in range(24)]
    with ThreadPoolExecutor(12) as pool:
        told = Counter(pool.map(rogue.put_alone, questions))
    assert told == {"NOT_PERMITTED": 5, "THROTTLED": 19}
    assert only(running, "racer").anomaly.counts["pseudonyms"] == 5


def test_few_pseudonyms_and_many_among_answered_questions_raise_nothing(running):
    lender = Rogue(running, "honest-few")
    assert lender.put([lender.question() for _ in range(4)]) == ["NOT_PERMITTED"] * 4
    for _ in range(5):
        lender.ask(*running.person(), "revolving-standing")
    assert lender.put([lender.question()]) == ["NOT_PERMITTED"]
    assert raised(running, "honest-few") == []


def test_evaluating_many_pseudonyms_and_asking_about_none_is_noticed(running):
    rogue = Rogue(running, "hoarder")
    assert [rogue.evaluate(11), rogue.evaluate(1), rogue.evaluate(1)] == [
        "EVALUATED",
        "EVALUATED",
        "THROTTLED",
    ]
    found = only(running, "hoarder")
    assert found.anomaly.rule == "idle-evaluations"
    assert found.anomaly.counts == {"evaluated": 12, "questions": 0, "answered": 0}
    assert rogue.put([rogue.question()]) == ["THROTTLED"]


def test_evaluations_that_questions_follow_raise_nothing(running):
    lender = Rogue(running, "honest-bulk")
    for _ in range(5):
        lender.ask(*running.person(), "revolving-standing")
    assert lender.evaluate(8) == "EVALUATED", "18 in all, and 5 answers"
    assert raised(running, "honest-bulk") == []


def test_a_flood_of_questions_that_get_no_answer_is_a_burst(running):
    rogue = Rogue(running, "flooder", certified={})
    told = rogue.put([rogue.question() for _ in range(22)])
    assert told == ["PURPOSE_NOT_CERTIFIED"] * 20 + ["THROTTLED"] * 2
    found = only(running, "flooder")
    assert found.anomaly.rule == "burst"
    assert found.anomaly.counts == {"questions": 20, "answered": 0}
    assert evidence(running, found) == {(REFUSED, "flooder", "PURPOSE_NOT_CERTIFIED"): 20}


def test_one_question_less_is_no_burst(running):
    lender = Rogue(running, "brisk", certified={})
    assert set(lender.put([lender.question() for _ in range(19)])) == {"PURPOSE_NOT_CERTIFIED"}
    assert raised(running, "brisk") == []


def test_more_answers_in_a_minute_than_a_lender_agreed_to_are_a_burst(running):
    lender = Rogue(running, "held")
    consents = [lender.consented(*running.person(), "revolving-standing") for _ in range(5)]
    told = lender.put([lender.under(consent) for consent in consents])
    assert told == ["ANSWERED"] * 4 + ["THROTTLED"]
    found = only(running, "held")
    assert (found.anomaly.rule, found.anomaly.counts["answered"]) == ("burst", 4)
    assert evidence(running, found) == {("answer.given", "held", ""): 4}


def test_a_used_up_consent_again_and_again_is_reuse(running):
    rogue = Rogue(running, "reuser")
    consent = rogue.consented(*running.person(), "revolving-standing")
    told = [rogue.put_alone(rogue.under(consent)) for _ in range(7)]
    assert told == ["ANSWERED", *["CONSENT_USED_UP"] * 5, "THROTTLED"]
    found = only(running, "reuser")
    assert found.anomaly.rule == "consent-reuse"
    assert found.anomaly.counts == {"repeats": 4, "consents": 1, "questions": 6, "answered": 1}
    assert evidence(running, found) == {(REFUSED, "reuser", "CONSENT_USED_UP"): 4}


def test_revoked_and_others_consents_are_reused_too(running):
    rogue, other = Rogue(running, "borrowing"), Rogue(running, "lending")
    subject_id, borrower = running.person()
    revoked = rogue.consented(subject_id, borrower, "revolving-standing")
    borrower.revoke(revoked)
    others = other.consented(subject_id, borrower, "revolving-standing")
    told = [rogue.put_alone(rogue.under(consent)) for consent in (revoked, others) * 3]
    assert told == ["CONSENT_REVOKED", "NOT_PERMITTED"] * 3
    assert only(running, "borrowing").anomaly.counts["consents"] == 2
    assert raised(running, "lending") == []


def test_asking_again_a_few_times_is_no_reuse(running):
    lender = Rogue(running, "forgetful")
    consent = lender.consented(*running.person(), "revolving-standing")
    told = [lender.put_alone(lender.under(consent)) for _ in range(5)]
    assert told == ["ANSWERED", *["CONSENT_USED_UP"] * 4]
    assert raised(running, "forgetful") == []


# -- several together, who are only told about --------------------------------------


def test_many_lenders_about_one_borrower_are_told_and_none_is_throttled(running):
    lenders = [Rogue(running, f"many-{n}") for n in range(3)]
    of_two, of_three = running.person(), running.person()
    for lender, person in ((lenders[0], of_two), (lenders[1], of_two)):
        lender.ask(*person, "revolving-standing")
    for lender in lenders:
        lender.ask(*of_three, "revolving-standing")
    (found,) = raised_in_time(running, "many-0")
    assert found.anomaly.rule == "many-lenders"
    assert found.anomaly.participants == ("many-0", "many-1", "many-2")
    assert (found.anomaly.throttle_s, found.anomaly.tag is not None) == (0, True)
    assert sum(evidence(running, found).values()) == 3
    for lender in lenders:
        assert lender.put([lender.question()]) == ["NOT_PERMITTED"]


def test_lenders_who_narrow_a_claim_together_are_told_and_none_is_throttled(running, narrow):
    one, other = Rogue(running, "pair-one"), Rogue(running, "pair-two")
    subject_id, borrower = running.person()
    for lender, share in ((one, 7000), (other, 4000), (one, 2000), (other, 6000)):
        lender.ask(subject_id, borrower, narrow[share])
    (found,) = raised_in_time(running, "pair-one")
    assert found.anomaly.rule == "joint-bisection"
    assert found.anomaly.participants == ("pair-one", "pair-two")
    assert [x.put([x.question()]) for x in (one, other)] == [["NOT_PERMITTED"]] * 2


def test_a_provider_that_attests_one_account_again_and_again_is_told(running):
    before = len(raised(running, PROVIDER))
    record = running.record()
    with running.world.provider() as provider:
        for limit in range(1, 5):
            record.values["credit_limit"] = GOOD["credit_limit"] + limit
            provider.submit([record], schema_id="consumer-revolving/1")
        assert len(raised(running, PROVIDER)) == before
        record.values["credit_limit"] += 1
        assert provider.submit([record], schema_id="consumer-revolving/1").accepted == 1
    found = raised(running, PROVIDER)[0]
    assert (found.anomaly.rule, found.anomaly.counts["attestations"]) == ("churn", 5)
    assert evidence(running, found) == {("attestation.accepted", PROVIDER, ""): 5}


# -- what a throttle tells ----------------------------------------------------------


def test_a_throttle_comes_at_the_same_question_whether_a_consent_exists_or_not(running):
    """Somebody asks again under a stolen consent's id, somebody under one that nobody gave."""
    holder, thief, dreamer = (Rogue(running, name) for name in ("holder", "thief", "dreamer"))
    consent = holder.consented(*running.person(), "revolving-standing")
    stolen = [thief.put_alone(thief.under(consent)) for _ in range(7)]
    sub, made_up = thief.question().sub, thief.question().consent_id
    dreamt = [dreamer.put_alone(dreamer.question(sub=sub, consent=made_up)) for _ in range(7)]
    assert stolen == dreamt == ["NOT_PERMITTED"] * 5 + ["THROTTLED"] * 2


def test_a_throttled_lender_is_told_the_same_of_known_and_unknown_and_keeps_its_answers(running):
    rogue = Rogue(running, "stopped")
    consent = rogue.consented(*running.person(), "revolving-standing")
    answered, unused = (
        rogue.under(consent),
        rogue.consented(*running.person(), "revolving-standing"),
    )
    assert rogue.put_alone(answered) == "ANSWERED"
    rogue.put([rogue.question() for _ in range(5)])
    assert [rogue.put_alone(rogue.under(unused)), rogue.put_alone(rogue.question())] == [
        "THROTTLED"
    ] * 2
    with pytest.raises(grpc.RpcError) as caught:
        VerificationServiceStub(rogue.channel).Ask(rogue.under(unused))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert rogue.put_alone(answered) == "ANSWERED", "what was answered is given again"


def test_a_lifted_throttle_is_over_at_once_and_the_log_says_who_lifted_it(running):
    rogue = Rogue(running, "pardoned")
    rogue.put([rogue.question() for _ in range(5)])
    assert rogue.put([rogue.question()]) == ["THROTTLED"]
    admission.lift_throttle(running.world.service, "pardoned")
    assert rogue.put([rogue.question() for _ in range(4)]) == ["NOT_PERMITTED"] * 4
    assert len(raised(running, "pardoned")) == 1, "what was counted is not counted again"
    assert rogue.put([rogue.question()]) == ["NOT_PERMITTED"]
    assert len(raised(running, "pardoned")) == 2


def test_auditor_and_operator_see_it_and_end_it_at_the_command_line(running):
    rogue = Rogue(running, "seen")
    rogue.put([rogue.question() for _ in range(5)])
    (found,) = raised(running, "seen")
    office, since = running.world.home(AUDITOR), str(found.log_index)
    told = run("audit", "anomalies", "--since", since, "--evidence", "--home", office)
    assert "enumeration: seen" in told
    assert told.count("answer.refused  seen  NOT_PERMITTED") == 5
    (shown,) = json.loads(run("audit", "anomalies", "--since", since, "--json", "--home", office))
    assert (shown["log_index"], shown["participants"]) == (found.log_index, ["seen"])
    assert shown["evidence"] == list(found.anomaly.evidence)
    assert shown["lifted_index"] is None
    assert "; throttled for 3600 s\n" in told
    lifted = run("participant", "unthrottle", running.world.service, "seen", "--json")
    assert json.loads(lifted) == {"id": "seen"}
    (found,) = raised(running, "seen")
    told = run("audit", "anomalies", "--since", since, "--home", office)
    assert f"; throttled for 3600 s, lifted at entry {found.lifted_index}\n" in told
    with running.world.auditor() as auditor:
        (line,) = auditor.lines(found.lifted_index, found.lifted_index + 1)
    lifting = parse_entry(line)
    assert (lifting.kind, lifting.fields) == (ENTRY_LIFTED, {"participant": "seen"})
    assert rogue.put([rogue.question()]) == ["NOT_PERMITTED"]
    again = run("participant", "unthrottle", running.world.service, "seen", code=2)
    assert "NOT_THROTTLED" in again


def test_the_honest_lender_of_all_the_others_was_never_raised(running, lender):
    consented = running.consented(lender)
    lender.ask(lender.subject(consented[0]), policy_id="revolving-standing", consent=consented[1])
    assert raised(running, lender.id) == []
    assert check(ServiceDirectory(running.world.service)).damage == ()


@pytest.fixture
def lender(running):
    with running.world.lender() as opened:
        yield opened
