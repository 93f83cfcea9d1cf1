"""A small world in memory that can lie: keys, trust, a log, attestations, answers.

`World.case()` is an honest answer in parts; a test bends one part and `World.finish()` signs
and logs the rest as if nothing had happened, so that exactly one check can fail.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from credproof import standard
from credproof.attestation.oprf_key import Evaluation, OprfKey, Share
from credproof.attestation.package import pack, parse_package
from credproof.attestation.pseudonym import Part, Transcript, begin, parse_subject_id
from credproof.attestation.sealing import SECRET_BYTES, SealingKey
from credproof.attestation.statement import Opening, Statement, issue
from credproof.base import jws, oprf
from credproof.base.encoding import b64url, canonical_json, date_of
from credproof.base.group import scalar_from
from credproof.base.keys import DatedKey, Ed25519Signer
from credproof.log.directory import Leaf, subtree
from credproof.log.directory import prove as prove_lookup
from credproof.log.entry import parse_entry
from credproof.log.note import NoteSigner
from credproof.verification.answer import (
    ENTRY_ANSWER,
    ENTRY_ATTESTATION,
    Answer,
    AnswerBundle,
    BindingEvidence,
    DirectoryEvidence,
    Kept,
    Lookup,
    Reference,
    TokenEvidence,
    evidence_digest,
    sign_answer,
)
from credproof.verification.answer_entry import Asked, GivenEntry
from credproof.verification.bundle import PolicyPin, TrustBundle
from credproof.verification.consent import (
    Notice,
    Terms,
    parse_request,
    sign_consent,
    sign_request,
    verify_consent,
)
from credproof.verification.evaluation import evaluate
from credproof.verification.filing import (
    ACTOR,
    ENTRY_ROOT,
    NOTHING,
    Change,
    Filed,
    change_of,
    element_of,
    index_of,
    prove_element,
)
from credproof.verification.grammar import parse_policy
from credproof.verification.participant import NEVER, Licence, Participant
from credproof.verification.policy import PURPOSES, Policy
from credproof.verification.proposal import Proposal
from credproof.verification.proving import Holding, prove
from credproof.verification.trust import Trust, sign_trust, verify_trust
from credproof.verification.verify import Expectations, VerifiedAnswer, verify_answer

from tests.ledger import NOW, Log

DOMAIN = "world.example"
SUBJECT = "ref:somebody"
OPERATORS = ("operator-1", "operator-2")
REVOLVING = standard.schemas()["consumer-revolving/1"]
KEY_BINDING = standard.schemas()["key-binding/1"]
IDENTITY = standard.schemas()["identity-assurance/1"]
SCHEMAS = (REVOLVING, KEY_BINDING, IDENTITY)
POLICY = standard.policies()[0]

GOOD: Mapping[str, int] = MappingProxyType(
    {
        "credit_limit": 10_000_000,
        "used_amount": 1_000_000,
        "utilisation_bp": 1000,
        "overdue_cycles": 0,
        "max_overdue_cycles_6m": 0,
        "overdue_months_6m": 0,
    }
)
"""Figures of tier A under the shipped policy; no test can change them for the next one."""
FAIR = MappingProxyType({**GOOD, "max_overdue_cycles_6m": 1, "overdue_months_6m": 1})
"""Figures of tier B."""
POOR = MappingProxyType(
    {**GOOD, "overdue_cycles": 3, "max_overdue_cycles_6m": 3, "overdue_months_6m": 3}
)
"""Figures of REFER."""


def seed_of(name: str, size: int = 32) -> bytes:
    """Bytes that are the same in every run."""
    return hashlib.shake_256(name.encode()).digest(size)


def signer_of(name: str) -> Ed25519Signer:
    return Ed25519Signer(seed_of(name))


def complete(schema, values):
    """The values with every other claim unknown."""
    return dict.fromkeys(schema.claims) | values


@dataclass
class Case:
    """An answer in parts, before it is signed and logged."""

    answer: Answer
    consent: str
    tokens: list[TokenEvidence]
    bindings: list[BindingEvidence]
    kept: Kept
    directory: DirectoryEvidence | None = None
    evidence: bytes | None = None
    entry: dict[str, object] = field(default_factory=dict)


class World:
    """Everybody with their keys; one provider `bank`, one lender `lend`, one borrower.

    `custodians` hold shares of the OPRF key beside the service.
    """

    def __init__(self, *custodians: str) -> None:
        self.root = signer_of("root")
        self.answerer = signer_of("answer")
        self.bank = signer_of("bank")
        self.lend = signer_of("lend")
        self.borrower = signer_of("borrower")
        self.custodians = custodians
        names = ("oprf", *custodians)
        self.oprf_secrets = tuple(scalar_from(seed_of(name, 64)) for name in names)
        service, *others = (oprf.public_key(secret) for secret in self.oprf_secrets)
        held = zip(others, custodians, strict=True)
        shares = (Share(public, name, f"{name}.example:7445") for public, name in held)
        self.oprf_key = OprfKey((Share(service), *shares))
        self.directory_secret = scalar_from(seed_of("directory", 64))
        self.filed: dict[bytes, Filed] = {}
        self.sealing = SealingKey(seed_of("sealing", SECRET_BYTES))
        self.log = Log(NoteSigner(f"{DOMAIN}/log", signer_of("log")))
        self.policies = [POLICY]
        self.sub, self.transcript = self.identify(SUBJECT)

    @property
    def now(self) -> int:
        """The time by the log's clock."""
        return self.log.now

    # -- trust

    def bundle(self, **changes: object) -> TrustBundle:
        participants = (
            self.participant("bank", "provider", self.bank),
            self.participant("other-bank", "provider", signer_of("other-bank")),
            self.lender(),
            *(self.participant(name, "custodian", signer_of(name)) for name in self.custodians),
        )
        bundle = TrustBundle(
            domain=DOMAIN,
            version=3,
            issued_at=NOW - 1000,
            expires_at=NOW + 30 * 86_400,
            log_vkey=str(self.log.signer.verifier_key),
            answer_keys=(DatedKey(self.answerer.public, 0, NEVER),),
            sealing_keys=(self.sealing.public.data,),
            oprf_keys=(self.oprf_key,),
            participants=participants,
            schemas=tuple(schema.digest for schema in SCHEMAS),
            policies=tuple(self.pin(policy) for policy in self.policies),
            directory_key=oprf.public_key(self.directory_secret),
            purposes=standard.purposes(),
            texts=tuple(text.digest for text in standard.texts()),
        )
        changed = replace(bundle, **changes)
        known = {participant.id for participant in changed.participants}
        added = (operator for operator in self.operators() if operator.id not in known)
        return replace(changed, participants=(*changed.participants, *added))

    def operators(self):
        """Two operators, who are in every bundle."""
        return tuple(self.participant(name, "operator", signer_of(name)) for name in OPERATORS)

    def pin(self, policy: Policy, since: int = 0, until: int = NEVER) -> PolicyPin:
        """A policy as both operators approve it."""
        proposal = Proposal(policy, PolicyPin(policy.ref, since, until))
        for name in OPERATORS:
            signer = signer_of(name)
            proposal = proposal.signed(signer, operator=name, domain=DOMAIN, now=NOW - 1000)
        return proposal.pin

    def participant(self, name: str, role: str, signer: Ed25519Signer, **changes: object):
        schemas = tuple(schema.digest for schema in SCHEMAS) if role == "provider" else ()
        keys = (DatedKey(signer.public, 0, NEVER),)
        found = Participant(name, role, name.title(), "active", keys, schemas)
        return replace(found, **changes)

    def lender(self, **changes: object) -> Participant:
        """The lender `lend`, licensed, with every purpose certified."""
        until = NOW + 300 * 86_400
        standing = {
            "licence": Licence("L-1", 0, until),
            "certified": dict.fromkeys(PURPOSES, until),
        }
        return self.participant("lend", "lender", self.lend, **{**standing, **changes})

    def trust(self, **changes: object) -> Trust:
        token = sign_trust(self.root, self.bundle(**changes))
        return verify_trust(token, self.documents(), root=self.root.public, at=NOW)

    def documents(self) -> list[bytes]:
        policies = [policy.document for policy in self.policies]
        texts = [text.document for text in standard.texts()]
        return [*(schema.document for schema in SCHEMAS), *policies, *texts]

    def add_policy(self, name: str, **changes: object) -> Policy:
        """The shipped policy under another name, with some members changed; pinned too."""
        document = json.loads(POLICY.document) | {"policy": name} | changes
        policy = parse_policy(canonical_json(document), standard.schemas())
        self.policies.append(policy)
        return policy

    # -- people and attestations

    def identify(self, subject_id: str) -> tuple[bytes, Transcript]:
        blind = scalar_from(seed_of("blind" + subject_id, 64))
        blinded = begin([parse_subject_id(subject_id)], [blind])
        nonce = seed_of("nonce" + subject_id, 64)
        evaluations = [
            Evaluation(*oprf.evaluate_verifiable(secret, blinded.elements, nonce))
            for secret in self.oprf_secrets
        ]
        sub = blinded.finish(evaluations, self.oprf_key)[0]
        parts = tuple(Part(item.elements[0], item.proof) for item in evaluations)
        return sub, Transcript(subject_id, self.oprf_key.id, blind, parts)

    def statement(self, values=None, *, schema=REVOLVING, **changes: object) -> Statement:
        statement = Statement(
            schema=schema,
            issuer="bank",
            issued_at=NOW - 60,
            expires_at=NOW + 90 * 86_400,
            jti=seed_of("jti", 16),
            sub=self.sub,
            as_of=date_of(NOW - 86_400),
            currency="TWD" if schema.has_money else None,
            values=complete(schema, GOOD if values is None else values),
            account="account-1",
            seq=1,
            prev=bytes(32),
            basis=None,
        )
        return replace(statement, **changes)

    def hold(
        self,
        statement: Statement,
        *,
        signer: Ed25519Signer | None = None,
        replaces: bytes | None = None,
    ) -> Holding:
        """Sign a statement, log it, hold it; `replaces` is the id of the token before it."""
        opening = Opening(statement, seed_of(f"seed{statement.jti!r}"))
        token = issue(opening, signer or self.bank)
        place = self.place(statement)
        fields = {"index": b64url(place)} | ({"replaces": b64url(replaces)} if replaces else {})
        token_id = jws.token_id(token)
        index = self.log.append(ENTRY_ATTESTATION, statement.issuer, token_id, fields=fields)
        if token_id not in self.filed.get(place, NOTHING).members:
            self.file(change_of(parse_entry(self.log.lines[index])))
        return Holding(token, token_id, index, opening)

    # -- the directory

    def place(self, statement: Statement) -> bytes:
        """The index where a statement is filed."""
        return index_of(self.element(statement.sub), statement.schema.digest)

    def element(self, sub: bytes | None = None) -> bytes:
        """The element of the borrower, or of somebody else."""
        return element_of(self.directory_secret, sub or self.sub)

    def file(self, change: Change) -> None:
        """Bring the directory up to a change."""
        self.filed[change.index] = change.apply(self.filed.get(change.index, NOTHING))

    def leaves(self) -> list[Leaf]:
        return sorted(found.leaf(i) for i, found in self.filed.items() if found.members)

    def close_epoch(self, *, time: int | None = None, covered: int | None = None) -> int:
        """Log the root of the directory as it stands."""
        fields = {"covered": len(self.log.lines) if covered is None else covered}
        root = subtree(self.leaves()).hash
        return self.log.append(ENTRY_ROOT, ACTOR, root, time=time, fields=fields)

    def lookup(self, schema=REVOLVING, *, sub: bytes | None = None) -> Lookup:
        """What the directory shows about the borrower."""
        index = index_of(self.element(sub), schema.digest)
        found = self.filed.get(index, NOTHING)
        proof = prove_lookup(self.leaves(), index)
        return Lookup(schema.digest, proof, found.salt, tuple(sorted(found.members)))

    def evidence(self, *schemas, **settings: object) -> DirectoryEvidence:
        """An honest root, logged, and lookups of these schemas."""
        root = self.log.logged(self.close_epoch(**settings))
        output = prove_element(self.directory_secret, self.sub, seed_of("vrf", 64))
        ordered = sorted(schemas or [REVOLVING], key=lambda schema: schema.digest)
        return DirectoryEvidence(root, output, tuple(self.lookup(schema) for schema in ordered))

    def package(self, statement: Statement, *, signer: Ed25519Signer | None = None) -> bytes:
        """The package of a statement, as it travels sealed."""
        opening = Opening(statement, seed_of("package"))
        return pack(issue(opening, signer or self.bank), opening)

    def binding(self, *, key: Ed25519Signer | None = None, issuer: str = "bank") -> Holding:
        jwk = (key or self.borrower).public.jwk()
        values = complete(KEY_BINDING, {"jwk": jwk, "method": "SOFTWARE"})
        statement = self.statement(
            values, schema=KEY_BINDING, issuer=issuer, jti=seed_of("binding" + issuer, 16)
        )
        return self.hold(statement, signer=self.bank if issuer == "bank" else signer_of(issuer))

    # -- consent

    def terms(self, **changes: object) -> Terms:
        terms = Terms(
            sub=self.sub,
            aud="lend",
            via=DOMAIN,
            policies=tuple(policy.ref for policy in self.policies),
            purpose="ORIGINATION",
            mode="once",
            expires_at=NOW + 86_400,
            data_life_days=30,
        )
        return replace(terms, **changes)

    def request(self, terms: Terms | None = None, **changes: object) -> str:
        settings = {
            "jti": bytes(16),
            "issued_at": NOW - 50,
            "open_until": NOW + 3600,
            "notices": dict.fromkeys(("en", "zh"), bytes(32)),
        }
        return sign_request(self.lend, terms or self.terms(), **{**settings, **changes})

    def consent(self, terms: Terms | None = None, *, signer=None, now: int = NOW - 40) -> str:
        request = parse_request(self.request(terms))
        notice = Notice(bytes(32), "zh")
        return sign_consent(
            signer or self.borrower, request, jti=seed_of("consent", 16), now=now, notice=notice
        )

    # -- answers

    def case(
        self,
        values=None,
        *,
        policy: Policy = POLICY,
        holdings=None,
        bound=None,
        consent=None,
        no: str = "",
    ) -> Case:
        """An honest answer about the borrower, ready to be bent.

        `bound` are bindings by provider and `consent` a consent that are there already; `no` tells
        one question from another.
        """
        if holdings is None:
            holdings = [self.hold(self.statement(values))]
        statements = [holding.statement for holding in holdings]
        evaluation = evaluate(policy, statements, now=self.now)
        tier = policy.tier(evaluation.outcome.tier or "")
        proved, results = prove(policy, evaluation, holdings, now=self.now)
        issuers = sorted({p.holding.statement.issuer for p in proved}) or ["bank"]
        bindings = [(bound or {}).get(issuer) or self.binding(issuer=issuer) for issuer in issuers]
        consent = consent or self.consent()
        kept = Kept(
            nonce=seed_of("nonce" + no),
            request_id=seed_of("request" + no, 16),
            case=Reference("case-1", seed_of("case", 16)),
            staff=Reference("staff-1", seed_of("staff", 16)),
            transcript=self.transcript,
        )
        answer = Answer(
            domain=DOMAIN,
            lender="lend",
            nonce=kept.nonce,
            issued_at=self.now,
            request_id=kept.request_id,
            case=kept.case.digest,
            staff=kept.staff.digest,
            policy=policy.ref,
            consent=verify_consent(consent).id,
            sub=self.sub,
            outcome=evaluation.outcome,
            offer=tier.offer if tier else {},
            results=results,
            evidence=bytes(32),
        )
        tokens = [
            TokenEvidence(p.holding.token, p.proofs, self.log.logged(p.holding.log_index))
            for p in proved
        ]
        bound = [
            BindingEvidence(b.token, b.opening.disclose("jwk").text, self.log.logged(b.log_index))
            for b in bindings
        ]
        asked = (policy.questions[result.question].schema for result in results)
        used = {schema.digest: schema for schema in asked}
        used |= {schema.digest: schema for schema in SCHEMAS if schema.digest in evaluation.absent}
        directory = self.evidence(*used.values()) if used else None
        return Case(answer, consent, tokens, bound, kept, directory)

    def finish(self, case: Case, *, signer: Ed25519Signer | None = None) -> AnswerBundle:
        """Sign and log an answer, whatever it says, and prove all places in the log."""
        tokens, bindings = tuple(case.tokens), tuple(case.bindings)
        directory = case.directory
        evidence = case.evidence or evidence_digest(case.consent, tokens, bindings, directory)
        token = sign_answer(signer or self.answerer, replace(case.answer, evidence=evidence))
        entry = {"kind": ENTRY_ANSWER, "actor": "lend", "object_digest": jws.token_id(token)}
        entry["fields"] = self.entry_fields(case.answer)
        index = self.log.append(**{**entry, **case.entry})
        return AnswerBundle(
            answer=token,
            consent=case.consent,
            tokens=tuple(replace(i, logged=self.log.logged(i.logged.log_index)) for i in tokens),
            bindings=tuple(
                replace(i, logged=self.log.logged(i.logged.log_index)) for i in bindings
            ),
            logged=self.log.logged(index),
            checkpoint=self.log.checkpoint(),
            kept=case.kept,
            directory=directory
            and replace(directory, root=self.log.logged(directory.root.log_index)),
        )

    def entry_fields(self, answer: Answer) -> dict[str, object]:
        """What the log says of an answer."""
        purpose = {policy.ref: policy.purpose for policy in self.policies}.get(answer.policy)
        asked = Asked(answer.policy, purpose or "ORIGINATION", answer.case, answer.staff)
        kind = answer.outcome.kind
        return GivenEntry(asked, answer.consent, kind, bytes(32), bytes(32)).fields()

    def verify(self, bundle: AnswerBundle, *, trust: Trust | None = None, **changes: object):
        """Verify as the lender that pinned the bank's key."""
        expected = Expectations(
            lender="lend",
            now=self.now + 5,
            mode="now",
            pins={"bank": frozenset({self.bank.public.kid})},
        )
        verified: VerifiedAnswer = verify_answer(
            bundle, trust or self.trust(), replace(expected, **changes)
        )
        return verified


def reparse(package: bytes):
    """A package as the service sees it."""
    return parse_package(package)
