"""The rules between entries at work: a pure state machine, fed with pages of entries in order.

It keeps digests and counts only. What it must remember of earlier pages it gets from a `Memory`,
by name, and gives back: a page costs what the page is about, however long the log is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from credproof.base.errors import Malformed
from credproof.base.limits import CLOCK_SKEW_S
from credproof.log.entry import Entry
from credproof.verification.entry_rules import ENTRY_KEY_ENDED, RULES, ends_a_key
from credproof.verification.root_rules import DIRECTORY
from credproof.verification.rule_state import (
    LAST,
    BrokenRule,
    Memory,
    Registry,
    State,
    named,
    throttle_of,
)
from credproof.verification.trust import Trust

TIME_IN_FUTURE: Final = "TIME_IN_FUTURE"
"""The rule that only the clock of whoever reads an entry shows, while it reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that an entry breaks. `shown_by` are the indexes of earlier entries that show it."""

    rule: str
    log_index: int
    message: str
    shown_by: tuple[int, ...] = ()


class LogRules:
    """The rules of one log; `trust` is the bundle in force before the first entry fed.

    It is None at the beginning of a log. Findings come out in the order of the log.
    """

    def __init__(self, memory: Memory, registry: Registry, trust: Trust | None = None) -> None:
        self._memory = memory
        last = memory.load([LAST]).get(LAST, {})
        self._state = State(trust, registry, dict(last))

    @property
    def trust(self) -> Trust | None:
        """The bundle in force after what was fed."""
        return self._state.in_force

    def feed_page(self, entries: Sequence[Entry], now: int) -> list[Finding]:
        """What is wrong with the next entries, read at `now` (whole seconds).

        Raises:
            CredproofError: as the registry, when it cannot show a version.
        """
        state = self._state
        names = {name for entry in entries for name in _names(entry)}
        state.things = {name: dict(thing) for name, thing in self._memory.load(names).items()}
        found = [finding for entry in entries for finding in self._look(entry, now)]
        self._memory.keep(state.things | {LAST: state.last})
        return found

    def _look(self, entry: Entry, now: int) -> Iterator[Finding]:
        state = self._state
        ahead = state.last.get("ahead", 0)
        if entry.time - now > max(CLOCK_SKEW_S, 2 * (ahead - now)):
            ahead = entry.time
            message = "an entry was in the future when it was read, by the auditor's clock"
            yield Finding(TIME_IN_FUTURE, entry.seq, message)
        if state.last.get("lost") and entry.kind != ENTRY_KEY_ENDED:
            message = "a key was withdrawn as lost, and did not end"
            yield Finding("KEY_NOT_ENDED", entry.seq, message, (state.last["at"],))
        finding = _broken(state, entry)
        if finding is not None:
            yield finding
        lost = ends_a_key(entry)
        state.last = {"actor": entry.actor, "ahead": ahead, "at": entry.seq, "lost": lost}


def _broken(state: State, entry: Entry) -> Finding | None:
    """The first rule that an entry breaks."""
    rule = RULES.get(entry.kind)
    if rule is None:
        message = f"what {entry.kind} means is not known here: a newer credproof may know it"
        return Finding("UNKNOWN_KIND", entry.seq, message)
    try:
        rule(state, entry)
    except BrokenRule as broken:
        return Finding(broken.rule, entry.seq, broken.message, broken.shown_by)
    except Malformed as error:
        return Finding("BAD_FIELDS", entry.seq, f"{entry.kind}: {error.message}")
    return None


def _names(entry: Entry) -> Iterator[str]:
    """The names of what an entry may be about; what is not spelled as a digest is never found."""
    fields = entry.fields
    yield DIRECTORY
    yield named("attestation", entry.object)
    yield named("consent", entry.object)
    yield named("unsealing", entry.object)
    yield throttle_of(entry.actor)
    yield f"consent:{fields.get('consent')}"
    yield f"unsealing:{fields.get('request')}"
    yield f"attestation:{fields.get('token')}"
    yield f"attestation:{fields.get('accepted')}"
    for participant in [fields.get("participant"), *_listed(fields.get("participants"))]:
        yield throttle_of(str(participant))


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()
