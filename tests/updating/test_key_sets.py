"""Providers sign their own key sets: what the operator can list no more, and what it still can."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from credproof.base.errors import CredproofError
from credproof.cli.advice import next_step
from credproof.updating import accepted
from credproof.updating import metadata as tuf
from credproof.updating.own_keys import key_ids, key_set, key_set_in_force
from credproof_server.service.distribution import key_name
from tuf.api.metadata import DelegatedRole, MetaFile, Root, Targets

from tests.updating.chain import BANK, ONLINE, OPERATORS, STRANGER, Chain, Client
from tests.updating.test_newest import snapshot_lie
from tests.world import seed_of, signer_of

FRESH = signer_of("fresh")


@pytest.fixture
def signed(chain, client) -> Chain:
    """A chain whose provider `bank` has signed its key set, as the client has seen."""
    chain.accept({BANK: chain.key_set()})
    client.update()
    return chain


def reason(chain: Chain, items: dict[str, bytes]) -> str:
    try:
        chain.accept(items)
    except CredproofError as error:
        return error.reason
    raise AssertionError("it was taken")


def unchecked(chain: Chain, targets: bytes) -> None:
    """The service lies: it gives out targets that it would refuse."""
    version = tuf.parse(targets, Targets, "targets").signed.version
    chain.lies["targets", version] = targets
    meta = {"targets.json": MetaFile.from_data(version, targets, ["sha256"])}
    snapshot_lie(chain, lambda snapshot: snapshot.meta.update(meta))


def listing(chain: Chain, *signers) -> None:
    """The operator lists these keys for the bank, and gives that out whatever the bank signed."""
    bundle = chain.world.bundle(version=chain.trust.bundle.version + 1, **chain.listing(*signers))
    chain.trust = chain.bundle(bundle)
    unchecked(chain, chain.targets())


def test_until_it_signs_the_root_key_alone_decides_which_keys_are_a_providers(chain, client):
    chain.publish(**chain.listing(chain.world.bank, STRANGER))
    assert len(client.update().trust.participants["bank"].keys) == 2


def test_a_key_that_the_provider_did_not_sign_is_refused_by_service_and_client(signed, client):
    bundle = signed.world.bundle(
        version=signed.trust.bundle.version + 1, **signed.listing(signed.world.bank, STRANGER)
    )
    before, signed.trust = signed.trust, signed.bundle(bundle)
    assert reason(signed, {"targets": signed.targets()}) == "KEY_NOT_SIGNED"
    signed.trust = before
    listing(signed, signed.world.bank, STRANGER)
    assert client.refused() == "KEY_NOT_SIGNED"


def test_another_provider_is_not_stopped_by_it(signed, client):
    signed.publish(participants=signed.trust.bundle.participants)
    assert client.update().trust.bundle.version == signed.trust.bundle.version


def test_a_new_key_is_signed_first_and_listed_then(signed, client):
    both = (signed.world.bank.public, FRESH.public)
    signed.accept({BANK: signed.key_set(*both, before=signed.newest(BANK))})
    signed.publish(**signed.listing(signed.world.bank, FRESH))
    assert len(client.update().trust.participants["bank"].keys) == 2


def by_the_operators_key(chain: Chain) -> bytes:
    """A key set that a fresh key signed, which the operator lists: the provider signed nothing."""
    keys = (chain.world.bank.public, FRESH.public)
    return chain.key_set(*keys, before=chain.newest(BANK), signer=FRESH)


def taking_over(chain: Chain, data: bytes) -> None:
    """The service gives out such a key set, and the bundle that lists its key."""
    chain.trust = chain.bundle(
        chain.world.bundle(
            version=chain.trust.bundle.version + 1, **chain.listing(chain.world.bank, FRESH)
        )
    )
    targets, version = chain.targets(), tuf.parse(data, Targets, BANK).signed.version
    chain.lies[BANK, version] = data
    named = tuf.parse(targets, Targets, "targets").signed.version
    chain.lies["targets", named] = targets
    meta = {
        "targets.json": MetaFile.from_data(named, targets, ["sha256"]),
        f"{BANK}.json": MetaFile.from_data(version, data, ["sha256"]),
    }
    snapshot_lie(chain, lambda snapshot: snapshot.meta.update(meta))


def test_a_key_that_the_operator_lists_cannot_sign_the_key_set_of_a_provider_that_signed(
    signed, client
):
    """Neither the service takes it, nor who saw the one before; asking again changes nothing."""
    data = by_the_operators_key(signed)
    before = signed.trust
    with pytest.raises(CredproofError) as caught:
        signed.publish((BANK, data), **signed.listing(signed.world.bank, FRESH))
    assert caught.value.reason == "KEYS_NOT_CONTINUED"
    signed.trust = before
    taking_over(signed, data)
    assert [client.refused(), client.refused()] == ["KEYS_NOT_CONTINUED"] * 2
    settings = SimpleNamespace(id="bank", root=signed.root.public)
    home = SimpleNamespace(folder=client.state.folder.parents[1], settings=settings)
    assert key_ids(key_set(home)) == (signed.world.bank.public.kid,), "the one that was accepted"


def test_a_newcomer_takes_the_first_key_set_that_it_sees(signed, tmp_path):
    """Nothing tells it what was before: the log does, and the provider's watch."""
    taking_over(signed, by_the_operators_key(signed))
    assert Client(tmp_path / "newcomer", signed).update()


