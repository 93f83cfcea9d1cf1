"""What a service gives out so that clients find its trust bundle: made, renewed, kept, changed."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.cli.advice import next_step
from credproof.home import read_public
from credproof.updating import metadata as tuf
from credproof.updating.own_keys import sign_keys
from credproof_server import admission, directory, roots
from credproof_server.app import TRUST_HEALTH, _renew_once
from credproof_server.backups import making, refilling, restoring
from credproof_server.checking import check
from credproof_server.service.core import Core
from grpc_health.v1 import health, health_pb2
from tuf.api.metadata import Metadata, Root

from tests.cli.command import run
from tests.deployment import Deployment

DAY_S = 24 * 3600
KEYS = ("offline-root/root.key", "operator/signing.key", "operator-2/signing.key")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Deployment:
    """One service for all, which each test copies."""
    found = Deployment(tmp_path_factory.mktemp("made"))
    found.admit("provider", "bank")
    return found


@pytest.fixture
def service(made, tmp_path) -> Path:
    return Path(shutil.copytree(made.service, tmp_path / "service"))


@contextmanager
def opened(service: Path) -> Iterator[Core]:
    core = directory.ServiceDirectory(service).open_core()
    try:
        yield core
    finally:
        core.close()


def at(monkeypatch, days: float) -> None:
    """The service's clock goes ahead by so many days."""
    now = directory.now()
    monkeypatch.setattr(directory, "now", lambda: now + int(days * DAY_S))


def versions(service: Path) -> tuple[int, int]:
    """Of snapshot and timestamp."""
    found = {item.role: item.version for item in roots.standings(service)}
    return found["snapshot"], found["timestamp"]


def reason(call, *arguments, **settings) -> str:
    with pytest.raises(CredproofError) as caught:
        call(*arguments, **settings)
    return caught.value.reason


def changed(service: Path, *keys: str, **changes) -> bytes:
    """The next root, signed by keys of these names."""
    data = tuf.to_bytes(roots.draft(service, **changes))
    for name in keys:
        data = tuf.to_bytes(roots.sign(data, roots.read_key(service / name)))
    return data


# -- what init makes


def test_two_of_three_keys_sign_roots_and_the_service_holds_none_of_two(service):
    found = {item.role: item for item in roots.standings(service)}
    assert (found["root"].threshold, len(found["root"].keys)) == (2, 3)
    own = directory.ServiceDirectory(service).keys
    online = found["timestamp"].keys[0]
    assert own.has(f"tuf-{online}")
    assert found["snapshot"].keys == (online,)
    assert online not in (*found["root"].keys, *found["targets"].keys)
    assert {roots.read_key(service / name).public.kid for name in KEYS} == set(found["root"].keys)


def test_the_offline_key_is_needed_for_each_new_bundle(service):
    found = {item.role: item for item in roots.standings(service)}
    assert found["targets"].keys == (roots.read_key(service / KEYS[0]).public.kid,)


def test_a_service_of_an_older_version_begins_once(service):
    shutil.rmtree(service / "tuf")
    assert reason(roots.standings, service) == "NO_TUF"
    assert reason(roots.draft, service) == "NO_TUF"
    (lost,) = check(directory.ServiceDirectory(service)).damage
    assert (lost.what, lost.reason) == ("metadata", "NO_TUF"), "clients find no bundle"
    roots.begin(service)
    assert roots.standings(service)[0].version == 1
    assert reason(roots.begin, service) == "NO_CHANGE"
    assert not check(directory.ServiceDirectory(service)).damage


# -- renewing


def test_snapshot_and_timestamp_are_signed_anew_when_half_of_their_life_is_over(
    service, monkeypatch
):
    first = versions(service)
    for days, renewed in ((0.4, (False, False)), (0.6, (False, True)), (4, (True, True))):
        with monkeypatch.context() as patch:
            at(patch, days)
            copy = shutil.copytree(service, service.with_name(f"copy-{days}"))
            with opened(copy) as core:
                core.distribution.renew(core.trust)
        found = versions(copy)
        assert tuple(now > then for now, then in zip(found, first, strict=True)) == renewed


