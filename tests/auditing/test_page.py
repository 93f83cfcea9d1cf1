"""The page about an answer: it says what `verify_answer` says, is complete in itself, and safe."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from string import Template

import pytest
from credproof import standard
from credproof.auditing.page.judged import judge
from credproof.auditing.page.whole import Known, page
from credproof.auditing.page.words import words_in
from credproof.base.encoding import b64url
from credproof.base.errors import CredproofError, Malformed
from credproof.base.yaml import parse_document
from credproof.verification.explain import policy_text, question_text
from credproof.verification.report import report
from credproof.verification.verify import CHECKS
from credproof.wire import answer as answer_wire
from credproof.wire import trust as trust_wire
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.verification.test_completeness import second
from tests.verification.test_telling import TELLS
from tests.verification.test_verify_witnesses import QUORUM, WITNESSES, cosigned
from tests.world import GOOD, NOW, OPERATORS, POLICY, POOR, World, signer_of

TAGS = set(re.findall(r"\w+", "html head meta title style body h1 h2 h3 p pre table tr th td a"))
WORLD = World()
FILE = answer_wire.to_bytes(WORLD.finish(WORLD.case()))
SCRIPT = "\"><script src=https://evil.example/x.js>alert(1)</script><a href='x"
LATER = NOW + 5 * 365 * 86_400


@pytest.fixture
def world() -> World:
    return World()


def made(world: World, bundle, *, language="en", trust=None, **known) -> str:
    told = Known(trust or world.trust(), (world.root.public,), **known)
    return page(bundle, told, words_in(language), now=LATER).decode()


def rows(text: str, mark: str) -> dict[str, str]:
    """A table of the page."""
    (found,) = re.findall(f'(?s)<table id="{mark}">(.*?)</table>', text)
    cells = re.findall("(?s)<th>(.*?)</th><td>(.*?)</td>", found)
    return {html.unescape(name): html.unescape(value) for name, value in cells}


def checks(text: str, mark: str = "checks") -> list[str]:
    """The result of each check, in order."""
    return list(rows(text, mark).values())


def blocks(text: str) -> list[str]:
    return [html.unescape(block) for block in re.findall("(?s)<pre>(.*?)</pre>", text)]


def files(text: str) -> dict[str, bytes]:
    """The files in the page, as a browser keeps them."""
    found = re.findall(r'<a download="([a-z0-9.-]+)" href="data:[^",]*;base64,([^"]*)">', text)
    return {name: base64.b64decode(data, validate=True) for name, data in found}


def agrees(world: World, text: str, bundle, trust=None) -> dict:
    """What `lender verify` reports of the answer, after the page was held against it."""
    verified = verify(world, bundle, trust)
    told, found = checks(text), report(verified)
    assert len(told) == len(CHECKS)
    assert all(item.startswith("passed") for item in told)
    assert rows(text, "summary")["Result"].startswith("VERIFIED")
    for source in found["sources"]:
        assert f"Signed by {source['provider']}, key {source['key']}" in told[4]
    assert f"Entry {found['log']['log_index']} of {found['log']['tree_size']}" in told[8]
    assert ("Fair use is not shown" in told[2]) == any("fair" in x for x in found["not_shown"])
    return found


def fails(world: World, text: str, bundle, trust=None) -> CredproofError:
    """Why `lender verify` refuses the answer, after the page was held against it."""
    with pytest.raises(CredproofError) as caught:
        verify(world, bundle, trust)
    error, told = caught.value, checks(text)
    assert told[error.step] == f"FAILED. {error} ({error.reason})"
    assert set(told[error.step + 1 :]) <= {"not reached"}
    assert rows(text, "summary")["Result"] == "NOT VERIFIED"
    return error


def verify(world: World, bundle, trust=None):
    """As `lender verify` does it, without pins."""
    return world.verify(bundle, trust=trust, mode="as-of-answer", pins={}, now=LATER)


def test_a_complete_answer_is_told_as_that(world):
    bundle = world.finish(world.case(holdings=[world.hold(world.statement(GOOD)), second(world)]))
    text = made(world, bundle)
    found = agrees(world, text, bundle)
    assert found["completeness"]["state"] == "complete"
    told = "Complete: 2 of 2 current attestations are shown"
    assert told in checks(text)[9]
    assert rows(text, "summary")["Completeness"] == told


def test_an_answer_in_part_is_told_as_that(world):
    second(world)
    bundle = world.finish(world.case())
    text = made(world, bundle)
    assert agrees(world, text, bundle)["completeness"]["state"] == "partial"
    assert "In part: 1 of 2 current attestations" in checks(text)[9]


def test_a_proved_absence_is_told_with_the_proof_that_there_is_no_leaf(world):
    strict = world.add_policy("complete", completeness="required")
    bundle = world.finish(world.case(policy=strict, holdings=[]))
    text = made(world, bundle)
    found = agrees(world, text, bundle)
    assert found["completeness"]["absent"] == ["consumer-revolving/1"]
    assert "Proved absent: there is no attestation of consumer-revolving/1" in checks(text)[9]
    lookups = next(json.loads(b) for b in blocks(text) if '"lookups"' in b)["lookups"]
    assert [(item["schema"], item["members"]) for item in lookups] == [("consumer-revolving/1", [])]
    assert lookups[0]["leaf"] is None or lookups[0]["leaf"]["index"] != lookups[0]["index"]
    assert "INCOMPLETE" in rows(text, "summary")["Outcome"]


def test_an_incomplete_answer_says_why_and_that_completeness_is_not_shown(world):
    bundle = world.finish(world.case(holdings=[]))
    text = made(world, bundle)
    assert agrees(world, text, bundle)["completeness"]["state"] == "not shown"
    assert "Completeness is not shown" in checks(text)[9]
    outcome = rows(text, "summary")["Outcome"]
    assert outcome.startswith("incomplete; this is no refusal (INCOMPLETE)")
    assert "there are no data about an account of the kind asked about (ABSENT)" in outcome
    assert all("none is shown" in told for told in rows(text, "questions").values())


def test_an_answer_that_was_witnessed_says_by_whom_and_since_when(world):
    bundle = cosigned(world.finish(world.case()), WITNESSES[0], WITNESSES[2])
    trust = world.trust(quorum=QUORUM)
    text = made(world, bundle, trust=trust)
    found = agrees(world, text, bundle, trust)
    assert found["witness"]["state"] == "reached"
    for name in found["witness"]["times"]:
        assert f"{name} (2026-" in checks(text)[8]
    assert "enough since 2026-" in checks(text)[8]
    assert all(str(witness.key) in text.replace("&#43;", "+") for witness in WITNESSES)
    assert QUORUM in blocks(text)


def test_an_answer_that_waits_for_witnesses_says_that_nothing_else_is_missing(world):
    policy = world.add_policy("witnessed", witness="required")
    bundle = cosigned(world.finish(world.case(policy=policy)), WITNESSES[1])
    trust = world.trust(quorum=QUORUM)
    text = made(world, bundle, trust=trust)
    assert fails(world, text, bundle, trust).reason == "NOT_WITNESSED"
    told = rows(text, "summary")
    assert "witnesses have not cosigned yet" in told["Nothing else is missing"]
    assert told["Witnesses"].startswith("Witnesses: pending, not enough have cosigned (w1")
    incomplete = world.case(policy=policy)
    more = made(world, world.finish(replace(incomplete, directory=None)), trust=trust)
    assert "Nothing else is missing" not in rows(more, "summary")
    reported = made(world, cosigned(world.finish(world.case()), WITNESSES[1]), trust=trust)
    assert "pending" in checks(reported)[8]


@pytest.mark.parametrize("step", [1, 3, 4, 5, 8, 9])
def test_a_check_that_fails_is_told_with_its_reason_and_what_was_not_done(world, step):
    case = world.case()
    honest = world.finish(case)

    def forged():
        return world.hold(world.statement(jti=bytes(16)), signer=signer_of("thief"))

    bundle = {
        1: lambda: world.finish(case, signer=signer_of("somebody")),
        3: lambda: world.finish(replace(case, consent=world.consent(signer=signer_of("thief")))),
        4: lambda: world.finish(world.case(holdings=[forged()])),
        5: lambda: world.finish(replace(case, answer=replace(case.answer, results=()))),
        8: lambda: replace(honest, checkpoint=honest.checkpoint[:-8] + b"AAAAAA=\n"),
        9: lambda: world.finish(replace(case, directory=None)),
    }[step]()
    text = made(world, bundle)
    assert fails(world, text, bundle).step == step
    assert checks(text)[:step] == ["passed"] * step
    for language in ("en", "zh"):
        require_told_as_proved(made(world, bundle, language=language), language, step)


def require_told_as_proved(text: str, language: str, failed: int) -> None:
    """Whoever reads the middle of the page alone takes nothing for proved that is not."""
    say = words_in(language).say
    told, answered = rows(text, "summary"), list(rows(text, "questions").values())
    proved = [t for t in answered if {"en": "proved to hold", "zh": "已证明"}[language] in t]
    claimed = [t for t in answered if {"en": "YES is claimed", "zh": "仅为声称"}[language] in t]
    assert not (proved if failed <= 5 else claimed)
    assert proved or claimed or failed == 5, "the answer of which 5 fails shows none"
    for name in ("outcome", "offer"):
        assert told[say(name)].endswith(say("claimed_only")) == (failed <= 6)


def test_a_failure_under_an_older_bundle_says_that_it_may_be_of_that_alone(world):
    bundle = world.finish(world.case(), signer=signer_of("a new key of the service"))
    assert "run credproof audit follow" in rows(made(world, bundle), "summary")["Note"]
    newer = world.trust(issued_at=NOW + 30)
    assert "Note" not in rows(made(world, bundle, trust=newer), "summary")
    assert "Note" not in rows(made(world, world.finish(world.case())), "summary")


def test_tokens_that_cannot_be_taken_apart_keep_the_bindings_from_being_checked(world):
    case = world.case()
    bundle = world.finish(replace(case, tokens=case.tokens * 2))
    text = made(world, bundle)
    assert fails(world, text, bundle).step == 4
    assert checks(text)[2:4] == ["passed", "not reached"]


def test_the_answer_and_the_trust_in_the_page_verify_after_they_were_taken_out(world):
    bundle = world.finish(world.case())
    found = files(made(world, bundle))
    again = answer_wire.parse(found["kept.answer"])
    assert again == bundle
    package = trust_wire.parse(found["trust.json"])
    trust = package.verify(world.root.public, at=NOW)
    assert world.verify(again, trust=trust).outcome.tier == "A"


def test_a_ladder_proof_in_the_page_hashes_down_to_its_anchor_by_hand(world):
    text = made(world, world.finish(world.case()))
    proofs = [json.loads(b) for b in blocks(text) if '"anchor"' in b]
    assert len(proofs) == 1
    ladders = [proof for proof in proofs[0] if "anchor" in proof]
    assert ladders
    for proof in ladders:
        value, context = bytes.fromhex(proof["proof"]), bytes.fromhex(proof["context"])
        for position in range(proof["position"], 0, -1):
            value = hashlib.sha256(context + position.to_bytes(4, "big") + value).digest()
        assert value.hex() == proof["anchor"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_rule_and_each_question_are_told_in_words(world, language):
    text = made(world, world.finish(world.case()), language=language)
    words = standard.text(language)
    assert any(policy_text(POLICY, words) in block for block in blocks(text))
    told = rows(text, "questions")
    assert set(told) == set(POLICY.questions)
    for name, question in POLICY.questions.items():
        assert told[name].startswith(question_text(question, words))
    assert {name for name in told if "YES" in told[name]} == set(POLICY.tier("A").when)
    assert f'<html lang="{language}">' in text


def test_an_offer_is_told_in_words_where_it_is_one_of_the_policy(world):
    bundle = world.finish(world.case())
    told = rows(made(world, bundle, language="zh"), "summary")
    assert told["结果"] == "等级 A（TIER）"
    assert re.fullmatch(
        "额度最高 [0-9,.]+ [A-Z]{3}；期限 [0-9, ]+ 个月；[^a-z]+", told["该等级的条件"]
    )
    unknown = world.trust(policies=())
    assert rows(made(world, bundle, trust=unknown), "summary")["Offer of the tier"].startswith('{"')


def test_a_question_that_is_proved_not_to_hold_is_told_as_that(world):
    telling = world.add_policy("telling", **TELLS)
    bundle = world.finish(world.case(POOR, policy=telling))
    text = made(world, bundle)
    agrees(world, text, bundle)
    assert [t for t in rows(text, "questions").values() if "NO, proved not to hold" in t]


def test_all_keys_are_in_the_page_in_full(world):
    trust = world.trust(quorum=QUORUM)
    shown = blocks(made(world, world.finish(world.case()), trust=trust))
    signers = (world.root, world.answerer, world.bank, world.lend, world.borrower)
    for signer in (*signers, *map(signer_of, OPERATORS)):
        assert json.dumps(signer.public.jwk(), separators=(",", ":")) in shown
    assert trust.bundle.log_vkey in shown
    assert all(str(witness.key) in shown for witness in WITNESSES)
    assert base64.urlsafe_b64encode(trust.bundle.directory_key).decode().rstrip("=") in shown


def test_a_key_is_told_since_the_version_that_listed_it_first(world):
    first, later = (world.trust(version=number) for number in (2, 3))
    before = first.bundle.participants[1:]
    begun = world.trust(version=1, participants=before)
    text = made(world, world.finish(world.case()), trust=later, history=[begun, first, later])
    told = dict(re.findall(r"<p>(\w+ \S+?),? .*?(since version \d)", text))
    assert told["Provider bank"] == "since version 2"
    assert told["Lender lend"] == "since version 1"


def test_a_home_that_never_followed_says_that_the_history_of_keys_is_not_known(world):
    text = made(world, world.finish(world.case()), trust=world.trust(version=7))
    assert "In the registry since" not in text
    assert "Since when the registry has had these keys is not known here" in text
    assert "In version 7 of the registry; since when is not known here." in text


def test_a_key_that_came_after_what_was_followed_is_not_dated(world):
    others = world.trust(version=2).bundle.participants[1:]
    kept = [world.trust(version=n, participants=others) for n in (1, 2)]
    text = made(world, world.finish(world.case()), trust=world.trust(version=7), history=kept)
    assert re.search("Provider bank.*since a version from 3 to 7; which one is not known", text)
    assert re.search(r"Lender lend.*since version 1 \(", text)


def test_a_key_that_is_listed_no_more_says_where_it_was_listed_last(world):
    old = world.participant("bank", "provider", signer_of("old bank"))
    rest = world.trust(version=2).bundle.participants[1:]
    kept = [world.trust(version=1, participants=(old, *rest)), world.trust(version=2)]
    text = made(world, world.finish(world.case()), trust=kept[-1], history=kept)
    kid = signer_of("old bank").public.kid
    assert re.search(f"{kid}.*since version 1 .*Listed in version 1 for the last time", text)


def test_the_bundle_of_the_answers_time_is_in_the_page_and_judges_fair_use(world):
    bundle = world.finish(world.case())
    then, newer = world.trust(version=1), world.trust(version=2, issued_at=NOW + 30)
    text = made(world, bundle, trust=newer, history=[then, newer])
    assert "Fair use is not shown" in checks(text)[2]
    assert "Standing of the lender" in checks(text, "checks-then")[2]
    assert trust_wire.parse(files(text)["trust-then.json"]).token == then.token


@pytest.mark.parametrize("lender", ["lend", SCRIPT])
def test_nothing_hostile_and_nothing_from_elsewhere_is_in_the_page(world, lender):
    case = world.case()
    answer = replace(
        case.answer,
        domain=SCRIPT,
        lender=lender,
        offer={SCRIPT: SCRIPT},
        results=(replace(case.answer.results[0], question=SCRIPT, as_of=SCRIPT),),
        policy=replace(case.answer.policy, id=SCRIPT),
    )
    bundle = replace(world.finish(replace(case, answer=answer)), consent=SCRIPT)
    titled = replace(world.lender(), title=SCRIPT)
    trust = world.trust(participants=(titled, *world.bundle().participants[:2]))
    for language in ("en", "zh"):
        text = made(world, bundle, trust=trust, language=language)
        assert html.escape(SCRIPT) in text
        tags = re.findall("<[^>]*>", text)
        assert {re.match("</?!?([a-z0-9]+)", tag)[1] for tag in tags} <= TAGS | {"doctype"}
        assert not re.search(r"(src|url)\s*[=(]", "".join(tags))
        assert all(address.startswith("data:") for address in re.findall('href="([^"]*)"', text))


@pytest.mark.parametrize(
    "payload", [b'{"a":"\\ud800"}', b"[" * 900 + b"]" * 900, b"\xff", b"1" * 5000]
)
def test_a_consent_that_says_nothing_readable_gets_a_page_all_the_same(world, payload):
    consent = f"e30.{b64url(payload)}.e30"
    text = made(world, replace(world.finish(world.case()), consent=consent))
    assert consent in blocks(text)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 255))
def test_whatever_is_altered_in_an_answer_has_a_page_or_is_no_answer(place, change):
    """Strange bytes are told as what they are, by the page or by the reader of the file."""
    data = bytearray(FILE)
    data[place % len(data)] ^= change
    try:
        text = made(WORLD, answer_wire.parse(bytes(data)))
    except Malformed:
        return
    assert "NOT VERIFIED" in text or bytes(data) == FILE


def test_tokens_that_are_none_get_a_page_without_their_keys(world):
    bundle = world.finish(world.case())
    broken = replace(bundle, tokens=(replace(bundle.tokens[0], token="no.token.~"),))
    text = made(world, broken)
    assert "NOT VERIFIED" in text
    assert "token-1.sig" not in files(text)


def test_both_languages_have_the_same_phrases_with_the_same_places():
    found = [parse_document(standard.read(f"evidence/{name}.yaml")) for name in ("en", "zh")]
    places = [{k: set(Template(v).get_identifiers()) for k, v in one.items()} for one in found]
    assert places[0] == places[1]
    with pytest.raises(Malformed, match="zh or en"):
        words_in("fr")


def test_what_is_judged_is_judged_with_the_pins_of_the_home(world):
    bundle = world.finish(world.case())
    judged = judge(bundle, world.trust(), {"bank": frozenset({"0" * 32})}, LATER)
    assert judged.error.reason == "NOT_THE_PINNED_KEY"
    own = {"bank": frozenset({world.bank.public.kid})}
    assert "pinned by you" in checks(made(world, bundle, pins=own))[4]
