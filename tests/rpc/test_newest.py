"""The newest trust bundle from a real service, that lies by what lies in its folder of metadata."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from credproof import borrower as borrowers
from credproof.auditor import Auditor
from credproof.base.errors import CredproofError, Refused
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.base.limits import TIMESTAMP_METADATA_BYTES_MAX
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect
from credproof.home import Home, read_public
from credproof.roots import state_folder
from credproof.session import Service
from credproof.updating import metadata as tuf
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.participant import NEVER
from credproof.wire.errors import from_call
from credproof.wire.trust import package_of
from credproof_server import admission, roots
from credproof_server.demo.world import World
from credproof_server.directory import ROOT_KEY, ServiceDirectory, now
from credproof_server.service.distribution import key_name
from tuf.api.metadata import Root, Targets

from tests.rpc.conftest import LENDER, PROVIDER, Running
from tests.rpc.registry import participant, publish
from tests.rpc.takeover import Listed, connected, reason, run
from tests.world import signer_of

STRANGER = signer_of("stranger")
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    world = World(tmp_path_factory.mktemp("newest"))
    world.make()
    with world.served():
        world.admit(PROVIDER, "provider")
        world.admit(LENDER, "lender")
        yield Running(world)


@dataclass
class Given:
    """What the running service gives out, and what it gave before its last publication."""

    folder: Path
    before: dict[str, bytes]
    online: Ed25519Signer

    def forge(self, name: str, change, *signers: Ed25519Signer) -> None:
        """Change a file, and sign it anew: by the service's own key if nobody is named."""
        found = tuf.parse_any((self.folder / name).read_bytes(), name.split(".")[-2])
        found.signatures.clear()
        change(found.signed)
        for signer in signers or (self.online,):
            tuf.add_signature(found, signer)
        (self.folder / name).write_bytes(tuf.to_bytes(found))

    def newest(self, role: str) -> str:
        """The name of the newest file of a role."""
        found = self.folder.glob(f"*.{role}.json")
        return max(found, key=lambda path: int(path.name.split(".")[0])).name


@pytest.fixture
def given(running) -> Iterator[Given]:
    """A service that has just published; what is done to its files is undone in the end."""
    directory = ServiceDirectory(running.world.service)
    folder = directory.folder / "tuf"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    publish(running, lambda bundle: bundle)
    kept = {path: path.read_bytes() for path in folder.iterdir()}
    (key,) = tuf.keys_of(directory.distribution().root(), "timestamp")
    yield Given(folder, before, Ed25519Signer(directory.keys.read(key_name(key))))
    for path in set(folder.iterdir()) - set(kept):
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)


@pytest.fixture
def home(running, given, tmp_path) -> Path:
    """A provider's home that has seen the newest bundle; a copy, which may be spoiled."""
    connected(running.world.home(PROVIDER))
    return copied(running, tmp_path)


def copied(running, tmp_path) -> Path:
    return Path(shutil.copytree(running.world.home(PROVIDER), tmp_path / "home", symlinks=True))


# -- a service that lies


def test_rollback_an_old_timestamp(given, home):
    (given.folder / "timestamp.json").write_bytes(given.before["timestamp.json"])
    assert reason(home) == "TUF_ROLLBACK"


def test_freeze_a_timestamp_that_is_not_renewed(given, home):
    def dated(timestamp) -> None:
        timestamp.version, timestamp.expires = timestamp.version + 1, tuf.date(1_700_000_000)

    given.forge("timestamp.json", dated)
    assert reason(home) == "TUF_EXPIRED"
    assert run("provider", "watch", "--home", home, code=1) == "TUF_EXPIRED"


def test_mix_and_match_a_snapshot_of_another_moment(running, given, tmp_path):
    before = next(data for name, data in given.before.items() if ".snapshot." in name)
    (given.folder / given.newest("snapshot")).write_bytes(before)
    home = copied(running, tmp_path)
    shutil.rmtree(home / "tuf", ignore_errors=True)  # whoever connects first has none
    assert reason(home) == "TUF_MIXED"


def test_a_wrong_threshold_a_root_that_one_person_signed(running, given, home):
    own = roots.read_key(running.world.service / "offline-root" / "root.key")
    first = tuf.parse((given.folder / "1.root.json").read_bytes(), Root, "root").signed
    root = tuf.next_root(first, 1_900_000_000)
    (given.folder / "2.root.json").write_bytes(tuf.signed(root, [own, STRANGER]))
    assert reason(home) == "TUF_NOT_SIGNED"


