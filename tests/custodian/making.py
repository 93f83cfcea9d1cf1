"""A custodian beside a service at rest."""

from __future__ import annotations

from pathlib import Path

from credproof.home import Admission
from credproof_server import admission
from credproof_server.custodian import directory as custodians

from tests.deployment import Deployment

NOTARY = "notary"
ADDRESS = "127.0.0.1:7445"


def enrolled(folder: Path, name: str = NOTARY, address: str = ADDRESS) -> bytes:
    """The enrolment of a new custodian in a directory of its own name."""
    settings = {"listen": address, "address": address}
    return custodians.init(folder / name, custodian_id=name, title=name.title(), **settings)


def admitted(deployment: Deployment, enrolment: bytes) -> Admission:
    return admission.admit(deployment.service, enrolment, role="custodian")


def notary(deployment: Deployment, name: str = NOTARY, address: str = ADDRESS) -> None:
    """A custodian that was admitted and has joined."""
    made = admitted(deployment, enrolled(deployment.folder, name, address))
    kid = deployment.directory.root().kid
    custodians.join(deployment.folder / name, made.to_bytes(), root_kid=kid)
