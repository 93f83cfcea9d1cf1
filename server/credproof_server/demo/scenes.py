"""Three scenes beside the journey: a passkey, a thin file, a lost phone."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from credproof import borrower as borrowers
from credproof.base.errors import Refused
from credproof.base.keys import Ed25519Signer
from credproof.borrower import Borrower, make_pass
from credproof.home import Home
from credproof.lender import Lender
from credproof.provider import Provider
from credproof.verification.bundle import RelyingParty
from credproof.verification.document import DocumentSigner
from credproof.verification.policy import Outcome

from credproof_server import standing
from credproof_server.demo.authenticator import SoftwareAuthenticator
from credproof_server.demo.journey import POLICY, Journey
from credproof_server.demo.world import PROVIDER, World

PAGE = RelyingParty("consent.demo.example", ("https://consent.demo.example",))
NEWCOMER = "ref:newcomer"


@dataclass(frozen=True, slots=True)
class Scene:
    """What was tried, and whether it ended as it must."""

    name: str
    told: str
    held: bool


def play(world: World, journey: Journey) -> list[Scene]:
    """All scenes, on the running service."""
    standing.set_page(world.service, PAGE)
    with world.provider() as provider, world.lender() as lender:
        stage = _Stage(world, provider, lender)
        first = next(iter(journey.answers))
        return [
            _passkey(stage, first, journey.outcomes[first]),
            _thin_file(stage),
            _lost_phone(stage, first),
        ]


@dataclass(frozen=True, slots=True)
class _Stage:
    world: World
    provider: Provider
    lender: Lender

    def bind(self, subject: str, signer: DocumentSigner) -> tuple[Borrower, str]:
        """The borrower once the key is bound, and the key's fingerprint."""
        proof = borrowers.prove_possession(signer, provider=PROVIDER)
        bound = self.provider.bind([(subject, proof)])[0]
        return self.borrower(signer, bound.sub), bound.kid

    def borrower(self, signer: DocumentSigner, sub: bytes) -> Borrower:
        return Borrower(signer, make_pass(Home(self.world.home(PROVIDER)), sub))

    def consent(self, subject: str, borrower: Borrower) -> str:
        request = self.lender.request(self.lender.subject(subject), policy_id=POLICY)
        return borrower.consent(borrower.check(request), language="zh")

    def ask(self, subject: str, consent: str) -> Outcome:
        who = self.lender.subject(subject)
        return self.lender.ask(who, policy_id=POLICY, consent=consent).verified.outcome


def _passkey(stage: _Stage, subject: str, before: Outcome) -> Scene:
    device = SoftwareAuthenticator(PAGE.id, PAGE.origins[0])
    borrower, _ = stage.bind(subject, device)
    outcome = stage.ask(subject, stage.consent(subject, borrower))
    told = "a passkey signs after the device has checked the person: the same answer as before"
    return Scene("passkey", told, outcome == before)


def _thin_file(stage: _Stage) -> Scene:
    """Somebody of whom nothing is known but a key: incomplete, and no decline."""
    borrower, _ = stage.bind(NEWCOMER, Ed25519Signer(secrets.token_bytes(32)))
    outcome = stage.ask(NEWCOMER, stage.consent(NEWCOMER, borrower))
    told = "nobody has attested anything about a newcomer: INCOMPLETE, which is no refusal"
    return Scene("thin file", told, (outcome.kind, outcome.reasons) == ("INCOMPLETE", ("ABSENT",)))


def _lost_phone(stage: _Stage, subject: str) -> Scene:
    borrower, kid = stage.bind(subject, Ed25519Signer(secrets.token_bytes(32)))
    consent = stage.consent(subject, borrower)
    stage.provider.freeze(kid)
    try:
        stage.ask(subject, consent)
        paused = False
    except Refused as error:
        paused = error.reason == "CONSENT_PAUSED"
    signer = Ed25519Signer(secrets.token_bytes(32))
    proof = borrowers.prove_possession(signer, provider=PROVIDER)
    bound = stage.provider.replace_key(subject, proof, lost=kid)
    whole = stage.borrower(signer, bound.sub).cosign(consent)
    told = "a lost phone's consent pauses at once; the new phone's signature makes it active again"
    return Scene("lost phone", told, paused and stage.ask(subject, whole).kind != "INCOMPLETE")