def test_endless_data(given, home):
    (given.folder / "timestamp.json").write_bytes(b" " * (TIMESTAMP_METADATA_BYTES_MAX + 1))
    assert reason(home) == "TUF_TOO_LONG"
    (given.folder / "timestamp.json").write_bytes(b" " * (5 * 1024 * 1024))
    assert reason(home) == "NO_ANSWER", "gRPC takes no message of such a size"


def test_withheld_metadata(given, home):
    (given.folder / "timestamp.json").unlink()
    assert reason(home) == "TUF_WITHHELD"


def test_a_bundle_that_the_metadata_do_not_name(running, given, tmp_path):
    """The operator gives one person another bundle, signed by the root, that nobody else sees."""
    home = copied(running, tmp_path)
    other = tuf.key_file("bank", STRANGER.public)

    def renamed(targets) -> None:
        targets.targets["trust.jwt"].hashes = other.hashes

    own = roots.read_key(running.world.service / "offline-root" / "root.key")
    given.forge(given.newest("targets"), renamed, own)
    assert reason(home) in ("TUF_MIXED", "TUF_TOO_LONG"), "the snapshot names it by its hash"


def test_an_auditor_notices_metadata_that_are_behind_the_log(auditor, given):
    """A newcomer, too, and before the timestamp of then has expired."""
    for path in given.folder.iterdir():
        path.unlink()
    for name, data in given.before.items():
        (given.folder / name).write_bytes(data)
    assert "TRUST_ROLLBACK" in run("audit", "follow", "--home", auditor, code=1)


def test_an_auditor_notices_a_bundle_that_the_log_did_not_put_in_force(auditor, given):
    """Signed by the root key, under a version that the log knows."""
    with Auditor.open(auditor) as opened:
        bundle, own = opened.trust.bundle, roots.read_key(given.folder.parent / ROOT_KEY)
        other = replace(bundle, issued_at=bundle.issued_at + 1)
        opened.trust = admission.signed_bundle(own, other, opened.trust.documents)
        with pytest.raises(CredproofError) as caught:
            opened.verify()
    assert caught.value.reason == "OTHER_TRUST"


def test_an_auditor_goes_on_when_a_lost_version_was_given_anew(running, auditor):
    """After a new origin the log names another bundle under the number of one that was lost."""
    kept, signer = auditor / "registry", ServiceDirectory(running.world.service).root_signer()
    with Auditor.open(auditor) as opened:
        opened.verify()
        logged, trust = (kept / "2.json").read_bytes(), opened.history().kept(2)
        other = replace(trust.bundle, issued_at=trust.bundle.issued_at + 1)
        lost = package_of(admission.signed_bundle(signer, other, trust.documents)).to_bytes()
        (kept / "2.json").write_bytes(lost)
        opened.verify(whole=True)
    assert (kept / "2.json").read_bytes() == logged
    assert (kept / "2.lost.json").read_bytes() == lost, "the root signed it"


@pytest.fixture(scope="module")
def auditor_of_all(running) -> Path:
    running.world.admit("office", "auditor")
    return running.world.home("office")


@pytest.fixture
def auditor(auditor_of_all, tmp_path) -> Path:
    """The home of an auditor who has seen nothing yet."""
    return Path(shutil.copytree(auditor_of_all, tmp_path / "office"))


# -- older homes, older services


def test_a_home_of_an_older_version_finds_the_chain_by_the_root_that_it_pins(running, tmp_path):
    home = copied(running, tmp_path)
    shutil.rmtree(home / "tuf", ignore_errors=True)
    assert connected(home) == connected(running.world.home(PROVIDER))
    (kept,) = (home / "tuf").iterdir()
    assert kept.name == Home(home).settings.root.kid


def test_a_service_of_an_older_version_is_told_so():
    call = SimpleNamespace(
        code=lambda: grpc.StatusCode.UNIMPLEMENTED, details=lambda: "", trailing_metadata=lambda: ()
    )
    assert from_call(call).reason == "SERVICE_TOO_OLD"


# -- the calls


@pytest.mark.parametrize("role", ["", "x", "provider-", "../../kek", "1.root", "Root"])
def test_a_role_that_does_not_exist_is_refused(running, role):
    with running.channel(PROVIDER) as channel, pytest.raises(CredproofError) as caught:
        Service(channel).metadata(role, 1)
    assert caught.value.reason == "BAD_ROLE"


