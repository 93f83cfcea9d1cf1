"""A borrower checks on a real service: what it holds, and that nothing is kept back."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError, Malformed, Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.cli.app import app
from credproof.v1 import consent_service_pb2 as pb
from typer.testing import CliRunner

from tests.rpc.conftest import LENDER, PROVIDER
from tests.world import GOOD

SCHEMA = "consumer-revolving/1"


def seen(borrower: Borrower) -> dict[str, list[str]]:
    """The providers of what is current, by schema."""
    found = borrower.self_check()
    assert not any(held.others for held in found)
    return {held.schema.id: [item.provider for item in held.attestations] for held in found}


def test_a_borrower_sees_all_that_is_current_and_what_there_is_none_of(running):
    _, borrower = running.person()
    assert seen(borrower) == {
        SCHEMA: [PROVIDER],
        "identity-assurance/1": [],
        "key-binding/1": [PROVIDER],
    }


def test_what_is_superseded_or_withdrawn_is_gone_at_once(running):
    record = running.record(GOOD)
    borrower = running.bound(record.subject)
    with running.world.provider() as provider:
        provider.submit([record], schema_id=SCHEMA)
        provider.submit([replace(record, values={**GOOD, "used_amount": 7})], schema_id=SCHEMA)
        assert seen(borrower)[SCHEMA] == [PROVIDER]
        provider.withdraw([record.account], schema_id=SCHEMA, reason="error")
        assert seen(borrower)[SCHEMA] == []


@pytest.fixture(scope="module")
def person(running):
    subject_id, _ = running.person()
    return running.world.home(subject_id.removeprefix("ref:"))


def told(person, *options: str):
    return CliRunner().invoke(app, ["borrower", "self-check", "--home", str(person), *options])


def test_the_command_tells_it_in_chinese_and_english(person):
    chinese, english = told(person).output, told(person, "-l", "en").output
    assert "已核实:显示 2 条,未显示 0 条" in chinese
    assert f"{PROVIDER},数据截至" in chinese
    assert "Verified: 2 shown, 0 not shown; nothing else is current about you" in english
    assert f"{PROVIDER}, data of" in english
    assert "(identity-assurance/1)\n  nothing" in english


def test_the_command_tells_machines_the_same(person):
    found = json.loads(told(person, "--json").output)
    by_schema = {item["schema"]: item for item in found["schemas"]}
    (held,) = by_schema[SCHEMA]["attestations"]
    assert (held["provider"], by_schema[SCHEMA]["others"]) == (PROVIDER, 0)
    assert by_schema["identity-assurance/1"]["attestations"] == []
    assert by_schema[SCHEMA]["root"]["log_index"] > held["log_index"]


def test_it_is_told_in_no_other_language(person):
    failed = told(person, "-l", "fr").exception
    assert isinstance(failed, Malformed)
    assert failed.reason == "BAD_LANGUAGE"


@pytest.mark.parametrize("known", [True, False])
def test_a_key_that_nobody_bound_is_shown_nothing(running, known):
    """Whether anything is known of the borrower cannot be told."""
    subject_id, _ = running.person()
    with running.world.lender() as lender:
        sub = lender.subject(subject_id).sub if known else os.urandom(32)
    stranger = Borrower(Ed25519Signer(os.urandom(32)), make_pass(running.home(LENDER), sub))
    with pytest.raises(Refused) as caught:
        stranger.self_check()
    assert caught.value.reason == "NOT_PERMITTED"


@pytest.mark.parametrize("field", ["sub", "schema_digest"])
def test_a_field_of_another_length_is_refused(running, field):
    _, borrower = running.person()
    request = pb.ShowHeldRequest(sub=bytes(32), schema_digest=bytes(32))
    setattr(request, field, b"short")
    method = "/credproof.v1.ConsentService/ShowHeld"
    with pytest.raises(CredproofError) as caught:
        borrower._caller.call(method, request, pb.ShowHeldResponse)
    assert caught.value.reason == "WRONG_LENGTH"
