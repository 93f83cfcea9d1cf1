"""Finding the newest trust bundle: what a service can give instead, and how that is told."""

from __future__ import annotations

import datetime as dt
import shutil
from dataclasses import replace
from types import SimpleNamespace

import pytest
from credproof.base.errors import CredproofError
from credproof.base.keys import Ed25519Signer
from credproof.base.limits import (
    ROOT_CHAIN_MAX,
    ROOT_METADATA_BYTES_MAX,
    TIMESTAMP_METADATA_BYTES_MAX,
)
from credproof.roots import roots_of
from credproof.updating import metadata as tuf
from credproof.wire.trust import package_of
from tuf.api.metadata import MetaFile
from tuf.ngclient._internal import trusted_metadata_set

from tests.updating.chain import DAY_S, ONLINE, OPERATORS, STRANGER, Chain, Client
from tests.world import signer_of


def test_the_newest_bundle_is_found_and_not_fetched_twice(chain, client):
    assert client.update().trust.token == chain.trust.token
    assert chain.asked == [("root", 2), ("timestamp", 0)]

    chain.publish()
    assert client.update().trust.bundle.version == chain.trust.bundle.version
    assert chain.asked[-1] == ("bundle", 0)


def test_a_service_that_publishes_meanwhile_is_asked_once_more(chain, client):
    old, package = chain.files.newest("timestamp"), package_of(chain.trust)
    chain.publish()
    chain.lies["timestamp", 0] = old

    def publishing() -> object:
        chain.lies.clear()
        return package_of(chain.trust)

    client.kept, chain.package = None, publishing
    assert client.update().trust.bundle.version == chain.trust.bundle.version
    assert package.token != chain.trust.token


# -- rollback


def test_an_older_timestamp_is_refused(chain, client):
    old = chain.files.newest("timestamp")
    chain.publish()
    client.update()
    chain.lies["timestamp", 0] = old
    assert client.refused() == "TUF_ROLLBACK"


def test_a_new_timestamp_of_an_older_snapshot_is_refused(chain, client):
    old = chain.newest("timestamp").snapshot_meta
    chain.publish()
    client.update()

    def rolled(timestamp) -> None:
        timestamp.version, timestamp.snapshot_meta = timestamp.version + 1, old

    chain.lies["timestamp", 0] = chain.forged("timestamp", rolled)
    assert client.refused() == "TUF_ROLLBACK"


def snapshot_lie(chain: Chain, change) -> None:
    """A new snapshot, changed, and a timestamp that names it; both truly signed."""
    version = chain.newest("snapshot").version + 1

    def changed(snapshot) -> None:
        snapshot.version = version
        change(snapshot)

    data = chain.forged("snapshot", changed)

    def named(timestamp) -> None:
        timestamp.version += 1
        timestamp.snapshot_meta = MetaFile.from_data(version, data, ["sha256"])

    chain.lies["snapshot", version] = data
    chain.lies["timestamp", 0] = chain.forged("timestamp", named)


def test_a_new_snapshot_of_older_targets_is_refused(chain, client):
    old = chain.newest("snapshot").meta
    chain.publish()
    client.update()
    snapshot_lie(chain, lambda snapshot: snapshot.meta.update(old))
    assert client.refused() == "TUF_ROLLBACK"


def test_a_snapshot_that_leaves_out_what_it_named_before_is_refused(chain, client):
    chain.accept({"provider-bank": chain.key_set()})
    client.update()
    snapshot_lie(chain, lambda snapshot: snapshot.meta.pop("provider-bank.json"))
    assert client.refused() == "TUF_ROLLBACK"


def test_new_targets_of_an_older_bundle_are_refused(chain, client):
    """Whoever has the root key can sign them; who has seen more takes nothing less."""
    old = chain.trust
    chain.publish()
    client.update()
    chain.trust = old
    chain.accept({"targets": chain.targets()})
    assert client.refused() == "TRUST_ROLLBACK"


