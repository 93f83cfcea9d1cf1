"""A real service in a temporary directory, with participants who have their own homes."""

from __future__ import annotations

import json
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

from credproof import borrower as borrowers
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof import standard
from credproof.attestation.package import pack
from credproof.attestation.sealing import Route
from credproof.attestation.statement import Opening, Statement, issue
from credproof.base.encoding import date_of
from credproof.base.keys import Ed25519Signer
from credproof.home import Home
from credproof.verification.trust import Trust
from credproof_server import admission, setup, standing
from credproof_server.config import FILE_NAME
from credproof_server.demo.world import licensed
from credproof_server.directory import ServiceDirectory, shipped_rules
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from tests.world import GOOD, REVOLVING, complete

DOMAIN = "test.example"


class Deployment:
    """Directories of a service with provider `bank`, lender `lend` and auditor `office`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        setup.init(
            self.service,
            domain=DOMAIN,
            participants_listen="127.0.0.1:0",
            borrowers_listen="127.0.0.1:0",
        )

    def copied(self, folder: Path) -> Deployment:
        """The same in another folder, with the same keys; it must not be running."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        other = Deployment.__new__(Deployment)
        other.folder = folder
        return other

    @property
    def service(self) -> Path:
        return self.folder / "service"

    @property
    def directory(self) -> ServiceDirectory:
        return ServiceDirectory(self.service)

    def admit(self, role: str, name: str, **settings: object) -> Home:
        """Admit a participant; a lender is licensed, unless `settings` say otherwise."""
        if role == "lender":
            settings = {**licensed(int(time.time())), **settings}
        enrolment = enrolments.enrol(
            self.folder / name, role=role, participant_id=name, title=name.title()
        )
        admitted = admission.admit(self.service, enrolment, **settings)
        return homes.join(
            self.folder / name, admitted.to_bytes(), root_kid=None, now=int(time.time())
        )

    def home(self, name: str) -> Home:
        return Home(self.folder / name)

    def change_trust(self, change) -> Trust:
        """Publish a bundle that `change` made of the present one."""
        directory = self.directory
        with admission.trust_channel(directory) as channel:
            current = channel.current()
            bundle = replace(change(current.bundle), version=current.bundle.version + 1)
            trust = admission.signed_bundle(directory.root_signer(), bundle, current.documents)
            channel.publish(trust)
        return trust

    def enrol_borrower(self, name: str) -> Ed25519Signer:
        borrowers.create(self.folder / name)
        return borrowers.load_signer(self.folder / name)


def certify(service: Path, home: Path, kid: str) -> None:
    """Give a home a certificate as it comes with another signing key, whose fingerprint this is."""
    found, directory = Home(home).settings, ServiceDirectory(service)
    key = load_pem_private_key((home / "tls.key").read_bytes(), None).public_key()
    certificate = directory.authority().participant(
        key, domain=found.domain, role=found.role, name=found.id, kid=kid, now=int(time.time())
    )
    (home / "tls.crt").write_bytes(certificate)


def watch(service: Path, rules: str) -> None:
    """Give a service that does not run rules of misuse of its own; empty ones find nothing."""
    (service / "rules.yaml").write_text(f"misuse: tests\nversion: 7\nlook_every: 1\n{rules}")
    path = service / FILE_NAME
    path.write_text(path.read_text().replace('rules = ""', 'rules = "rules.yaml"'))


def only_tell(service: Path) -> None:
    """Let the rules that ship throttle nobody: whoever measures refusals is refused for long."""
    document = json.loads(shipped_rules().document)
    rules = {name: rule for name, rule in document.items() if isinstance(rule, dict)}
    told = {
        name: rule | ({"throttle": 0} if "throttle" in rule else {}) for name, rule in rules.items()
    }
    watch(service, "".join(f"{name}: {json.dumps(rule)}\n" for name, rule in told.items()))


def lift_caps(service: Path) -> None:
    """Let a few borrowers be asked about more often than is fair."""
    for item in standard.purposes():
        standing.set_template(service, replace(item, answers_per_month=10**9))


def statement(values=None, *, schema=REVOLVING, **changes: object) -> Statement:
    """A statement of the provider `bank`, issued now, that nothing is wrong with."""
    now = int(time.time())
    made = Statement(
        schema=schema,
        issuer="bank",
        issued_at=now,
        expires_at=now + 86_400,
        jti=os.urandom(16),
        sub=bytes(31) + b"\x01",
        as_of=date_of(now),
        currency="TWD" if schema.has_money else None,
        values=complete(schema, GOOD if values is None else values),
        account="account-1",
        seq=1,
        prev=bytes(32),
        basis=None,
    )
    return replace(made, **changes)


def package(made: Statement, signer: Ed25519Signer) -> bytes:
    """The package of a statement with a fresh seed."""
    opening = Opening(made, os.urandom(32))
    return pack(issue(opening, signer), opening)


def seal(trust: Trust, packages: list[bytes], *, provider: str = "bank") -> bytes:
    """A batch, sealed by this provider to the service."""
    return trust.sealing_key.seal(packages, Route(trust.bundle.domain, provider))
