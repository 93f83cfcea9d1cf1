"""What is secret stands nowhere that it should not: not in the server's log, not in an error.

The whole demo with its lies is searched in `tests/cli/test_demo.py`.
"""

from __future__ import annotations

import json
import re

import pytest
from credproof.auditor import Auditor
from credproof.base.encoding import b64url
from credproof.lender import OfflineVerifier
from credproof.wire import answer as answer_wire
from credproof_server.directory import ServiceDirectory

from tests.adversary.leaks import TOKEN, home_keys, leaked, packages, service_keys, spellings
from tests.adversary.stage import AUDITOR, FIGURE, LENDER, PEOPLE, POLICY, PROVIDER, Stage

HOMES = (PROVIDER, LENDER, AUDITOR)


@pytest.fixture(scope="module")
def journey(stage: Stage, carried_out) -> bytes:
    """A whole journey after all attacks: what the lender got, without what it kept itself."""
    assert carried_out.outcomes
    with stage.world.lender() as lender:
        consent = stage.consent(lender, "ann")
        kept = lender.ask(stage.subjects["ann"], policy_id=POLICY, consent=consent, case="case-9")
        assert OfflineVerifier(stage.home(LENDER)).verify(kept.to_bytes())
    with Auditor.open(stage.world.home(AUDITOR)) as auditor:
        auditor.verify(whole=True)
    bundle = kept.bundle
    return answer_wire.to_bytes(bundle)


def private_keys(stage: Stage) -> set[str]:
    people = [bytes(s._key) for name, s in stage.signers.items() if name != "pat"]
    found = service_keys(stage.world.service) | home_keys(map(stage.world.home, HOMES))
    return found.union(*map(spellings, people))


def names_and_figures(stage: Stage) -> set[str]:
    people = {f"person-{name}" for name in PEOPLE} | {f"account-of-{name}" for name in PEOPLE}
    subs = [subject.sub for subject in stage.subjects.values()]
    return people | {str(FIGURE), "attacked-"} | set().union(*map(spellings, subs))


def seeds(stage: Stage) -> set[str]:
    """The seeds of honest and of bent packages: whoever has one opens the whole token."""
    kept = {package["seed"] for package in packages(stage.world.home(PROVIDER))}
    assert len(kept) >= 2 * len(PEOPLE)
    return kept | stage.seeds


def errors(carried_out) -> str:
    return "\n".join(found.text for found in carried_out.outcomes.values() if found.code != "OK")


def test_the_search_finds_what_it_looks_for(stage: Stage):
    key = ServiceDirectory(stage.world.service).keys.read("answer")
    assert leaked(private_keys(stage), f"x {b64url(key)} x")
    assert leaked(names_and_figures(stage), f"limit {FIGURE}")
    assert TOKEN.search(stage.consents["ann"])


@pytest.mark.parametrize("secrets", [private_keys, names_and_figures, seeds])
def test_the_servers_log_holds_no_secret(stage: Stage, journey, secrets):
    assert journey
    assert leaked(secrets(stage), stage.server_log()) == set()


@pytest.mark.parametrize("secrets", [private_keys, names_and_figures, seeds])
def test_no_error_holds_a_secret(stage: Stage, carried_out, secrets):
    assert leaked(secrets(stage), errors(carried_out)) == set()


def test_no_token_stands_in_the_servers_log_or_in_an_error(stage: Stage, journey, carried_out):
    assert journey
    assert not TOKEN.search(stage.server_log())
    assert not TOKEN.search(errors(carried_out))


def test_no_participant_stands_in_the_servers_log(stage: Stage, journey):
    assert journey
    assert leaked({PROVIDER, LENDER, AUDITOR, "other-bank"}, stage.server_log()) == set()


def test_the_servers_log_is_one_json_line_per_call(stage: Stage, journey):
    assert journey
    calls = [json.loads(line) for line in stage.server_log().splitlines()]
    assert {"method", "code", "reason", "milliseconds"} == set().union(*calls)


def test_the_audit_log_holds_no_name_and_no_figure(stage: Stage, journey):
    assert journey
    assert leaked(names_and_figures(stage), json.dumps(stage.entries())) == set()


def test_an_error_of_a_faulty_row_tells_a_random_reference_only(carried_out):
    """No two errors share their `ref`: it says nothing but which line of support to read."""
    texts = errors(carried_out)
    refs = re.findall(r'key: "ref"\s+value: "([0-9a-f]{16})"', texts)
    assert len(refs) > 300
    assert len(refs) == len(set(refs))
