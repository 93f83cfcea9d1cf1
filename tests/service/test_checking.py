"""`credproof check` names what is damaged, and the service does not serve it."""

from __future__ import annotations

import asyncio
import json
import re
import sqlite3
from contextlib import closing, contextmanager

import pytest
from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base.errors import DataLoss
from credproof.wire.errors import code_of
from credproof_server import checking
from credproof_server.checking import check
from credproof_server.log.epochs import CloseEpoch
from credproof_server.service.consents import RevokeConsent
from credproof_server.service.holdings import load_holdings
from credproof_server.service.ingest import Ingest
from credproof_server.service.withdrawals import Withdrawals
from credproof_server.storage import repository

from tests.cli.command import run
from tests.deployment import DOMAIN, package, seal, statement
from tests.service.asking import Asking
from tests.world import POLICY


@contextmanager
def behind_the_back(deployment, store: str = "log.db"):
    path = deployment.service / store
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        yield database


@pytest.fixture
async def stored(core, deployment):
    """Two attestations of one borrower; gives their log indexes."""
    bank = deployment.home("bank").signer
    packages = [package(statement(account=f"account-{i}"), bank) for i in range(2)]
    batch = await Ingest(core).submit("bank", seal(core.trust, packages))
    return [result.log_index for result in batch.results]


def damage(deployment) -> list[tuple[str, int, str]]:
    return [(d.what, d.log_index, d.reason) for d in check(deployment.directory).damage]


def served(core):
    key = core.vault.key(statement().sub)
    with core.engine.connect() as connection:
        return load_holdings(connection, key, statement().sub, core.trust, core.clock())


async def test_a_log_that_grows_while_it_is_checked_is_not_called_damaged(
    core, deployment, stored, monkeypatch
):
    """The database is read as it was at one moment: what is signed later is not in it."""
    loop, load = asyncio.get_running_loop(), checking.load_trust

    def and_grow(*of):
        found = load(*of)
        grown = asyncio.run_coroutine_threadsafe(core.commit(CloseEpoch()), loop)
        assert grown.result(10).head.tree_size > size
        return found

    size = core.sequencer.head.tree_size
    monkeypatch.setattr(checking, "load_trust", and_grow)
    report = await asyncio.to_thread(check, deployment.directory)
    assert (report.damage, report.signed, report.entries) == ((), size, size)


async def test_nothing_is_damaged_at_first(core, deployment, stored):
    report = check(deployment.directory)
    assert (report.rows["attestation"], report.damage) == (2, ())
    assert len(served(core).attestations) == 2


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE attestations SET sealed = CAST(substr(sealed, 1, 500) || x'00' AS BLOB)",
        "UPDATE attestations SET sealed = x'00'",
        "UPDATE attestations SET sealed = 'text'",
        "UPDATE attestations SET token_id = zeroblob(32)",
        "UPDATE attestations SET seq = 7",
        "UPDATE attestations SET provider = 'other-bank'",
    ],
)
async def test_a_changed_row_is_named_and_not_served(core, deployment, stored, change):
    with behind_the_back(deployment) as database:
        database.execute(f"{change} WHERE log_index = {stored[1]}")

    ((what, index, _),) = damage(deployment)
    assert ("attestation", stored[1]) == (what, index)
    with pytest.raises(DataLoss) as caught:
        served(core)
    assert code_of(caught.value).name == "DATA_LOSS"


async def test_two_rows_that_change_places_are_named(core, deployment, stored):
    with behind_the_back(deployment) as database:
        rows = database.execute("SELECT sealed FROM attestations ORDER BY log_index").fetchall()
        for index, (sealed,) in zip(stored, reversed(rows), strict=True):
            database.execute(
                "UPDATE attestations SET sealed = ? WHERE log_index = ?", (sealed, index)
            )

    assert stored == [index for _, index, _ in damage(deployment)]


async def test_a_row_that_points_at_another_entry_is_named(core, deployment, stored):
    with behind_the_back(deployment) as database:
        database.execute(f"UPDATE attestations SET log_index = 0 WHERE log_index = {stored[1]}")

    assert damage(deployment) == [
        ("attestation", 0, "ROW_DIFFERS"),
        ("attestation", stored[1], "ROW_MISSING"),
    ]


async def test_a_row_whose_data_key_is_gone_is_named(core, deployment, stored):
    with behind_the_back(deployment, "vault.db") as database:
        database.execute("DELETE FROM data_keys")

    assert [reason for _, _, reason in damage(deployment)] == ["KEY_MISSING"] * 2


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("DELETE FROM entries WHERE log_index = 2", "SEQ_GAP"),
        (
            (
                "UPDATE entries SET line = CAST(replace(line, 'operator', 'somebody') AS BLOB)"
                " WHERE log_index = 1"
            ),
            "LOG_DAMAGED",
        ),
        (
            "DELETE FROM entries WHERE log_index = (SELECT max(log_index) FROM entries)",
            "TREE_MISMATCH",
        ),
        ("UPDATE entries SET line = x'00' WHERE log_index = 1", "LOG_DAMAGED"),
        ("UPDATE entries SET leaf = zeroblob(32) WHERE log_index = 1", "LOG_DAMAGED"),
        ("UPDATE commits SET root = zeroblob(32) WHERE tree_size = 2", "LOG_DAMAGED"),
        ("DELETE FROM commits", "LOG_DAMAGED"),
        ("UPDATE entries SET line = 'text' WHERE log_index = 1", "LOG_DAMAGED"),
    ],
)
async def test_a_changed_log_is_named(core, deployment, stored, change, reason):
    with behind_the_back(deployment) as database:
        database.execute(change)

    found = [r for what, _, r in damage(deployment) if what in {"entry", "log"}]
    assert [reason] == found


