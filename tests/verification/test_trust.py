"""The trust bundle: round trip, and what a verifier refuses to be told."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from credproof import standard
from credproof.attestation.schema import parse_schema
from credproof.base.encoding import canonical_json, tagged_hash
from credproof.base.errors import CredproofError, Malformed
from credproof.base.members import Members
from credproof.home import Home
from credproof.verification.bundle import PolicyPin, RelyingParty, parse_bundle
from credproof.verification.participant import NEVER, Licence
from credproof.verification.purpose import Template, template_for
from credproof.verification.trust import sign_trust, verify_trust
from credproof.wire.trust import TrustPackage, package_of, parse

from tests.world import NOW, POLICY, REVOLVING, World, signer_of

WORLD = World()
BANK = WORLD.participant("bank", "lender", WORLD.bank)
PAGE = RelyingParty("pages.example", ("https://pages.example:8443",), valid_from=NOW)
OLD_PAGE = RelyingParty("pages.example", ("https://pages.example",), 5, NOW)
TEMPLATE = Template("bank", "REVIEW", 1, 30, 90, 30)


def test_a_bundle_comes_back_as_it_was_signed():
    trust = WORLD.trust()

    assert WORLD.bundle() == trust.bundle
    assert trust.schemas[REVOLVING.digest].id == REVOLVING.id
    assert trust.policies[POLICY.ref].document == POLICY.document


def test_licences_purposes_relying_parties_and_approvals_come_back_as_signed():
    licence = Licence("CN-2026/17", NOW - 5, NOW + 5)
    bank = replace(BANK, licence=licence, certified={"REVIEW": NOW, "ORIGINATION": NOW + 1})
    changes = {
        "bureau": licence,
        "participants": (bank,),
        "policies": (WORLD.pin(POLICY, 5, NEVER),),
        "purposes": (Template("any", "REVIEW", 5, 31, 180, 366), TEMPLATE),
        "relying_parties": (OLD_PAGE, PAGE),
    }
    bundle = WORLD.trust(**changes).bundle

    changes["participants"] += WORLD.operators()
    assert {name: getattr(bundle, name) for name in changes} == changes
    assert bank.licence.is_valid(NOW + 5)
    assert not bank.licence.is_valid(NOW + 6)


def test_a_page_of_a_bundle_without_dates_is_always_in_force():
    """As in bundles of before: pages could not end there."""
    said = WORLD.bundle(relying_parties=(PAGE,)).to_json()
    said["relying_parties"] = [{"id": PAGE.id, "origins": list(PAGE.origins)}]
    found = parse_bundle(Members(said, "trust bundle"))
    assert found.relying_parties == (RelyingParty(PAGE.id, PAGE.origins, 0, NEVER),)


def test_new_documents_are_signed_on_pages_that_are_in_force():
    bundle = WORLD.bundle(relying_parties=(OLD_PAGE, PAGE))
    assert bundle.relying_parties_at(NOW - 1000) == (OLD_PAGE,)
    assert bundle.relying_parties_at(NOW + 1) == (PAGE,)


def test_a_template_of_its_own_binds_a_lender_before_the_one_for_any():
    for_any = replace(TEMPLATE, lender="any")
    templates = (TEMPLATE, for_any)

    assert template_for(templates, "bank", "REVIEW") == TEMPLATE
    assert template_for(templates, "other", "REVIEW") == for_any
    assert template_for(templates, "bank", "COLLECTION") is None


def test_a_text_that_is_pinned_must_be_at_hand():
    with pytest.raises(CredproofError) as caught:
        WORLD.trust(texts=(tagged_hash("text", b"{}"),))
    assert caught.value.reason == "MISSING_DOCUMENT"


def test_a_text_is_pinned_once():
    digest = standard.texts()[0].digest
    with pytest.raises(Malformed) as caught:
        WORLD.trust(texts=(digest, digest))
    assert caught.value.reason == "BAD_TRUST"


def test_a_package_file_comes_back_as_it_was_written():
    package = package_of(WORLD.trust())
    assert package == parse(package.to_bytes())


@pytest.mark.parametrize(
    "change",
    [
        {"domain": "Not A Domain"},
        {"version": 0},
        {"expires_at": NOW - 2000},
        {"expires_at": NOW + 900 * 86_400},
        {"answer_keys": ()},
        {"participants": (WORLD.participant("bank", "king", WORLD.bank),)},
        {"participants": (WORLD.participant("Bad Id", "lender", WORLD.bank),)},
        {"participants": (WORLD.participant("bank", "provider", WORLD.bank, status="asleep"),)},
        {"participants": (WORLD.participant("bank", "provider", WORLD.bank),) * 2},
        {"participants": (WORLD.participant("borrower", "lender", WORLD.bank),)},
        {"schemas": (REVOLVING.digest, REVOLVING.digest)},
        {"policies": (WORLD.pin(POLICY),) * 2},
        {"policies": (WORLD.pin(POLICY, 5, 4),)},
        {"bureau": Licence("", 0, NEVER)},
        {"bureau": Licence("B-1", NOW, NOW - 1)},
        {"participants": (replace(BANK, certified={"CURIOSITY": NEVER}),)},
        {"relying_parties": (RelyingParty("pages.example", ()),)},
        {"relying_parties": (RelyingParty("Pages Example", ("https://pages.example",)),)},
        {"relying_parties": (PAGE, PAGE)},
        {"relying_parties": (PAGE, replace(OLD_PAGE, valid_until=NOW + 1))},
        {"relying_parties": (replace(OLD_PAGE, valid_from=NOW + 1),)},
        {"relying_parties": (replace(OLD_PAGE, valid_from=-1),)},
        {"purposes": (Template("any", "CURIOSITY", 1, 1, 1, 1),)},
        {"purposes": (Template("any", "REVIEW", 0, 1, 1, 1),)},
        {"purposes": (Template("any", "REVIEW", 1, 1, 1, 1),) * 2},
    ],
)
def test_a_bundle_outside_the_grammar_is_refused(change):
    with pytest.raises(Malformed):
        WORLD.trust(**change)


def test_two_schemas_of_one_id_are_refused():
    """Which of them a policy means would depend on their order."""
    twin = parse_schema(
        canonical_json(json.loads(REVOLVING.document) | {"title": {"en": "T", "zh": "T"}})
    )
    bundle = WORLD.bundle(schemas=(REVOLVING.digest, twin.digest))
    with pytest.raises(Malformed) as caught:
        verify_trust(
            sign_trust(WORLD.root, bundle),
            [*WORLD.documents(), twin.document],
            root=WORLD.root.public,
            at=NOW,
        )
    assert caught.value.reason == "BAD_TRUST"


def test_a_policy_pinned_by_another_digest_has_no_document():
    pins = (PolicyPin(replace(POLICY.ref, digest=bytes(32)), 0, NEVER),)
    with pytest.raises(CredproofError) as caught:
        WORLD.trust(policies=pins)
    assert caught.value.reason == "MISSING_DOCUMENT"


def test_a_bundle_signed_by_a_thief_under_the_roots_name_is_refused():
    token = sign_trust(signer_of("thief"), WORLD.bundle())
    real = sign_trust(WORLD.root, WORLD.bundle())
    _, payload, signature = token.split(".")
    forged = ".".join((real.split(".")[0], payload, signature))
    with pytest.raises(CredproofError) as caught:
        verify_trust(forged, WORLD.documents(), root=WORLD.root.public, at=NOW)
    assert caught.value.reason == "BAD_SIGNATURE"


def test_the_newest_policy_in_force_is_chosen():
    trust = WORLD.trust()
    assert POLICY.ref == trust.newest_policy(POLICY.id, NOW).ref
    with pytest.raises(CredproofError):
        trust.newest_policy("no-such-policy", NOW)


def test_a_home_never_goes_back_to_an_older_bundle(tmp_path):
    from tests.deployment import Deployment

    deployment = Deployment(tmp_path)
    home = deployment.admit("lender", "lend")
    older = parse((home.folder / "trust.json").read_bytes())
    newer = deployment.change_trust(lambda bundle: bundle)
    home.adopt(package_of(newer), now=newer.bundle.issued_at)

    with pytest.raises(CredproofError) as caught:
        Home(home.folder).adopt(older, now=newer.bundle.issued_at)
    assert caught.value.reason == "TRUST_ROLLBACK"
    assert isinstance(older, TrustPackage)