async def test_health_and_status_tell_a_month_before_people_must_sign(service, monkeypatch):
    checks = health.aio.HealthServicer()
    for days, told in ((300, "SERVING"), (340, "NOT_SERVING")):
        with monkeypatch.context() as patch:
            at(patch, days)
            with opened(service) as core:
                await _renew_once(core, checks)
                due = [
                    item.role for item in roots.standings(service) if item.ends_soon(core.clock())
                ]
        asked = health_pb2.HealthCheckRequest(service=TRUST_HEALTH)
        reply = await checks.Check(asked, None)
        assert reply.status == health_pb2.HealthCheckResponse.ServingStatus.Value(told)
        assert due == ([] if told == "SERVING" else ["root", "targets"])


async def test_a_service_that_cannot_renew_says_so_and_goes_on(service, caplog):
    checks = health.aio.HealthServicer()
    with opened(service) as core:
        for path in (service / "keys").glob("tuf-*"):
            path.unlink()
        for path in (service / "tuf").glob("*.snapshot.json"):
            path.unlink()
        await _renew_once(core, checks)
    assert json.loads(caplog.messages[-1])["reason"] == "KEY_MISSING"


def test_extending_signs_bundle_and_targets_for_another_year(service):
    before = roots.standings(service)[1]
    trust = roots.extend(service, root_key=service / KEYS[0])
    after = roots.standings(service)[1]
    assert after.role == "targets"
    assert after.version > before.version
    assert after.expires_at == trust.bundle.expires_at >= before.expires_at


@pytest.mark.parametrize("bundle_key", [False, True])
def test_what_has_expired_is_signed_anew_by_whom_it_may_be(service, monkeypatch, bundle_key):
    """The root first, under targets that have expired too; a root key that was lost meanwhile."""
    fresh = roots.new_key(service / "fresh.key") if bundle_key else None
    key = "fresh.key" if bundle_key else KEYS[0]
    now = directory.now()
    for module in (directory, roots, admission):
        monkeypatch.setattr(module, "now", lambda: now + 366 * DAY_S)
    standings = roots.standings(service)[:2]
    assert all(item.has_expired(directory.now()) for item in standings)
    data = changed(service, *KEYS[1:], key, bundle_key=fresh)
    roots.publish(service, data, root_key=service / key)
    roots.extend(service, root_key=service / key)
    assert not any(item.has_expired(directory.now()) for item in roots.standings(service))


# -- changing the root


def test_a_threshold_of_three_needs_all_three_from_then_on(service):
    data = changed(service, *KEYS[:2], threshold=3)
    assert reason(roots.publish, service, data) == "TUF_NOT_SIGNED"
    data = changed(service, *KEYS, threshold=3)
    assert roots.publish(service, data).version == 2
    assert reason(roots.publish, service, changed(service, *KEYS[:2])) == "TUF_NOT_SIGNED"
    assert roots.publish(service, changed(service, *KEYS)).version == 3


def test_who_lacks_how_many_signatures_is_told(service):
    fresh = roots.new_key(service / "third.key")
    removed = [roots.read_key(service / name).public.kid for name in KEYS[1:]]
    for keys, lacks in (
        (KEYS[:1], "1 more by the keys of the root in force"),
        (KEYS[:2], "1 more by its own keys"),
    ):
        data = changed(service, *keys, add=[fresh], remove=removed)
        with pytest.raises(CredproofError, match=lacks) as caught:
            roots.publish(service, data)
        assert caught.value.reason == "TUF_NOT_SIGNED"
        assert next_step(caught.value) is None, "the message says what to do"


def test_signatures_of_something_else_are_not_called_missing_only(service):
    """Whoever waits for signatures that are in the file already waits for ever."""
    data = changed(service, *KEYS[:2])
    altered = re.sub(
        rb'("expires":".{14}).', lambda m: m[1] + (b"1" if m[0][-1:] == b"0" else b"0"), data
    )
    with pytest.raises(CredproofError, match="are of something else") as caught:
        roots.publish(service, altered)
    assert caught.value.reason == "TUF_NOT_SIGNED"


