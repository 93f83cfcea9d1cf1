"""Where lies are told: a server, the parties, and what they must find of what was told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from credproof.base.encoding import b64url
from credproof.log.directory import subtree
from credproof.log.entry import entry_hash, parse_entry
from credproof.verification.answer import AnswerBundle
from credproof.verification.answer_entry import Asked, GivenEntry
from credproof.verification.filing import Change, change_of
from credproof.verification.proving import Holding

from tests.adversary.lying.parties import Alarms, Parties
from tests.adversary.lying.server import Person, Server, entry_of, story_of
from tests.ledger import Log
from tests.world import FAIR


@dataclass
class Stage:
    """`broken` are the rules that the log breaks, by entry; `differs` what a replay may name."""

    server: Server
    parties: Parties
    broken: dict[int, str] = field(default_factory=dict)
    differs: set[tuple[int, str]] = field(default_factory=set)
    strange_keys: bool = False

    @property
    def person(self) -> Person:
        return self.server.people[0]

    @property
    def other(self) -> Person:
        return self.server.people[1]

    # -- honest steps that a lie needs

    def good_and_bad(self) -> tuple[Holding, Holding]:
        """The borrower has a good account at the bank and a bad one at the other."""
        good = self.server.attest(self.person, "bank")
        return good, self.server.attest(self.person, "other-bank", FAIR)

    def attested(self) -> Holding:
        """The borrower has one account, which is good."""
        self.server.withdraw(self.person, "other-bank")
        return self.server.attest(self.person, "bank")

    def answered(self) -> AnswerBundle:
        """An honest answer on it."""
        self.attested()
        return self.server.answer(self.person)

    # -- entries of a log that lies

    def say(self, kind: str, actor: str, digest: bytes | None = None, **fields: object) -> int:
        """An entry; what it does to the directory is done."""
        log = self.server.log
        index = log.append(kind, actor, digest or self.server.fresh(), fields=fields)
        change = change_of(parse_entry(log.lines[index]))
        if change is not None:
            self.server.world.file(change)
        return index

    def say_consent(self, word: str, digest: bytes, **fields: object) -> int:
        return self.say(f"consent.{word}", "borrower", digest, tag=b64url(bytes(32)), **fields)

    def granted(self) -> bytes:
        """A consent that the log alone knows."""
        digest = self.server.fresh()
        self.say_consent("granted", digest)
        return digest

    def say_answer(self, consent: bytes, *, actor: str = "lend", **changes: object) -> int:
        policy = self.server.usual
        said = changes.get("purpose", policy.purpose)
        asked = Asked(policy.ref, said, bytes(32), bytes(32))
        outcome = changes.get("outcome", "REFER")
        fields = GivenEntry(asked, consent, outcome, bytes(32), bytes(32)).fields()
        return self.say("answer.given", actor, **fields)

    def breaks(self, index: int, rule: str) -> Alarms:
        """The log breaks a rule there; the auditor must find it when it comes by."""
        self.broken[index] = rule
        return set()

    # -- the directory

    def root(self) -> tuple[bytes, int]:
        """The root as it stands, and how many entries it covers."""
        return subtree(self.server.world.leaves()).hash, len(self.server.log.lines)

    def say_root(self, root: bytes, covered: int) -> int:
        return self.say("directory.root", "service", root, covered=covered)

    def taken_out(self, held: Holding) -> Callable[[], None]:
        """Take an attestation out of the tree, unlogged; gives how to put it back."""
        world, place = self.server.world, self.server.world.place(held.statement)
        before = world.filed[place]
        world.file(Change(0, place, before.salt, None, held.token_id))
        return partial(world.filed.__setitem__, place, before)

    # -- another story

    def rewritten(self, at: int, **changes: object) -> Log:
        """The log with one entry changed, and all after it chained anew."""
        chained = self.server.log.lines[:at]
        for line in self.server.log.lines[at:]:
            changed = changes if len(chained) == at else {}
            prev = entry_hash(chained[-1]) if chained else parse_entry(line).prev
            chained.append(replace(parse_entry(line), prev=prev, **changed).to_line())
        return story_of(self.server.log, chained)

    def forked(self, bundle: AnswerBundle) -> tuple[AnswerBundle, Log]:
        """The answer in a log with another first entry, and that log."""
        log = self.server.log
        story = story_of(log, [entry_of(log, 0, actor="operator-2"), *log.lines[1:]])

        def moved(place):
            return story.logged(place.log_index)

        assert bundle.directory is not None
        return replace(
            bundle,
            logged=moved(bundle.logged),
            tokens=tuple(replace(i, logged=moved(i.logged)) for i in bundle.tokens),
            bindings=tuple(replace(i, logged=moved(i.logged)) for i in bundle.bindings),
            directory=replace(bundle.directory, root=moved(bundle.directory.root)),
            checkpoint=story.checkpoint(),
        ), story


Tell = Callable[[Stage], Alarms]


@dataclass(frozen=True)
class Lie:
    """`by` are the alarms of which at least one must be raised: a party, and its reason.

    A lie that the log itself tells gives no alarm: it says `breaks`, and the auditor's next visit
    must find it.
    """

    name: str
    by: frozenset[tuple[str, str]]
    tell: Tell


LIES: dict[str, Lie] = {}


def lie(name: str, *by: tuple[str, str]) -> Callable[[Tell], Tell]:
    """One more lie that somebody catches."""

    def added(tell: Tell) -> Tell:
        assert name not in LIES
        LIES[name] = Lie(name, frozenset(by), tell)
        return tell

    return added