# -- freeze


@pytest.mark.parametrize(("days", "role"), [(2, "timestamp"), (400, "root")])
def test_what_is_not_renewed_in_time_is_refused(tmp_path, days, role):
    chain = Chain(tmp_path / "service")
    chain.time -= days * DAY_S
    chain.begin()
    if role == "root":
        chain.time += days * DAY_S
        chain.distribution.renew(chain.trust)
    assert told(Client(tmp_path / "home", chain)) == ("TUF_EXPIRED", role)


@pytest.mark.parametrize(("days", "role"), [(2, "timestamp"), (400, "root")])
def test_what_expires_while_nothing_new_is_given_is_named(client, monkeypatch, days, role):
    class Later(dt.datetime):
        @classmethod
        def now(cls, tz=None) -> dt.datetime:
            return super().now(tz) + dt.timedelta(days)

    clock = SimpleNamespace(datetime=Later, timezone=dt.timezone)
    monkeypatch.setattr(trusted_metadata_set, "datetime", clock)
    assert told(client) == ("TUF_EXPIRED", role)


def told(client: Client) -> tuple[str, str]:
    """The reason why it refuses what it is given, and whose metadata that is."""
    with pytest.raises(CredproofError) as caught:
        client.update()
    return caught.value.reason, caught.value.message.split()[3]


def test_a_client_that_is_kept_from_what_is_new_notices_within_a_day(chain, client, monkeypatch):
    chain.time -= 2 * DAY_S  # what it gives from now on is of then

    def dated(timestamp) -> None:
        timestamp.version += 1
        timestamp.expires = tuf.date(chain.time + DAY_S)

    chain.lies["timestamp", 0] = chain.forged("timestamp", dated)
    assert client.refused() == "TUF_EXPIRED"


# -- mix and match


def test_a_snapshot_of_another_moment_is_refused(chain, client):
    chain.publish()
    first = chain.files.newest("snapshot")
    chain.publish()
    chain.lies["snapshot", chain.newest("snapshot").version] = first
    assert client.refused() == "TUF_MIXED"


def test_targets_of_another_moment_are_refused(chain, client):
    chain.publish()
    first = chain.files.newest("targets")
    chain.publish()
    chain.lies["targets", chain.newest("targets").version] = first
    assert client.refused() == "TUF_MIXED"


def test_another_bundle_than_the_targets_name_is_refused(chain, client):
    older = package_of(chain.trust)
    chain.publish()
    chain.other = older
    client.kept = None
    assert client.refused() == "TUF_MIXED"


# -- endless, withheld, garbage


@pytest.mark.parametrize(
    ("role", "limit"),
    [("timestamp", TIMESTAMP_METADATA_BYTES_MAX), ("root", ROOT_METADATA_BYTES_MAX)],
)
def test_endless_metadata_is_cut_off(chain, client, role, limit):
    chain.lies[role, 0 if role == "timestamp" else 2] = b" " * (limit + 1)
    assert client.refused() == "TUF_TOO_LONG"


def test_a_snapshot_longer_than_the_timestamp_says_is_cut_off(chain, client):
    chain.publish()
    version = chain.newest("snapshot").version
    chain.lies["snapshot", version] = chain.files.newest("snapshot") + b" "
    assert client.refused() == "TUF_TOO_LONG"


def test_a_chain_without_end_is_given_up(tmp_path):
    chain = Chain(tmp_path / "service").begin()
    first = chain.files.newest("root")
    chain.lies = {("root", version): first for version in range(1, ROOT_CHAIN_MAX + 10)}
    client = Client(tmp_path / "home", chain, pinned=STRANGER.public)
    assert client.refused() == "TUF_NOT_BOUND"
    assert len(chain.asked) == ROOT_CHAIN_MAX


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_metadata_that_is_withheld_is_told_so(chain, client, role):
    chain.publish()
    version = 0 if role == "timestamp" else chain.newest(role).version
    chain.lies[role, version] = b""
    assert client.refused() == "TUF_WITHHELD"


