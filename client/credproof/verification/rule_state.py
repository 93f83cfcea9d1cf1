"""What the rules between entries know of a log: digests, indexes, counts and times."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Protocol

from credproof.base.encoding import b64url
from credproof.log.entry import Entry
from credproof.verification.participant import Role
from credproof.verification.trust import Trust

Thing = dict[str, Any]
"""What is known of a consent, an attestation or a participant; can be written as JSON."""
LAST: Final = "last"
"""The name of what counts of the entry before."""

Registry = Callable[[Entry], Trust]
"""Gives the trust bundle that an entry puts in force; raises when nobody can show it."""


class Memory(Protocol):
    """What outlives a page: things by name."""

    def load(self, names: Collection[str]) -> Mapping[str, Thing]:
        """Those of these things that are known."""
        ...

    def keep(self, things: Mapping[str, Thing]) -> None:
        """Remember these things in place of what was known of them."""
        ...


class BrokenRule(Exception):
    """A rule does not hold. `shown_by` are log indexes of earlier entries that show it."""

    def __init__(self, rule: str, message: str, *shown_by: int) -> None:
        super().__init__(rule)
        self.rule = rule
        self.message = message
        self.shown_by = shown_by


class State:
    """What the rules know while they read a page."""

    def __init__(self, trust: Trust | None, registry: Registry, last: Thing) -> None:
        self.in_force = trust
        self.registry = registry
        self.last = last
        self.things: dict[str, Thing] = {}

    @property
    def trust(self) -> Trust:
        """The bundle in force."""
        if self.in_force is None:
            raise BrokenRule("NO_REGISTRY", "no version of the registry was put in force before")
        return self.in_force

    def get(self, name: str) -> Thing | None:
        """What is known of a thing."""
        return self.things.get(name)

    def learn(self, name: str, **what: Any) -> None:
        """Add to what is known of a thing."""
        self.things[name] = self.things.get(name, {}) | what

    def require_actor(self, entry: Entry, role: Role) -> None:
        """The entry's actor is one whom the registry in force lists in this role."""
        listed = self.trust.participants.get(entry.actor)
        if listed is None or listed.role != role:
            raise BrokenRule("WRONG_ACTOR", f"{entry.kind} by one who is no {role}")


def named(kind: str, digest: bytes) -> str:
    """The name of a thing that has a digest."""
    return f"{kind}:{b64url(digest)}"


def throttle_of(participant: str) -> str:
    """The name of what throttles a participant."""
    return f"throttle:{participant}"
