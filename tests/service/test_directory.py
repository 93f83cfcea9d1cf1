"""A service's directory: what is missing, damaged or taken is told by name, and not served."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace

import pytest
from credproof.base.errors import CredproofError, DataLoss
from credproof.cli.advice import next_step
from credproof.log.entry import ChainPosition
from credproof.log.merkle import Tree
from credproof_server import admission, app, setup
from credproof_server.backups.making import back_up
from credproof_server.checking import check
from credproof_server.config import FILE_NAME
from credproof_server.demo import world as demo
from credproof_server.directory import HIGH_WATER, ROOT_KEY, RUNNING, ServiceDirectory
from credproof_server.log.state import LogState
from credproof_server.storage.tables import documents, trust_bundles
from credproof_server.storage.vault import DataKey
from grpc_health.v1 import health
from sqlalchemy import delete, func, select, update

from tests.world import REVOLVING

KEY = DataKey(bytes(32))


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason


def test_a_service_is_not_made_over_another(deployment):
    before = (deployment.service / "kek").read_bytes()
    addresses = {"participants_listen": "127.0.0.1:0", "borrowers_listen": "127.0.0.1:0"}
    refused("NOT_EMPTY", lambda: setup.init(deployment.service, domain="b.example", **addresses))
    assert before == (deployment.service / "kek").read_bytes()


def test_a_directory_without_settings_or_with_broken_ones_is_told(deployment, tmp_path):
    refused("NO_SERVICE", lambda: ServiceDirectory(tmp_path / "elsewhere"))
    (deployment.service / FILE_NAME).write_text("= no TOML")
    refused("BAD_CONFIG", lambda: ServiceDirectory(deployment.service))


def test_nobody_is_admitted_without_the_root_key(deployment):
    (deployment.service / ROOT_KEY).unlink()
    refused("NO_ROOT_KEY", lambda: deployment.admit("auditor", "office"))


@pytest.mark.parametrize("name", ["log.db", "vault.db"])
def test_a_database_that_is_none_is_not_served(deployment, name):
    for rest in ("-wal", "-shm"):
        (deployment.service / f"{name}{rest}").unlink(missing_ok=True)
    (deployment.service / name).write_bytes(b"no database at all " * 1000)
    refused("DATABASE_DAMAGED", deployment.directory.open_core)


def test_junk_in_a_file_of_the_service_is_told_with_its_name_and_what_to_do(deployment):
    junk = {
        "high-water": ("HIGH_WATER_DAMAGED", "--checkpoint"),
        "root.json": ("ROOT_NOT_READ", "backup"),
        FILE_NAME: ("BAD_CONFIG", "correct credproof.toml"),
    }
    for name, (reason, advice) in junk.items():
        path = deployment.service / name
        before = path.read_bytes()
        path.write_bytes(before.replace(b"every = ", b"often = ") if name == FILE_NAME else b"junk")
        with pytest.raises(CredproofError) as caught:
            deployment.directory.open_core()
        assert (caught.value.reason, name in caught.value.message) == (reason, True)
        assert advice in str(next_step(caught.value))
        path.write_bytes(before)
    deployment.directory.open_core().close()


@pytest.mark.parametrize("name", ["log.db", "vault.db"])
def test_a_database_that_is_lost_is_told_and_none_is_made_in_its_place(deployment, name):
    """An empty vault was served: each question then met a borrower without a key."""
    lost, service = deployment.service / name, deployment.service
    for rest in ("", "-wal", "-shm"):
        (service / f"{name}{rest}").unlink(missing_ok=True)
    calls = (
        deployment.directory.open_core,
        lambda: setup.upgrade(service),
        lambda: check(deployment.directory),
        lambda: back_up(deployment.directory, service / "main", service / "keys-apart"),
    )
    for call in calls:
        refused("DATABASE_MISSING", call)
        assert not lost.exists()

    lost.write_bytes(b"")
    for call in calls[:2]:
        refused("DATABASE_MISSING", call)
    assert "credproof restore" in str(next_step(DataLoss("DATABASE_MISSING", f"{name} is empty")))


def test_a_log_without_a_trust_bundle_is_neither_checked_nor_served(deployment, core):
    core.close()
    with core.engine.begin() as connection:
        connection.execute(delete(trust_bundles))
    refused("LOG_DAMAGED", lambda: check(deployment.directory))
    refused("LOG_DAMAGED", deployment.directory.open_core)


def test_a_stored_schema_that_was_altered_is_named_to_the_operator(deployment, core):
    """It was told as if somebody had sent the wrong file: get it again from whoever made it."""
    core.close()
    name = hashlib.sha256(REVOLVING.document).digest()
    with core.engine.begin() as connection:
        altered = update(documents).where(documents.c.digest == name).values(content=b"{}")
        assert connection.execute(altered).rowcount == 1
    for call in (deployment.directory.open_core, lambda: check(deployment.directory)):
        with pytest.raises(DataLoss, match=name.hex()[:16]) as caught:
            call()
        assert caught.value.reason == "LOG_DAMAGED"
        assert "credproof restore" in str(next_step(caught.value))


def test_without_a_trust_bundle_nobody_is_trusted():
    refused("NO_TRUST", lambda: LogState(Tree(), ChainPosition(), None).trust)


def test_a_newest_trust_bundle_that_is_gone_is_missed_and_ends_no_suspension(deployment, core):
    core.close()
    with core.engine.begin() as connection:
        newest = select(func.max(trust_bundles.c.version)).scalar_subquery()
        connection.execute(delete(trust_bundles).where(trust_bundles.c.version == newest))
    refused("LOG_DAMAGED", deployment.directory.open_core)


def test_a_file_of_addresses_that_is_damaged_is_told(deployment):
    with deployment.directory.locked():
        (deployment.service / RUNNING).write_text("{}")
        refused("NO_ADDRESSES", deployment.directory.addresses)


def test_a_check_tells_that_the_newest_checkpoint_is_gone(deployment):
    (deployment.service / HIGH_WATER).unlink()
    (damage,) = check(deployment.directory).damage
    assert damage.reason == "NO_CHECKPOINT"


async def test_an_address_that_is_taken_is_told(deployment, core):
    directory = deployment.directory
    _, address = await app._participants(directory, core, health.aio.HealthServicer())
    directory.config = replace(directory.config, borrowers_listen=address)
    with pytest.raises(CredproofError) as caught:
        await app._borrowers(directory, core, health.aio.HealthServicer())
    assert caught.value.reason == "NO_ADDRESS"


def test_a_service_that_ends_before_it_listens_is_told():
    command = [sys.executable, "-c", "print('no service')"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        refused("NOT_STARTED", lambda: demo._await_start(process, "service"))


# -- stored rows


@pytest.mark.parametrize(
    "change",
    [
        lambda sealed: KEY.open("consent", b"name", sealed),
        lambda sealed: KEY.open("answer", b"other", sealed),
        lambda sealed: KEY.open("answer", b"name", sealed[:-1]),
        lambda sealed: KEY.open("answer", b"name", b""),
        lambda sealed: DataKey(b"\x01" * 32).open("answer", b"name", sealed),
    ],
    ids=["other kind", "other name", "shorter", "empty", "other key"],
)
def test_a_row_opens_only_as_what_it_was_sealed(change):
    sealed = KEY.seal("answer", b"name", b"figures")
    assert KEY.open("answer", b"name", sealed) == b"figures"
    refused("ROW_NOT_OPENED", lambda: change(sealed))


# -- the sequencer


def test_two_operators_who_extend_the_same_bundle_do_not_lose_a_participant(deployment):
    """Both read version n; the second to publish is told, not obeyed."""
    directory = deployment.directory
    with admission.trust_channel(directory) as channel:
        current = channel.current()
        mine, theirs = (
            replace(current.bundle, version=current.bundle.version + 1, expires_at=at)
            for at in (current.bundle.expires_at - 1, current.bundle.expires_at - 2)
        )
        root, documents = directory.root_signer(), current.documents
        channel.publish(admission.signed_bundle(root, mine, documents))
        late = admission.signed_bundle(root, theirs, documents)
        refused("TRUST_VERSION", lambda: channel.publish(late))


def test_no_checkpoint_is_signed_over_what_is_not_committed(core):
    size = core.sequencer.head.tree_size
    refused("NOT_SIGNED_YET", lambda: core.sequencer.sign(size + 1))


class Broken:
    def apply(self, tx):
        raise OSError("disk full")


def test_a_write_of_unknown_fate_is_to_be_asked_again(core):
    refused("COMMIT_FAILED", lambda: core.sequencer.submit(Broken()).result())
