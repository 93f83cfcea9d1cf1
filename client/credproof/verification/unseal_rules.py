"""The rules between entries about unsealing: nobody opens a detail alone, or too late.

Format: `docs/PROTOCOL.md`, "Rules between entries".
"""

from __future__ import annotations

from dataclasses import dataclass

from credproof.base.limits import CLOCK_SKEW_S, UNSEAL_LIFE_MAX_S
from credproof.base.members import Members
from credproof.log.entry import Entry
from credproof.verification.rule_state import BrokenRule, State, Thing, named
from credproof.verification.unsealing import ENTRY_APPROVED


@dataclass(frozen=True, slots=True)
class AskedEntry:
    """A request in the log: about one detail of an earlier entry, open until a time in seconds.

    `reason` is a salted digest, `tag` stands for the borrower whom the entry is about.
    """

    log_index: int
    detail: str
    reason: bytes
    tag: bytes
    until: int


@dataclass(frozen=True, slots=True)
class UnsealedEntry:
    """A detail that was given to the entry's actor; the object is the request's id."""

    log_index: int
    detail: str
    tag: bytes


def parse_asked(entry: Entry) -> AskedEntry:
    """What an entry says of a request.

    Raises:
        Malformed: `BAD_MEMBER`, or as `parse_b64url`.
    """
    members = Members(entry.fields, entry.kind)
    asked = AskedEntry(
        log_index=members.take("entry", int),
        detail=members.take("detail", str),
        reason=members.bytes("reason", 32),
        tag=members.bytes("tag", 32),
        until=members.take("until", int),
    )
    members.finish()
    return asked


def parse_decided(entry: Entry) -> bytes:
    """The id of the request that an entry approves or declines; its object is the decision's.

    Raises:
        Malformed: as `parse_asked`.
    """
    members = Members(entry.fields, entry.kind)
    request = members.bytes("request", 32)
    members.finish()
    return request


def parse_unsealed(entry: Entry) -> UnsealedEntry:
    """What an entry says of a detail that was given.

    Raises:
        Malformed: as `parse_asked`.
    """
    members = Members(entry.fields, entry.kind)
    unsealed = UnsealedEntry(
        log_index=members.take("entry", int),
        detail=members.take("detail", str),
        tag=members.bytes("tag", 32),
    )
    members.finish()
    return unsealed


def asked(state: State, entry: Entry) -> None:
    """Each request once, about an entry that is there, open for a bounded time."""
    found, name = parse_asked(entry), named("unsealing", entry.object)
    known = state.get(name)
    if known is not None:
        raise BrokenRule("UNSEAL_ASKED_TWICE", "a detail is asked for again", known["at"])
    about = {"entry": found.log_index, "detail": found.detail, "until": found.until}
    state.learn(name, at=entry.seq, by=entry.actor, **about)
    _require_active(state, entry, entry.actor)
    if not 0 <= found.log_index < entry.seq:
        raise BrokenRule("UNSEAL_NO_ENTRY", "a detail of an entry that was not there")
    if found.until > entry.time + UNSEAL_LIFE_MAX_S + CLOCK_SKEW_S:
        raise BrokenRule("UNSEAL_TOO_LONG", "a request that stays open for too long")


def decided(state: State, entry: Entry) -> None:
    """A request is decided once, in time, by another auditor than asked."""
    name = named("unsealing", parse_decided(entry))
    known = _known(state, name)
    if "decided" in known:
        places = known["at"], known["decided"]
        raise BrokenRule("UNSEAL_DECIDED_TWICE", "a request is decided again", *places)
    if entry.actor == known["by"]:
        raise BrokenRule("UNSEAL_ALONE", "the auditor who asked decides", known["at"])
    _require_open(known, entry)
    _require_active(state, entry, entry.actor)
    approved = entry.kind == ENTRY_APPROVED
    state.learn(name, decided=entry.seq, second=entry.actor, approved=approved)


def unsealed(state: State, entry: Entry) -> None:
    """A detail is given to one of two auditors who agreed, in time, once, and no other detail."""
    found, name = parse_unsealed(entry), named("unsealing", entry.object)
    known = _known(state, name)
    if not known.get("approved"):
        places = [known["at"], *([known["decided"]] if "decided" in known else [])]
        raise BrokenRule("UNSEALED_UNAPPROVED", "a detail that no second auditor approved", *places)
    places = [known["at"], known["decided"]]
    if entry.actor not in (known["by"], known["second"]):
        raise BrokenRule("WRONG_ACTOR", "a detail is given to a third", *places)
    given = known.get("given", {})
    if entry.actor in given:
        raise BrokenRule("UNSEALED_TWICE", "a detail is given again", *places, given[entry.actor])
    state.learn(name, given=given | {entry.actor: entry.seq})
    if (found.log_index, found.detail) != (known["entry"], known["detail"]):
        raise BrokenRule("UNSEALED_OTHER", "another detail than was asked for", *places)
    _require_open(known, entry)
    for auditor in (known["by"], known["second"]):
        _require_active(state, entry, auditor)


def _known(state: State, name: str) -> Thing:
    known = state.get(name)
    if known is None:
        raise BrokenRule("UNSEAL_UNKNOWN", "it is about a request that is not in the log")
    return known


def _require_open(known: Thing, entry: Entry) -> None:
    if entry.time > known["until"]:
        raise BrokenRule("UNSEAL_LATE", f"{entry.kind} of a request that had ended", known["at"])


def _require_active(state: State, entry: Entry, name: str) -> None:
    """The registry in force lists an auditor of this name who is not suspended."""
    listed = state.trust.participants.get(name)
    if listed is None or listed.role != "auditor" or listed.is_suspended(entry.time):
        raise BrokenRule("WRONG_ACTOR", f"{entry.kind} by or for one who is no active auditor")
