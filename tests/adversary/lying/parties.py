"""What lender, provider, auditor and witnesses usually check, by the code that they run.

They hear the service over a channel in memory. A check gives the alarms that it raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from credproof.auditing.following import Following
from credproof.auditor import Auditor
from credproof.base.encoding import date_of
from credproof.base.errors import CredproofError, Malformed
from credproof.base.vrf import Output
from credproof.filed import require_own, verify_filed
from credproof.history import fetch_history
from credproof.home import Home
from credproof.log.checkpoint import verify_checkpoint
from credproof.records.outbox import Item
from credproof.session import Session
from credproof.v1 import audit_service_pb2 as audit_pb
from credproof.v1 import registry_service_pb2 as registry_pb
from credproof.v1.audit_service_pb2_grpc import AuditServiceStub
from credproof.verification.answer import AnswerBundle
from credproof.verification.filing import prove_element
from credproof.verification.proving import Holding
from credproof.verification.registry import keys_of
from credproof.verification.trust import Trust
from credproof.verification.verify import Expectations, VerifiedAnswer, verify_answer
from credproof.wire import trust as trust_wire
from credproof.wire.trust import TrustPackage
from credproof.witnessing import Witnessing

from tests.adversary.lying.server import Server, Version
from tests.ledger import Log

Alarms = set[tuple[str, str]]
"""Who raised an alarm, and which."""


class Channel:
    """What the service replies to one party: honest, unless told otherwise."""

    def __init__(self, server: Server, **told: object) -> None:
        self.server = server
        self.log: Log = told.get("log", server.log)
        self.lines: list[bytes] = told.get("lines", self.log.lines)
        self.note: bytes = told.get("note", self.log.checkpoint())
        self.cosigned: bytes = told.get("cosigned", server.cosigned)
        self.versions: list[Version] = told.get("versions", server.versions)

    def __getattr__(self, _kind: str) -> Callable[..., object]:
        return lambda method, **_how: lambda request, **_call: self.reply(method, request)

    def reply(self, method: str, request):
        return getattr(self, f"_{method.rpartition('/')[2]}")(request)

    def _GetCheckpoint(self, request):
        note = self.cosigned if request.witnessed else self.note
        return audit_pb.GetCheckpointResponse(checkpoint=note)

    def _ListEntries(self, request):
        start = request.start_index
        return audit_pb.ListEntriesResponse(lines=self.lines[start : start + request.limit])

    def _GetInclusionProof(self, request):
        hashes = self._prove(self.log.tree.inclusion_proof, request.log_index, request.tree_size)
        return audit_pb.GetInclusionProofResponse(hashes=hashes)

    def _GetConsistencyProof(self, request):
        sizes = request.old_tree_size, request.new_tree_size
        hashes = self._prove(self.log.tree.consistency_proof, *sizes)
        return audit_pb.GetConsistencyProofResponse(hashes=hashes)

    def _prove(self, proof: Callable[..., tuple[bytes, ...]], *sizes: int) -> tuple[bytes, ...]:
        if max(sizes) > self.log.tree.size:
            raise Malformed("BAD_TREE_SIZE", "the log is not so large")
        return proof(*sizes)

    def _GetTrustBundle(self, _request):
        package = self.versions[-1].package.to_proto()
        return registry_pb.GetTrustBundleResponse(package=package)

    def _GetTrustVersion(self, request):
        if not 1 <= request.version <= len(self.versions):
            raise Malformed("NO_SUCH_VERSION", "there is no such version")
        found = self.versions[request.version - 1]
        return registry_pb.GetTrustVersionResponse(
            package=found.package.to_proto(),
            line=self.lines[found.log_index],
            log_index=found.log_index,
        )


class MemoryHome(Home):
    """A home that keeps the newest trust bundle it saw."""

    def __init__(self, folder: Path, server: Server) -> None:
        self.folder = folder
        self.settings = SimpleNamespace(root=server.world.root.public, id=folder.name)
        folder.mkdir()
        (folder / "trust.json").write_bytes(server.versions[0].package.to_bytes())
        self._known: tuple[bytes, Trust] | None = None

    def trust(self, *, at: int) -> Trust:
        data = (self.folder / "trust.json").read_bytes()
        if self._known is None or self._known[0] != data:
            self._known = data, trust_wire.parse(data).verify(self.settings.root, at=at)
        return self._known[1]

    def hear(self, package: TrustPackage, now: int) -> Trust:
        known = self.trust(at=0)
        return known if package.token == known.token else self.adopt(package, now=now)


class Office(Auditor):
    """An auditor who hears one channel."""

    def __init__(self, home: MemoryHome, channel: Channel) -> None:
        self._home, self._channel = home, channel
        self._stub = AuditServiceStub(channel)
        self.trust = home.hear(channel.versions[-1].package, channel.server.world.now)

    def _following(self, *of_what: object) -> Following:
        following = super()._following(*of_what)
        following._now = self._channel.server.world.now
        return following


class Parties:
    """Everybody who looks, with what each keeps in a folder."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        names = ("lender", "provider", "auditor")
        self.homes = {name: MemoryHome(folder / name, server) for name in names}
        self.findings: dict[int, str] = {}
        """The rules that the auditor found broken, by entry."""

    def channel(self, **told: object) -> Channel:
        return Channel(self.server, **told)

    # -- the lender

    def trust(self, channel: Channel | None = None) -> Trust:
        """What the lender trusts after it asked for the newest bundle."""
        package = (channel or self.channel()).versions[-1].package
        return self.homes["lender"].hear(package, self.server.world.now)

    def verified(self, bundle: AnswerBundle, *, later: int = 5, **how: object) -> VerifiedAnswer:
        bank = self.server.world.bank.public.kid
        other = self.server.signer("other-bank").public.kid
        pins = {"bank": frozenset({bank}), "other-bank": frozenset({other})}
        now = self.server.world.now + later
        expected = Expectations(lender="lend", now=now, mode="now", pins=pins, **how)
        return verify_answer(bundle, self.trust(), expected)

    def lender(self, bundle: AnswerBundle, **how: object) -> Alarms:
        """The lender verifies an answer; that it is not complete counts as an alarm."""
        with alarms("lender") as raised:
            found = self.verified(bundle, **how).completeness
            if found.state == "partial":
                raised.add(("lender", "partial"))
        return raised

    def refresh(self, bundle: AnswerBundle, **told: object) -> Alarms:
        """The lender puts an answer under a checkpoint that witnesses cosigned."""
        with alarms("lender") as raised:
            witnessing = Witnessing(self.channel(**told), self.trust())
            if newest := witnessing.newest():
                moved = witnessing.moved(bundle, newest[0])
                assert moved is None or self.verified(moved).witnesses.state == "reached"
        return raised

    def adopt(self, channel: Channel) -> Alarms:
        with alarms("lender") as raised:
            self.trust(channel)
        return raised

    # -- the provider

    def receipt(self, held: Holding, *, token_id: bytes | None = None, sub: bytes) -> Alarms:
        """The provider's SDK looks at a receipt."""
        with alarms("provider") as raised:
            require_own(item_of(held), token_id or held.token_id, sub)
        return raised

    def self_check(self, provider: str, **lies: object) -> Alarms:
        """The provider verifies where its attestations were filed."""
        with alarms("provider") as raised:
            for person in self.server.people:
                if held := person.accounts.get(provider):
                    self._check(held, person.before, lies)
        return raised

    def _check(self, held: Holding, older: list[Holding], lies: dict[str, object]) -> None:
        world, before = self.server.world, None
        for item in older:
            if item.token_id == held.statement.prev:
                before = item
        gone = before is not None and before.token_id in self.server.withdrawn
        state = "withdrawn" if gone else "accepted"
        log = lies.get("log", world.log)
        logged = log.logged(lies.get("log_index", held.log_index))
        sub = lies.get("sub", held.statement.sub)
        output: Output = prove_element(world.directory_secret, sub, bytes(63) + b"\1")
        checkpoint = verify_checkpoint(log.checkpoint(), log.signer.name, [log.signer.verifier_key])
        chained = item_of(before, state) if before else None
        verify_filed(item_of(held), chained, logged, output, checkpoint, self.trust())

    def watch(self) -> Alarms:
        """The bank looks for keys that are not its own in the registry's history."""
        channel, home = self.channel(), self.homes["provider"]
        with alarms("provider") as raised:
            trust = home.hear(channel.versions[-1].package, self.server.world.now)
            session = SimpleNamespace(trust=trust, _channel=channel)
            checkpoint = Session.checkpoint(session)
            newest = trust.bundle.version
            history = fetch_history(channel, newest, checkpoint, home.settings.root)
            own = self.server.world.bank.public.kid
            if {item.key.public.kid for item in keys_of("bank", history)} != {own}:
                raised.add(("provider", "STRANGE"))
        return raised

    # -- auditor and witnesses

    def audit(self, **told: object) -> Alarms:
        """The auditor goes on from where it stood; what rules find is kept by entry."""
        with alarms("auditor") as raised:
            office = Office(self.homes["auditor"], self.channel(**told))
            audited = office.verify().checkpoint
            with office.index() as index:
                self.findings = {item.log_index: item.rule for item in index.findings()}
            if told.get("cosigned", self.server.cosigned):
                office.witnessed(audited)
        return raised

    def replay(self) -> tuple[int, str] | None:
        """The auditor computes all roots anew: the entry that is wrong, and why."""
        office = Office(self.homes["auditor"], self.channel())
        try:
            office.replay(office.verify().checkpoint)
        except CredproofError as error:
            return int("".join(c for c in error.message.split()[1] if c.isdigit())), error.reason
        return None

    def cosign(self, log: Log) -> Alarms:
        """The witnesses are asked to cosign this log."""
        with alarms("witness") as raised:
            self.server.witnesses.cosign(log)
        return raised


@contextmanager
def alarms(party: str) -> Iterator[Alarms]:
    """What is raised inside, by its reason."""
    raised: Alarms = set()
    try:
        yield raised
    except CredproofError as error:
        raised.add((party, error.reason))


def item_of(held: Holding, state: str = "accepted") -> Item:
    """An attestation as the provider's outbox has it."""
    made = held.statement
    place = (made.schema.id, made.account, date_of(made.issued_at), made.seq, held.token_id)
    return Item(*place, made.sub, bytes(32), b"", 0, "run", state, held.log_index)