@pytest.mark.parametrize("data", [b"\x00", b"{}", b"[" * 10_000, b'{"signatures":[],"signed":{}}'])
def test_garbage_is_refused(chain, client, data):
    chain.lies["timestamp", 0] = data
    assert client.refused() == "BAD_METADATA"


# -- roots


def test_roots_are_followed_over_several_versions_to_entirely_other_keys(chain, client):
    signers = [chain.root, *OPERATORS]
    for number in range(3):
        fresh = Ed25519Signer(bytes([number + 1]) * 32)
        old = signers.pop(0)

        def exchanged(root, old=old, fresh=fresh) -> None:
            if old is chain.root:
                tuf.set_bundle_key(root, fresh.public)
            else:
                tuf.exchange(root, "root", old.public, fresh.public)

        items = {"root": chain.next_root(old, *signers, fresh, change=exchanged)}
        if old is chain.root:
            chain.root = fresh
            items["targets"] = chain.targets()
        signers.append(fresh)
        chain.accept(items)
    chain.publish()
    assert client.update().trust.bundle.version == chain.trust.bundle.version
    assert chain.asked[:4] == [("root", version) for version in (2, 3, 4, 5)]
    assert chain.root.public.kid == tuf.keys_of(chain.distribution.root(), "targets")[0].kid


def by_stranger(chain: Chain) -> bytes:
    def taken_over(root) -> None:
        root.add_key(tuf.tuf_key(STRANGER.public), "root")
        root.roles["root"].threshold = 1

    return chain.next_root(STRANGER, change=taken_over)


def by_too_few_of_before(chain: Chain) -> bytes:
    """The new root asks for one signature only, and says so itself."""

    def lowered(root) -> None:
        root.roles["root"].threshold = 1

    return chain.next_root(OPERATORS[0], change=lowered)


def by_too_few_of_itself(chain: Chain) -> bytes:
    def raised(root) -> None:
        root.roles["root"].threshold = 3

    return chain.next_root(chain.root, OPERATORS[0], change=raised)


def with_one_signer_twice(chain: Chain) -> bytes:
    return chain.next_root(OPERATORS[0], OPERATORS[0])


def by_the_online_key(chain: Chain) -> bytes:
    return chain.next_root(ONLINE, OPERATORS[0])


UNSIGNED = [
    by_stranger,
    by_too_few_of_before,
    by_too_few_of_itself,
    with_one_signer_twice,
    by_the_online_key,
]


@pytest.mark.parametrize("make", UNSIGNED)
def test_a_root_that_too_few_of_the_right_keys_signed_is_refused_by_service_and_client(
    chain, client, make
):
    """The client's judge is python-tuf itself."""
    data = make(chain)
    with pytest.raises(Exception, match="lacks signatures") as caught:
        chain.accept({"root": data})
    assert caught.value.reason == "TUF_NOT_SIGNED"
    chain.lies["root", 2] = data
    assert client.refused() == "TUF_NOT_SIGNED"
    chain.lies.clear()
    assert client.update().trust.token == chain.trust.token, "nothing of it was kept"


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_what_the_wrong_key_signed_is_refused(chain, client, role):
    chain.publish()
    version = 0 if role == "timestamp" else chain.newest(role).version
    if role == "timestamp":
        chain.lies[role, version] = chain.forged(role, lambda _signed: None, STRANGER)
        assert client.refused() == "TUF_NOT_SIGNED"
    else:  # whatever is named by hash cannot be exchanged at all
        chain.lies[role, version] = chain.forged(role, lambda _signed: None, STRANGER)
        assert client.refused() in ("TUF_MIXED", "TUF_TOO_LONG")


