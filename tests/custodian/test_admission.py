"""How a custodian comes in: it proves its share, and the operator says so before there is anybody
whose pseudonym would change."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.base import jws
from credproof.base.errors import Conflict, CredproofError
from credproof.custody import Custody
from credproof.enrolment import verify_enrolment
from credproof_server import admission
from credproof_server.custodian import directory as custodians
from credproof_server.directory import now
from credproof_server.service.pseudonyms import CountEvaluations
from cryptography import x509

from tests.cli.command import run
from tests.custodian.making import ADDRESS, NOTARY, admitted, enrolled, notary
from tests.deployment import DOMAIN, Deployment

SECRET = b"\x03" + bytes(31)
NAMED = {"participant_id": "abc", "title": "A"}


@pytest.fixture
def deployment(tmp_path) -> Deployment:
    return Deployment(tmp_path)


def trust(deployment: Deployment):
    with admission.trust_channel(deployment.directory) as channel:
        return channel.current()


def refused(reason: str, act) -> None:
    with pytest.raises(CredproofError) as caught:
        act()
    assert caught.value.reason == reason


def test_by_commands_from_init_to_join(deployment, tmp_path):
    folder, out = tmp_path / NOTARY, tmp_path / "notary.admission.json"
    kid = deployment.directory.root().kid
    run("custodian", "init", folder, "--id", NOTARY, "--title", "Notary Office")
    add = ("participant", "add", deployment.service, folder / "enrolment.json", "-o", out)
    assert "OTHER_ROLE" in run(*add, code=2)
    before = trust(deployment).oprf_key
    run(*add, "--role", "custodian")
    told = json.loads(run("custodian", "join", folder, out, "--root", kid, "--json"))
    key = trust(deployment).oprf_key
    assert told == {"shares": 2, "key": key.id}
    assert key.shares[0] == before.shares[0]
    assert (key.shares[1].custodian, key.shares[1].address) == (NOTARY, ADDRESS)
    assert trust(deployment).bundle.oprf_keys == (before, key)


def test_a_second_custodian_joins_the_first(deployment):
    notary(deployment)
    notary(deployment, "chamber", "127.0.0.1:7446")
    assert trust(deployment).oprf_key.custodians == (NOTARY, "chamber")


def test_a_custodians_certificate_bears_its_name_and_nobody_elses_does(deployment):
    notary(deployment)
    deployment.admit("lender", "lend")
    for name, expected in ((NOTARY, [f"{NOTARY}.custodian.{DOMAIN}"]), ("lend", [])):
        pem = (deployment.folder / name / "tls.crt").read_bytes()
        names = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        assert expected == names.value.get_values_for_type(x509.DNSName)
        assert len(names.value.get_values_for_type(x509.UniformResourceIdentifier)) == 1


def test_once_a_pseudonym_was_made_no_custodian_comes_in(deployment):
    core = deployment.directory.open_core()
    key_id = core.trust.oprf_key.id
    core.sequencer.submit(CountEvaluations("bank", key_id, 1, 10)).result()
    core.close()
    before = trust(deployment)
    enrolment = enrolled(deployment.folder)
    refused("PSEUDONYMS_IN_USE", lambda: admitted(deployment, enrolment))
    assert trust(deployment).token == before.token, "nothing is half done"


def test_no_pseudonym_is_made_under_a_key_that_was_replaced(deployment):
    old = trust(deployment).oprf_key.id
    notary(deployment)
    core = deployment.directory.open_core()
    future = core.sequencer.submit(CountEvaluations("bank", old, 1, 10))
    error = future.exception()
    core.close()
    assert isinstance(error, Conflict)
    assert error.reason == "OTHER_OPRF_KEY"


# -- enrolments


def test_nobody_enrols_as_a_custodian_without_a_share(tmp_path):
    refused("NO_SHARE", lambda: enrolments.enrol(tmp_path, role="custodian", **NAMED))
    with_share = {"role": "lender", "custody": Custody(SECRET, ADDRESS)}
    refused("NO_SHARE", lambda: enrolments.enrol(tmp_path, **NAMED, **with_share))
    nowhere = {"role": "custodian", "custody": Custody(SECRET, "nowhere")}
    refused("BAD_ADDRESS", lambda: enrolments.enrol(tmp_path, **NAMED, **nowhere))
    assert not (tmp_path / "signing.key").exists()


def changed(folder: Path, enrolment: bytes, change) -> bytes:
    """The enrolment with other claims, signed by its own key again."""
    found = json.loads(enrolment)
    claims = dict(jws.parse(found["proof"], jws.ENROLMENT).claims)
    change(claims)
    signer = homes.signing_key(folder)
    found["proof"] = jws.sign(signer, jws.ENROLMENT, claims, carry_key=True)
    return json.dumps(found).encode()


def without_share(claims) -> None:
    del claims["share"]


def as_lender(claims) -> None:
    claims["role"] = "lender"


def of_another(claims) -> None:
    claims["id"] = "somebody-else"


def without_address(claims) -> None:
    claims["share"] = {**claims["share"], "address": "nowhere"}


def with_another_share(claims) -> None:
    claims["share"] = {**claims["share"], "public": claims["share"]["element"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (without_share, "BAD_ENROLMENT"),
        (as_lender, "BAD_ENROLMENT"),
        (without_address, "BAD_ENROLMENT"),
        (of_another, "BAD_DLEQ_PROOF"),
        (with_another_share, "BAD_DLEQ_PROOF"),
    ],
)
def test_an_enrolment_whose_share_is_not_ones_own_is_refused(tmp_path, change, reason):
    enrolment = enrolled(tmp_path)
    assert verify_enrolment(enrolment, now=now()).share is not None
    bent = changed(tmp_path / NOTARY, enrolment, change)
    refused(reason, lambda: verify_enrolment(bent, now=now()))


# -- later


def test_a_custodian_moves_and_keeps_its_share(deployment, tmp_path):
    notary(deployment)
    before = trust(deployment).oprf_key
    config = tmp_path / NOTARY / "custodian.toml"
    config.write_text(config.read_text("utf-8").replace(ADDRESS, "127.0.0.1:7999"), "utf-8")
    told = json.loads(run("custodian", "renew", tmp_path / NOTARY, "--json"))
    assert told == {"enrolment": str(tmp_path / NOTARY / "enrolment.json")}
    enrolment = (tmp_path / NOTARY / "enrolment.json").read_bytes()
    made = admitted(deployment, enrolment)
    kid = deployment.directory.root().kid
    custodians.join(tmp_path / NOTARY, made.to_bytes(), root_kid=kid)
    after = trust(deployment).oprf_key
    assert after.id == before.id
    assert after.shares[1] == replace(before.shares[1], address="127.0.0.1:7999")


def test_a_renewed_certificate_changes_no_trust(deployment, tmp_path):
    notary(deployment)
    before = trust(deployment).token
    admitted(deployment, custodians.renew(tmp_path / NOTARY))
    assert trust(deployment).token == before


def test_a_custodian_does_not_come_back_with_another_share(deployment, tmp_path):
    notary(deployment)
    enrolment = enrolments.enrol_again(
        tmp_path / NOTARY,
        role="custodian",
        participant_id=NOTARY,
        title="Notary",
        custody=Custody(SECRET, ADDRESS),
    )
    refused("OTHER_SHARE", lambda: admitted(deployment, enrolment))


def test_an_admission_for_another_share_is_not_joined(deployment, tmp_path):
    made = admitted(deployment, enrolled(deployment.folder))
    config = tmp_path / NOTARY / "custodian.toml"
    config.write_text(config.read_text("utf-8").replace(ADDRESS, "127.0.0.1:7999"), "utf-8")
    kid = deployment.directory.root().kid
    refused(
        "OTHER_SHARE",
        lambda: custodians.join(tmp_path / NOTARY, made.to_bytes(), root_kid=kid),
    )
    assert not (tmp_path / NOTARY / "participant.json").exists()


def test_renewing_needs_a_custodian_that_joined(tmp_path):
    enrolled(tmp_path)
    refused("NO_PARTICIPANT", lambda: custodians.renew(tmp_path / NOTARY))