@pytest.mark.parametrize(("member", "value"), [(b"version", b"7"), (b"threshold", b"1")])
def test_a_draft_that_was_changed_after_somebody_signed_it_is_signed_by_nobody_more(
    service, member, value
):
    """Else the second person believes that the first has agreed to what it shows."""
    data = changed(service, KEYS[0])
    found = re.sub(b'"%s":[0-9]+' % member, b'"%s":%s' % (member, value), data)
    assert found != data
    assert reason(roots.sign, found, roots.read_key(service / KEYS[1])) == "DRAFT_CHANGED"


def test_a_key_that_the_next_root_does_not_name_is_told_so(service, tmp_path):
    draft = tmp_path / "next.root.json"
    run("root", "draft", service, "-o", draft)
    before = draft.read_bytes()
    assert "NOT_EMPTY" in run("root", "draft", service, "-o", draft, code=2)
    assert draft.read_bytes() == before, "others may have signed it"
    kid = roots.new_key(tmp_path / "stranger.key").kid
    told = run("root", "sign", draft, "--key", tmp_path / "stranger.key")
    assert f"{kid}, which this root does not name: counts if the one before does" in told


def test_a_key_that_was_removed_signs_no_more(service):
    gone = roots.read_key(service / KEYS[1]).public.kid
    roots.publish(service, changed(service, KEYS[0], KEYS[2], remove=[gone]))
    assert reason(roots.publish, service, changed(service, *KEYS[:2])) == "TUF_NOT_SIGNED"
    assert roots.publish(service, changed(service, KEYS[0], KEYS[2])).version == 3


def test_a_key_that_was_added_counts(service):
    fresh = roots.new_key(service / "third.key")
    assert reason(roots.new_key, service / "third.key") == "NOT_EMPTY"
    assert read_public(service / "third.key.pub") == fresh
    roots.publish(service, changed(service, *KEYS[:2], add=[fresh]))
    assert roots.publish(service, changed(service, "third.key", KEYS[2])).version == 3


def test_the_service_gets_a_new_key_of_its_own(service):
    old = roots.standings(service)[3].keys
    roots.publish(service, changed(service, *KEYS[:2], online_key=True))
    found = {item.role: item for item in roots.standings(service)}
    assert found["timestamp"].keys != old
    assert not check(directory.ServiceDirectory(service)).damage


def test_a_root_that_names_a_key_which_the_service_does_not_hold_is_refused(service):
    root = roots.draft(service)
    stranger = Ed25519Signer(bytes(32)).public
    (old,) = tuf.keys_of(root.signed, "timestamp")
    for role in ("snapshot", "timestamp"):
        tuf.exchange(root.signed, role, old, stranger)
    assert reason(roots.publish, service, signed(service, root)) == "NO_ONLINE_KEY"


def signed(service: Path, root: Metadata[Root]) -> bytes:
    for name in KEYS[:2]:
        tuf.add_signature(root, roots.read_key(service / name))
    return tuf.to_bytes(root)


def two_bundle_keys(root: Root) -> None:
    root.add_key(tuf.tuf_key(Ed25519Signer(bytes(32)).public), "targets")


def too_long(root: Root) -> None:
    root.expires = tuf.date(directory.now() + 500 * DAY_S)


def forgetful(root: Root) -> None:
    root.unrecognized_fields["bundle_keys"] = ["00" * 32, *tuf.bundle_key_list(root)]


def silent(root: Root) -> None:
    root.unrecognized_fields.clear()


def without_snapshots(root: Root) -> None:
    root.consistent_snapshot = False


@pytest.mark.parametrize(
    "change", [two_bundle_keys, too_long, forgetful, silent, without_snapshots]
)
def test_a_root_by_which_nobody_could_go_on_is_refused(service, change):
    root = roots.draft(service)
    change(root.signed)
    assert reason(roots.publish, service, signed(service, root)) == "BAD_METADATA"


def test_a_root_of_another_version_or_that_has_expired_is_refused(service):
    root = roots.draft(service)
    root.signed.version = 3
    assert reason(roots.publish, service, signed(service, root)) == "TUF_VERSION"
    root = roots.draft(service)
    root.signed.expires = tuf.date(directory.now() - DAY_S)
    assert reason(roots.publish, service, signed(service, root)) == "TUF_EXPIRED"


