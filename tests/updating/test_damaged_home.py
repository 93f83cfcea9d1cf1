"""What a home keeps of the trust bundle's metadata: damage is named, and is nobody else's fault.

And what the service gives that cannot be read is its fault, unlike a file of one's own.
"""

from __future__ import annotations

import json

import pytest
from credproof.base.errors import CredproofError, DataLoss, Malformed, VerificationFailed
from credproof.cli.advice import next_step
from credproof.cli.output import FAILED, exit_code
from credproof.home import Home
from credproof.roots import HISTORY, roots_of
from credproof.updating.metadata import parse
from credproof.updating.seen import forked
from credproof.wire.trust import parse as parse_package
from tuf.api.metadata import Root

from tests.deployment import Deployment
from tests.updating.chain import BANK, OPERATORS, Chain, Client

FILES = (
    "bundle-version",
    f"{HISTORY}/1.root.json",
    "timestamp.json",
    "snapshot.json",
    "targets.json",
    f"{BANK}.json",
    f"key-sets/{BANK}.json",
)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("data", [b"", b"junk", b"{}"])
def test_a_damaged_file_of_ones_own_is_named_and_not_taken_for_nothing_seen(
    chain, client, name, data
):
    """python-tuf would forget what it saw, and take a rollback."""
    chain.accept({BANK: chain.key_set()})
    client.update()
    path = client.state.folder / name
    whole = path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(DataLoss) as caught:
        client.update()
    assert caught.value.reason == "METADATA_DAMAGED"
    assert str(path) in caught.value.message
    caught.value.step = 0
    assert "delete" in (next_step(caught.value) or ""), "also where an answer was to be verified"
    path.write_bytes(whole)
    assert client.update()


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("what", ["signed", "signatures"])
def test_a_flipped_bit_in_a_root_of_ones_own_accuses_nobody(chain, client, version, what):
    """It was TUF_NOT_SIGNED, "ask the operator why", of no role, about a file of one's own."""
    chain.accept({"root": chain.next_root(chain.root, *OPERATORS)})
    client.update()
    path = client.state.folder / HISTORY / f"{version}.root.json"
    data = json.loads(path.read_bytes())
    if what == "signed":
        data["signed"]["expires"] = data["signed"]["expires"].replace("2", "3", 1)
    else:
        for signature in data["signatures"]:
            signature["sig"] = signature["sig"][::-1]
    path.write_text(json.dumps(data))
    with pytest.raises(DataLoss) as caught:
        client.update()
    assert caught.value.reason == "METADATA_DAMAGED"
    assert str(path) in caught.value.message


def test_a_damaged_root_is_named_where_no_service_is_asked(chain, client):
    path = client.state.folder / HISTORY / "1.root.json"
    path.write_bytes(b"")
    with pytest.raises(DataLoss) as caught:
        roots_of(client.state.folder.parents[1], chain.root.public)
    assert caught.value.reason == "METADATA_DAMAGED"


def test_a_damaged_trust_bundle_in_a_home_is_named(tmp_path):
    made = Deployment(tmp_path)
    made.admit("provider", "bank")
    home = made.home("bank").folder
    (home / "trust.json").write_bytes(b"")
    with pytest.raises(Malformed, match=r"trust\.json") as caught:
        Home(home).trust(at=0)
    assert caught.value.reason == "BAD_HOME"


@pytest.mark.parametrize("role", ["timestamp", "root"])
@pytest.mark.parametrize("data", [b"junk", b"{}"])
def test_junk_that_the_service_gives_is_a_finding(chain, client, role, data):
    chain.lies[role, 0 if role == "timestamp" else 2] = data
    with pytest.raises(VerificationFailed) as caught:
        client.update()
    assert caught.value.reason == "BAD_METADATA"
    assert exit_code(caught.value) == FAILED
    assert "ask the operator" in (next_step(caught.value) or "")


def test_junk_as_the_first_root_is_a_finding_too(tmp_path):
    chain = Chain(tmp_path / "service").begin()
    chain.lies["root", 1] = b"junk"
    with pytest.raises(VerificationFailed):
        Client(tmp_path / "home", chain).update()


def test_a_file_of_ones_own_that_is_no_metadata_is_not_the_operators_fault():
    with pytest.raises(CredproofError) as caught:
        parse(b"junk", Root, "root")
    assert "operator" not in (next_step(caught.value) or "")


# -- two bundles of one version


def test_another_bundle_of_a_version_that_was_seen_is_refused_and_kept(chain, client):
    """The root has signed two: after a fork, or after a new origin until its number has passed."""
    chain.publish()
    client.update()
    seen, first = chain.trust.bundle, chain.trust.token
    title = {"participants": tuple(chain.listing(chain.world.bank)["participants"])[1:]}
    chain.trust = chain.bundle(chain.world.bundle(version=seen.version, **title))
    chain.accept({"targets": chain.targets()})
    for _ in range(2):
        with pytest.raises(VerificationFailed) as caught:
            client.update()
        assert caught.value.reason == "TRUST_FORKED"
    both = [client.state.folder / f"{who}-bundle-{seen.version}" for who in ("seen", "other")]
    assert [parse_package(path.read_bytes()).token for path in both] == [first, chain.trust.token]
    assert "root extend" in (next_step(caught.value) or "")
    chain.publish()
    assert client.update().trust.bundle.version == seen.version + 1
    assert all(path.exists() for path in both)
    assert forked(client.state.folder) == [seen.version]
