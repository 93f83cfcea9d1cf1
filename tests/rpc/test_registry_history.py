"""The history of the registry over a real service: every version, as the log names it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from credproof import history
from credproof.base.errors import CredproofError, Malformed, Refused, VerificationFailed
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.home import Home
from credproof.roots import state_folder
from credproof.v1 import registry_service_pb2 as pb
from credproof.v1.registry_service_pb2_grpc import RegistryServiceStub
from credproof.verification.participant import NEVER
from credproof.wire.trust import package_of
from credproof_server import admission
from credproof_server.directory import ServiceDirectory

from tests.cli.command import run
from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER
from tests.rpc.registry import changed, participant, publish
from tests.rpc.takeover import connected


def with_key(running, key) -> object:
    """The change of a registry that lists one more key for the provider."""
    keys = running.home(PROVIDER).trust(at=0).participants[PROVIDER].keys
    return participant(PROVIDER, keys=(*keys, DatedKey(key, 0, NEVER)))


def test_a_provider_sees_a_key_that_somebody_registered_in_its_name(running):
    """The operator adds a key, attests with it, and takes it out: the history says so."""
    home = running.world.home(PROVIDER)
    assert len(json.loads(run("provider", "watch", "--home", home, "--json"))["keys"]) == 1
    strange = Ed25519Signer(os.urandom(32)).public
    with changed(running, with_key(running, strange)):
        lists = run("provider", "watch", "--home", home, code=1)
    assert "the registry lists a key in your name" in lists
    assert "not listed any more" not in lists
    told = json.loads(run("provider", "watch", "--home", home, "--json", code=1))
    assert [(k["fingerprint"], k["yours"]) for k in told["keys"]][1:] == [(strange.kid, False)]
    assert [k["listed"] for k in told["keys"]] == [True, False]
    text = run("provider", "watch", "--home", home, code=1)
    assert text.splitlines()[-2].rpartition("(")[2].strip(")") == "STRANGE_KEY"
    assert "--known" in text.splitlines()[-1]
    assert f"STRANGE   {strange.kid}" in text
    assert "not listed any more" in text
    assert "the registry listed a key in your name" in text
    assert "STRANGE" not in run("provider", "watch", "--home", home, "--known", strange.kid)


def test_two_bundles_of_one_version_are_told_by_watch_however_many_came_since(running, tmp_path):
    """The log names another one under the version that the home has, which it passed over."""
    home = Path(shutil.copytree(running.world.home(PROVIDER), tmp_path / "home", symlinks=True))
    version, directory = connected(home), ServiceDirectory(running.world.service)
    kept = Home(home).trust(at=0)
    other = replace(kept.bundle, issued_at=kept.bundle.issued_at - 1)
    lost = admission.signed_bundle(directory.root_signer(), other, kept.documents)
    (home / "trust.json").write_bytes(package_of(lost).to_bytes())
    publish(running, lambda bundle: bundle)
    told = run("provider", "watch", "--home", home, code=1)
    assert f"as version {version} (TRUST_FORKED)" in told
    folder = state_folder(home, Home(home).settings.root)
    two = [folder / f"{word}-bundle-{version}" for word in ("seen", "other")]
    assert [file.read_bytes() for file in two] == [
        package_of(trust).to_bytes() for trust in (lost, kept)
    ]
    assert "TRUST_FORKED" in run("provider", "watch", "--home", home, code=1), (
        "until it is looked at"
    )


def test_an_auditor_sees_who_was_listed_and_suspended_by_version(running, auditor):
    """A key of a stranger, too, that no rule between entries is broken by."""
    home, strange = running.world.home(AUDITOR), Ed25519Signer(os.urandom(32)).public
    listed = with_key(running, strange)
    with changed(running, lambda b: participant(LENDER, status="suspended", since=7)(listed(b))):
        auditor.verify()
    auditor.verify()
    found = json.loads(run("audit", "registry", "--json", "--home", home))
    assert [item["version"] for item in found] == list(range(1, len(found) + 1))
    told = {c["participant"]: c for c in found[-2]["changes"]}
    assert set(told) == {PROVIDER, LENDER}
    assert (told[PROVIDER]["what"], told[PROVIDER]["name"]) == ("key", strange.kid)
    assert told[LENDER]["text"].startswith("suspended; status: active since ")

    text = run("audit", "registry", "--home", home)
    versions = [f"version {found[n]['version']} " for n in (-2, -1)]
    came, gone = ([line for line in text.splitlines() if v in line] for v in versions)
    assert f"{PROVIDER}: key {strange.kid} listed: from 1970-01-01 00:00:00 UTC" in came[0]
    assert f"{PROVIDER}: key {strange.kid} not listed any more (was: from" in "\n".join(gone)
    assert f"{LENDER}: resumed; status: suspended since" in "\n".join(gone)
    assert str(found[-2]["log_index"]) in came[0]
    only = run("audit", "registry", "--participant", PROVIDER, "--home", home).splitlines()
    assert only == [line for line in text.splitlines() if f"  {PROVIDER}: " in line]
    told = run("audit", "search", "--kind", "registry.changed", "--home", home)
    assert told.splitlines()[-1].endswith("credproof audit registry")


@pytest.fixture(scope="module")
def answer(running, tmp_path_factory):
    """A file with an honest answer."""
    with running.world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
        subject = lender.subject(subject_id)
        kept = lender.ask(subject, policy_id="revolving-standing", consent=consent)
    file = tmp_path_factory.mktemp("answer") / "honest.answer"
    file.write_bytes(kept.to_bytes())
    return file


@pytest.mark.parametrize("data", [None, b"junk", "other"])
def test_a_version_that_an_auditor_lost_is_named_and_fetched_again(
    running, answer, auditor, tmp_path, data
):
    """A page of evidence called an honest answer forged by it, and audit follow said nothing."""
    home = running.world.home(AUDITOR)
    kept = home / "registry" / "2.json"
    honest = kept.read_bytes()
    if data is None:
        kept.unlink()
    else:
        other = (home / "registry" / "1.json").read_bytes()
        kept.write_bytes(other if data == "other" else data)
    told = run("audit", "registry", "--home", home, code=1)
    assert "registry/2.json in your home" in told
    assert "REGISTRY_NOT_KEPT" in told
    assert "next:  credproof audit verify --whole" in told
    words = ("audit", "evidence", answer, "-o", tmp_path / "page.html", "--home", home)
    assert "registry/2.json in your home" in run(*words, code=1)
    assert not (tmp_path / "page.html").exists()
    told = run("audit", "follow", "--evidence", tmp_path / "found", "--home", home, code=1)
    assert "REGISTRY_NOT_KEPT" in told
    assert not (tmp_path / "found").exists(), "nothing is held against the operator"
    run("audit", "verify", "--whole", "--home", home)
    assert kept.read_bytes() == honest
    run(*words)
    run("audit", "follow", "--home", home)
    assert run("audit", "registry", "--home", home)


def fetched(running, change):
    """The history as a service tells it that changes each reply."""
    with running.world.provider() as provider:
        checkpoint, newest = provider.checkpoint(), provider.trust.bundle.version
        channel, root = provider._channel, running.home(PROVIDER).settings.root
        honest = history.fetch_version

        def lying(channel, version, root):
            return honest(channel, change(version), root)

        history.fetch_version = lying
        try:
            return list(history.fetch_history(channel, newest, checkpoint, root))
        finally:
            history.fetch_version = honest


def test_versions_in_another_order_than_in_the_log_are_refused(running):
    with running.world.provider() as provider:
        newest = provider.trust.bundle.version
    with pytest.raises(VerificationFailed) as caught:
        fetched(running, lambda version: newest + 1 - version)
    assert caught.value.reason == "OTHER_ENTRY"


@pytest.mark.parametrize("member", ["package", "line", "log_index"])
def test_a_version_that_is_not_the_one_of_its_entry_is_refused(running, member, monkeypatch):
    with running.world.provider() as provider:
        stub = RegistryServiceStub(provider._channel)
        first, second = (stub.GetTrustVersion(pb.GetTrustVersionRequest(version=v)) for v in (1, 2))
        mixed = pb.GetTrustVersionResponse(
            package=(first if member == "package" else second).package,
            line=(first if member == "line" else second).line,
            log_index=(first if member == "log_index" else second).log_index,
        )
        monkeypatch.setattr(history, "call", lambda _rpc, _request: mixed)
        with pytest.raises(CredproofError) as caught:
            history.fetch_version(provider._channel, 2, running.home(PROVIDER).settings.root)
    assert caught.value.reason == "OTHER_TRUST"


@pytest.mark.parametrize("version", [0, -1, 10_000])
def test_a_version_that_does_not_exist_is_told_so(running, version):
    with running.world.provider() as provider, pytest.raises(Malformed) as caught:
        history.fetch_version(provider._channel, version, running.home(PROVIDER).settings.root)
    assert caught.value.reason == "NO_SUCH_VERSION"


def test_a_lender_may_not_read_the_history(running, lender):
    with pytest.raises(Refused):
        history.fetch_version(lender._channel, 1, running.home(LENDER).settings.root)


def test_an_old_version_comes_with_what_it_pins_and_no_more(running):
    with running.world.provider() as provider:
        root = running.home(PROVIDER).settings.root
        found = history.fetch_version(provider._channel, 1, root)
    bundle = found.change.trust.bundle
    pinned = (*bundle.schemas, *bundle.texts, *{pin.ref.digest for pin in bundle.policies})
    assert len(found.package.documents) == len(set(pinned))
