"""What one entry says must fit what others said before it: one broken rule, one finding."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base import jws
from credproof.base.encoding import b64url, canonical_json, parse_json
from credproof.base.errors import VerificationFailed
from credproof.base.limits import CLOCK_SKEW_S, DIRECTORY_AGE_MAX_S
from credproof.log.entry import parse_entry
from credproof.verification.anomaly import Anomaly
from credproof.verification.answer_entry import Asked, GivenEntry, RefusedEntry
from credproof.verification.entry_rules import RULES
from credproof.verification.log_rules import LogRules
from credproof.verification.policy import PolicyRef
from credproof.verification.root_rules import DIRECTORY, WAITING_MAX, behind

from tests.world import DOMAIN, NOW, POLICY, World, seed_of, signer_of

CONSENT, OTHER, TOKEN = seed_of("consent"), seed_of("other consent"), seed_of("token")
DAY_S = 86_400
LATER = NOW + 400 * DAY_S


class Memory:
    """What outlives a page, as it is written."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}

    def load(self, names) -> Mapping[str, dict]:
        return {name: parse_json(self.kept[name]) for name in names if name in self.kept}

    def keep(self, things) -> None:
        self.kept.update({name: canonical_json(thing) for name, thing in things.items()})


class Script:
    """A log that is written line by line; a registry with the policies of a world."""

    def __init__(self) -> None:
        self.world = World()
        self.version = 0
        self.changed()

    def add(self, kind: str, actor: str, digest: bytes = TOKEN, time: int = 0, **fields) -> Script:
        self.world.log.append(kind, actor, digest, time=NOW + time, fields=fields)
        return self

    def changed(self, by: int = 1, actor: str = "operator-1") -> Script:
        self.version += by
        return self.add("registry.changed", actor, version=self.version)

    def consent(self, word: str, digest: bytes = CONSENT, actor: str = "borrower") -> Script:
        document = {"document": b64url(TOKEN)} if word in ("paused", "resumed") else {}
        return self.add(f"consent.{word}", actor, digest, tag=b64url(bytes(32)), **document)

    def answer(
        self,
        digest: bytes = CONSENT,
        *,
        actor: str = "lend",
        policy=POLICY,
        time: int = 0,
        **changes,
    ) -> Script:
        ref, purpose = changes.get("ref", policy.ref), changes.get("purpose", policy.purpose)
        asked = Asked(ref, purpose, bytes(32), bytes(32))
        entry = GivenEntry(asked, digest, changes.get("outcome", "REFER"), bytes(32), bytes(32))
        return self.add("answer.given", actor, TOKEN, time, **entry.fields())

    def refusal(self, reason: str, consent: bytes | None = None) -> Script:
        entry = RefusedEntry(Asked(None, None, bytes(32), bytes(32)), consent, reason)
        return self.add("answer.refused", "lend", **entry.fields())

    def raised(self, throttle: int, *names: str, time: int = 0, actor: str = "service") -> Script:
        anomaly = Anomaly("burst", 1, TOKEN, names or ("lend",), 60, {}, (), throttle)
        return self.add("anomaly.raised", actor, TOKEN, time, **anomaly.fields())

    def withdrawn(
        self,
        token: bytes = TOKEN,
        actor: str = "bank",
        reason: str = "error",
        *,
        by: str = "bank",
        signed: Mapping[str, object] = MappingProxyType({}),
        **changes,
    ) -> Script:
        """A withdrawal that `by` signed; `signed` is what that says otherwise than its entry."""
        said = {"issuer": actor, "service": DOMAIN, "token": token, "reason": reason, "now": NOW}
        text = changes.get("text", sign_withdrawal(signer_of(by), **{**said, **signed}))
        told = {"index": b64url(OTHER), "reason": reason, "signed": text, "token": b64url(token)}
        digest = changes.get("digest", jws.token_id(text))
        return self.add("attestation.withdrawn", actor, digest, **told)

    def accepted(self, token: bytes = TOKEN, *, actor: str = "bank", time: int = 0) -> Script:
        return self.add("attestation.accepted", actor, token, time, index=b64url(OTHER))

    def root(self, covered: int | None = None, *, actor: str = "service", time: int = 0) -> Script:
        covered = len(self.world.log.lines) if covered is None else covered
        return self.add("directory.root", actor, OTHER, time, covered=covered)

    def trust(self, entry):
        version = entry.fields["version"]
        return self.world.trust(version=version)

    def found(
        self, page: int = 1000, *, now: int = LATER
    ) -> list[tuple[str, int, tuple[int, ...]]]:
        """The findings, when the log is read in such pages, each by rules made anew."""
        memory, trust, found = Memory(), None, []
        entries = [parse_entry(line) for line in self.world.log.lines]
        for start in range(0, len(entries), page):
            rules = LogRules(memory, self.trust, trust)
            found += rules.feed_page(entries[start : start + page], now)
            trust = rules.trust
        self.memory = memory
        return [(f.rule, f.log_index, f.shown_by) for f in found]

    def behind(self, at: int) -> str | None:
        """What is told by a clock that long after the beginning, when all of the log was read."""
        self.found()
        found = behind(self.memory, NOW + at)
        return found and f"{found.reason}: {found.message}"