def test_a_version_that_is_not_there_is_told_by_an_empty_reply(running):
    with running.channel(PROVIDER) as channel:
        assert Service(channel).metadata("root", 10_000) == b""
        assert Service(channel).metadata("provider-nobody", 0) == b""
        with pytest.raises(CredproofError) as caught:
            Service(channel).metadata("root", -1)
    assert caught.value.reason == "BAD_ROLE"


def publishing(running: Running, home: Home, *roles: str) -> CredproofError:
    """Why the service does not take its own first root again from this caller."""
    data = (running.world.service / "tuf" / "1.root.json").read_bytes()
    items = [pb.RoleMetadata(role=role, metadata=data) for role in roles]
    with connect(home) as channel:
        publish = RegistryServiceStub(channel).PublishTrustMetadata
        with pytest.raises(grpc.RpcError) as caught:
            publish(pb.PublishTrustMetadataRequest(items=items))
    return from_call(caught.value)


@pytest.mark.parametrize("name", [LENDER, PROVIDER])
def test_only_operators_publish_roots_and_providers_their_own_keys_only(running, name):
    assert isinstance(publishing(running, running.home(name), "root"), Refused)
    assert isinstance(publishing(running, running.home(name), "provider-other"), Refused)


def test_a_role_that_comes_twice_is_refused(running):
    operator = Home(running.world.service / "operator")
    assert publishing(running, operator, "root", "root").reason == "BAD_ROLE"


def test_a_bundle_without_targets_is_refused(running):
    directory = ServiceDirectory(running.world.service)
    with admission.trust_channel(directory) as channel:
        current = channel.current()
        fresh = replace(current.bundle, version=current.bundle.version + 1)
        trust = admission.signed_bundle(directory.root_signer(), fresh, current.documents)
        channel.metadata = lambda _role: b""
        with pytest.raises(CredproofError) as caught:
            channel.publish(trust)
    assert caught.value.reason == "NO_TARGETS"


# -- the journeys


def test_a_provider_signs_its_keys_and_the_operator_can_list_no_other(running, tmp_path):
    home, file = running.world.home(PROVIDER), tmp_path / "bank.keys.json"
    assert "none" in run("provider", "watch", "--home", home)
    run("provider", "keys", "sign", "-o", file, "--home", home)
    told = json.loads(run("provider", "keys", "publish", file, "--home", home, "--json"))
    own = Home(home).signer.public.kid
    assert told == {"key_set": [own]}
    assert json.loads(run("provider", "watch", "--home", home, "--json"))["key_set"] == [own]
    two = state_folder(home, Home(home).settings.root) / "other-bundle-3"
    two.write_bytes(b"another one of a version that was seen")
    assert "as version 3 (TRUST_FORKED)" in run("provider", "watch", "--home", home, code=1)
    two.unlink()

    keys = Home(home).trust(at=0).participants[PROVIDER].keys
    strange = participant(PROVIDER, keys=(*keys, DatedKey(STRANGER.public, 0, NEVER)))
    with pytest.raises(CredproofError) as caught:
        publish(running, strange)
    assert caught.value.reason == "KEY_NOT_SIGNED"
    assert "NO_SUCH_KEY" in run(
        "provider", "keys", "sign", "-o", file, "--known", "0" * 32, "--home", home, code=2
    )
    again = run("provider", "keys", "publish", file, "--home", home)
    assert "Published" in again, "the same once more changes nothing"

    roots.new_key(tmp_path / "next.key")
    run("provider", "keys", "sign", "-o", file, "--add", f"{tmp_path}/next.key.pub", "--home", home)
    run("provider", "keys", "publish", file, "--home", home)
    fresh = DatedKey(read_public(tmp_path / "next.key.pub"), 0, NEVER)
    publish(running, participant(PROVIDER, keys=(*keys, fresh)))
    assert len(Home(home).trust(at=0).participants[PROVIDER].keys) == 1, "not asked yet"
    assert connected(home)
    assert len(Home(home).trust(at=0).participants[PROVIDER].keys) == 2


