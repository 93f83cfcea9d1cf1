"""Two auditors' signed documents, and what the log must say before a detail may be given."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof.base.encoding import b64url, canonical_json
from credproof.base.errors import CredproofError, Malformed
from credproof.base.jws import UNSEAL, UNSEAL_DECISION, sign
from credproof.log.entry import parse_entry
from credproof.verification.answer import answer_commitment
from credproof.verification.answer_entry import Asked, GivenEntry
from credproof.verification.details import Opening, verify_detail
from credproof.verification.document import CONSENT
from credproof.verification.unsealing import (
    parse_unseal_decision,
    parse_unseal_request,
    require_fresh,
    require_second,
    sign_unseal_decision,
    sign_unseal_request,
    verify_unsealing,
)

from tests.verification.test_log_rules import TOKEN, Script
from tests.world import DOMAIN, NOW, POLICY, World, seed_of, signer_of

AUDITORS = ("office", "second", "third")
DAY_S = 86_400


def auditors(world: World, **changes) -> tuple:
    return tuple(
        world.participant(name, "auditor", signer_of(name), **changes.get(name, {}))
        for name in AUDITORS
    )


def trust(world: World, version: int = 3, **changes):
    """The world's registry with three auditors."""
    people = world.bundle().participants
    return world.trust(version=version, participants=(*people, *auditors(world, **changes)))


def asked(by: str = "office", **changes):
    said = {
        "auditor": by,
        "domain": DOMAIN,
        "now": NOW,
        "life_s": DAY_S,
        "log_index": 4,
        "entry": seed_of("entry"),
        "detail": "verdicts",
        "reason": seed_of("reason"),
    }
    return parse_unseal_request(sign_unseal_request(signer_of(by), **{**said, **changes}))


def decided(asked_for, by: str = "second", *, key: str | None = None, **changes):
    said = {"auditor": by, "domain": DOMAIN, "now": NOW + 60, "request": asked_for.id}
    said |= {"approves": True}
    return parse_unseal_decision(sign_unseal_decision(signer_of(key or by), **{**said, **changes}))


def reason_of(step, *arguments) -> str | None:
    try:
        step(*arguments)
    except CredproofError as error:
        return error.reason
    return None


def test_two_auditors_documents_verify_for_whoever_has_the_registry():
    request, registry = asked(), trust(World())
    decision = decided(request)
    verify_unsealing(request, registry)
    verify_unsealing(decision, registry)
    require_second(request, decision)
    assert (request.log_index, request.detail, request.until) == (4, "verdicts", NOW + DAY_S)
    assert (decision.approves, decision.request) == (True, request.id)


@pytest.mark.parametrize(
    ("document", "changes", "reason"),
    [
        (asked("bank"), {}, "NOT_AN_AUDITOR"),
        (asked("nobody"), {}, "NOT_AN_AUDITOR"),
        (asked(), {"office": {"status": "suspended", "since": NOW - 1}}, "NOT_AN_AUDITOR"),
        (asked(), {"office": {"status": "suspended", "since": NOW + 1}}, None),
        (asked(domain="other.example"), {}, "WRONG_SERVICE"),
        (decided(asked(), "second", key="third"), {}, "UNKNOWN_KEY"),
        (decided(asked(), "lend"), {}, "NOT_AN_AUDITOR"),
    ],
)
def test_what_is_no_active_auditors_own_word_is_refused(document, changes, reason):
    assert reason_of(verify_unsealing, document, trust(World(), **changes)) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"request": seed_of("another request")}, "OTHER_REQUEST"),
        ({"by": "office"}, "SAME_AUDITOR"),
        ({"by": "second", "key": "office"}, "SAME_AUDITOR"),
        ({"now": NOW + DAY_S + 1}, "UNSEAL_EXPIRED"),
        ({"now": NOW - 121}, "UNSEAL_EXPIRED"),
        ({"now": NOW + DAY_S}, None),
    ],
)
def test_a_decision_counts_for_its_request_by_another_auditor_in_time(changes, reason):
    request = asked()
    assert reason_of(require_second, request, decided(request, **changes)) == reason