def capped(script: Script, cap: str):
    return script.world.add_policy("capped", caps={"answers": cap})


@pytest.fixture
def script() -> Script:
    return Script()


def test_an_honest_log_breaks_no_rule(script):
    script.accepted().root().consent("granted").answer(time=180, outcome="TIER")
    script.add("attestation.conflict", "bank", OTHER, accepted=b64url(TOKEN))
    script.consent("signed").consent("paused").consent("paused").refusal("CONSENT_PAUSED", CONSENT)
    script.consent("resumed").consent("revoked").consent("signed").refusal("NOT_PERMITTED")
    script.withdrawn(reason="key-lost").add("key.ended", "bank").changed()
    script.raised(60).add("anomaly.lifted", "operator-1", participant="lend")
    script.consent("granted", OTHER).answer(OTHER)
    lost = {"origin": "old", "root": b64url(bytes(32)), "tree_size": 99}
    script.add("log.continued", "operator-1", **lost)
    assert script.found() == []


def test_every_kind_that_the_rules_know_is_one_that_a_service_writes():
    from credproof_server import new_origin
    from credproof_server.log import epochs
    from credproof_server.service import (
        answering,
        consents,
        ingest,
        pausing,
        raising,
        registry,
        searching,
        unsealing,
        withdrawals,
    )

    rooms = (answering, consents, ingest, pausing, raising, registry, withdrawals, searching)
    rooms = (*rooms, unsealing, new_origin, epochs)
    written = {vars(room)[name] for room in rooms for name in vars(room) if name[:6] == "ENTRY_"}
    assert written == set(RULES)