def test_the_key_that_signs_bundles_must_have_signed_the_root_that_names_it(service):
    """Whoever joins later pins it, and looks for that root."""
    fresh = roots.new_key(service / "fresh.key")
    data = changed(service, *KEYS[:2], bundle_key=fresh)
    at_hand = {"root_key": service / "fresh.key"}
    assert reason(roots.publish, service, data, **at_hand) in ("TUF_NOT_SIGNED", "TUF_NOT_BOUND")
    data = changed(service, *KEYS[:2], KEYS[2], bundle_key=fresh)
    with pytest.raises(CredproofError, match="root sign") as caught:
        roots.publish(service, data, **at_hand)
    assert caught.value.reason == "TUF_NOT_BOUND"
    assert next_step(caught.value) is None, "nobody lied to the operator"
    data = changed(service, *KEYS, "fresh.key", bundle_key=fresh)
    assert roots.publish(service, data, **at_hand).version == 2
    assert directory.ServiceDirectory(service).root() == fresh


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threshold": 4}, "BAD_THRESHOLD"),
        ({"threshold": 0}, "BAD_THRESHOLD"),
        ({"remove": ["0" * 32]}, "NO_SUCH_KEY"),
    ],
)
def test_a_draft_that_makes_no_sense_is_refused(service, changes, why):
    assert reason(roots.draft, service, **changes) == why


def test_a_file_that_holds_no_key_is_told_so(service):
    assert reason(roots.read_key, service / "nothing") == "NO_ROOT_KEY"
    assert reason(roots.read_key, service / "root.json") == "NO_ROOT_KEY"
    with pytest.raises(CredproofError, match="No such file"):
        roots.read_key(service / "nothing")
    for name in (KEYS[1], "nothing"):
        with pytest.raises(CredproofError, match=name) as caught:
            read_public(service / name)
        assert caught.value.reason == "BAD_JWK", "a private key, not the .pub beside it"


# -- what is kept


def test_check_names_metadata_that_is_damaged(service):
    found = directory.ServiceDirectory(service)
    assert not check(found).damage
    for pattern in ("*.snapshot.json", "*.targets.json", "timestamp.json", "1.root.json"):
        for path in (service / "tuf").glob(pattern):
            whole = path.read_bytes()
            if "." in path.stem and path.name != newest(service, path):
                continue  # nobody is given older ones any more
            path.write_bytes(whole.replace(b'"version":', b'"version":1'))
            (damage,) = check(found).damage
            assert (damage.what, damage.reason) == ("metadata", "METADATA_DAMAGED")
            path.write_bytes(whole)


def newest(service: Path, path: Path) -> str:
    role = path.name.split(".")[1]
    found = (service / "tuf").glob(f"*.{role}.json")
    return max(found, key=lambda path: int(path.name.split(".")[0])).name


def test_a_restored_service_goes_on_after_what_its_clients_have_seen(service, tmp_path):
    """Else a restore would look to them like the rollback that it is not."""
    found = directory.ServiceDirectory(service)
    making.back_up(found, tmp_path / "main", tmp_path / "keys")
    roots.publish(service, changed(service, *KEYS[:2], online_key=True))
    seen = versions(service)
    restoring.restore(service, tmp_path / "main", tmp_path / "keys", None)
    assert not check(found).damage
    assert [item.role for item in roots.standings(service)] == ["root", "targets", "snapshot"]
    with opened(service) as core:
        core.distribution.renew(core.trust)
    assert roots.standings(service)[0].version == 2, "the newer root is not lost"
    assert min(versions(service)) >= max(seen)
    assert not check(found).damage


def test_a_service_without_metadata_is_backed_up_too(service, tmp_path):
    shutil.rmtree(service / "tuf")
    making.back_up(directory.ServiceDirectory(service), tmp_path / "main", tmp_path / "keys")
    restoring.restore(service, tmp_path / "main", tmp_path / "keys", None)
    assert reason(roots.standings, service) == "NO_TUF"


def test_a_bundle_whose_targets_are_lost_is_named_by_new_ones(service):
    for path in (service / "tuf").glob("*.targets.json"):
        path.unlink()
    with opened(service) as core:
        assert reason(core.distribution.renew, core.trust) == "NO_TARGETS"
    roots.extend(service)
    assert not check(directory.ServiceDirectory(service)).damage


