"""Who may ask for what: licence, certified purpose, template and route, at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from credproof import standard
from credproof.base.errors import CredproofError
from credproof.base.limits import CERTIFICATION_MAX_S, CLOCK_SKEW_S
from credproof.verification.participant import Licence
from credproof.verification.policy import PURPOSES
from credproof.verification.purpose import Template, template_for
from credproof.verification.standing import require_standing, require_terms

from tests.world import NOW, POLICY, World

DAY = 86_400
FAIR = Template("any", "ORIGINATION", 5, 30, 45, 30)


@pytest.fixture
def world() -> World:
    return World()


def with_lender(world: World, **changes):
    others = [p for p in world.bundle().participants if p.id != "lend"]
    return world.trust(participants=(*others, world.lender(**changes)))


def refused(reason: str, call) -> str:
    with pytest.raises(CredproofError) as caught:
        call()
    assert reason == caught.value.reason
    return caught.value.message


def stand(trust, at: int = NOW, policy=POLICY):
    return require_standing(trust, "lend", policy, at)


def test_a_licensed_lender_with_a_certified_purpose_is_bound_by_its_template(world):
    assert stand(world.trust(purposes=(FAIR,))) == FAIR


@pytest.mark.parametrize("who", ["nobody", "bank"])
def test_who_is_no_lender_has_no_licence(world, who):
    refused("LENDER_NOT_LICENSED", lambda: require_standing(world.trust(), who, POLICY, NOW))


@pytest.mark.parametrize(("at", "good"), [(NOW - 1, False), (NOW, True), (NOW + 9, True)])
def test_a_licence_holds_from_its_first_second_to_its_last(world, at, good):
    trust = with_lender(world, licence=Licence("L", NOW, NOW + 9))
    if good:
        assert stand(trust, at)
    else:
        refused("LENDER_NOT_LICENSED", lambda: stand(trust, at))
    refused("LENDER_NOT_LICENSED", lambda: stand(trust, NOW + 10))


def test_without_a_licence_nothing_may_be_asked(world):
    refused("LENDER_NOT_LICENSED", lambda: stand(with_lender(world, licence=None)))


@pytest.mark.parametrize("certified", [{}, {"REVIEW": NOW + DAY}, {"ORIGINATION": NOW - 1}])
def test_a_purpose_that_is_not_certified_now_may_not_be_asked_for(world, certified):
    trust = with_lender(world, certified=certified)
    refused("PURPOSE_NOT_CERTIFIED", lambda: stand(trust))


def test_a_purpose_is_certified_for_a_year_and_not_a_second_more(world):
    last = world.bundle().issued_at + CERTIFICATION_MAX_S
    assert with_lender(world, certified={"ORIGINATION": last})
    refused("BAD_TRUST", lambda: with_lender(world, certified={"ORIGINATION": last + 1}))


def test_nobody_has_the_key_of_another_or_of_the_service(world):
    lend = world.participant("lend", "lender", world.bank)
    bank = world.bundle().participants[0]
    refused("BAD_TRUST", lambda: world.trust(participants=(bank, lend)))
    own = world.participant("bank", "provider", world.answerer)
    refused("BAD_TRUST", lambda: world.trust(participants=(own,)))


def test_a_purpose_without_a_template_is_refused(world):
    other = replace(FAIR, purpose="REVIEW")
    refused("PURPOSE_NOT_OPEN", lambda: stand(world.trust(purposes=(other,))))


def test_the_template_of_one_lender_wins_over_the_one_for_any(world):
    own = replace(FAIR, lender="lend", window_days=44)
    for order in ((FAIR, own), (own, FAIR)):
        message = refused(
            "PURPOSE_WINDOW_DAYS", lambda order=order: stand(world.trust(purposes=order))
        )
        assert message.startswith("window_days")
        assert template_for(order, "other", "ORIGINATION") == FAIR


@pytest.mark.parametrize(
    ("changes", "reason", "attribute"),
    [
        ({"data_life_days": 31}, "PURPOSE_DATA_LIFE_DAYS", "data_life_days"),
        ({"expires_at": NOW + 30 * DAY + 121}, "PURPOSE_CONSENT_DAYS", "consent_days"),
    ],
)
def test_terms_beyond_the_template_name_what_is_too_much(world, changes, reason, attribute):
    message = refused(reason, lambda: require_terms(FAIR, world.terms(**changes), NOW))
    assert message.startswith(attribute)


def test_terms_may_reach_the_template_with_clocks_apart(world):
    terms = world.terms(data_life_days=30, expires_at=NOW + 30 * DAY)
    assert require_terms(FAIR, terms, NOW - CLOCK_SKEW_S) is None


def licensed_bureau(world: World):
    return world.add_policy("bureau-only", route="licensed-bureau")


@pytest.mark.parametrize("bureau", [None, Licence("B", 0, NOW - 1), Licence("B", NOW + 1, NOW + 9)])
def test_a_policy_for_licensed_bureaus_is_answered_by_no_other(world, bureau):
    policy = licensed_bureau(world)
    refused("ROUTE_NOT_LICENSED", lambda: stand(world.trust(bureau=bureau), policy=policy))
    assert stand(world.trust(bureau=bureau)), "other policies are"


def test_a_policy_for_licensed_bureaus_is_answered_by_one(world):
    policy = licensed_bureau(world)
    assert stand(world.trust(bureau=Licence("B", NOW, NOW)), policy=policy)


def test_a_policy_names_no_other_route(world):
    refused("BAD_POLICY", lambda: world.add_policy("by-sea", route="sea"))


def test_every_purpose_has_a_shipped_template_that_the_shipped_policies_keep_to():
    shipped = {item.purpose: item for item in standard.purposes()}
    assert set(shipped) == set(PURPOSES)
    for policy in standard.policies():
        assert policy.fresh_days <= shipped[policy.purpose].window_days


# -- the verifier


def check(world: World, trust, *, reason: str, step: int, **how) -> None:
    bundle = world.finish(world.case())
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle, trust=trust, **how)
    assert (caught.value.step, caught.value.reason) == (step, reason)


@pytest.mark.parametrize("mode", ["now", "as-of-answer"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda w: with_lender(w, licence=None), "LENDER_NOT_LICENSED"),
        (lambda w: with_lender(w, certified={}), "PURPOSE_NOT_CERTIFIED"),
        (lambda w: w.trust(purposes=()), "PURPOSE_NOT_OPEN"),
        (lambda w: w.trust(purposes=(replace(FAIR, window_days=44),)), "PURPOSE_WINDOW_DAYS"),
    ],
)
def test_2_an_answer_to_a_lender_that_could_not_ask_is_refused(world, mode, change, reason):
    check(world, change(world), reason=reason, step=2, mode=mode)


@pytest.mark.parametrize(
    ("fair", "reason"),
    [
        (replace(FAIR, data_life_days=29), "PURPOSE_DATA_LIFE_DAYS"),
        (replace(FAIR, consent_days=0), "PURPOSE_CONSENT_DAYS"),
    ],
)
def test_3_an_answer_under_a_consent_beyond_its_purpose_is_refused(world, fair, reason):
    trust = world.trust(purposes=(FAIR,))
    trust = replace(trust, bundle=replace(trust.bundle, purposes=(fair,)))
    check(world, trust, reason=reason, step=3)


def test_2_an_answer_that_came_by_an_unlicensed_route_is_refused(world):
    policy = licensed_bureau(world)
    bundle = world.finish(world.case(policy=policy))
    with pytest.raises(CredproofError) as caught:
        world.verify(bundle)
    assert (caught.value.step, caught.value.reason) == (2, "ROUTE_NOT_LICENSED")
    assert world.verify(bundle, trust=world.trust(bureau=Licence("B", 0, NOW)))


def test_an_old_answer_is_not_judged_by_later_rules_and_the_result_says_so(world):
    bundle = world.finish(world.case())
    later = {"issued_at": NOW + 10, "purposes": ()}
    then = world.verify(bundle, mode="as-of-answer")
    after = world.verify(bundle, mode="as-of-answer", trust=trust_later(world, **later))
    assert (then.fair_use, after.fair_use) == ("kept", "not shown")


def trust_later(world: World, **changes):
    trust = world.trust()
    return replace(trust, bundle=replace(trust.bundle, **changes))


def test_an_answer_that_was_just_given_is_judged_by_the_rules_at_hand(world):
    later = trust_later(world, issued_at=NOW + 1, purposes=())
    check(world, later, reason="PURPOSE_NOT_OPEN", step=2, mode="now")