BROKEN = {
    "a root for more than was logged": (lambda s: s.root(99), ("BAD_ROOT", 1, ())),
    "a root by another": (lambda s: s.root(actor="operator-1"), ("BAD_ROOT", 1, ())),
    "a root that covers less": (
        lambda s: s.accepted().root().root(1),
        ("ROOT_WENT_BACK", 3, (2,)),
    ),
    "a root that leaves an old attestation out": (
        lambda s: s.accepted().root(1, time=61),
        ("ROOT_BEHIND", 2, (1,)),
    ),
    "a root that leaves an old withdrawal out": (
        lambda s: s.accepted().root().withdrawn().root(2, time=61),
        ("ROOT_BEHIND", 4, (3,)),
    ),
    "a root that covers a part of what is old": (
        lambda s: s.accepted().accepted(OTHER).root(2, time=61),
        ("ROOT_BEHIND", 3, (2,)),
    ),
    "a tier without a root": (
        lambda s: s.consent("granted").answer(outcome="TIER"),
        ("ANSWER_WITHOUT_ROOT", 2, ()),
    ),
    "a tier long after a root": (
        lambda s: s.root().consent("granted").answer(outcome="TIER", time=181),
        ("ANSWER_WITHOUT_ROOT", 3, (1,)),
    ),
    "answer without consent": (
        lambda s: s.answer(),
        ("ANSWER_WITHOUT_CONSENT", 1, ()),
    ),
    "answer before its consent": (
        lambda s: s.answer().consent("granted"),
        ("ANSWER_WITHOUT_CONSENT", 1, ()),
    ),
    "answer after revocation": (
        lambda s: s.consent("granted").consent("revoked").answer(),
        ("ANSWER_AFTER_REVOCATION", 3, (1, 2)),
    ),
    "answer while paused": (
        lambda s: s.consent("granted").consent("paused").answer(),
        ("ANSWER_WHILE_PAUSED", 3, (1, 2)),
    ),
    "answer to two lenders": (
        lambda s: s.consent("granted").answer().answer(actor="other-lender"),
        ("ANSWER_OTHER_LENDER", 3, (1, 2)),
    ),
    "answer to no lender": (
        lambda s: s.consent("granted").answer(actor="bank"),
        ("WRONG_ACTOR", 2, ()),
    ),
    "answer for another purpose": (
        lambda s: s.consent("granted").answer(purpose="REVIEW"),
        ("ANSWER_PURPOSE", 2, ()),
    ),
    "answer under a policy that nobody pinned": (
        lambda s: s.consent("granted").answer(ref=PolicyRef("made-up", 1, bytes(32))),
        ("ANSWER_POLICY", 2, ()),
    ),
    "answer while throttled": (
        lambda s: s.consent("granted").raised(60).answer(time=59),
        ("ANSWER_WHILE_THROTTLED", 3, (2,)),
    ),
    "granted twice": (
        lambda s: s.consent("granted").consent("granted"),
        ("GRANTED_TWICE", 2, (1,)),
    ),
    "granted by a lender": (
        lambda s: s.consent("granted", actor="lend"),
        ("WRONG_ACTOR", 1, ()),
    ),
    "signed, never granted": (lambda s: s.consent("signed"), ("CONSENT_UNKNOWN", 1, ())),
    "revoked, never granted": (lambda s: s.consent("revoked"), ("CONSENT_UNKNOWN", 1, ())),
    "paused, never granted": (lambda s: s.consent("paused"), ("CONSENT_UNKNOWN", 1, ())),
    "refused, never granted": (
        lambda s: s.refusal("CAP_REACHED", CONSENT),
        ("CONSENT_UNKNOWN", 1, ()),
    ),
    "revoked twice": (
        lambda s: s.consent("granted").consent("revoked").consent("revoked"),
        ("REVOKED_TWICE", 3, (1, 2)),
    ),
    "resumed after revocation": (
        lambda s: s.consent("granted").consent("revoked").consent("resumed"),
        ("CHANGED_AFTER_REVOCATION", 3, (1, 2)),
    ),
    "accepted twice": (
        lambda s: s.accepted().accepted(),
        ("ACCEPTED_TWICE", 2, (1,)),
    ),
    "accepted of a lender": (
        lambda s: s.accepted(actor="lend"),
        ("WRONG_ACTOR", 1, ()),
    ),
    "conflict with nothing": (
        lambda s: s.add("attestation.conflict", "bank", accepted=b64url(TOKEN)),
        ("CONFLICT_UNKNOWN", 1, ()),
    ),
    "withdrawn, signed by the operator": (
        lambda s: s.accepted().withdrawn(by="operator-1"),
        ("WITHDRAWN_UNSIGNED", 2, (1,)),
    ),
    **{
        f"withdrawn, and another {name} was signed": (
            lambda s, said={name: value}: s.accepted().withdrawn(signed=said),
            ("WITHDRAWN_UNSIGNED", 2, (1,)),
        )
        for name, value in {
            "issuer": "other-bank",
            "service": "other.example",
            "token": OTHER,
            "reason": "closed",
            "now": NOW - 2 * DAY_S,
        }.items()
    },
    "withdrawn, and no signature is there": (
        lambda s: s.accepted().withdrawn(text="signed"),
        ("WITHDRAWN_UNSIGNED", 2, (1,)),
    ),
    "withdrawn, and the signature is of another withdrawal": (
        lambda s: s.accepted().withdrawn(digest=OTHER),
        ("WITHDRAWN_UNSIGNED", 2, (1,)),
    ),
    "withdrawn, never accepted": (lambda s: s.withdrawn(), ("WITHDRAWN_UNKNOWN", 1, ())),
    "withdrawn twice": (
        lambda s: s.accepted().withdrawn().withdrawn(),
        ("WITHDRAWN_TWICE", 3, (1, 2)),
    ),
    "withdrawn by another": (
        lambda s: s.accepted().withdrawn(actor="other-bank"),
        ("WRONG_ACTOR", 2, (1,)),
    ),
    "a key ended alone": (lambda s: s.add("key.ended", "bank"), ("KEY_ENDED_ALONE", 1, ())),
    "a lost key goes on": (
        lambda s: s.accepted().withdrawn(reason="key-lost").changed(),
        ("KEY_NOT_ENDED", 3, (2,)),
    ),
    "a version left out": (lambda s: s.changed(by=2), ("REGISTRY_VERSION", 1, ())),
    "a version again": (lambda s: s.changed(by=0), ("REGISTRY_VERSION", 1, ())),
    "a registry by a bank": (lambda s: s.changed(actor="bank"), ("WRONG_ACTOR", 1, ())),
    "lifted, never raised": (
        lambda s: s.raised(0).add("anomaly.lifted", "operator-1", participant="lend"),
        ("LIFTED_UNRAISED", 2, ()),
    ),
    "raised by a lender": (lambda s: s.raised(60, actor="lend"), ("WRONG_ACTOR", 1, ())),
    "a kind that nobody knows": (
        lambda s: s.add("answer.whispered", "lend"),
        ("UNKNOWN_KIND", 1, ()),
    ),
    "fields that nobody knows": (
        lambda s: s.add("consent.granted", "borrower", tag=b64url(bytes(32)), sub="x"),
        ("BAD_FIELDS", 1, ()),
    ),
    "nothing was lost": (
        lambda s: s.add(
            "log.continued", "operator-1", origin="old", root=b64url(bytes(32)), tree_size=1
        ),
        ("NOTHING_WAS_LOST", 1, ()),
    ),
}