def moved(chain: Chain) -> None:
    """The provider goes over to another key: the old one signs it in, the new one goes on."""
    both = (chain.world.bank.public, FRESH.public)
    chain.accept({BANK: chain.key_set(*both, before=chain.newest(BANK))})
    chain.publish(**chain.listing(chain.world.bank, FRESH))
    for _ in range(2):
        chain.accept({BANK: chain.key_set(*both, before=chain.newest(BANK), signer=FRESH)})


def test_who_missed_some_key_sets_follows_them_one_after_the_other(signed, client):
    moved(signed)
    signed.asked.clear()
    assert client.update()
    assert len({version for role, version in signed.asked if role == BANK}) == 3
    signed.asked.clear()
    assert client.update()
    assert not [version for role, version in signed.asked if role == BANK]


def test_a_key_set_between_that_is_held_back_or_exchanged_stops_who_missed_it(signed, client):
    moved(signed)
    between = signed.files.versions(BANK)[2]
    honest = signed.files.read(BANK, between)
    for lie in (b"", signed.files.newest(BANK), honest.replace(b'"sig":"', b'"sig":"00')):
        signed.lies = {(BANK, between): lie}
        assert client.refused() == "KEYS_NOT_CONTINUED"
    signed.lies = {}
    assert client.update()


def test_a_longer_row_of_key_sets_is_followed_no_further(signed, client, monkeypatch):
    moved(signed)
    monkeypatch.setattr(accepted, "KEY_SETS_MAX", 2)
    assert client.refused() == "KEYS_NOT_CONTINUED"
    monkeypatch.setattr(accepted, "KEY_SETS_MAX", 3)
    assert client.update()


def test_a_key_set_that_does_not_follow_the_one_in_force_is_refused(signed):
    """Else who missed the one between could not follow."""
    first = signed.newest(BANK)
    signed.accept({BANK: signed.key_set(before=first)})
    data = signed.key_set(before=first)
    later = tuf.parse(data, Targets, BANK).signed
    later.version = signed.newest(BANK).version + 1
    assert reason(signed, {BANK: tuf.signed(later, [signed.world.bank])}) == "TUF_VERSION"


@pytest.mark.parametrize("ahead_s", [86_401, 2**63])
def test_a_key_set_that_is_dated_ahead_is_refused(signed, ahead_s):
    """Nobody can ask for a version above int64; and its owner could never go on after a thief's."""
    later = tuf.parse(signed.key_set(before=signed.newest(BANK)), Targets, BANK).signed
    later.version = signed.time + ahead_s
    assert reason(signed, {BANK: tuf.signed(later, [signed.world.bank])}) == "TUF_VERSION"
    later.version = signed.time + 86_400
    signed.accept({BANK: tuf.signed(later, [signed.world.bank])})
    signed.accept({BANK: signed.key_set(before=signed.newest(BANK))})