def test_a_provider_publishes_its_keys_again_that_a_restore_lost_and_everybody_goes_on(
    running, tmp_path
):
    """Until then everybody who saw them is right to refuse, the provider itself too."""
    home, file = running.world.home(PROVIDER), tmp_path / "bank.keys.json"
    run("provider", "keys", "sign", "-o", file, "--home", home)
    run("provider", "keys", "publish", file, "--home", home)
    assert connected(home)
    found = ServiceDirectory(running.world.service)
    for path in (found.folder / "tuf").glob(f"*.provider-{PROVIDER}.json"):
        path.unlink()
    with admission.trust_channel(found) as channel:
        found.distribution().renew(channel.current())
    assert reason(home) == "TUF_ROLLBACK"

    run("provider", "keys", "publish", file, "--home", home)
    assert connected(home)
    with running.world.provider() as provider:
        assert Home(home).signer.public.kid in provider.signed_keys()


def test_a_key_that_was_signed_and_never_listed_is_taken_out_again(running, tmp_path):
    """It was lost before the operator listed it: nobody can list it any more."""
    home, file = running.world.home(PROVIDER), tmp_path / "bank.keys.json"
    gone = roots.new_key(tmp_path / "gone.key").kid
    sign = ("provider", "keys", "sign", "-o", file, "--home", home)
    for change in (("--add", f"{tmp_path}/gone.key.pub"), ("--remove", gone)):
        with running.world.provider() as provider:
            before = provider.signed_keys() or ()
        run(*sign, *change)
        run("provider", "keys", "publish", file, "--home", home)
        with running.world.provider() as provider:
            assert set(provider.signed_keys()) ^ set(before) >= {gone}
    listed = Home(home).trust(at=0).participants[PROVIDER].keys
    lost = DatedKey(read_public(tmp_path / "gone.key.pub"), 0, NEVER)
    with pytest.raises(CredproofError) as caught:
        publish(running, participant(PROVIDER, keys=(*listed, lost)))
    assert caught.value.reason == "KEY_NOT_SIGNED"
    assert run(*sign, "--remove", gone, code=2) == "NO_SUCH_KEY"
    assert run(*sign, "--remove", Home(home).signer.public.kid, code=2) == "KEY_LISTED"


@pytest.fixture
def listed(running, tmp_path) -> Listed:
    name = f"coop-{next(NUMBERS)}"
    running.world.admit(name, "provider")
    return Listed(name, running.world.home(name), tmp_path / "keys.json", signer_of(name))


def test_a_provider_signs_no_key_that_its_own_key_has_not_signed_unless_it_names_it(
    running, listed
):
    """Else it would vouch itself for what the operator listed, by whatever key set it saw."""
    sign = ("provider", "keys", "sign", "-o", listed.file, "--home", listed.home)
    publish(running, listed.change)
    connected(listed.home)
    assert run(*sign, code=1) == "KEY_NOT_KNOWN", "listed, no key set yet"
    with admission.trust_channel(ServiceDirectory(running.world.service)) as channel:
        channel.publish_metadata({listed.role: listed.key_set()})
    connected(listed.home)
    assert run(*sign, code=1) == "KEY_NOT_KNOWN", "and when the stranger has signed it"
    assert not listed.file.exists()
    own = Home(listed.home).signer.public.kid
    told = run(*sign, "--known", listed.kid)
    assert f"Key:        {own} (your home signs with it)" in told
    assert f"Key:        {listed.kid}" in told
    run("provider", "keys", "publish", listed.file, "--home", listed.home)
    assert run(*sign), "what its own key has signed it knows"


def test_a_key_that_the_operator_lists_does_not_sign_for_a_provider_that_signed(
    running, listed, tmp_path
):
    """Until two people say in a root that the provider begins anew; its watch tells that."""
    home, draft = listed.home, tmp_path / "anew.root.json"
    run("provider", "keys", "sign", "-o", listed.file, "--home", home)
    run("provider", "keys", "publish", listed.file, "--home", home)
    connected(home)
    before = tuf.parse(listed.file.read_bytes(), Targets, listed.role).signed
    with pytest.raises(CredproofError) as caught:
        listed.take_over(running, before)
    assert caught.value.reason == "KEYS_NOT_CONTINUED"
    service = running.world.service
    assert "NO_SUCH_PARTICIPANT" in run(
        "root", "draft", service, "-o", draft, "--begin-anew", "nobody", code=2
    )
    told = run("root", "draft", service, "-o", draft, "--begin-anew", listed.name)
    assert re.search(rf"Anew: +{listed.name}: .* until .*:.* binds it, new in this root", told)
    for key in ("operator", "operator-2"):
        run("root", "sign", draft, "--key", service / key / "signing.key")
    run("root", "publish", service, draft)
    told = run("root", "draft", service, "-o", tmp_path / "later.root.json")
    assert listed.name in told
    assert "new in this root" not in told, "in each later one, but not as new"
    assert f"ANEW     {listed.name}" in run("root", "status", service)
    assert "RELEASED" in run("provider", "watch", "--home", home)
    time.sleep(1)  # key sets are numbered by the clock
    listed.take_over(running, before)
    assert connected(home)
    assert "STRANGE_KEY" in run("provider", "watch", "--home", home, code=1)


