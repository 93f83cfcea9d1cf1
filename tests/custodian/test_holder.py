"""A custodian without its network: whom it believes, what it counts, when it falls silent."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest
from credproof.base.errors import (
    Conflict,
    CredproofError,
    DataLoss,
    Malformed,
    Refused,
    Unreachable,
    VerificationFailed,
)
from credproof.base.group import hash_to_group, scalar_from
from credproof.wire.trust import package_of
from credproof_server import admission
from credproof_server.config import Quotas
from credproof_server.custodian import directory as custodians
from credproof_server.custodian import trust_copy
from credproof_server.custodian.config import TEMPLATE, CustodianConfig, parse_config
from credproof_server.custodian.directory import CustodianDirectory
from credproof_server.custodian.holder import Holder
from credproof_server.custodian.quota import QuotaBook
from credproof_server.custodian.trust_copy import STALE_S, TrustCopy
from credproof_server.directory import now

from tests.custodian.making import NOTARY, enrolled, notary
from tests.deployment import Deployment

CONFIG = CustodianConfig("127.0.0.1:1", "127.0.0.1:1", Quotas(5, 3), 10)
DAY = "2026-01-31"


@pytest.fixture(scope="module")
def deployment(tmp_path_factory) -> Deployment:
    made = Deployment(tmp_path_factory.mktemp("holder"))
    notary(made)
    return made


@pytest.fixture
def directory(deployment) -> CustodianDirectory:
    return CustodianDirectory(deployment.folder / NOTARY)


@pytest.fixture
def copy(directory) -> Iterator[TrustCopy]:
    """A copy whose service gives the very bundle that is kept."""
    made = TrustCopy(directory.home(), now)
    made._fetch = lambda: made.trust  # type: ignore[method-assign]
    yield made
    made.close()


def guesses(count: int) -> list[bytes]:
    return [hash_to_group(bytes([i]), b"a test") for i in range(count)]


def stale(copy: TrustCopy) -> bool:
    """Whether nobody is answered."""
    if copy.is_fresh:
        copy.require_fresh()
        return False
    with pytest.raises(Unreachable) as caught:
        copy.require_fresh()
    return caught.value.reason == "TRUST_STALE"


# -- the copy of the trust bundle


async def test_nobody_is_answered_before_the_service_was_heard(copy):
    assert stale(copy)
    await copy.refresh()
    assert not stale(copy)


async def test_nobody_is_answered_when_the_service_was_not_heard_for_too_long(copy):
    """A service that wants to keep a suspended caller alive cannot do it by silence."""
    await copy.refresh()
    copy._heard -= STALE_S + 1
    assert stale(copy)


async def test_nobody_is_answered_under_a_bundle_that_has_expired(copy):
    await copy.refresh()
    copy.clock = lambda: copy.trust.bundle.expires_at + 1
    assert stale(copy)


async def test_a_bundle_that_is_not_believed_changes_nothing_and_is_logged(copy, caplog):
    before = copy.trust

    for error in (VerificationFailed("TRUST_ROLLBACK", "older"), OSError("disk full")):
        copy._fetch = Mock(side_effect=error)
        await copy.refresh()
    assert copy.trust is before
    assert stale(copy)
    assert "TRUST_ROLLBACK" in caplog.text


async def test_a_caller_makes_a_copy_that_is_not_fresh_be_read(copy, monkeypatch):
    monkeypatch.setattr(trust_copy, "LOOK_AGAIN_S", 0.0)
    await copy.hear()
    assert not stale(copy)
    copy._fetch = Mock(side_effect=Unreachable("NO_ANSWER", "down"))
    await copy.hear()
    copy._fetch.assert_not_called()


async def test_callers_who_wait_for_a_newer_bundle_share_one_read(copy, monkeypatch):
    monkeypatch.setattr(trust_copy, "LOOK_AGAIN_S", 0.05)
    reads = []
    copy._fetch = lambda: reads.append(1) or copy.trust
    await copy.refresh()
    await asyncio.gather(*(copy.look_again() for _ in range(20)))
    assert len(reads) == 2


def test_a_bundle_without_the_custodian_is_not_taken(deployment, directory):
    """Not even signed by the root: whoever saw the custodian goes on with it only."""
    home = directory.home()
    core = deployment.directory.open_core()
    try:
        alone = core.trust.bundle.oprf_keys[:1]
    finally:
        core.close()
    known = home.trust(at=0)
    bundle = replace(known.bundle, oprf_keys=alone, version=known.bundle.version + 1)
    root = deployment.directory.root_signer()
    without = admission.signed_bundle(root, bundle, known.documents)
    with pytest.raises(VerificationFailed) as caught:
        home.adopt(package_of(without), now=now())
    assert caught.value.reason == "CUSTODIAN_LEFT_OUT"
    assert home.trust(at=0).token == known.token


# -- evaluating


def holder(copy, directory, path: Path, share: bytes | None = None) -> tuple[Holder, QuotaBook]:
    book = QuotaBook(path / "quota.db")
    return Holder(share or directory.share(), copy, CONFIG, book), book


async def test_evaluations_are_counted_before_and_by_role(copy, directory, tmp_path):
    made, book = holder(copy, directory, tmp_path)
    key_id = copy.trust.oprf_key.id
    assert len((await made.evaluate("lend", "lender", key_id, guesses(3))).elements) == 3
    for role in ("lender", "auditor"):
        with pytest.raises(Refused) as caught:
            await made.evaluate("lend", role, key_id, guesses(1))
        assert caught.value.reason == "QUOTA_REACHED"
    with pytest.raises(Malformed):
        await made.evaluate("bank", "provider", key_id, [bytes(32)])
    await made.evaluate("bank", "provider", key_id, guesses(4))
    with pytest.raises(Refused):
        await made.evaluate("bank", "provider", key_id, guesses(1))
    book.close()


async def test_a_custodian_whose_share_is_not_in_the_key_evaluates_nothing(
    copy, directory, tmp_path, monkeypatch
):
    monkeypatch.setattr(trust_copy, "LOOK_AGAIN_S", 0.0)
    made, book = holder(copy, directory, tmp_path, scalar_from(os.urandom(64)))
    with pytest.raises(Conflict) as caught:
        await made.evaluate("lend", "lender", copy.trust.oprf_key.id, guesses(1))
    assert caught.value.reason == "OTHER_OPRF_KEY"
    book.close()


# -- the quota's file

THREE = {"quota": 3, "total": 10}


def counted(path: Path) -> list[tuple]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute(
            "SELECT participant, day, count FROM evaluations ORDER BY day, participant"
        ).fetchall()


def test_counts_outlive_a_restart_and_end_with_the_day(tmp_path):
    path = tmp_path / "quota.db"
    book = QuotaBook(path)
    book.count("lend", DAY, 3, **THREE)
    book.close()
    assert counted(path) == [("", DAY, 3), ("lend", DAY, 3)]
    assert path.stat().st_mode & 0o777 == 0o600
    again = QuotaBook(path)
    with pytest.raises(Refused):
        again.count("lend", DAY, 1, **THREE)
    again.count("lend", "2026-02-01", 1, **THREE)
    again.close()
    assert [count for name, _, count in counted(path) if name == "lend"] == [3, 1]


def test_participants_whom_the_operator_invents_share_one_bound(tmp_path):
    book = QuotaBook(tmp_path / "quota.db")
    for number in range(4):
        book.count(f"invented-{number}", DAY, 2, quota=2, total=9)
    with pytest.raises(Refused):
        book.count("invented-4", DAY, 2, quota=2, total=9)
    book.count("invented-5", DAY, 1, quota=2, total=9)
    book.close()


def test_callers_who_race_do_not_pass_the_quota_together(tmp_path):
    book = QuotaBook(tmp_path / "quota.db")

    def one(_number: int) -> bool:
        try:
            book.count("lend", DAY, 1, quota=10, total=100)
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(30))) == 10
    book.close()


def test_counts_that_cannot_be_read_are_told_as_damage(tmp_path):
    (tmp_path / "quota.db").write_bytes(b"no database" * 1000)
    with pytest.raises(CredproofError) as caught:
        QuotaBook(tmp_path / "quota.db")
    assert caught.value.reason == "QUOTA_DAMAGED"


# -- its directory


@pytest.mark.parametrize(
    "change",
    [
        {"listen": "127.0.0.1:0"},
        {"listen": "nowhere"},
        {"address": "http://notary.example:7445"},
        {"address": ""},
    ],
)
def test_settings_that_lead_nowhere_make_nothing(tmp_path, change):
    settings = {"listen": "127.0.0.1:1", "address": "127.0.0.1:1", **change}
    with pytest.raises(Malformed) as caught:
        custodians.init(tmp_path / "new", custodian_id="notary", title="Notary", **settings)
    assert caught.value.reason == "BAD_CONFIG"
    assert not (tmp_path / "new").exists()


def test_a_directory_that_is_no_custodians_is_told(tmp_path):
    with pytest.raises(Malformed) as caught:
        CustodianDirectory(tmp_path)
    assert caught.value.reason == "NO_CUSTODIAN"


def test_settings_are_taken_apart_strictly():
    good = TEMPLATE.format(listen="127.0.0.1:1", address="notary.example:1")
    assert parse_config(good.encode()).address == "notary.example:1"
    for bad in (b"\xff", good.encode() + b"more = 1\n", b"listen = 1\n"):
        with pytest.raises(Malformed):
            parse_config(bad)


@pytest.mark.parametrize("lost", ["kek", "keys/share.key"])
def test_a_share_that_cannot_be_read_says_what_to_do(tmp_path, lost):
    enrolled(tmp_path)
    directory = CustodianDirectory(tmp_path / NOTARY)
    (directory.folder / lost).write_bytes(b"AAAA")
    with pytest.raises(DataLoss) as caught:
        directory.share()
    assert caught.value.reason == "SHARE_NOT_READ"


def test_the_share_is_encrypted_and_only_its_owner_reads_it(directory):
    path = directory.folder / "keys" / "share.key"
    assert directory.share() not in path.read_bytes()
    assert path.stat().st_mode & 0o777 == 0o600
    assert (directory.folder / "kek").stat().st_mode & 0o777 == 0o600