@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(0, None), (120, None), (121, "TOO_OLD"), (-120, None), (-121, "FROM_THE_FUTURE")],
)
def test_what_was_signed_for_another_moment_is_not_taken(seconds, reason):
    assert reason_of(require_fresh, asked(), NOW + seconds) == reason


def test_a_document_with_a_member_more_or_less_is_refused():
    for kind, parse, token in (
        (UNSEAL, parse_unseal_request, asked().jws),
        (UNSEAL_DECISION, parse_unseal_decision, decided(asked()).jws),
    ):
        claims = dict(token.claims)
        assert reason_of(parse, sign(signer_of("office"), kind, claims | {"x": 1})) == "BAD_MEMBER"
        del claims["iss"]
        assert reason_of(parse, sign(signer_of("office"), kind, claims)) == "BAD_MEMBER"


# -- details ------------------------------------------------------------------

VERDICTS = dict.fromkeys(POLICY.questions, "YES")


def answer_entry(salt: bytes = seed_of("salt")):
    world = World()
    given = Asked(POLICY.ref, POLICY.purpose, bytes(32), bytes(32))
    commitment = answer_commitment(salt, VERDICTS)
    entry = GivenEntry(given, TOKEN, "TIER", bytes(32), commitment)
    world.log.append("answer.given", "lend", TOKEN, fields=entry.fields())
    return parse_entry(world.log.lines[0])


@pytest.mark.parametrize(
    ("content", "salt", "reason"),
    [
        (canonical_json(VERDICTS), seed_of("salt"), None),
        (canonical_json(VERDICTS), seed_of("other"), "OTHER_DETAIL"),
        (canonical_json(VERDICTS | {"good": "NO"}), seed_of("salt"), "OTHER_DETAIL"),
        (b"[]", seed_of("salt"), "NOT_JSON"),
        (json.dumps(VERDICTS).encode(), seed_of("salt"), "NOT_CANONICAL"),
    ],
)
def test_verdicts_are_what_the_entry_commits_to_or_refused(content, salt, reason):
    assert reason_of(verify_detail, answer_entry(), "verdicts", Opening(content, salt)) == reason


def test_an_answer_and_a_consent_are_what_the_entry_names_or_refused():
    world = World()
    bundle = world.finish(world.case())
    entry, answer = parse_entry(bundle.logged.line), bundle.answer.encode()
    assert verify_detail(entry, "answer", Opening(answer, b""))["outcome"]["tier"] == "A"
    other = world.finish(replace(world.case(), answer=replace(world.case().answer, issued_at=1)))
    for content in (other.answer.encode(), b"\xff", answer[:-1]):
        found = reason_of(verify_detail, entry, "answer", Opening(content, b""))
        assert found in ("OTHER_DETAIL", "NOT_A_JWS", "NOT_BASE64URL")
    terms = canonical_json({"terms": "of this borrower"})
    index = world.log.append("consent.granted", "borrower", CONSENT.id(terms))
    granted = parse_entry(world.log.lines[index])
    assert verify_detail(granted, "consent", Opening(terms, b"")) == json.loads(terms)
    assert reason_of(verify_detail, granted, "consent", Opening(b"{}", b"")) == "OTHER_DETAIL"


def test_an_entry_has_only_the_details_of_its_kind():
    with pytest.raises(Malformed) as caught:
        verify_detail(answer_entry(), "consent", Opening(b"{}", b""))
    assert caught.value.reason == "NO_SUCH_DETAIL"


# -- rules between entries ----------------------------------------------------

REQUEST, DECISION = seed_of("a request"), seed_of("a decision")


