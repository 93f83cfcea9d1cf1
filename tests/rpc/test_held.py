"""A borrower checks on a real service: what it holds, and that nothing is kept back."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import count

import pytest
from credproof.base.errors import (
    Conflict,
    CredproofError,
    Malformed,
    Refused,
    VerificationFailed,
)
from credproof.base.keys import Ed25519Signer
from credproof.base.limits import HELD_PAGE_MAX
from credproof.borrower import Borrower, make_pass
from credproof.cli.app import app
from credproof.log.entry import parse_entry
from credproof.v1 import consent_service_pb2 as pb
from typer.testing import CliRunner

from tests.cli.command import run
from tests.rpc.conftest import LENDER, PROVIDER
from tests.world import GOOD

SCHEMA = "consumer-revolving/1"
METHOD = "/credproof.v1.ConsentService/ShowHeld"


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


def test_who_has_more_than_one_page_holds_sees_all_of_it(running):
    """A service said LIMIT_EXCEEDED, and the borrower never saw what was held."""
    record = running.record(GOOD)
    more = [replace(record, account=f"{record.account}-{no}") for no in range(HELD_PAGE_MAX)]
    borrower = running.bound(record.subject)
    with running.world.provider() as provider:
        assert provider.submit([record, *more], schema_id=SCHEMA).accepted == HELD_PAGE_MAX + 1
    assert seen(borrower)[SCHEMA] == [PROVIDER] * (HELD_PAGE_MAX + 1)
    told = run("borrower", "self-check", "-l", "en", home=running.world.home(record.subject[4:]))
    assert f"Verified: {HELD_PAGE_MAX + 2} shown, 0 not shown; nothing else is current" in told


def test_a_set_that_changes_between_pages_is_read_again(running, monkeypatch):
    """One that changes for ever is a finding."""
    subject_id, borrower = running.person()
    monkeypatch.setattr("credproof.borrower.HELD_PAGE_MAX", 1)
    calls = count()

    def changing(method, *request):
        reply = honest(method, *request)
        if method == METHOD:
            del reply.tokens[1:]
            if next(calls) < changes and request[0].start_index:
                reply.directory.lookups[0].members.append(bytes(32))
        return reply

    honest = borrower._caller.call
    monkeypatch.setattr(borrower._caller, "call", changing)
    with running.world.provider() as provider:
        provider.submit([replace(running.record(GOOD), subject=subject_id)], schema_id=SCHEMA)
    changes = 2
    assert seen(borrower)[SCHEMA] == [PROVIDER] * 2
    changes = 10**6
    with pytest.raises(VerificationFailed) as caught:
        borrower.self_check()
    assert caught.value.reason == "HELD_NOT_SHOWN"


@pytest.fixture(scope="module")
def person(running):
    subject_id, _ = running.person()
    return running.world.home(subject_id.removeprefix("ref:"))


def told(person, *options: str):
    return CliRunner().invoke(app, ["borrower", "self-check", "--home", str(person), *options])


def test_the_command_tells_it_in_chinese_and_english(person):
    chinese, english = told(person).output, told(person, "-l", "en").output
    assert "已核实：显示 2 条，未显示 0 条" in chinese
    assert f"{PROVIDER}，数据截至" in chinese
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


@contextmanager
def lost(running, table: str, where: str, *values: bytes):
    """Rows that the service has lost behind its back; they are there again afterwards."""
    path = running.world.service / "log.db"
    with closing(sqlite3.connect(path, isolation_level=None, timeout=10)) as database:
        rows = database.execute(f"SELECT * FROM {table} WHERE {where}", values).fetchall()
        assert rows
        database.execute(f"DELETE FROM {table} WHERE {where}", values)
        try:
            yield
        finally:
            marks = ", ".join("?" * len(rows[0]))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


@pytest.mark.parametrize("what", ["attestation", "leaf"])
def test_a_record_that_the_service_lost_is_a_finding_in_the_borrowers_language(running, what):
    """It was said to be asked again, for ever."""
    subject_id, borrower = running.person()
    home = running.world.home(subject_id.removeprefix("ref:"))
    assert seen(borrower)[SCHEMA] == [PROVIDER], "a root covers it"
    (token_id,) = figures(running, borrower)
    gone = {
        "attestation": ("attestations", "token_id = ?", token_id),
        "leaf": ("directory_leaves", "instr(members, ?)", token_id),
    }[what]
    with lost(running, *gone):
        with pytest.raises(VerificationFailed) as caught:
            borrower.self_check()
        chinese = run("borrower", "self-check", home=home, code=1)
        english = run("borrower", "self-check", "-l", "en", home=home, code=1)
        as_json = json.loads(run("borrower", "self-check", "--json", home=home, code=1))
    assert (caught.value.reason, SCHEMA in caught.value.message) == ("HELD_NOT_SHOWN", True)
    assert chinese.startswith("错误：服务未完整出示其持有的关于您的“循环消费信贷”记录")
    assert "（HELD_NOT_SHOWN）\n下一步：" in chinese
    assert english.startswith(f"error: {caught.value.message} (HELD_NOT_SHOWN)\nnext:  ")
    assert (as_json["reason"], as_json["message"]) == ("HELD_NOT_SHOWN", caught.value.message)
    assert seen(borrower)[SCHEMA] == [PROVIDER]


def figures(running, borrower: Borrower) -> list[bytes]:
    """The ids of the tokens that are held of the borrower under `SCHEMA`."""
    (held,) = [item for item in borrower.self_check() if item.schema.id == SCHEMA]
    indexes = [item.log_index for item in held.attestations]
    with running.world.auditor() as auditor:
        lines = [next(auditor.lines(index, index + 1)) for index in indexes]
    return [parse_entry(line).object for line in lines]


def test_a_service_that_says_for_ever_to_ask_again_is_a_finding(running, monkeypatch):
    _, borrower = running.person()

    def never(method, *request):
        if method.endswith("ShowHeld"):
            raise Conflict("SNAPSHOT_CHANGED", "attestations changed meanwhile: ask again")
        return honest(method, *request)

    honest = borrower._caller.call
    monkeypatch.setattr(borrower._caller, "call", never)
    with pytest.raises(VerificationFailed) as caught:
        borrower.self_check()
    assert caught.value.reason == "HELD_NOT_SHOWN"


def test_what_does_not_verify_is_told_in_the_borrowers_language(running, person, monkeypatch):
    monkeypatch.setattr("credproof.verification.held.DIRECTORY_AGE_MAX_S", -10_000)
    chinese = run("borrower", "self-check", home=person, code=1)
    assert chinese.startswith("错误：服务出示的内容未通过核实（STALE_ROOT）\n下一步：")
    assert "(STALE_ROOT)" in run("borrower", "self-check", "-l", "en", home=person, code=1)


def test_a_key_whose_binding_was_lost_is_told_as_that_in_the_borrowers_language(running):
    subject_id, borrower = running.person()
    home, sub = running.world.home(subject_id.removeprefix("ref:")), borrower._pass.sub
    digest = borrower.trust().schema("key-binding/1").digest
    with lost(running, "attestations", "sub = ? AND schema_digest = ?", sub, digest):
        chinese = run("borrower", "self-check", home=home, code=2)
        english = run("borrower", "self-check", "-l", "en", home=home, code=2)
    assert chinese.startswith("错误：服务称目前没有机构认可此密钥（NOT_PERMITTED）\n下一步：请询问")
    assert "ask your provider whether it is still bound" in english


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


def test_pages_are_not_counted_backwards(running):
    _, borrower = running.person()
    request = pb.ShowHeldRequest(sub=bytes(32), schema_digest=bytes(32), start_index=-1)
    with pytest.raises(Malformed) as caught:
        borrower._caller.call(METHOD, request, pb.ShowHeldResponse)
    assert caught.value.reason == "BAD_RANGE"


@pytest.mark.parametrize("field", ["sub", "schema_digest"])
def test_a_field_of_another_length_is_refused(running, field):
    _, borrower = running.person()
    request = pb.ShowHeldRequest(sub=bytes(32), schema_digest=bytes(32))
    setattr(request, field, b"short")
    with pytest.raises(CredproofError) as caught:
        borrower._caller.call(METHOD, request, pb.ShowHeldResponse)
    assert caught.value.reason == "WRONG_LENGTH"
