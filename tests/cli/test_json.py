"""What a machine may call prints JSON with --json, and nothing else."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from credproof import standard
from credproof.cli.parts import TEXTS, load
from credproof.home import Home

from tests.cli.command import run
from tests.deployment import Deployment
from tests.service.conftest import fresh  # noqa: F401

_RUNS = "it runs until it is ended, and logs JSON"
_VALUE = "what it prints is the value itself"
_JSON = "it prints JSON in any case"
_TEXT = "it prints a text that a person reads"
_PERSON = "a person does it, about itself; programs have the SDK"
WITHOUT = {
    **dict.fromkeys(("serve", "custodian serve", "witness serve", "consent-page"), _RUNS),
    **dict.fromkeys(("audit token", "provider fingerprint"), _VALUE),
    **dict.fromkeys(("audit show", "lender export"), _JSON),
    **dict.fromkeys(("lender notice", "policy explain", "borrower show"), _TEXT),
    **dict.fromkeys(("borrower create", "borrower prove", "borrower join"), _PERSON),
    **dict.fromkeys(("borrower consent", "borrower cosign", "borrower revoke"), _PERSON),
    **dict.fromkeys(("borrower pause", "borrower resume"), _PERSON),
}
"""Commands that have no --json, and why."""


def without_json() -> set[str]:
    def walk(command: Any, name: str):
        children = getattr(command, "commands", None)
        for word, child in (children or {}).items():
            yield from walk(child, f"{name} {word}")
        if children is None and not any("--json" in item.opts for item in command.params):
            yield name

    loaded = {name: load(name)[name] for name in TEXTS}
    return {found for name, command in loaded.items() for found in walk(command, name)}


def test_every_command_that_a_machine_may_call_has_json():
    assert without_json() == set(WITHOUT)


def told(*words: str | Path, code: int = 0) -> dict[str, Any]:
    return json.loads(run(*words, "--json", code=code))


@pytest.fixture(scope="module")
def made(fresh, tmp_path_factory) -> Deployment:  # noqa: F811
    return fresh.copied(tmp_path_factory.mktemp("json"))


def test_of_a_new_participant_and_of_what_it_may_do(made):
    office, home, service = made.folder / "office", made.folder / "office", made.service
    admitted = made.folder / "office.admission"
    enrolled = told("enrol", home, "--role", "auditor", "--id", "office", "--title", "Office")
    add = ("participant", "add", service, home / "enrolment.json", "-o", admitted)
    assert told(*add) == {"role": "auditor", "id": "office", "admission": str(admitted)}
    joined = told("join", home, admitted)
    assert joined["fingerprint"] == enrolled["fingerprint"] == Home(office).signer.public.kid
    assert (joined["id"], joined["custodians"]) == ("office", [])
    assert told("participant", "suspend", service, "office")["status"] == "suspended"
    assert told("participant", "resume", service, "office")["status"] == "active"
    run("enrol", made.folder / "next", "--role", "auditor", "--id", "office", "--title", "Office")
    renew = (
        "participant",
        "renew",
        service,
        made.folder / "next" / "enrolment.json",
        "-o",
        admitted,
    )
    assert told(*renew) == {"role": "auditor", "id": "office", "admission": str(admitted)}
    licence = told("participant", "licence", service, "lend", "L-9", "--until", "2099-12-31")
    assert licence["licence"]["number"] == "L-9"
    certified = told("participant", "certify", service, "lend", "REVIEW")
    assert (certified["purpose"], certified["until"] > time.time()) == ("REVIEW", True)
    acceptance = made.folder / "bank.acceptance"
    accept = ("provider", "accept", "-o", acceptance, "--home", made.folder / "bank")
    assert told(*accept) == {"binders": [], "file": str(acceptance)}
    assert told("participant", "accept", service, acceptance) == {"id": "bank", "binders": []}
    key = made.home("bank").signer.public.kid
    pin = ("lender", "pin", "bank", key, "--home", made.folder / "lend")
    assert told(*pin) == {"provider": "bank", "fingerprint": key}
    keys = ("provider", "keys", "sign", "-o", made.folder / "keys", "--home", made.folder / "bank")
    assert told(*keys)["key_set"] == [key]


def test_of_what_the_operator_puts_in_force(made):
    service = made.service
    assert told("bureau", service, "B-1", "--until", "2099-12-31")["licence"]["number"] == "B-1"
    caps = ("--answers", "3", "--data-life", "31", "--window", "90", "--consent", "366")
    fair = told("purpose", "set", service, "REVIEW", *caps, "--lender", "lend")
    assert (fair["purpose"], fair["lender"], fair["answers_per_month"]) == ("REVIEW", "lend", 3)
    gone = told("purpose", "remove", service, "REVIEW", "--lender", "lend")
    assert gone == {"purpose": "REVIEW", "lender": "lend"}
    page = ("passkeys", service, "page.example", "https://page.example")
    assert told(*page) == {"id": "page.example", "origins": ["https://page.example"]}
    assert told("passkeys", service, "page.example", "--remove")["origins"] == []
    quorum = made.folder / "quorum.txt"
    quorum.write_text("quorum none\n")
    assert told("quorum", "set", service, quorum) == {"quorum": "quorum none\n"}
    assert told("quorum", "ml-dsa", service)["vkey"].startswith("test.example")


def test_of_a_policy_on_its_way(made):
    source, proposal = made.folder / "two.yaml", made.folder / "two.proposal"
    shipped = standard.read("policies/revolving-standing.yaml").decode()
    source.write_text(shipped.replace("version: 1", "version: 2", 1), "utf-8")
    homes = [made.service / name for name in ("operator", "operator-2")]
    first = told("policy", "sign", source, "-o", proposal, "--home", homes[0])
    second = told("policy", "sign", proposal, "-o", proposal, "--home", homes[1])
    assert (first["approvals"], second["approvals"], second["version"]) == (1, 2, 2)
    published = told("policy", "publish", made.service, proposal)
    assert published["digest"] == first["digest"]
    assert "consumer-revolving/1 max_overdue_cycles_6m" in published["single_bands"]


def test_of_the_root(made):
    service, draft = made.service, made.folder / "next.root.json"
    third = told("root", "key", made.folder / "third.key")
    drafted = told("root", "draft", service, "-o", draft, "--add", third["public"])
    assert third["fingerprint"] in drafted["keys"]
    assert drafted["signed_by"] == []
    for key in ("offline-root/root.key", "operator-2/signing.key"):
        signed = told("root", "sign", draft, "--key", service / key)
    assert (len(signed["signed_by"]), signed["threshold"]) == (2, 2)
    assert told("root", "publish", service, draft)["version"] == drafted["version"] == 2
    assert told("root", "extend", service)["until"] > time.time()


def test_of_copies_and_what_comes_of_them(made):
    service, folder = made.service, made.folder
    backup = ("backup", service, "--to", folder / "main", "--keys-to", folder / "now")
    size = told(*backup)["size"]
    export = ("export", service, folder / "since.db", "--since", "0", "--keys-to", folder / "then")
    assert told(*export) == {
        "export": str(folder / "since.db"),
        "keys": str(folder / "then"),
        "since": 0,
        "size": size,
    }
    restore = ("restore", service, "--from", folder / "main", "--keys-from", folder / "now")
    assert told(*restore) == {"size": size, "signed_size": size, "missing": 0}
    assert told("upgrade", service) == {"folder": str(service)}


def test_of_witnesses_and_custodians(tmp_path):
    witness, notary = tmp_path / "witness", tmp_path / "notary"
    (key,) = told("witness", "init", witness, "--name", "witness.example/one")["keys"]
    assert key.startswith("witness.example/one+")
    example = "log.example+d85f6874+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
    assert told("witness", "add-log", witness, example) == {"origin": "log.example"}
    made = told("custodian", "init", notary, "--id", "notary", "--title", "N")
    assert made == {"enrolment": str(notary / "enrolment.json")}


def test_of_a_new_service(tmp_path):
    found = told("init", tmp_path / "service", "--domain", "new.example")
    assert (found["domain"], len(found["root"])) == ("new.example", 32)
