"""The one writer: group commit, recovery, and no fork after a restore."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest
from credproof.base.errors import Conflict, DataLoss, Refused
from credproof.log.audit import LogAudit
from credproof.log.checkpoint import verify_checkpoint
from credproof_server.directory import ServiceDirectory
from credproof_server.storage import repository


class Append:
    """Adds one entry, then fails if told to."""

    def __init__(self, fail: Exception | None = None) -> None:
        self._fail = fail

    def apply(self, tx):
        index = tx.append("answer.refused", "somebody", bytes(32), salt=bytes(16), fields={})
        if self._fail:
            raise self._fail
        return index


class Wait:
    """Holds the sequencer up until it is told to go on."""

    def __init__(self, go_on: threading.Event) -> None:
        self._go_on = go_on

    def apply(self, _tx):
        self._go_on.wait(10)


def audit(core) -> int:
    """Audit the log as an outsider would; gives its size."""
    key = core.sequencer._signer.verifier_key
    checkpoint = verify_checkpoint(core.sequencer.head.note, key.name, [key])
    found = LogAudit()
    with core.engine.connect() as connection:
        for line in repository.lines(connection, 0, 10_000):
            found.feed(line)
    return found.finish(checkpoint).checkpoint.tree_size


def test_what_waits_shares_a_commit_and_every_result_is_covered_by_its_checkpoint(core):
    start = core.sequencer.head.tree_size
    futures = [core.sequencer.submit(Append()) for _ in range(200)]
    done = [future.result() for future in futures]

    assert list(range(start, start + 200)) == [item.value for item in done]
    assert all(item.value < item.head.tree_size for item in done)
    assert len({item.head.tree_size for item in done}) < 200, "commits were shared"
    assert start + 200 == audit(core)


def test_a_refused_command_leaves_nothing_and_does_not_hurt_its_neighbours(core):
    start = core.sequencer.head.tree_size
    refusal = Refused("NOT_PERMITTED", "no")
    futures = [core.sequencer.submit(Append(refusal if i % 2 else None)) for i in range(20)]
    outcomes = [future.exception() for future in futures]

    assert [None, refusal] * 10 == outcomes
    assert start + 10 == audit(core)


def test_a_fault_in_a_command_is_answered_and_the_log_goes_on(core):
    start = core.sequencer.head.tree_size
    with pytest.raises(Exception, match="did not finish"):
        core.sequencer.submit(Append(RuntimeError("a bug"))).result()

    assert start == core.sequencer.submit(Append()).result().value
    assert start + 1 == audit(core)


async def test_a_caller_that_goes_away_stops_nobody(core):
    """The handler of a caller that was killed is cancelled while its command waits."""
    hold, start = threading.Event(), core.sequencer.head.tree_size
    blocking = core.sequencer.submit(Wait(hold))
    gone = asyncio.create_task(core.commit(Append()))
    await asyncio.sleep(0.01)
    gone.cancel()
    last = asyncio.create_task(core.commit(Append()))
    hold.set()

    assert (await asyncio.wait_for(last, 10)).value == start + 1
    assert blocking.result().head.tree_size >= start
    assert gone.cancelled()


def test_time_never_goes_back_when_the_clock_does(core):
    import time

    core.sequencer._clock = lambda: int(time.time()) - 3600
    core.sequencer.submit(Append()).result()

    assert audit(core) == core.sequencer.head.tree_size


def test_a_restart_signs_the_same_checkpoint_byte_for_byte(core, deployment):
    core.sequencer.submit(Append()).result()
    before = core.sequencer.head
    core.close()

    again = deployment.directory.open_core()
    assert before == again.sequencer.head
    again.close()


def test_a_past_checkpoint_is_signed_again_byte_for_byte(core):
    first = core.sequencer.submit(Append()).result().head
    core.sequencer.submit(Append()).result()

    assert first.note == core.sequencer.sign(first.tree_size)


def test_a_restored_older_database_refuses_to_sign(core, deployment, tmp_path):
    core.close()
    backup = tmp_path / "log.db.backup"
    shutil.copy(deployment.service / "log.db", backup)
    later = deployment.directory.open_core()
    later.sequencer.submit(Append()).result()
    later.close()
    shutil.copy(backup, deployment.service / "log.db")

    with pytest.raises(DataLoss) as caught:
        deployment.directory.open_core()
    assert caught.value.reason == "LOG_BEHIND"


def test_a_rewritten_leaf_is_found_at_the_start(core, deployment):
    core.close()
    with closing(sqlite3.connect(deployment.service / "log.db", isolation_level=None)) as database:
        database.execute("UPDATE entries SET leaf = zeroblob(32) WHERE log_index = 1")

    with pytest.raises(DataLoss) as caught:
        deployment.directory.open_core()
    assert caught.value.reason == "LOG_DAMAGED"


def test_two_services_cannot_run_on_one_directory(deployment):
    directory = deployment.directory
    with directory.locked(), pytest.raises(Conflict) as caught, directory.locked():
        pass
    assert caught.value.reason == "IN_USE"
    assert isinstance(directory, ServiceDirectory)


def test_a_database_of_another_version_is_not_served(deployment):
    database = sqlite3.connect(deployment.service / "log.db", isolation_level=None)
    with closing(database):
        database.execute("UPDATE alembic_version SET version_num = 'm0000'")

    with pytest.raises(Conflict) as caught:
        deployment.directory.open_core()
    assert caught.value.reason == "UPGRADE_NEEDED"


def test_the_migrations_make_exactly_the_tables(core):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext
    from credproof_server.storage.tables import metadata

    with core.engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
