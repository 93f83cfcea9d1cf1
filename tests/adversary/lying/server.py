"""An honest service in memory: it logs, files, publishes, is witnessed and answers.

A lie changes what it does, or what one party is told; the rest goes on as if nothing had been.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from credproof.attestation.withdrawal import sign_withdrawal
from credproof.base import jws
from credproof.base.encoding import b64url
from credproof.base.keys import Ed25519Signer
from credproof.log.cosignature import with_lines
from credproof.log.entry import parse_entry
from credproof.log.note import parse_note
from credproof.log.witness import AddCheckpoint, Seen, judge
from credproof.verification.answer import AnswerBundle
from credproof.verification.consent import Notice, parse_request, sign_consent, verify_consent
from credproof.verification.filing import ENTRY_WITHDRAWN, change_of
from credproof.verification.policy import Policy, PolicyRef
from credproof.verification.proving import Holding
from credproof.verification.registry import ENTRY_CHANGED
from credproof.verification.trust import sign_trust
from credproof.wire.trust import TrustPackage

from tests.ledger import Log
from tests.log.test_witnessed import LINES, WITNESSES
from tests.world import DOMAIN, GOOD, KEY_BINDING, POLICY, Case, World, complete, seed_of, signer_of

QUORUM = f"{LINES}group two 2 w0 w1 w2\nquorum two\n"
PROVIDERS = ("bank", "other-bank")
USES = 2
"""How many answers each policy gives under one consent."""


@dataclass
class Consent:
    """A consent that was granted, and what became of it."""

    token: str
    uses: Counter[PolicyRef] = field(default_factory=Counter)
    revoked: bool = False

    @property
    def id(self) -> bytes:
        return verify_consent(self.token).id


@dataclass
class Person:
    """A borrower. `accounts` are the newest attestations by provider; `bound` are key bindings."""

    subject: str
    signer: Ed25519Signer
    accounts: dict[str, Holding] = field(default_factory=dict)
    heads: dict[str, Holding] = field(default_factory=dict)
    before: list[Holding] = field(default_factory=list)
    """What was superseded or withdrawn."""
    bound: dict[str, Holding] = field(default_factory=dict)
    consents: list[Consent] = field(default_factory=list)


@dataclass(frozen=True)
class Version:
    """A version of the registry, and the entry that put it in force."""

    package: TrustPackage
    log_index: int


class Witnesses:
    """Three honest witnesses, each with what it saw."""

    def __init__(self) -> None:
        self.seen: list[Mapping[str, Seen]] = [{} for _ in WITNESSES]

    def cosign(self, log: Log) -> bytes:
        """The checkpoint of a log with a line of each.

        Raises:
            CredproofError: as `judge`, when the log is not the one that it was.
        """
        note, key = log.checkpoint(), log.signer.verifier_key
        lines = []
        for i, witness in enumerate(WITNESSES):
            size = log.tree.size
            old = min(size, self.seen[i].get(key.name, Seen()).tree_size)
            proof = log.tree.consistency_proof(old, size) if 0 < old < size else ()
            new = judge(AddCheckpoint(old, proof, note), {key.name: [key]}, self.seen[i])
            self.seen[i] = {key.name: Seen(new.tree_size, new.root_hash)}
            lines.append(witness.cosign(parse_note(note).text, log.now))
        return with_lines(note, lines)


class Server:
    """All steps here are honest."""

    def __init__(self) -> None:
        self.world = World()
        caps = {"answers": f"{USES} per consent"}
        self.usual = self.world.add_policy("usual", caps=caps)
        self.strict = self.world.add_policy("strict", caps=caps, completeness="required")
        self.witnessed = self.world.add_policy("seen", caps=caps, witness="required")
        self.world.policies.remove(POLICY)
        self.versions: list[Version] = []
        self.people = [Person(f"ref:person-{i}", signer_of(f"person-{i}")) for i in range(2)]
        self.witnesses = Witnesses()
        self.cosigned = b""
        """The newest checkpoint that witnesses cosigned."""
        self.withdrawn: set[bytes] = set()
        """Ids of tokens that their providers took back."""
        self._count = 0
        self.publish()

    @property
    def log(self) -> Log:
        return self.world.log

    def number(self) -> str:
        """A new number, to tell things apart."""
        self._count += 1
        return str(self._count)

    def fresh(self, size: int = 32) -> bytes:
        return seed_of("fresh" + self.number(), size)

    def pass_time(self, seconds: int) -> None:
        self.log.now += seconds

    # -- registry and witnesses

    def publish(self, *, skipped: int = 0, **changes: object) -> int:
        """The next version of the registry is signed and logged; gives where."""
        number = len(self.versions) + 1 + skipped
        package = self.package(version=number, **changes)
        fields = {"version": number}
        kept = jws.token_id(package.token)
        index = self.log.append(ENTRY_CHANGED, "operator-1", kept, fields=fields)
        self.versions.append(Version(package, index))
        return index

    def package(self, **changes: object) -> TrustPackage:
        """A bundle that the root signs."""
        bundle = self.world.bundle(quorum=QUORUM, **changes)
        return TrustPackage(sign_trust(self.world.root, bundle), tuple(self.world.documents()))

    def witness(self) -> None:
        self.cosigned = self.witnesses.cosign(self.log)

    # -- attestations

    def about(self, person: Person) -> World:
        """The world, and this person is the borrower in it."""
        world = self.world
        world.sub, world.transcript = world.identify(person.subject)
        world.borrower = person.signer
        return world

    def signer(self, provider: str) -> Ed25519Signer:
        return self.world.bank if provider == "bank" else signer_of(provider)

    def attest(
        self,
        person: Person,
        provider: str = "bank",
        figures=None,
        *,
        instead: Holding | None = None,
    ) -> Holding:
        """The next attestation of the person's account at a provider.

        It takes the place of the one before, or of whatever a liar says: `instead`.
        """
        world, head = self.about(person), person.heads.get(provider)
        statement = world.statement(
            GOOD if figures is None else figures,
            issuer=provider,
            issued_at=world.now,
            jti=self.fresh(16),
            account=f"{person.subject}-{provider}",
            seq=1 + (head.statement.seq if head else 0),
            prev=head.token_id if head else bytes(32),
        )
        current = person.accounts.get(provider)
        gone = instead or current
        replaces = gone.token_id if gone else None
        held = world.hold(statement, signer=self.signer(provider), replaces=replaces)
        person.before += [current] if current else []
        person.accounts[provider] = person.heads[provider] = held
        return held

    def withdrawal(self, held: Holding, **changes: object) -> dict[str, object]:
        """An entry's members that takes an attestation back, signed by its provider."""
        issuer = held.statement.issuer
        said = {"issuer": issuer, "service": DOMAIN, "token": held.token_id, "reason": "error"}
        signer = changes.pop("signer", self.signer(issuer))
        text = sign_withdrawal(signer, **said, now=self.world.now)
        place = b64url(self.world.place(held.statement))
        told = {"reason": "error", "signed": text, "token": b64url(held.token_id)}
        actor = changes.pop("actor", issuer)
        fields = {"index": place, **told, **changes}
        return {"actor": actor, "object_digest": jws.token_id(text), "fields": fields}

    def take_back(self, held: Holding, **changes: object) -> int:
        """Log a withdrawal and take the attestation out of the directory."""
        index = self.log.append(ENTRY_WITHDRAWN, **self.withdrawal(held, **changes))
        self.world.file(change_of(parse_entry(self.log.lines[index])))
        return index

    def withdraw(self, person: Person, provider: str) -> None:
        if held := person.accounts.pop(provider, None):
            self.take_back(held)
            self.withdrawn.add(held.token_id)
            person.before.append(held)

    def bind(self, person: Person) -> None:
        """Every provider binds the borrower's key, once."""
        world = self.about(person)
        for provider in PROVIDERS:
            if provider not in person.bound:
                values = complete(KEY_BINDING, {"jwk": person.signer.public.jwk()})
                values["method"] = "SOFTWARE"
                settings = {"issuer": provider, "jti": self.fresh(16), "issued_at": world.now}
                made = world.statement(values, schema=KEY_BINDING, **settings)
                person.bound[provider] = world.hold(made, signer=self.signer(provider))

    # -- consents

    def consent(self, person: Person, *, signer: Ed25519Signer | None = None) -> Consent:
        """A consent that nobody has logged."""
        world = self.about(person)
        made = sign_consent(
            signer or person.signer,
            parse_request(world.request(world.terms(mode="continuing"))),
            jti=self.fresh(16),
            now=world.now - 1,
            notice=Notice(bytes(32), "zh"),
        )
        return Consent(made)

    def log_consent(self, word: str, consent: Consent) -> int:
        fields = {"tag": b64url(bytes(32))}
        return self.log.append(f"consent.{word}", "borrower", consent.id, fields=fields)

    def grant(self, person: Person) -> Consent:
        self.bind(person)
        consent = self.consent(person)
        self.log_consent("granted", consent)
        person.consents.append(consent)
        return consent

    def revoke(self, person: Person) -> None:
        for consent in person.consents:
            if not consent.revoked:
                self.log_consent("revoked", consent)
                consent.revoked = True

    # -- answers

    def usable(self, person: Person, policy: Policy) -> Consent:
        """A consent under which the policy may be answered once more."""
        for consent in person.consents:
            if not consent.revoked and consent.uses[policy.ref] < USES:
                return consent
        return self.grant(person)

    def case(self, person: Person, policy: Policy | None = None, *, holdings=None) -> Case:
        """An honest answer in parts, under a consent that is used up by it."""
        policy = policy or self.usual
        consent = self.usable(person, policy)
        consent.uses[policy.ref] += 1
        held = list(person.accounts.values()) if holdings is None else holdings
        world = self.about(person)
        question = {"consent": consent.token, "no": self.number()}
        return world.case(policy=policy, holdings=held, bound=person.bound, **question)

    def answer(self, person: Person, policy: Policy | None = None) -> AnswerBundle:
        """An honest answer, logged."""
        return self.finish(self.case(person, policy))

    def finish(self, case: Case, **settings: object) -> AnswerBundle:
        return self.world.finish(case, **settings)


def story_of(log: Log, lines: list[bytes]) -> Log:
    """Another log under the same key."""
    told = Log(log.signer)
    told.now = log.now
    for line in lines:
        told.add(line)
    return told


def entry_of(log: Log, index: int, **changes: object) -> bytes:
    """An entry of a log, changed."""
    return replace(parse_entry(log.lines[index]), **changes).to_line()
