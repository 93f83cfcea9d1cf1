"""A participant's new key takes the place of those that it had, at a real service."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from credproof.auditor import Auditor
from credproof.base.errors import Refused, VerificationFailed
from credproof.base.keys import DatedKey
from credproof.enrolment import enrol_again
from credproof.home import Home, read_public
from credproof.lender import Lender, OfflineVerifier
from credproof.provider import Provider
from credproof.verification.participant import NEVER
from credproof_server import admission, roots
from credproof_server.demo.world import World

from tests.rpc.conftest import AUDITOR, LENDER, PROVIDER, Running, served
from tests.rpc.registry import participant, publish
from tests.rpc.takeover import connected, reason, run
from tests.world import signer_of

POLICY, SCHEMA = "revolving-standing", "consumer-revolving/1"


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[Running]:
    with served(tmp_path_factory.mktemp("renewing")) as found:
        yield found


def enrolled(world: World, home: Path, role: str, name: str) -> tuple[str | Path, ...]:
    """New keys in this home; the command by which the operator lists them."""
    run("enrol", home, "--role", role, "--id", name, "--title", "Other title")
    file = home / "enrolment.json"
    return ("participant", "renew", world.service, file, "-o", home / "new.admission")


def renewed(world: World, home: Path, role: str, name: str) -> None:
    told = run(*enrolled(world, home, role, name))
    assert f"Renewed:    {role} {name}" in told
    run("join", home, home / "new.admission")


def signed(home: Path, *options: object) -> None:
    """The provider's next key set, published."""
    file = home / "keys.json"
    run("provider", "keys", "sign", "-o", file, *options, "--home", home)
    run("provider", "keys", "publish", file, "--home", home)


def keys_of(world: World, name: str):
    found = {item.id: item for item in admission.participants(world.service)}
    return found[name].keys


def refused(call) -> str:
    with pytest.raises(Refused) as caught:
        call()
    return caught.value.reason


def begin_anew(world: World, folder: Path, name: str) -> None:
    draft = folder / "anew.root.json"
    run("root", "draft", world.service, "-o", draft, "--begin-anew", name)
    for key in ("operator", "operator-2"):
        run("root", "sign", draft, "--key", world.service / key / "signing.key")
    run("root", "publish", world.service, draft)
    time.sleep(1)  # key sets are numbered by the clock


def test_a_provider_that_lost_all_its_keys_comes_back_by_a_root_of_two_people(running, tmp_path):
    """What it attested before counts as ever; what it attests now counts for who pins its key."""
    world, home = running.world, running.world.home(PROVIDER)
    signed(home)
    old = Home(home).signer.public.kid
    with world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
        kept = lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent).to_bytes()
        waiting = running.consented(lender)
    shutil.move(home, tmp_path / "lost")

    renew = enrolled(world, home, "provider", PROVIDER)
    add = ("participant", "add", *renew[2:])
    assert run(*add, code=2) == "ALREADY_ADMITTED"
    assert run(*renew, code=1) == "KEY_NOT_SIGNED"
    begin_anew(world, tmp_path, PROVIDER)
    run(*renew)
    run("join", home, home / "new.admission")
    with world.lender() as lender:
        new = lender.ask(lender.subject(waiting[0]), policy_id=POLICY, consent=waiting[1])
        assert new.verified.outcome.tier == "A", "before the provider has signed its new key"
    assert connected(home)
    sign = ("provider", "keys", "sign", "-o", home / "keys.json", "--home", home)
    assert run(*sign, code=1) == "KEY_NOT_KNOWN", "the lost one must be named"
    assert "STRANGE_KEY" in run("provider", "watch", "--home", home, code=1), "not named yet"
    assert "STRANGE" not in run("provider", "watch", "--known", old, "--home", home)
    signed(home, "--known", old)

    told = run("provider", "watch", "--home", home)
    assert "RELEASED" not in told
    assert [", ended" in line for line in told.splitlines()[:2]] == [True, False]
    assert Home(home).signer.public.kid in told
    with world.lender() as lender:
        assert OfflineVerifier(running.home(LENDER)).verify(kept).outcome.tier == "A"
        subject_id, consent, _ = running.consented(lender)
        with pytest.raises(VerificationFailed) as caught:
            lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)
        assert caught.value.reason == "NOT_THE_PINNED_KEY", "learned from the provider itself"
    running.home(LENDER).pin(PROVIDER, Home(home).signer.public.kid)
    with world.lender() as lender:
        subject_id, consent, _ = running.consented(lender)
        assert lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)
    with world.auditor() as auditor:
        auditor.verify(whole=True)
    assert reason(tmp_path / "lost") == "KEY_ENDED"