def test_only_a_provider_signs_a_key_set(running, tmp_path):
    file = tmp_path / "keys.json"
    home = running.world.home(LENDER)
    assert "NOT_A_PROVIDER" in run("provider", "keys", "sign", "-o", file, "--home", home, code=2)


def test_the_root_key_is_exchanged_by_two_people_and_everybody_follows(running, tmp_path):
    """Participants and borrowers who joined under the old root go on; so does who joins later."""
    service, draft = running.world.service, tmp_path / "next.root.json"
    borrower = attested(running)
    version = connected(running.world.home(PROVIDER))
    old, number = ServiceDirectory(service).root_signer(), roots.standings(service)[0].version
    run("root", "key", tmp_path / "fresh.key")
    run("root", "draft", service, "-o", draft, "--bundle-key", tmp_path / "fresh.key.pub")
    for key in (tmp_path / "fresh.key", service / "operator-2" / "signing.key"):
        run("root", "sign", draft, "--key", key)
    publishing = ("root", "publish", service, draft, "--root-key", tmp_path / "fresh.key")
    assert "TUF_NOT_SIGNED" in run(*publishing, code=1), "one of the two is not of those before"
    run("root", "sign", draft, "--key", service / "operator" / "signing.key")
    told = run(*publishing)
    fresh = roots.read_key(tmp_path / "fresh.key").public
    assert fresh.kid in told

    assert connected(running.world.home(PROVIDER)) == version + 1
    assert fresh in Home(running.world.home(PROVIDER)).roots
    assert borrower.trust().bundle.version == version + 1
    with running.world.provider() as provider:
        assert provider.registered_keys(), "bundles of the old root are history, and count as such"

    assert fresh.kid in run("root", "status", service)
    told = json.loads(run("root", "status", service, "--json"))
    assert {item["role"]: item["version"] for item in told}["root"] == number + 1
    assert f"version {number + 1} " in run("root", "status", service)
    assert not any(item["ends_soon"] for item in told)
    assert run("root", "begin", service, "--root-key", tmp_path / "fresh.key", code=2) == "IN_USE"

    assert "OTHER_ROOT_KEY" in run("root", "extend", service, code=2)
    (service / "offline-root" / "root.key").unlink()
    shutil.copy(tmp_path / "fresh.key", service / "offline-root" / "root.key")
    assert old.public != ServiceDirectory(service).root_signer().public
    running.world.admit("late", "auditor")
    assert Home(running.world.home("late")).settings.root == fresh
    with Auditor.open(running.world.home("late")) as auditor:
        assert auditor.verify(whole=True).entries_read
    assert "Extended" in run("root", "extend", service)
    assert run("check", service)


def test_a_running_service_whose_bundle_has_expired_is_renewed(running, tmp_path):
    """Nobody else gets in any more: its operator must."""
    service, draft = running.world.service, tmp_path / "next.root.json"
    end = now() + 2
    publish(running, lambda bundle: replace(bundle, expires_at=end))
    while now() <= end:
        time.sleep(0.1)
    assert reason(running.world.home(PROVIDER)) in ("TUF_EXPIRED", "TRUST_EXPIRED")
    told = run("root", "status", service, code=1)
    assert "EXPIRED  targets" in told
    assert "         root" in told

    run("root", "draft", service, "-o", draft)
    for home in ("operator", "operator-2"):
        run("root", "sign", draft, "--key", service / home / "signing.key")
    run("root", "publish", service, draft)
    assert "Extended" in run("root", "extend", service)
    assert connected(running.world.home(PROVIDER))


def attested(running) -> Borrower:
    """A borrower with a pass under the root of now, who has a directory."""
    folder = running.world.home("person")
    borrowers.create(folder)
    borrowers.join(folder, make_pass(running.home(PROVIDER), bytes(32)).to_bytes())
    return Borrower.open(folder)