class Unsealing(Script):
    """A log with an answer at entry 2, in a registry with auditors."""

    suspended: str = ""

    def trust(self, entry):
        name = self.suspended if entry.fields["version"] > 1 else ""
        changes = {name: {"status": "suspended", "since": NOW}} if name else {}
        return trust(self.world, entry.fields["version"], **changes)

    def asked(self, by: str = "office", *, entry: int = 2, until: int = NOW + 60, time: int = 0):
        fields = {"detail": "verdicts", "entry": entry, "until": until}
        fields |= {"reason": b64url(bytes(32)), "tag": b64url(bytes(32))}
        return self.add("unseal.asked", by, REQUEST, time, **fields)

    def decided(self, word: str = "approved", by: str = "second", time: int = 0, name=REQUEST):
        return self.add(f"unseal.{word}", by, DECISION, time, request=b64url(name))

    def given(self, by: str = "office", time: int = 0, entry: int = 2, detail: str = "verdicts"):
        fields = {"detail": detail, "entry": entry, "tag": b64url(bytes(32))}
        return self.add("detail.unsealed", by, REQUEST, time, **fields)

    def withdrawn_auditor(self, name: str):
        self.suspended = name
        return self.changed()


@pytest.fixture
def script() -> Unsealing:
    made = Unsealing()
    return made.consent("granted").answer()


def test_a_detail_that_two_auditors_agreed_on_breaks_no_rule(script):
    script.asked().decided().given().given("second", time=60)
    assert script.found() == script.found(1) == []


BROKEN = {
    "given without approval": (lambda s: s.asked().given(), ("UNSEALED_UNAPPROVED", 4, (3,))),
    "given after a refusal": (
        lambda s: s.asked().decided("declined").given(),
        ("UNSEALED_UNAPPROVED", 5, (3, 4)),
    ),
    "given, never asked": (lambda s: s.given(), ("UNSEAL_UNKNOWN", 3, ())),
    "approved, never asked": (lambda s: s.decided(), ("UNSEAL_UNKNOWN", 3, ())),
    "approved alone": (lambda s: s.asked().decided(by="office"), ("UNSEAL_ALONE", 4, (3,))),
    "approval of another request": (
        lambda s: s.asked().decided(name=seed_of("another request")),
        ("UNSEAL_UNKNOWN", 4, ()),
    ),
    "approved too late": (lambda s: s.asked().decided(time=61), ("UNSEAL_LATE", 4, (3,))),
    "given too late": (
        lambda s: s.asked().decided().given(time=61),
        ("UNSEAL_LATE", 5, (3,)),
    ),
    "approved twice": (
        lambda s: s.asked().decided().decided(by="third"),
        ("UNSEAL_DECIDED_TWICE", 5, (3, 4)),
    ),
    "given to a third": (
        lambda s: s.asked().decided().given("third"),
        ("WRONG_ACTOR", 5, (3, 4)),
    ),
    "given twice": (
        lambda s: s.asked().decided().given().given(),
        ("UNSEALED_TWICE", 6, (3, 4, 5)),
    ),
    "another detail": (
        lambda s: s.asked().decided().given(detail="answer"),
        ("UNSEALED_OTHER", 5, (3, 4)),
    ),
    "another entry": (
        lambda s: s.asked().decided().given(entry=1),
        ("UNSEALED_OTHER", 5, (3, 4)),
    ),
    "asked twice": (lambda s: s.asked().asked("second"), ("UNSEAL_ASKED_TWICE", 4, (3,))),
    "asked by a lender": (lambda s: s.asked("lend"), ("WRONG_ACTOR", 3, ())),
    "approved by an operator": (
        lambda s: s.asked().decided(by="operator-1"),
        ("WRONG_ACTOR", 4, ()),
    ),
    "an entry to come": (lambda s: s.asked(entry=3), ("UNSEAL_NO_ENTRY", 3, ())),
    "open for too long": (
        lambda s: s.asked(until=NOW + 7 * DAY_S + 121),
        ("UNSEAL_TOO_LONG", 3, ()),
    ),
    "approved by one who was withdrawn": (
        lambda s: s.asked().withdrawn_auditor("second").decided(),
        ("WRONG_ACTOR", 5, ()),
    ),
    "given though one was withdrawn": (
        lambda s: s.asked().decided().withdrawn_auditor("second").given(),
        ("WRONG_ACTOR", 6, ()),
    ),
}


@pytest.mark.parametrize("page", [1, 1000])
@pytest.mark.parametrize("name", BROKEN)
def test_one_broken_rule_is_one_finding_however_the_log_is_paged(script, name, page):
    write, finding = BROKEN[name]
    write(script)
    assert script.found(page) == [finding]
