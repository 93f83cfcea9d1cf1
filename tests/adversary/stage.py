"""One real server for all attacks, with honest people and objects that attackers can bend."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
from credproof import borrower as borrowers
from credproof import enrolment as enrolments
from credproof import home as homes
from credproof.base import jws
from credproof.base.encoding import canonical_json, date_of
from credproof.base.errors import CredproofError
from credproof.base.keys import DatedKey, Ed25519Signer, P256Signer
from credproof.borrower import Borrower, make_pass
from credproof.channel import connect, connect_borrower
from credproof.home import Home
from credproof.lender import Lender
from credproof.provider import Provider
from credproof.records.mapping import Record
from credproof.v1 import attestation_service_pb2 as attestation_pb
from credproof.verification.consent import verify_consent
from credproof.verification.notice import notice_digest, notice_text, text_in
from credproof.wire.call import METADATA_KEY, sign_call
from credproof_server import admission
from credproof_server.demo.world import AUDITOR, DOMAIN, LENDER, PROVIDER, World, licensed
from credproof_server.directory import ServiceDirectory
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message

from tests.adversary.attack import Attack, Outcome, carry_out
from tests.adversary.forge import claims_of
from tests.deployment import certify, package, seal, statement
from tests.world import GOOD, signer_of

OPERATOR = "operator"
FRESH = signer_of("fresh key of late-bank").public
POLICY = "revolving-standing"
FIGURE = 98_765_400
"""A credit limit that would stand out wherever it leaked."""
PEOPLE = ("ann", "bob", "cid", "dan", "pat")
OTHERS = {
    "other-bank": ("provider", ("key-binding/1",)),
    "late-bank": ("provider", ()),
    "gone-bank": ("provider", ()),
    "south-lender": ("lender", ()),
    "gone-lender": ("lender", ()),
}


class Stage:
    """The service with `ann`, who has a consent; `bob`, whose consent is used up; `cid`, whose
    consent is revoked; `dan`, whose consent has lapsed; `pat` with a P-256 key."""

    def __init__(self, folder: Path) -> None:
        self.world = World(folder)
        self.channels: dict[str, grpc.Channel] = {}
        self.signers: dict[str, Any] = {}
        self.subjects: dict[str, Any] = {}
        self.consents: dict[str, str] = {}
        self.seeds: set[str] = set()

    # -- setting up

    def populate(self) -> None:
        self.world.populate()
        for name, (role, schemas) in OTHERS.items():
            self._admit(name, role, schemas)
        self._make_people()
        self._make_consents()
        self._spoil_participants()
        certify(self.world.service, self.world.home("late-bank"), FRESH.kid)

    def _admit(self, name: str, role: Any, schemas: tuple[str, ...]) -> None:
        folder = self.world.home(name)
        enrolment = enrolments.enrol(folder, role=role, participant_id=name, title=name)
        standing = licensed(int(time.time())) if role == "lender" else {}
        admitted = admission.admit(self.world.service, enrolment, schemas=schemas, **standing)
        homes.join(folder, admitted.to_bytes(), root_kid=None, now=int(time.time()))

    def _make_people(self) -> None:
        records = [self.record(name) for name in PEOPLE]
        for name in PEOPLE:
            self.signers[name] = Ed25519Signer(os.urandom(32))
        self.signers["pat"] = P256Signer(ec.generate_private_key(ec.SECP256R1()))
        self.signers["stranger"] = Ed25519Signer(os.urandom(32))
        with self.world.provider() as provider, self.world.lender() as lender:
            self.submit_and_bind(provider, records, [self.signers[name] for name in PEOPLE])
            for name in (*PEOPLE, "stranger"):
                self.subjects[name] = lender.subject(f"ref:person-{name}")

    def record(self, name: str) -> Record:
        return Record(
            line=1,
            subject=f"ref:person-{name}",
            account=f"account-of-{name}",
            as_of=date_of(int(time.time())),
            currency="TWD",
            values={**GOOD, "credit_limit": FIGURE},
        )

    def submit_and_bind(self, provider: Provider, records: list[Record], signers: list) -> None:
        report = provider.submit(records, schema_id="consumer-revolving/1")
        assert report.accepted == len(records)
        proofs = [borrowers.prove_possession(signer, provider=PROVIDER) for signer in signers]
        subjects = [record.subject for record in records]
        provider.bind(list(zip(subjects, proofs, strict=True)))

    def _make_consents(self) -> None:
        with self.world.lender() as lender:
            for name in ("ann", "bob", "cid"):
                self.consents[name] = self.consent(lender, name)
            bob = {"policy_id": POLICY, "consent": self.consents["bob"]}
            lender.ask(self.subjects["bob"], **bob)
            self.used = self.last_request_id(lender)
        self.person("cid").revoke(self.consents["cid"])
        lapsing = self.consent_token("dan", exp=int(time.time()) + 3)
        self.grant(lapsing, "dan")
        self.consents["dan"] = lapsing

    def last_request_id(self, lender: Lender) -> bytes:
        """A request id that has an answer: bob's consent is used up by another question."""
        with self.world.lender() as again:
            token = self.consent(again, "bob")
            subject = self.subjects["bob"]
            kept = lender.ask(subject, policy_id=POLICY, consent=token)
        self.consents["bob again"] = token
        return bytes(kept.bundle.kept.request_id)

    def _spoil_participants(self) -> None:
        directory, now = ServiceDirectory(self.world.service), int(time.time())
        with admission.trust_channel(directory) as channel:
            current = channel.current()
            changed = tuple(_spoiled(item, now) for item in current.bundle.participants)
            version = current.bundle.version + 1
            bundle = replace(current.bundle, participants=changed, version=version)
            root = directory.root_signer()
            channel.publish(admission.signed_bundle(root, bundle, current.documents))

    # -- people

    def person(self, name: str) -> Borrower:
        found = make_pass(self.home(PROVIDER), self.subjects[name].sub)
        return Borrower(self.signers[name], found, self.channel("borrowers"))

    def consent(self, lender: Lender, name: str) -> str:
        request = lender.request(self.subjects[name], policy_id=POLICY)
        person = self.person(name)
        return person.consent(person.check(request), language="zh")

    @cached_property
    def consent_claims(self) -> dict[str, Any]:
        return claims_of(self.consents["ann"])

    def consent_token(self, signer: str = "ann", *, typ: str = jws.CONSENT, **changes: Any) -> str:
        """A fresh consent of this person, with members of it or of its terms changed."""
        sub = jws.b64url(self.subjects[signer].sub)
        terms = {**self.consent_claims["terms"], "sub": sub}
        terms |= {name: changes.pop(name) for name in list(changes) if name in terms}
        fresh = {"jti": jws.b64url(os.urandom(16)), "request": jws.b64url(os.urandom(32))}
        claims = {**self.consent_claims, **fresh, "terms": terms}
        claims["notice"] = self._notice(claims)
        return jws.sign(self.signers[signer], typ, {**claims, **changes}, carry_key=True)

    def _notice(self, claims: dict[str, Any]) -> dict[str, Any]:
        """What these terms come to, so that nothing but the terms is wrong; if they are terms."""
        with self.world.lender() as lender:
            trust = lender.trust
        try:
            token = jws.sign(self.signers["ann"], jws.CONSENT, claims, carry_key=True)
            shown = notice_text(trust, verify_consent(token).terms, text_in(trust, "zh"))
        except (CredproofError, KeyError):
            return claims["notice"]
        return {"digest": jws.b64url(notice_digest(shown)), "language": "zh"}

    # -- sending

    def home(self, name: str) -> Home:
        folder = self.world.service / OPERATOR if name == OPERATOR else self.world.home(name)
        return Home(folder)

    def channel(self, name: str) -> grpc.Channel:
        """The channel of a participant, or of `borrowers`."""
        if name not in self.channels:
            self.channels[name] = self._connect(name)
        return self.channels[name]

    def _connect(self, name: str) -> grpc.Channel:
        if name == "borrowers":
            settings = self.home(PROVIDER)
            return connect_borrower(settings.settings.borrowers_address, settings.tls()[0])
        address = ServiceDirectory(self.world.service).addresses()[0]
        return connect(self.home(name), address=address)

    def send(self, who: str, method: str, body: Message | bytes, metadata: Any = ()) -> bytes:
        """Send bytes as the request of a method, `Service/Rpc`."""
        data = body if isinstance(body, bytes) else body.SerializeToString()
        call = self.channel(who).unary_unary(f"/credproof.v1.{method}")
        return bytes(call(data, timeout=20, metadata=tuple(metadata)))

    def sealed(self, packages: list[bytes], **settings: Any) -> Message:
        batch = seal(self.trust, packages, **{"provider": PROVIDER, **settings})
        return attestation_pb.SubmitAttestationsRequest(sealed_batch=batch)

    def submit_item(self, data: bytes, who: str = PROVIDER) -> Any:
        """Submit one package; gives its error or its receipt."""
        body = self.send(
            who, "AttestationService/SubmitAttestations", self.sealed([data], provider=who)
        )
        result = attestation_pb.SubmitAttestationsResponse.FromString(body).results[0]
        return result.error if result.HasField("error") else result.receipt

    def signed_call(self, signer: str, method: str, body: bytes, **changes: Any) -> str:
        call = {
            "service": DOMAIN,
            "method": f"/credproof.v1.{method}",
            "body": body,
            "now": int(time.time()),
            "nonce": os.urandom(16),
        }
        return sign_call(self.signers[signer], **{**call, **changes})

    def call(self, signer: str, method: str, body: Message) -> bytes:
        """An honestly signed call on the borrowers' listener."""
        data = body.SerializeToString()
        token = self.signed_call(signer, method, data)
        return self.send("borrowers", method, data, [(METADATA_KEY, token)])

    def grant(self, consent: str, signer: str = "ann") -> bytes:
        from credproof.v1.consent_service_pb2 import GrantConsentRequest

        return self.call(
            signer, "ConsentService/GrantConsent", GrantConsentRequest(consent=consent)
        )

    # -- attestations

    @cached_property
    def trust(self) -> Any:
        with admission.trust_channel(ServiceDirectory(self.world.service)) as channel:
            return channel.current()

    @cached_property
    def bank(self) -> Ed25519Signer:
        return self.home(PROVIDER).signer

    def statement(self, **changes: Any) -> Any:
        account = f"attacked-{os.urandom(8).hex()}"
        start = {"issuer": PROVIDER, "sub": self.subjects["ann"].sub, "account": account}
        return statement(**{**start, **changes})

    def package(self, *, signer: Any = None, **changes: Any) -> bytes:
        """The package of a statement, with members of the statement changed before signing."""
        made = package(self.statement(**changes), signer or self.bank)
        self.seeds.add(json.loads(made)["seed"])
        return made

    def repacked(self, **changes: Any) -> bytes:
        """An honest package with members of it replaced; a function gets the old value."""
        document = json.loads(self.package())
        for name, value in changes.items():
            document[name] = value(document.get(name)) if callable(value) else value
        return canonical_json(document)

    def retold(self, **changes: Any) -> bytes:
        """A package whose token the provider signed over a bent payload."""

        def bend(token: str) -> str:
            claims = claims_of(token)
            for name, value in changes.items():
                claims[name] = value(claims.get(name)) if callable(value) else value
            return jws.sign(self.bank, jws.ATTESTATION, claims)

        return self.repacked(token=bend)

    # -- the whole table

    def entries(self) -> list[dict[str, Any]]:
        """All but the roots of the directory, which the service logs when it is time."""
        with self.world.auditor() as auditor:
            size = auditor.checkpoint().tree_size
            found = [json.loads(line) for line in auditor.lines(0, size)]
        return [entry for entry in found if entry["kind"] != "directory.root"]

    def carry_out(self, attacks: list[Attack]) -> SimpleNamespace:
        """Send every row once, in order; with the log's entries of meanwhile."""
        before = len(self.entries())
        outcomes: dict[str, Outcome] = {attack.name: carry_out(attack, self) for attack in attacks}
        return SimpleNamespace(outcomes=outcomes, entries=self.entries()[before:])

    def server_log(self) -> str:
        return (self.world.folder / "service.log").read_text("utf-8")

    def close(self) -> None:
        for channel in self.channels.values():
            channel.close()


def _spoiled(participant: Any, now: int) -> Any:
    """Suspends the `gone-` participants, lets the key of `late-bank` have ended, and the key of the
    provider have begun long ago."""
    if participant.id.startswith("gone-"):
        return replace(participant, status="suspended")
    if participant.id == "late-bank":
        key = participant.keys[0]
        fresh = DatedKey(FRESH, 0, key.not_after)
        return replace(participant, keys=(DatedKey(key.public, 0, now - 100), fresh))
    if participant.id == PROVIDER:
        key = participant.keys[0]
        return replace(participant, keys=(DatedKey(key.public, 0, key.not_after),))
    return participant


__all__ = ["AUDITOR", "DOMAIN", "LENDER", "OPERATOR", "POLICY", "PROVIDER", "Stage"]