@pytest.mark.parametrize("page", [1, 1000])
@pytest.mark.parametrize("name", BROKEN)
def test_one_broken_rule_is_one_finding_however_the_log_is_paged(script, name, page):
    write, finding = BROKEN[name]
    write(script)
    assert script.found(page) == [finding]


@pytest.mark.parametrize("page", [1, 1000])
def test_an_answer_beyond_the_cap_of_a_consent_is_found(script, page):
    policy = capped(script, "2 per consent")
    script.consent("granted").answer(policy=policy).answer(policy=policy).answer(policy=policy)
    assert script.found(page) == [("ANSWER_BEYOND_CAP", 4, (1, 2, 3))]


def test_a_cap_of_a_day_counts_anew_on_the_next(script):
    policy = capped(script, "1 per day")
    script.consent("granted").answer(policy=policy).answer(policy=policy, time=DAY_S)
    assert script.found() == []
    script.answer(policy=policy, time=DAY_S)
    assert script.found() == [("ANSWER_BEYOND_CAP", 4, (1, 3))]


def test_answers_under_two_consents_do_not_share_a_cap(script):
    policy = capped(script, "1 per consent")
    script.consent("granted").consent("granted", OTHER)
    assert script.answer(policy=policy).answer(OTHER, policy=policy).found() == []


def test_a_throttle_that_ended_or_was_lifted_forbids_nothing(script):
    script.consent("granted").raised(60).answer(time=60)
    script.raised(60, time=60).add("anomaly.lifted", "operator-1", time=60, participant="lend")
    assert script.answer(time=60).found() == [("ANSWER_BEYOND_CAP", 6, (1, 3))]


def test_before_any_registry_nothing_can_be_judged(script):
    script.world.log = replace_log(script)
    script.accepted()
    assert script.found() == [("NO_REGISTRY", 0, ())]


def replace_log(script: Script):
    return type(script.world.log)(script.world.log.signer)