def test_targets_by_another_key_are_refused_when_the_online_key_has_leaked_too(chain, client):
    chain.root = STRANGER
    data = chain.targets(chain.trust)
    version = chain.newest("targets").version + 1
    chain.lies["targets", version] = data
    meta = {"targets.json": MetaFile.from_data(version, data, ["sha256"])}
    snapshot_lie(chain, lambda snapshot: snapshot.meta.update(meta))
    assert client.refused() == "TUF_NOT_SIGNED"


def test_a_root_given_for_another_version_is_refused(chain, client):
    chain.lies["root", 2] = chain.files.newest("root")
    assert client.refused() == "TUF_ROLLBACK"


# -- where a chain begins


def test_a_key_that_is_pinned_later_is_found_in_the_chain(tmp_path, chain):
    fresh = signer_of("fresh")

    def exchanged(root) -> None:
        tuf.set_bundle_key(root, fresh.public)

    root = chain.next_root(chain.root, OPERATORS[0], fresh, change=exchanged)
    old, chain.root = chain.root, fresh
    chain.accept({"root": root, "targets": chain.targets()}).publish()
    late = Client(tmp_path / "late", chain, pinned=fresh.public)
    assert late.update().trust.bundle.version == chain.trust.bundle.version
    known = roots_of(tmp_path / "late", fresh.public)
    assert set(known) == {fresh.public, old.public}, "history by the old one still verifies"


def test_another_root_than_the_pinned_one_is_refused(tmp_path, chain):
    client = Client(tmp_path / "home", chain, pinned=STRANGER.public)
    assert client.refused() == "TUF_NOT_BOUND"


def test_a_root_that_names_the_pinned_key_without_its_signature_is_refused(tmp_path, chain):
    first = tuf.parse_any(chain.files.read("root", 1), "root")
    first.signatures.pop(chain.root.public.kid)
    tuf.add_signature(first, OPERATORS[1])
    chain.lies["root", 1] = tuf.to_bytes(first)
    assert Client(tmp_path / "home", chain).refused() == "TUF_NOT_BOUND"


def test_a_service_without_metadata_is_told_so(tmp_path):
    chain = Chain(tmp_path / "service")
    assert Client(tmp_path / "home", chain).refused() == "NO_TUF"


def test_a_service_that_has_lost_its_metadata_does_not_bring_a_client_back_to_less(chain, client):
    shutil.rmtree(chain.files.folder)
    assert client.refused() == "TUF_WITHHELD"


def test_an_interrupted_update_is_repaired_by_the_next(chain, client):
    """python-tuf exchanges a link in two steps: a client may be killed between them."""
    (client.state.folder / "root.json").unlink()
    assert client.update().trust.token == chain.trust.token


def test_the_bundle_in_force_is_one_that_a_key_of_the_chain_has_signed(chain, client):
    """Targets alone are no bundle: who has only their key cannot make one."""
    stranger = chain.bundle(replace(chain.trust.bundle, version=9), signer=STRANGER)
    chain.trust = stranger
    chain.accept({"targets": chain.targets(stranger)})
    assert client.refused() == "WRONG_ROOT"


def test_targets_of_a_commit_that_failed_are_never_in_force(chain, client):
    """They are kept before the commit; what is given out still names the bundle in force."""
    there, bundle = chain.trust, chain.trust.bundle
    failed = chain.bundle(replace(bundle, version=bundle.version + 1))
    chain.distribution.accept({"targets": chain.targets(failed)}, failed)
    chain.distribution.renew(there)
    assert client.update().trust.token == there.token

    chain.publish()
    assert client.update().trust.token == chain.trust.token


def test_a_root_that_was_only_half_published_changes_nothing(chain, client):
    """Targets by its new key are kept first: until the root is, the old ones stay in force."""
    chain.root = STRANGER
    before = chain.newest("targets").version
    chain.files.write("targets", before + 1, chain.targets())
    chain.distribution.renew(chain.trust)
    assert client.update().trust.token == chain.trust.token
    assert chain.newest("snapshot").meta["targets.json"].version == before