def test_a_provider_that_holds_its_key_signs_the_new_one_and_goes_on_with_it(running, tmp_path):
    world, home = running.world, running.world.home("coop")
    world.admit("coop", "provider")
    signed(home)
    renew = enrolled(world, tmp_path / "new", "provider", "coop")
    assert run(*renew, code=1) == "KEY_NOT_SIGNED"
    for file in (tmp_path / "new" / "enrolment.json", world.service / "root.json"):
        kept = file.read_bytes()
        for word in ("add", "renew"):
            assert run("participant", word, *renew[2:-1], file, code=2) == "NOT_EMPTY"
        assert file.read_bytes() == kept
    assert len(keys_of(world, "coop")) == 1
    signed(home, "--add", tmp_path / "new" / "signing.key.pub")
    with Provider.open(home) as before:
        run(*renew)
        run("join", tmp_path / "new", tmp_path / "new" / "new.admission")
        record = running.record()
        assert refused(lambda: before.submit([record], schema_id=SCHEMA)) == "KEY_ENDED"
    with Provider.open(tmp_path / "new") as provider:
        assert provider.submit([running.record()], schema_id=SCHEMA).accepted == 1
    signed(tmp_path / "new", "--known", Home(home).signer.public.kid)
    ended, listed = keys_of(world, "coop")
    assert ended.not_after <= time.time() < listed.not_after
    add = ("participant", "add", world.service, home / "enrolment.json", "-o", tmp_path / "again")
    assert run(*add, code=2) == "ALREADY_ADMITTED", "the key of before has ended"
    assert run("participant", "renew", *add[2:], code=2) == "KEY_ENDED"


def stolen(running: Running, tmp_path: Path, name: str) -> tuple[Path, Path]:
    """A provider's home and the thief's copy of it; the provider has a key set in force."""
    running.world.admit(name, "provider")
    home = running.world.home(name)
    signed(home)
    return home, Path(shutil.copytree(home, tmp_path / "thief"))


def suspended(world: World, name: str) -> None:
    run("participant", "suspend", world.service, name)


def test_a_suspended_provider_is_renewed_by_the_key_set_that_it_sends_to_the_operator(
    running, tmp_path
):
    """Whoever stole its home is let in no more, not even to publish a key set."""
    world, new = running.world, tmp_path / "new"
    home, thief = stolen(running, tmp_path, "mill")
    suspended(world, "mill")
    renew = enrolled(world, new, "provider", "mill")
    file = tmp_path / "keys.json"
    run("provider", "keys", "sign", "-o", file, "--add", new / "signing.key.pub", "--home", home)
    for copy in (home, thief):
        publish = ("provider", "keys", "publish", file, "--home", copy)
        assert run(*publish, code=2) == "NOT_PERMITTED"
    assert run(*renew, code=1) == "KEY_NOT_SIGNED"
    assert run(*renew, "--key-set", home / "keys.json", code=1) == "KEY_NOT_SIGNED", "an older one"
    assert len(keys_of(world, "mill")) == 1, "nothing is half done"

    assert "Suspended:  as before" in run(*renew, "--key-set", file)
    run("join", new, new / "new.admission")
    assert reason(new) == "NOT_PERMITTED", "a renewal does not end the suspension"
    run("participant", "resume", world.service, "mill")
    assert connected(new)
    signed(new, "--known", Home(home).signer.public.kid)
    assert reason(thief) == "KEY_ENDED"


def test_a_thief_who_signed_a_key_set_first_is_shut_out_by_suspension_and_a_root_of_two_people(
    running, tmp_path
):
    world, new = running.world, tmp_path / "new"
    home, thief = stolen(running, tmp_path, "dairy")
    roots.new_key(tmp_path / "thiefs.key")
    signed(thief, "--add", tmp_path / "thiefs.key.pub")
    suspended(world, "dairy")
    renew = enrolled(world, new, "provider", "dairy")
    file = tmp_path / "keys.json"
    run("provider", "keys", "sign", "-o", file, "--add", new / "signing.key.pub", "--home", home)
    assert run(*renew, "--key-set", file, code=2) == "TUF_VERSION"

    begin_anew(world, tmp_path, "dairy")
    run("provider", "keys", "sign", "-o", thief / "keys.json", "--home", thief)
    again = ("provider", "keys", "publish", thief / "keys.json", "--home", thief)
    assert run(*again, code=2) == "NOT_PERMITTED", "else it would bind the provider again"
    run(*renew)
    run("join", new, new / "new.admission")
    run("participant", "resume", world.service, "dairy")
    assert connected(new)
    strange = read_public(tmp_path / "thiefs.key.pub").kid
    signed(new, "--known", Home(home).signer.public.kid, "--remove", strange)
    with Provider.open(new) as provider:
        assert strange not in provider.signed_keys()
    assert reason(thief) == "KEY_ENDED"