def anew(chain: Chain, *signers) -> bytes:
    """The next root, which says that the bank begins anew."""
    return chain.next_root(*signers, change=lambda root: tuf.begin_anew(root, "bank", chain.time))


def test_a_provider_that_lost_all_its_keys_begins_anew_when_two_people_say_so_in_a_root(
    signed, client
):
    """The log names the key, every home has the root; the root key alone does not do it."""
    signed.time = max(signed.time, signed.newest(BANK).version)
    data = tuf.parse(by_the_operators_key(signed), Targets, BANK).signed
    data.version = signed.time + 1
    fresh = tuf.signed(data, [FRESH])
    assert reason(signed, {"root": anew(signed, signed.root)}) == "TUF_NOT_SIGNED"
    signed.accept({"root": anew(signed, *OPERATORS)})
    forgetful = signed.next_root(
        *OPERATORS, change=lambda root: root.unrecognized_fields.pop("key_sets_anew")
    )
    assert reason(signed, {"root": forgetful}) == "BAD_METADATA", "who comes later needs it too"
    signed.publish((BANK, fresh), **signed.listing(signed.world.bank, FRESH))
    assert len(client.update().trust.participants["bank"].keys) == 2
    third = signed.key_set(STRANGER.public, before=signed.newest(BANK), signer=STRANGER)
    listing = signed.listing(signed.world.bank, FRESH, STRANGER)
    with pytest.raises(CredproofError) as caught:
        signed.publish((BANK, third), **listing)
    assert caught.value.reason == "KEYS_NOT_CONTINUED", "it holds for what was signed before only"


@pytest.mark.parametrize("said", [["bank"], {"bank": "now"}, {"bank": None}])
def test_a_root_that_does_not_say_since_when_a_provider_begins_anew_is_refused(signed, said):
    data = signed.next_root(
        *OPERATORS, change=lambda root: root.unrecognized_fields.update(key_sets_anew=said)
    )
    assert reason(signed, {"root": data}) == "BAD_METADATA"


def test_a_provider_that_is_not_asked_any_more_is_noticed(signed, client):
    targets = tuf.parse(signed.targets(), Targets, "targets")

    def dropped(content) -> None:
        content.version, content.delegations = targets.signed.version, None

    unchecked(signed, signed.forged("targets", dropped, signed.root))
    assert client.refused() == "DELEGATION_DROPPED"


def test_a_delegatee_whose_key_the_bundle_does_not_list_is_refused(signed, client):
    """Else somebody could sign in the provider's place without a trace in the log."""

    def renamed(content) -> None:
        content.version += 1
        content.add_key(tuf.tuf_key(STRANGER.public), BANK)

    unchecked(signed, signed.forged("targets", renamed, signed.root))
    assert client.refused() == "OTHER_DELEGATEE"


def in_its_place(content, signed) -> None:
    """The operator's own targets say what the provider should."""
    content.targets[f"{BANK}/{STRANGER.public.kid}"] = tuf.key_file("bank", STRANGER.public)


def by_another_role(content, signed) -> None:
    keyid = content.delegations.roles[BANK].keyids[0]
    content.delegations.roles["x"] = DelegatedRole("x", [keyid], 1, True, [f"{BANK}/*"])


def under_all_names(content, signed) -> None:
    content.delegations.roles["provider-other-bank"].paths = ["*"]


@pytest.mark.parametrize("change", [in_its_place, by_another_role, under_all_names])
def test_targets_that_say_what_a_provider_must_sign_are_refused(signed, client, change):
    def changed(content) -> None:
        content.version += 1
        change(content, signed)

    data = signed.forged("targets", changed, signed.root)
    assert reason(signed, {"targets": data}) == "OTHER_TRUST"
    unchecked(signed, data)
    assert client.refused() == "BAD_METADATA"


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda c: c.key_set(signer=STRANGER, before=c.newest(BANK)), "TUF_NOT_SIGNED"),
        (lambda c: c.key_set(FRESH.public), "TUF_VERSION"),
        (lambda c: c.key_set(before=c.newest(BANK)).replace(b'"targets"', b'"x"'), "BAD_METADATA"),
        (lambda c: b"", "BAD_METADATA"),
        (lambda c: c.files.newest("root"), "BAD_METADATA"),
    ],
)
def test_a_key_set_that_is_not_the_providers_next_word_is_refused(signed, make, why):
    data = make(signed)
    assert reason(signed, {BANK: data}) == why