@pytest.mark.parametrize("page", [1, 1000])
def test_a_root_may_leave_out_what_came_within_a_minute(script, page):
    script.accepted().root(1, time=60).accepted(OTHER, time=60).root(2, time=61)
    script.root(time=62).root(time=3600)
    assert script.found(page) == []


def test_what_waits_for_a_root_that_never_comes_takes_bounded_room(script):
    for second in range(300):
        script.accepted(seed_of(f"token {second}"), time=second)
    memory = Memory()
    entries = [parse_entry(line) for line in script.world.log.lines]
    LogRules(memory, script.trust).feed_page(entries, NOW + DAY_S)
    waiting = parse_json(memory.kept[DIRECTORY])["waiting"]
    assert (len(waiting), waiting[0][:2], waiting[-1][2]) == (WAITING_MAX, [NOW, 1], 300)


def test_a_version_that_nobody_can_show_ends_the_audit(script):
    def withheld(entry):
        raise VerificationFailed("REGISTRY_WITHHELD", "nobody shows it")

    entries = [parse_entry(line) for line in script.world.log.lines]
    with pytest.raises(VerificationFailed) as caught:
        LogRules(Memory(), withheld).feed_page(entries, NOW)
    assert caught.value.reason == "REGISTRY_WITHHELD"


def test_an_answer_under_a_policy_that_is_not_there_is_told_in_a_sentence(script):
    script.consent("granted").answer(ref=PolicyRef("made-up", 1, bytes(32)))
    entries = [parse_entry(line) for line in script.world.log.lines]
    (found,) = LogRules(Memory(), script.trust).feed_page(entries, LATER)
    assert found.message == "an answer though the trust bundle pins no such policy"


@pytest.mark.parametrize("page", [1, 1000])
def test_an_entry_that_is_in_the_future_when_it_is_read_is_found_and_again_if_far_beyond(
    script, page
):
    """One that follows bears no earlier time: it is told only when it is twice as far."""
    late = [CLOCK_SKEW_S, CLOCK_SKEW_S + 1, CLOCK_SKEW_S + 9, 3 * CLOCK_SKEW_S, 400 * DAY_S]
    first = len(script.world.log.lines)
    for time in late:
        script.accepted(seed_of(f"token {time}"), time=time)
    at = [first + late.index(time) for time in (CLOCK_SKEW_S + 1, 3 * CLOCK_SKEW_S, 400 * DAY_S)]
    found = [item for item in script.found(page, now=NOW) if item[0] == "TIME_IN_FUTURE"]
    assert found == [("TIME_IN_FUTURE", index, ()) for index in at]
    assert script.found(page) == []


def test_an_entry_is_in_the_future_again_once_the_time_of_the_one_before_has_come(script):
    memory, entries = Memory(), []
    for time in (1000, 3000):
        script.accepted(seed_of(f"token {time}"), time=time)
        entries = [parse_entry(line) for line in script.world.log.lines][len(entries) :]
        found = LogRules(memory, script.trust).feed_page(entries, NOW + time - 500)
        assert [item.rule for item in found if item.rule == "TIME_IN_FUTURE"] == ["TIME_IN_FUTURE"]


def test_what_is_remembered_holds_no_tag_and_no_line(script):
    memory = Memory()
    script.consent("granted").answer()
    entries = [parse_entry(line) for line in script.world.log.lines]
    LogRules(memory, script.trust).feed_page(entries, NOW + DAY_S)
    assert all(len(thing) < 300 for thing in memory.kept.values())


# -- what no root covers yet


def test_what_waits_for_a_root_for_too_long_is_told_without_waiting_for_the_next(script):
    """By the reader's own clock, which may differ by two minutes."""
    assert script.behind(10**6) is None, "nothing waits"
    script.accepted().root().accepted(OTHER)
    assert script.behind(DIRECTORY_AGE_MAX_S + CLOCK_SKEW_S) is None
    told = script.behind(DIRECTORY_AGE_MAX_S + CLOCK_SKEW_S + 1)
    assert told.startswith("ROOT_BEHIND: no root covers entry 3")
    assert script.found() == [], "the log may still be right: no entry says otherwise"
    script.root()
    assert script.behind(10**6) is None