def test_a_lender_keeps_what_stands_of_it_and_an_auditor_goes_on(running, tmp_path):
    world = running.world
    world.admit("lend-2", "lender")
    world.admit("office-2", "auditor")
    before = {item.id: item for item in admission.participants(world.service)}
    for name, role in (("lend-2", "lender"), ("office-2", "auditor")):
        renewed(world, tmp_path / name, role, name)
        again = enrolled(world, tmp_path / f"{name}.other", role, name)[:3]
        for _ in range(2):  # an admission is written over an admission
            told = run(*again, tmp_path / name / "enrolment.json", "-o", tmp_path / "same")
            assert f"Already:    {role} {name}" in told
    after = {item.id: item for item in admission.participants(world.service)}
    for name in ("lend-2", "office-2"):
        assert len(after[name].keys) == 2, "for the very same key it makes another admission"
        stays = ("title", "licence", "certified", "status", "since")
        assert [getattr(after[name], m) for m in stays] == [getattr(before[name], m) for m in stays]
    with Lender.open(tmp_path / "lend-2") as lender:
        subject_id, consent, _ = running.consented(lender)
        assert lender.ask(lender.subject(subject_id), policy_id=POLICY, consent=consent)
    with Auditor.open(tmp_path / "office-2") as auditor:
        auditor.verify()
    assert refused(lambda: Lender.open(world.home("lend-2"))) == "KEY_ENDED"
    assert refused(lambda: Auditor.open(world.home("office-2"))) == "KEY_ENDED"


def test_a_key_that_a_thief_signed_into_the_key_set_and_somebody_listed_stays_strange(
    running, tmp_path
):
    """Listed after the home's own, it is none of before, though a copy of the own key signed it."""
    world, thiefs = running.world, tmp_path / "thiefs.key"
    home, thief = stolen(running, tmp_path, "forge")
    roots.new_key(thiefs)
    signed(thief, "--add", tmp_path / "thiefs.key.pub")
    (own,) = keys_of(world, "forge")
    ended = DatedKey(read_public(tmp_path / "thiefs.key.pub"), 0, int(time.time()))
    publish(running, participant("forge", keys=(own, ended)))
    told = run("provider", "watch", "--home", home, code=1)
    assert "STRANGE_KEY" in told
    assert f"Key set:   {', '.join(sorted([own.public.kid, ended.public.kid]))}" in told


def test_a_renewal_that_a_restore_lost_is_told_as_that_to_who_was_renewed(running):
    """Its key has not ended: nothing lists it."""
    world = running.world
    world.admit("grove", "provider")
    other = DatedKey(signer_of("grove").public, 0, NEVER)
    publish(running, participant("grove", keys=(other,)))
    assert reason(world.home("grove")) == "KEY_NOT_LISTED"


def test_who_cannot_be_renewed_is_told_why(running, tmp_path):
    for role, name, why in (
        ("lender", "nobody", "NO_SUCH_PARTICIPANT"),
        ("lender", AUDITOR, "OTHER_ROLE"),
        ("operator", PROVIDER, "OTHER_ROLE"),
        ("operator", "operator", "OPERATOR_STAYS"),
    ):
        home = tmp_path / f"{role}-{name}"
        assert run(*enrolled(running.world, home, role, name), code=2) == why
        assert not (home / "new.admission").exists()


def test_an_admission_that_a_full_disk_does_not_take_is_written_when_it_is_run_again(
    running, tmp_path
):
    running.world.admit("quay", "auditor")
    renew = enrolled(running.world, tmp_path / "new", "auditor", "quay")
    told = " ".join(run(*renew[:-1], "/dev/full", code=2).split())
    assert "run this again" in told.replace("│ ", "")
    assert "Already:    auditor quay" in run(*renew)


def test_the_key_of_another_participant_is_not_listed_twice(running, tmp_path):
    home = tmp_path / "thief"
    renew = enrolled(running.world, home, "auditor", AUDITOR)
    shutil.copy(running.world.home(LENDER) / "signing.key", home / "signing.key")
    enrol_again(home, role="auditor", participant_id=AUDITOR, title="Thief")
    assert run(*renew, code=2) == "BAD_TRUST"