def test_a_provider_whose_signature_does_not_count_is_told_which_would(signed):
    with pytest.raises(CredproofError, match="provider keys sign") as caught:
        signed.accept({BANK: signed.key_set(signer=STRANGER, before=signed.newest(BANK))})
    assert next_step(caught.value) is None, "the message says it"


def test_a_key_set_without_a_listed_key_is_refused_for_it_would_stop_every_client(chain):
    data = chain.key_set(FRESH.public)
    assert reason(chain, {BANK: data}) == "KEY_NOT_SIGNED"


def test_a_key_set_for_somebody_elses_keys_is_refused(chain):
    data = tuf.make_key_set(
        "other-bank", [STRANGER.public], None, now=chain.time, signer=chain.world.bank
    )
    assert reason(chain, {BANK: data}) == "BAD_METADATA"


@pytest.mark.parametrize("role", ["provider-lend", "provider-nobody", "provider-", "x", "snapshot"])
def test_only_providers_have_key_sets(chain, role):
    assert reason(chain, {role: chain.key_set()}) == "BAD_ROLE"


def test_the_same_key_set_twice_changes_nothing(signed):
    """A reply can be lost."""
    before = signed.newest("snapshot").version
    signed.accept({BANK: signed.files.newest(BANK)})
    assert signed.newest("snapshot").version == before


# -- what a restore lost


def lose(chain: Chain, role: str) -> bytes:
    """A restore from a backup that is older than this metadata; gives what was lost."""
    lost = chain.files.newest(role)
    for path in (*chain.files.folder.glob(f"*.{role}.json"), chain.files.folder / "timestamp.json"):
        path.unlink()
    chain.distribution.renew(chain.trust)
    return lost


def told(client: Client) -> str:
    with pytest.raises(CredproofError) as caught:
        client.update()
    return f"{caught.value.reason}: {caught.value.message}"


def test_a_key_set_that_a_restore_lost_counts_again_once_it_is_published_again(signed, client):
    lost = lose(signed, BANK)
    assert told(client) == f"TUF_ROLLBACK: the metadata of {BANK} was named before, and is left out"
    signed.accept({BANK: lost})
    assert client.update()


def test_an_older_key_set_is_refused_until_the_provider_signs_a_newer_one(signed, client):
    older = signed.files.newest(BANK)
    signed.accept({BANK: signed.key_set(before=signed.newest(BANK))})
    client.update()
    newer = tuf.parse(lose(signed, BANK), Targets, BANK).signed
    signed.accept({BANK: older})
    assert told(client).endswith(f"of {BANK} is older than what was seen before")
    signed.accept({BANK: signed.key_set(before=newer)})
    assert client.update()


def test_a_key_set_that_nobody_can_publish_again_is_let_go_by_a_new_key_of_the_service(
    signed, client
):
    """TUF 5.3.11. Two people sign that, and the root key decides for that provider from then on."""
    lose(signed, BANK)
    signed.keys.write(key_name(FRESH.public), seed_of("fresh"))

    def renewed(root: Root) -> None:
        for role in ("snapshot", "timestamp"):
            tuf.exchange(root, role, ONLINE.public, FRESH.public)

    signed.accept({"root": signed.next_root(*OPERATORS, change=renewed)})
    assert client.update()
    settings = SimpleNamespace(id="bank", root=signed.root.public)
    home = SimpleNamespace(folder=client.state.folder.parents[1], settings=settings)
    assert key_set(home), "the next one goes on from it"
    assert key_set_in_force(home) is None
