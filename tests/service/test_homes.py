"""Homes of participants and borrowers: made once, admitted once, never guessed at."""

from __future__ import annotations

import json
import time

import pytest
from credproof import borrower as borrowers
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.auditing.stamps import AUTHORITIES_NAME, Authorities
from credproof.base.encoding import canonical_json
from credproof.base.errors import CredproofError, Malformed
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.cli.advice import next_step
from credproof.enrolment import verify_enrolment
from credproof.home import Home
from credproof.provider import verify_possession
from credproof.verification.notice import text_in
from credproof_server import admission

from tests.world import World


def now() -> int:
    return int(time.time())


DAY = 86_400


def refused(reason: str, call) -> None:
    with pytest.raises(CredproofError) as caught:
        call()
    assert caught.value.reason == reason


def enrol(folder, **changes) -> bytes:
    settings = {"role": "lender", "participant_id": "new-lender", "title": "New", **changes}
    return enrolments.enrol(folder, **settings)


def test_keys_are_never_made_over(tmp_path):
    enrol(tmp_path / "lend")
    before = (tmp_path / "lend" / "signing.key").read_bytes()
    refused("ALREADY_ENROLLED", lambda: enrol(tmp_path / "lend"))
    refused("ALREADY_ENROLLED", lambda: borrowers.create(tmp_path / "lend"))
    assert before == (tmp_path / "lend" / "signing.key").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"participant_id": "No"},
        {"participant_id": "a/../b"},
        {"role": "king"},
        {"title": ""},
        {"title": "a\nb"},
        {"title": "x" * 101},
    ],
)
def test_a_participant_has_a_plain_id_a_role_and_a_name_to_read(tmp_path, change):
    refused("BAD_ID", lambda: enrol(tmp_path / "lend", **change))
    assert not (tmp_path / "lend").exists()


@pytest.mark.parametrize("data", [b"", b"text", b'{"csr":"no csr","proof":""}', b'{"csr":"\xff"}'])
def test_what_is_no_enrolment_is_refused(data):
    refused("BAD_ENROLMENT", lambda: verify_enrolment(data, now=now()))


def test_a_proof_does_not_carry_over_to_another_certificate_request(tmp_path):
    mine, other = (json.loads(enrol(tmp_path / name)) for name in ("mine", "other"))
    mixed = canonical_json({"csr": other["csr"], "proof": mine["proof"]})
    refused("OTHER_CSR", lambda: verify_enrolment(mixed, now=now()))


@pytest.mark.parametrize("late", [8 * DAY, -1000])
def test_an_enrolment_of_another_week_or_of_the_future_is_refused(tmp_path, late):
    data = enrol(tmp_path / "lend")
    refused("ENROLMENT_TOO_OLD", lambda: verify_enrolment(data, now=now() + late))


def test_a_home_without_its_files_is_named(tmp_path, deployment):
    refused("NO_PARTICIPANT", lambda: Home(tmp_path / "nobody"))
    home = deployment.home("lend")
    (home.folder / "tls.key").unlink()
    refused("BAD_HOME", home.tls)


USES = {
    "participant.json": Home,
    "trust.json": lambda folder: Home(folder).trust(at=0),
    "tls.key": lambda folder: Home(folder).tls(),
    "tls.crt": lambda folder: Home(folder).tls(),
    "ca.crt": lambda folder: Home(folder).tls(),
    "signing.key": lambda folder: Home(folder).signer,
    AUTHORITIES_NAME: lambda folder: Authorities(folder).all(),
}


@pytest.mark.parametrize("name", USES)
def test_a_damaged_file_of_a_home_is_named_and_is_nobody_elses_fault(deployment, name):
    """It was a file "that this command's help names", or a service that does not answer."""
    path = deployment.home("lend").folder / name
    data = path.read_bytes() if path.exists() else b'{"one":{"certificates":"none","policy":""}}'
    third = len(data) // 3
    for damaged in (b"", b"junk", data[:third], data[:third] + b"\n" + data[third + 1 :]):
        path.write_bytes(damaged)
        with pytest.raises(Malformed) as caught:
            USES[name](path.parent)
        assert caught.value.reason == "BAD_HOME"
        assert str(path) in caught.value.message
        assert "back from a backup" in (next_step(caught.value) or "")


def test_a_certificate_of_another_key_is_a_damaged_home(deployment):
    lend, bank = deployment.home("lend"), deployment.home("bank")
    (lend.folder / "tls.crt").write_bytes((bank.folder / "tls.crt").read_bytes())
    refused("BAD_HOME", lend.tls)


def test_an_admission_needs_the_keys_that_it_is_for(tmp_path, deployment):
    enrolment = enrol(tmp_path / "new")
    admitted = admission.admit(deployment.service, enrolment).to_bytes()
    (tmp_path / "new" / "signing.key").unlink()
    join = {"root_kid": None, "now": now()}
    refused("NOT_ENROLLED", lambda: homes.join(tmp_path / "new", admitted, **join))


@pytest.mark.parametrize("kid", ["", "00" * 15, "AB" * 16, "00" * 16 + "\n"])
def test_what_is_no_fingerprint_is_not_pinned(deployment, kid):
    home = deployment.home("lend")
    refused("BAD_FINGERPRINT", lambda: home.pin("bank", kid))
    assert home.pins() == {}


# -- borrowers


def test_a_borrower_needs_a_key_and_a_pass(tmp_path, deployment):
    found = make_pass(deployment.home("bank"), bytes(32)).to_bytes()
    refused("NO_BORROWER", lambda: borrowers.load_signer(tmp_path / "me"))
    refused("NO_BORROWER", lambda: borrowers.join(tmp_path / "me", found))
    borrowers.create(tmp_path / "me")
    refused("NO_PASS", lambda: Borrower.open(tmp_path / "me"))


def test_there_is_no_notice_in_a_language_without_one():
    refused("BAD_LANGUAGE", lambda: text_in(World().trust(), "de"))


def possession(name: str = "bank") -> str:
    return borrowers.prove_possession(Ed25519Signer(bytes(32)), provider=name)


def test_a_proof_of_possession_for_one_provider_is_no_use_to_another():
    refused("OTHER_PROVIDER", lambda: verify_possession(possession(), provider="b", now=now()))


@pytest.mark.parametrize("late", [700, -200])
def test_a_proof_of_possession_is_for_now(late):
    proof, now = possession(), int(time.time())
    how = {"provider": "bank", "now": now + late}
    refused("PROOF_TOO_OLD", lambda: verify_possession(proof, **how))