def test_a_service_restored_on_an_empty_disk_goes_on_by_the_clock(
    made, service, tmp_path, monkeypatch
):
    """Nothing there says what its clients have seen since the backup."""
    making.back_up(directory.ServiceDirectory(service), tmp_path / "main", tmp_path / "keys")
    with opened(service) as core:
        trust, given = core.trust, core.distribution
        for number in range(3):
            fresh = Ed25519Signer(bytes([number]) * 32).public
            data = sign_keys(made.home("bank"), [fresh], (), now=directory.now())
            signed_keys = tuf.parse_any(data, "provider-bank")
            signed_keys.signed.version = number + 1
            signed_keys.signed.unrecognized_fields["before"] = number
            tuf.add_signature(signed_keys, made.home("bank").signer)
            given.accept({"provider-bank": tuf.to_bytes(signed_keys)}, trust)
            given.renew(trust)
    seen = versions(service)
    shutil.rmtree(service / "tuf")
    restoring.restore(service, tmp_path / "main", tmp_path / "keys", None)
    at(monkeypatch, 0.01)
    directory.ServiceDirectory(service).distribution().renew(trust)
    assert min(versions(service)) > max(seen)


@pytest.fixture
def exported(made, service, tmp_path) -> Path:
    """A service that is lost after an export; what its clients saw was published after the backup.

    Restored from the backup, not yet from the export.
    """
    making.back_up(directory.ServiceDirectory(service), tmp_path / "main", tmp_path / "keys")
    size = directory.ServiceDirectory(service).log_head()[0]
    roots.publish(service, changed(service, *KEYS[:2], online_key=True))
    roots.extend(service)
    with opened(service) as core:
        data = sign_keys(made.home("bank"), (), (), now=directory.now())
        core.distribution.accept({"provider-bank": data}, core.trust)
        core.distribution.renew(core.trust)
    making.export(directory.ServiceDirectory(service), tmp_path / "since.db", size)
    lost = Path(shutil.move(service, tmp_path / "lost"))
    service.mkdir()
    shutil.copy(lost / "kek", service)
    restoring.restore(service, tmp_path / "main", tmp_path / "keys", lost / "high-water")
    return tmp_path / "since.db"


def test_an_export_brings_back_what_clients_have_seen_since_the_backup(exported, service, tmp_path):
    """Else they refuse what the restored service gives: it would be a rollback."""
    refilling.refill(directory.ServiceDirectory(service), exported)
    assert not check(directory.ServiceDirectory(service)).damage
    with opened(service) as core:
        core.distribution.renew(core.trust)
    before, after = ({s.role: s for s in roots.standings(d)} for d in (tmp_path / "lost", service))
    assert before.keys() == after.keys() > {"provider-bank"}
    for role in before.keys() - {"snapshot", "timestamp"}:
        assert after[role] == before[role]
    assert after["snapshot"].keys == before["snapshot"].keys
    assert after["snapshot"].version > before["snapshot"].version


def test_an_export_of_an_older_version_needs_new_targets_and_check_says_how(exported, service):
    with closing(sqlite3.connect(exported)) as database, database:
        database.execute("DROP TABLE files")
    found = directory.ServiceDirectory(service)
    refilling.refill(found, exported)
    (damage,) = check(found).damage
    assert "credproof root extend" in damage.message
    shutil.copytree(service.with_name("lost") / "offline-root", service / "offline-root")
    roots.extend(service)
    assert not check(found).damage


def test_an_export_that_names_another_place_for_a_file_is_refused_and_writes_nothing(
    exported, service
):
    before = {path: path.read_bytes() for path in service.rglob("*") if path.is_file()}
    for name in ("kek", "tuf/../kek", "keys/log.key", "../tuf/1.root.json", "/tuf/1.root.json"):
        with closing(sqlite3.connect(exported)) as database, database:
            database.execute("DELETE FROM files")
            database.execute("INSERT INTO files VALUES (?, x'00')", (name,))
        assert reason(refilling.refill, directory.ServiceDirectory(service), exported) == (
            "EXPORT_DIFFERS"
        )
    assert {path: path.read_bytes() for path in before} == before