def told(deployment) -> str:
    """What the operator reads of what is damaged, between single spaces."""
    return re.sub(" +", " ", run("check", deployment.service, code=1))


async def test_where_the_log_is_damaged_it_is_told_how_far_it_is_sound(core, deployment, stored):
    """The count at which it stopped looked like the size of the log."""
    size = core.sequencer.head.tree_size
    with behind_the_back(deployment) as database:
        database.execute("UPDATE entries SET line = x'00' WHERE log_index = 1")
    text = told(deployment)
    assert text.startswith(f"entries 1 sound of {size}, those after it not checked\n")
    assert "directory leaves not checked: the log is damaged\n" in text
    assert "damaged: entry 1: " in text
    as_json = json.loads(run("check", deployment.service, "--json", code=1).partition("\nerror")[0])
    assert (as_json["entries"], as_json["signed"]) == (1, size)
    assert as_json["rows"]["directory leaf"] is None


async def test_what_no_entry_speaks_of_is_told_without_one(core, deployment, stored):
    await core.commit(CloseEpoch())
    with behind_the_back(deployment) as database:
        database.execute("DELETE FROM directory_leaves")
    assert "damaged: directory: leaves of the directory are not stored (ROW_MISSING)" in told(
        deployment
    )
    with behind_the_back(deployment) as database:
        database.execute("DELETE FROM commits")
    assert "damaged: log: the root of what was signed is not stored" in told(deployment)
    as_json = json.loads(run("check", deployment.service, "--json", code=1))
    assert [item["log_index"] for item in as_json["damage"]] == [None]


# -- consents, answers, withdrawals, conflicts


@pytest.fixture
async def peopled(core, deployment) -> Asking:
    """A service with rows of every kind but those of borrowers' keys (`test_keys`)."""
    asking = Asking(deployment, core)
    await asking.attest()
    for mode in ("once", "continuing"):
        consent_id = await asking.consent(POLICY, mode=mode)
        await asking.ask(asking.question(POLICY, consent_id))
    with core.engine.connect() as connection:
        row = repository.consent(connection, consent_id)
    await core.commit(RevokeConsent(consent_id, core.vault.key(row.sub)))
    await asking.submit([package(statement(account="account-1"), asking.bank)])
    figures = asking.newest
    signed = sign_withdrawal(
        asking.bank, issuer="bank", service=DOMAIN, token=figures, reason="error", now=core.clock()
    )
    await Withdrawals(core).withdraw("bank", [signed])
    return asking


async def test_nothing_is_damaged_in_a_service_with_rows_of_many_kinds(core, deployment, peopled):
    report = check(deployment.directory)
    assert report.damage == ()
    assert report.rows == {
        "attestation": 2,
        "withdrawal": 1,
        "ended key": 0,
        "conflict": 1,
        "consent": 2,
        "signature": 0,
        "pause": 0,
        "resumption": 0,
        "answer": 2,
        "trust bundle": core.trust.bundle.version,
        "anomaly": 0,
        "unsealing": 0,
        "unseal approval": 0,
        "unseal refusal": 0,
        "unsealed detail": 0,
        "directory root": 1,
        "directory leaf": 2,
    }


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("consent", "UPDATE consents SET sealed = x'00' WHERE revoked_index IS NULL"),
        ("consent", "UPDATE consents SET lender = 'other' WHERE revoked_index IS NULL"),
        ("consent", "UPDATE consents SET revoked_index = NULL"),
        ("consent", "UPDATE consents SET revoked_index = 1 WHERE revoked_index IS NULL"),
        ("consent", "DELETE FROM consents WHERE revoked_index IS NULL"),
        ("answer", "UPDATE answers SET sealed = x'00' WHERE rowid = 1"),
        ("answer", "UPDATE answers SET lender = 'other' WHERE rowid = 1"),
        ("answer", "DELETE FROM answers WHERE rowid = 1"),
        ("answer", "UPDATE answers SET consent_id = zeroblob(32) WHERE rowid = 1"),
        ("answer", "UPDATE answers SET time = 0 WHERE rowid = 1"),
        ("answer", "UPDATE answers SET policy_digest = zeroblob(32) WHERE rowid = 1"),
        ("trust bundle", "UPDATE trust_bundles SET token = x'ff00' WHERE version = 2"),
        ("attestation", "UPDATE attestations SET sealed = 5 WHERE withdrawn_index IS NULL"),
        ("attestation", "UPDATE attestations SET sub = 'abc' WHERE withdrawn_index IS NULL"),
        ("withdrawal", "DELETE FROM withdrawals"),
        ("withdrawal", "UPDATE withdrawals SET token = CAST('rubbish' AS BLOB)"),
        ("attestation", "UPDATE attestations SET withdrawn_index = NULL"),
        (
            "attestation",
            "UPDATE attestations SET withdrawn_index = 0 WHERE withdrawn_index IS NULL",
        ),
        ("attestation", "UPDATE attestations SET current = 0 WHERE withdrawn_index IS NULL"),
        (
            "attestation",
            "UPDATE attestations SET chain_id = zeroblob(32) WHERE withdrawn_index IS NULL",
        ),
        ("attestation", "DELETE FROM attestations WHERE withdrawn_index IS NULL"),
        ("conflict", "UPDATE conflicts SET sealed = x'00'"),
        ("conflict", "DELETE FROM conflicts"),
    ],
)
async def test_any_row_that_is_not_what_was_logged_is_named(deployment, peopled, what, change):
    with behind_the_back(deployment) as database:
        database.execute(change)
    assert [what] == [found for found, _, _ in damage(deployment)]
